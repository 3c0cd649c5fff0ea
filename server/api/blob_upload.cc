// SPDX-License-Identifier: Apache-2.0
#include "server/api/blob_upload.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "server/api/blob_service.h"
#include "server/api/crc32c.h"
#include "server/api/status.h"
#include "server/store/await.h"

namespace adamant {
namespace {

constexpr absl::Duration kIdleLimit = absl::Seconds(60);

// Reads one chunk, handles it on the disk pool, then reads the next: what a fast client sends waits
// in its own connection. Thread-safe; owns itself until OnDone.
class Upload : public grpc::ServerReadReactor<v1::WriteRequest>,
               public std::enable_shared_from_this<Upload> {
 public:
  Upload(ServiceParts& parts, std::atomic<int>& open_uploads, grpc::CallbackServerContext* context,
         v1::WriteResponse* response)
      : parts_(parts), open_uploads_(open_uploads), context_(context), response_(response) {}

  ~Upload() override {
    if (counted_) --open_uploads_;
  }

  void Start() {
    self_ = shared_from_this();
    ArmIdleTimer();
    StartRead(&chunk_);
  }

  void OnReadDone(bool ok) override {
    {
      absl::MutexLock lock(&mutex_);
      last_news_ = absl::Now();
    }
    const bool taken = parts_.disk.Run([alive = self_, ok] { alive->Handle(ok); });
    if (!taken) Finish(ToGrpc(OverloadedStatus()));
  }

  void OnDone() override { self_.reset(); }

 private:
  void Handle(bool ok) {
    absl::StatusOr<bool> complete = ok ? Take() : absl::StatusOr<bool>(Broken());
    if (complete.ok() && !*complete) return StartRead(&chunk_);
    if (!complete.ok() && upload_ != nullptr && ReasonOf(complete.status()) != "DIGEST_MISMATCH")
      upload_->Sync().IgnoreError();
    CountTransfer(complete.status());
    upload_.reset();
    Finish(ToGrpc(complete.status()));
  }

  // Handles one chunk; true when the blob is complete.
  absl::StatusOr<bool> Take() {
    if (!name_.has_value()) {
      ASSIGN_OR_RETURN(name_, ParseUploadName(chunk_.resource_name()));
      ASSIGN_OR_RETURN(const bool present, HasBlob(parts_, name_->blob));
      if (present) {
        deduplicated_ = true;
        response_->set_committed_size(name_->blob.size_bytes());
        return true;
      }
      RETURN_IF_ERROR(Begin());
    } else if (!chunk_.resource_name().empty() && chunk_.resource_name() != first_resource_name_) {
      return InvalidField("resource_name", "INVALID_SPEC", "changed within one upload");
    }
    RETURN_IF_ERROR(Append());
    if (!chunk_.finish_write()) return false;
    RETURN_IF_ERROR(upload_->Finish());
    RETURN_IF_ERROR(Await<Done>([this](Reply<Done> reply) {
                      parts_.store.PutBlobs(kLocalTenant, {name_->blob}, absl::Now(),
                                            std::move(reply));
                    }).status());
    response_->set_committed_size(name_->blob.size_bytes());
    return true;
  }

  absl::Status Begin() {
    first_resource_name_ = chunk_.resource_name();
    counted_ = true;
    if (++open_uploads_ > kMaxOpenUploads) {
      return WithReason(absl::ResourceExhaustedError(absl::StrCat(
                            "at most ", kMaxOpenUploads, " uploads run at a time; try again")),
                        "QUOTA_UPLOADS", {{"limit", absl::StrCat(kMaxOpenUploads)}});
    }
    ASSIGN_OR_RETURN(upload_, parts_.blobs.Begin(name_->id, name_->blob));
    resumed_ = upload_->size() > 0;
    return absl::OkStatus();
  }

  absl::Status Append() {
    if (chunk_.data().size() > kMaxChunkBytes)
      return InvalidField("data", "INVALID_SPEC",
                          absl::StrCat("has more than ", kMaxChunkBytes, " bytes"));
    if (chunk_.write_offset() != upload_->size()) {
      return WithReason(absl::InvalidArgumentError(absl::StrCat(
                            "write_offset is ", chunk_.write_offset(), ", expected ",
                            upload_->size(), "; query the upload, then continue there")),
                        "BAD_OFFSET",
                        {{"committed_size", absl::StrCat(upload_->committed_size())}});
    }
    if (chunk_.has_crc32c() && chunk_.crc32c() != Crc32c(chunk_.data())) {
      return WithReason(absl::InvalidArgumentError("a chunk was damaged on the way; send it again"),
                        "DIGEST_MISMATCH");
    }
    RETURN_IF_ERROR(upload_->Append(chunk_.data()));
    parts_.metrics.BlobBytes("upload", static_cast<int64_t>(chunk_.data().size()));
    return absl::OkStatus();
  }

  absl::Status Broken() {
    if (name_.has_value() && upload_ != nullptr && !context_->IsCancelled()) {
      return WithReason(absl::InvalidArgumentError(absl::StrCat(
                            "the stream ended without finish_write at ", upload_->size(), " of ",
                            name_->blob.size_bytes(), " bytes")),
                        "BAD_OFFSET", {{"committed_size", absl::StrCat(upload_->size())}});
    }
    if (!context_->IsCancelled())
      return InvalidField("resource_name", "INVALID_SPEC", "the stream held no message");
    return absl::CancelledError("the upload was broken off; query it, then continue");
  }

  void CountTransfer(const absl::Status& status) {
    const char* result = "aborted";
    if (status.ok()) result = deduplicated_ ? "dedup" : resumed_ ? "resumed" : "ok";
    if (ReasonOf(status) == "DIGEST_MISMATCH") result = "mismatch";
    parts_.metrics.BlobTransfer("upload", result);
  }

  void ArmIdleTimer() {
    absl::MutexLock lock(&mutex_);
    parts_.timers.At(last_news_ + kIdleLimit, [weak = weak_from_this()] {
      const std::shared_ptr<Upload> upload = weak.lock();
      if (upload == nullptr) return;
      bool idle;
      {
        absl::MutexLock idle_lock(&upload->mutex_);
        idle = absl::Now() - upload->last_news_ >= kIdleLimit;
      }
      if (idle) return upload->context_->TryCancel();
      upload->ArmIdleTimer();
    });
  }

  ServiceParts& parts_;
  std::atomic<int>& open_uploads_;
  grpc::CallbackServerContext* const context_;
  v1::WriteResponse* const response_;
  std::shared_ptr<Upload> self_;  // from Start to OnDone
  // Used by one chunk at a time.
  v1::WriteRequest chunk_;
  std::optional<UploadName> name_;
  std::string first_resource_name_;
  std::unique_ptr<BlobUpload> upload_;
  bool counted_ = false;
  bool resumed_ = false;
  bool deduplicated_ = false;

  absl::Mutex mutex_;
  absl::Time last_news_ ABSL_GUARDED_BY(mutex_) = absl::Now();
};

}  // namespace

grpc::ServerReadReactor<v1::WriteRequest>* StartUpload(ServiceParts& parts,
                                                       std::atomic<int>& open_uploads,
                                                       grpc::CallbackServerContext* context,
                                                       v1::WriteResponse* response) {
  const auto upload = std::make_shared<Upload>(parts, open_uploads, context, response);
  upload->Start();
  return upload.get();
}

}  // namespace adamant
