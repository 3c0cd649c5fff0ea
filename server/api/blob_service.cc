// SPDX-License-Identifier: Apache-2.0
#include "server/api/blob_service.h"

#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/blob_name.h"
#include "common/status_macros.h"
#include "server/api/blob_download.h"
#include "server/api/blob_upload.h"
#include "server/api/unary.h"
#include "server/store/await.h"

namespace adamant {
namespace {

constexpr int kMaxBlobsPerQuery = 10000;

}  // namespace

absl::StatusOr<UploadName> ParseUploadName(absl::string_view name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(name, absl::MaxSplits('/', 2));
  if (parts.size() != 3 || parts[0] != "uploads" || !IsUuid(parts[1]))
    return InvalidField("resource_name", "INVALID_SPEC",
                        "must be uploads/{uuid}/blobs/{sha256}/{size}");
  UploadName upload;
  upload.id = std::string(parts[1]);
  ASSIGN_OR_RETURN(upload.blob, ParseBlobName(parts[2]));
  return upload;
}

absl::StatusOr<bool> HasBlob(ServiceParts& parts, const v1::BlobRef& blob) {
  ASSIGN_OR_RETURN(const std::vector<v1::BlobRef> missing,
                   Await<std::vector<v1::BlobRef>>([&](Reply<std::vector<v1::BlobRef>> reply) {
                     parts.store.FindMissingBlobs(kLocalTenant, {blob}, absl::Now(),
                                                  std::move(reply));
                   }));
  if (!missing.empty()) return false;
  const absl::Status present = parts.blobs.Stat(blob);
  if (!present.ok() && !absl::IsNotFound(present)) return present;
  return present.ok();
}

grpc::ServerUnaryReactor* BlobServiceImpl::FindMissingBlobs(
    grpc::CallbackServerContext* context, const v1::FindMissingBlobsRequest* request,
    v1::FindMissingBlobsResponse* response) {
  return RunOn(parts_.disk, context,
               [this, request, response] { return FindMissing(*request, *response); });
}

absl::Status BlobServiceImpl::FindMissing(const v1::FindMissingBlobsRequest& request,
                                          v1::FindMissingBlobsResponse& response) {
  if (request.blobs_size() > kMaxBlobsPerQuery)
    return InvalidField("blobs", "INVALID_SPEC",
                        absl::StrCat("has more than ", kMaxBlobsPerQuery, "; ask in parts"));
  std::vector<Violation> violations;
  for (int i = 0; i < request.blobs_size(); ++i) {
    if (absl::Status status = CheckBlobRef(request.blobs(i)); !status.ok()) {
      violations.push_back(
          {absl::StrCat("blobs[", i, "]"), ReasonOf(status), std::string(status.message())});
    }
  }
  RETURN_IF_ERROR(ViolationStatus(violations));
  const std::vector<v1::BlobRef> asked(request.blobs().begin(), request.blobs().end());
  ASSIGN_OR_RETURN(const std::vector<v1::BlobRef> unknown,
                   Await<std::vector<v1::BlobRef>>([&](Reply<std::vector<v1::BlobRef>> reply) {
                     parts_.store.FindMissingBlobs(kLocalTenant, asked, absl::Now(),
                                                   std::move(reply));
                   }));
  std::set<std::pair<std::string, int64_t>> missing;
  for (const v1::BlobRef& blob : unknown) missing.emplace(blob.sha256(), blob.size_bytes());
  for (const v1::BlobRef& blob : asked) {
    const bool gone = missing.count({blob.sha256(), blob.size_bytes()}) > 0 ||
                      absl::IsNotFound(parts_.blobs.Stat(blob));
    if (gone) *response.add_missing() = blob;
  }
  return absl::OkStatus();
}

grpc::ServerReadReactor<grpc::ByteBuffer>* BlobServiceImpl::Write(
    grpc::CallbackServerContext* context, grpc::ByteBuffer* response) {
  if (const absl::Status& admission = CallOf(context).admission; !admission.ok())
    return new FailedReadStream<grpc::ByteBuffer>(admission);
  return StartUpload(parts_, open_uploads_, context, response);
}

grpc::ServerUnaryReactor* BlobServiceImpl::QueryWriteStatus(
    grpc::CallbackServerContext* context, const v1::QueryWriteStatusRequest* request,
    v1::QueryWriteStatusResponse* response) {
  return RunOn(parts_.disk, context, [this, request, response]() -> absl::Status {
    ASSIGN_OR_RETURN(const UploadName upload, ParseUploadName(request->resource_name()));
    ASSIGN_OR_RETURN(const bool complete, HasBlob(parts_, upload.blob));
    response->set_complete(complete);
    response->set_committed_size(upload.blob.size_bytes());
    if (complete) return absl::OkStatus();
    ASSIGN_OR_RETURN(const int64_t staged,
                     parts_.blobs.StagedSize({kLocalTenant, upload.id, upload.blob}));
    response->set_committed_size(staged);
    return absl::OkStatus();
  });
}

grpc::ServerWriteReactor<v1::ReadResponse>* BlobServiceImpl::Read(
    grpc::CallbackServerContext* context, const v1::ReadRequest* request) {
  if (auto* const refused = RefuseStream<v1::ReadResponse>(context)) return refused;
  return StartDownload(parts_, *request);
}

}  // namespace adamant
