// SPDX-License-Identifier: Apache-2.0
#include "server/api/blob_download.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/blob_name.h"
#include "common/status_macros.h"
#include "server/api/blob_service.h"
#include "server/api/status.h"

namespace adamant {
namespace {

constexpr int64_t kChunkBytes = 256 << 10;

// Rounds on the disk pool: read a chunk, write it, wait for the write. Rounds never overlap. Owns
// itself until OnDone.
class Download : public grpc::ServerWriteReactor<v1::ReadResponse>,
                 public std::enable_shared_from_this<Download> {
 public:
  Download(ServiceParts& parts, const v1::ReadRequest& request)
      : parts_(parts), request_(request) {}

  void Start() {
    self_ = shared_from_this();
    Post();
  }

  void OnWriteDone(bool ok) override {
    if (ok) return Post();
    End(absl::CancelledError("the reader has gone"));
  }

  void OnDone() override { self_.reset(); }

 private:
  void Post() {
    if (!parts_.disk.Run([alive = self_] { alive->Round(); })) End(OverloadedStatus());
  }

  void Round() {
    absl::Status status = file_.valid() ? absl::OkStatus() : Open();
    if (!status.ok() || offset_ == end_) return End(status);
    status = ReadChunk();
    if (!status.ok()) return End(status);
    parts_.metrics.BlobBytes("download", static_cast<int64_t>(message_.data().size()));
    StartWrite(&message_);
  }

  absl::Status Open() {
    ASSIGN_OR_RETURN(const v1::BlobRef blob, ParseBlobName(request_.name()));
    if (request_.offset() < 0 || request_.limit() < 0)
      return InvalidField("offset", "INVALID_SPEC", "offset and limit must not be negative");
    ASSIGN_OR_RETURN(const bool present, HasBlob(parts_, blob));
    if (!present) return ResourceNotFound("blob", BlobName(blob));
    if (request_.offset() > blob.size_bytes()) {
      return WithReason(absl::OutOfRangeError(absl::StrCat("offset ", request_.offset(),
                                                           " is beyond the end of the blob, ",
                                                           blob.size_bytes(), " bytes")),
                        "BAD_OFFSET", {{"size", absl::StrCat(blob.size_bytes())}});
    }
    ASSIGN_OR_RETURN(file_, parts_.blobs.Open(blob));
    offset_ = request_.offset();
    const int64_t rest = blob.size_bytes() - offset_;
    end_ = offset_ + (request_.limit() == 0 ? rest : std::min(request_.limit(), rest));
    return absl::OkStatus();
  }

  absl::Status ReadChunk() {
    std::string& data = *message_.mutable_data();
    data.resize(static_cast<size_t>(std::min(kChunkBytes, end_ - offset_)));
    ssize_t got;
    do {
      got = pread(file_.get(), data.data(), data.size(), offset_);
    } while (got < 0 && errno == EINTR);
    if (got <= 0) return ErrnoStatus(got < 0 ? errno : EIO, "cannot read a blob");
    data.resize(static_cast<size_t>(got));
    offset_ += got;
    return absl::OkStatus();
  }

  void End(const absl::Status& status) {
    parts_.metrics.BlobTransfer("download", status.ok() ? "ok" : "aborted");
    Finish(ToGrpc(status));
  }

  ServiceParts& parts_;
  const v1::ReadRequest request_;
  std::shared_ptr<Download> self_;  // from Start to OnDone
  Descriptor file_;
  int64_t offset_ = 0;
  int64_t end_ = 0;
  v1::ReadResponse message_;
};

}  // namespace

grpc::ServerWriteReactor<v1::ReadResponse>* StartDownload(ServiceParts& parts,
                                                          const v1::ReadRequest& request) {
  const auto download = std::make_shared<Download>(parts, request);
  download->Start();
  return download.get();
}

}  // namespace adamant
