// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "adamant/v1/blob.grpc.pb.h"
#include "server/api/blob_upload.h"
#include "server/api/service_parts.h"

namespace adamant {

// `uploads/{uuid}/blobs/{sha256}/{size}`.
struct UploadName {
  std::string id;
  v1::BlobRef blob;
};

// INVALID_ARGUMENT / INVALID_SPEC for another form.
absl::StatusOr<UploadName> ParseUploadName(absl::string_view name);

// The calls as in v1::BlobService::CallbackService, but Write receives and answers plain bytes.
using RawWriteBlobService = v1::BlobService::WithCallbackMethod_FindMissingBlobs<
    v1::BlobService::WithRawCallbackMethod_Write<
        v1::BlobService::WithCallbackMethod_QueryWriteStatus<
            v1::BlobService::WithCallbackMethod_Read<v1::BlobService::Service>>>>;

// Uploads and downloads; see blob.proto. Thread-safe.
class BlobServiceImpl : public RawWriteBlobService {
 public:
  explicit BlobServiceImpl(ServiceParts& parts) : parts_(parts) {}

  grpc::ServerUnaryReactor* FindMissingBlobs(grpc::CallbackServerContext* context,
                                             const v1::FindMissingBlobsRequest* request,
                                             v1::FindMissingBlobsResponse* response) override;
  grpc::ServerReadReactor<grpc::ByteBuffer>* Write(grpc::CallbackServerContext* context,
                                                   grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* QueryWriteStatus(grpc::CallbackServerContext* context,
                                             const v1::QueryWriteStatusRequest* request,
                                             v1::QueryWriteStatusResponse* response) override;
  grpc::ServerWriteReactor<v1::ReadResponse>* Read(grpc::CallbackServerContext* context,
                                                   const v1::ReadRequest* request) override;

 private:
  absl::Status FindMissing(const v1::FindMissingBlobsRequest& request,
                           v1::FindMissingBlobsResponse& response);

  ServiceParts& parts_;
  OpenUploads open_uploads_;
};

// Blocks: whether the tenant has the blob and its bytes are there.
absl::StatusOr<bool> HasBlob(ServiceParts& parts, const v1::BlobRef& blob);

}  // namespace adamant
