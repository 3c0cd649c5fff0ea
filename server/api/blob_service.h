// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <string>

#include "absl/status/statusor.h"
#include "adamant/v1/blob.grpc.pb.h"
#include "server/api/service_parts.h"

namespace adamant {

// `uploads/{uuid}/blobs/{sha256}/{size}`.
struct UploadName {
  std::string id;
  v1::BlobRef blob;
};

// INVALID_ARGUMENT / INVALID_SPEC for another form.
absl::StatusOr<UploadName> ParseUploadName(absl::string_view name);

// Uploads and downloads; see blob.proto. Thread-safe.
class BlobServiceImpl : public v1::BlobService::CallbackService {
 public:
  explicit BlobServiceImpl(ServiceParts& parts) : parts_(parts) {}

  grpc::ServerUnaryReactor* FindMissingBlobs(grpc::CallbackServerContext* context,
                                             const v1::FindMissingBlobsRequest* request,
                                             v1::FindMissingBlobsResponse* response) override;
  grpc::ServerReadReactor<v1::WriteRequest>* Write(grpc::CallbackServerContext* context,
                                                   v1::WriteResponse* response) override;
  grpc::ServerUnaryReactor* QueryWriteStatus(grpc::CallbackServerContext* context,
                                             const v1::QueryWriteStatusRequest* request,
                                             v1::QueryWriteStatusResponse* response) override;
  grpc::ServerWriteReactor<v1::ReadResponse>* Read(grpc::CallbackServerContext* context,
                                                   const v1::ReadRequest* request) override;

 private:
  absl::Status FindMissing(const v1::FindMissingBlobsRequest& request,
                           v1::FindMissingBlobsResponse& response);

  ServiceParts& parts_;
  std::atomic<int> open_uploads_{0};
};

// Blocks: whether the tenant has the blob and its bytes are there.
absl::StatusOr<bool> HasBlob(ServiceParts& parts, const v1::BlobRef& blob);

}  // namespace adamant
