// SPDX-License-Identifier: Apache-2.0
#include "server/api/blob_upload.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/blob_name.h"
#include "common/error_reason.h"
#include "common/failpoint.h"
#include "common/status_macros.h"
#include "server/api/blob_chunk.h"
#include "server/api/blob_service.h"
#include "server/api/crc32c.h"
#include "server/api/status.h"
#include "server/store/await.h"

namespace adamant {

absl::StatusOr<int64_t> OpenUploads::Add(const UploadKey& key, End end) {
  End earlier;
  int64_t number = 0;
  {
    absl::MutexLock lock(&mutex_);
    int count = 0;
    for (const auto& [other, call] : calls_) {
      if (call.key.tenant != key.tenant) continue;
      ++count;
      if (call.key.id == key.id && BlobName(call.key.blob) == BlobName(key.blob))
        earlier = call.end;
    }
    if (count < kMaxOpenUploads && !earlier) {
      number = ++last_;
      calls_.emplace(number, Call{key, std::move(end)});
    }
  }
  if (number != 0) return number;
  if (earlier) {
    earlier(absl::AbortedError("another call goes on with this upload"));
    return WithReason(absl::UnavailableError("another call writes this upload; try again soon"),
                      "RESOURCE_IN_USE");
  }
  return WithReason(absl::ResourceExhaustedError(absl::StrCat("at most ", kMaxOpenUploads,
                                                              " uploads run at a time; try again")),
                    "QUOTA_UPLOADS", {{"limit", absl::StrCat(kMaxOpenUploads)}});
}

void OpenUploads::Remove(int64_t number) {
  absl::MutexLock lock(&mutex_);
  calls_.erase(number);
}

void OpenUploads::Complete(int64_t number) {
  std::vector<End> others;
  {
    absl::MutexLock lock(&mutex_);
    const auto done = calls_.find(number);
    if (done == calls_.end()) return;
    const UploadKey& key = done->second.key;
    for (const auto& [other, call] : calls_) {
      if (other != number && call.key.tenant == key.tenant &&
          call.key.blob.sha256() == key.blob.sha256()) {
        others.push_back(call.end);
      }
    }
  }
  for (const End& end : others) end(absl::OkStatus());
}

namespace {

// Reads one chunk, handles it on the disk pool, then reads the next: what a fast client sends waits
// in its own connection. May be ended from outside while it reads. Thread-safe; owns itself until
// OnDone.
class Upload : public grpc::ServerReadReactor<grpc::ByteBuffer>,
               public std::enable_shared_from_this<Upload> {
 public:
  Upload(ServiceParts& parts, OpenUploads& open_uploads, grpc::CallbackServerContext* context,
         grpc::ByteBuffer* response)
      : parts_(parts), open_uploads_(open_uploads), context_(context), response_(response) {}

  void Start() {
    self_ = shared_from_this();
    ArmIdleTimer();
    absl::MutexLock lock(&mutex_);
    ReadNext();
  }

  void OnReadDone(bool ok) override {
    {
      absl::MutexLock lock(&mutex_);
      if (state_ != State::kReading) return;  // ended from outside
      state_ = State::kHandling;
    }
    const bool taken = parts_.disk.Run([alive = self_, ok] { alive->Handle(ok); });
    if (!taken) Close(OverloadedStatus());
  }

  void OnDone() override { self_.reset(); }

 private:
  enum class State { kReading, kHandling, kEnded };

  void Handle(bool ok) {
    absl::StatusOr<bool> complete = ok ? Take() : absl::StatusOr<bool>(Broken());
    if (complete.ok() && !*complete) {
      absl::MutexLock lock(&mutex_);
      if (!end_.has_value()) return ReadNext();
      complete = EndedBy(*end_);
    }
    Close(complete.status());
  }

  void ReadNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    state_ = State::kReading;
    if (got_bytes_) waiting_since_ = parts_.uploads.now();
    got_bytes_ = false;
    StartRead(&buffer_);
  }

  // From outside: ends the call now, or behind the chunk it handles.
  void End(const absl::Status& status) {
    {
      absl::MutexLock lock(&mutex_);
      if (!end_.has_value()) end_ = status;
      if (state_ != State::kReading) return;
      state_ = State::kHandling;
    }
    const bool taken = parts_.disk.Run(
        [alive = shared_from_this(), status] { alive->Close(alive->EndedBy(status).status()); });
    if (!taken) Close(OverloadedStatus());
  }

  absl::StatusOr<bool> EndedBy(const absl::Status& status) {
    RETURN_IF_ERROR(status);
    deduplicated_ = true;
    upload_->Abandon();
    return true;
  }

  // The last thing that happens to the call, on the disk pool if that takes it.
  void Close(const absl::Status& status) {
    if (!status.ok() && upload_ != nullptr) upload_->Sync().IgnoreError();
    upload_.reset();
    hold_.reset();
    if (number_ != 0) open_uploads_.Remove(number_);
    CountTransfer(status);
    if (status.ok()) Respond();
    {
      absl::MutexLock lock(&mutex_);
      state_ = State::kEnded;
    }
    Finish(ToGrpc(status));
  }

  void Respond() {
    v1::WriteResponse response;
    response.set_committed_size(name_->blob.size_bytes());
    bool own_buffer = false;
    grpc::SerializationTraits<v1::WriteResponse>::Serialize(response, response_, &own_buffer);
  }

  // Handles one chunk; true when the blob is complete.
  absl::StatusOr<bool> Take() {
    ASSIGN_OR_RETURN(const BlobChunk chunk, ParseBlobChunk(buffer_));
    if (!name_.has_value()) {
      ASSIGN_OR_RETURN(const bool present, Begin(chunk));
      if (present) return true;
    } else if (!chunk.resource_name.empty() && chunk.resource_name != first_resource_name_) {
      return InvalidField("resource_name", "INVALID_SPEC", "changed within one upload");
    }
    RETURN_IF_ERROR(Append(chunk));
    buffer_.Clear();
    if (!chunk.finish_write) return false;
    return Complete();
  }

  absl::StatusOr<bool> Complete() {
    hold_ = parts_.blobs.Hold(name_->blob);
    RETURN_IF_ERROR(upload_->Finish());
    ADAMANT_FAILPOINT("upload.before_row");
    RETURN_IF_ERROR(Await<Done>([this](Reply<Done> reply) {
                      parts_.store.PutBlobs(kLocalTenant, {name_->blob}, absl::Now(),
                                            std::move(reply));
                    }).status());
    open_uploads_.Complete(number_);
    ADAMANT_FAILPOINT("upload.before_reply");
    return true;
  }

  // The first chunk. True when the tenant has the blob already.
  absl::StatusOr<bool> Begin(const BlobChunk& chunk) {
    ASSIGN_OR_RETURN(UploadName name, ParseUploadName(chunk.resource_name));
    ASSIGN_OR_RETURN(const bool present, HasBlob(parts_, name.blob));
    first_resource_name_ = chunk.resource_name;
    name_ = std::move(name);
    if (present) {
      deduplicated_ = true;
      return true;
    }
    if (parts_.scheduler.status().draining) return DrainingStatus();
    const UploadKey key{kLocalTenant, name_->id, name_->blob};
    ASSIGN_OR_RETURN(number_,
                     open_uploads_.Add(key, [weak = weak_from_this()](const absl::Status& status) {
                       if (const auto upload = weak.lock(); upload != nullptr) upload->End(status);
                     }));
    RETURN_IF_ERROR(CheckTenantBytes(key));
    ASSIGN_OR_RETURN(upload_, parts_.blobs.Begin(key));
    resumed_ = upload_->size() > 0;
    return false;
  }

  absl::Status CheckTenantBytes(const UploadKey& key) {
    if (!parts_.uploads.admit_tenant) return absl::OkStatus();
    ASSIGN_OR_RETURN(const int64_t owned, Await<int64_t>([this, &key](Reply<int64_t> reply) {
                       parts_.store.CountBlobBytes(key.tenant, std::move(reply));
                     }));
    ASSIGN_OR_RETURN(const int64_t staged, parts_.blobs.StagedBytes(key.tenant));
    return parts_.uploads.admit_tenant(owned + staged + key.blob.size_bytes());
  }

  absl::Status Append(const BlobChunk& chunk) {
    if (chunk.data_bytes > kMaxChunkBytes)
      return InvalidField("data", "INVALID_SPEC",
                          absl::StrCat("has more than ", kMaxChunkBytes, " bytes"));
    if (chunk.write_offset != upload_->size()) {
      return WithReason(absl::InvalidArgumentError(absl::StrCat(
                            "write_offset is ", chunk.write_offset, ", expected ", upload_->size(),
                            "; query the upload, then continue there")),
                        "BAD_OFFSET",
                        {{"committed_size", absl::StrCat(upload_->committed_size())}});
    }
    if (chunk.crc32c.has_value() && *chunk.crc32c != Crc32c(chunk.pieces)) {
      return WithReason(absl::InvalidArgumentError("a chunk was damaged on the way; send it again"),
                        "DIGEST_MISMATCH",
                        {{"committed_size", absl::StrCat(upload_->committed_size())}});
    }
    RETURN_IF_ERROR(upload_->Append(chunk.pieces));
    got_bytes_ = chunk.data_bytes > 0;
    parts_.metrics.BlobBytes("upload", chunk.data_bytes);
    return absl::OkStatus();
  }

  absl::Status Broken() {
    if (context_->IsCancelled())
      return absl::CancelledError("the upload was broken off; query it, then continue");
    if (upload_ == nullptr)
      return InvalidField("resource_name", "INVALID_SPEC", "the stream held no message");
    return WithReason(absl::InvalidArgumentError(
                          absl::StrCat("the stream ended without finish_write at ", upload_->size(),
                                       " of ", name_->blob.size_bytes(), " bytes")),
                      "BAD_OFFSET", {{"committed_size", absl::StrCat(upload_->size())}});
  }

  void CountTransfer(const absl::Status& status) {
    const char* result = "aborted";
    if (status.ok()) result = deduplicated_ ? "dedup" : resumed_ ? "resumed" : "ok";
    if (ReasonOf(status) == "DIGEST_MISMATCH") result = "mismatch";
    parts_.metrics.BlobTransfer("upload", result);
  }

  void ArmIdleTimer() {
    parts_.timers.At(absl::Now() + parts_.uploads.check_every, [weak = weak_from_this()] {
      const std::shared_ptr<Upload> upload = weak.lock();
      if (upload == nullptr) return;
      if (upload->IsIdle()) {
        return upload->End(absl::DeadlineExceededError(absl::StrCat(
            "no bytes came for ", absl::FormatDuration(upload->parts_.uploads.idle_limit),
            "; query the upload, then continue")));
      }
      upload->ArmIdleTimer();
    });
  }

  bool IsIdle() {
    const absl::Time now = parts_.uploads.now();
    absl::MutexLock lock(&mutex_);
    return state_ == State::kReading && now - waiting_since_ >= parts_.uploads.idle_limit;
  }

  ServiceParts& parts_;
  OpenUploads& open_uploads_;
  grpc::CallbackServerContext* const context_;
  grpc::ByteBuffer* const response_;
  std::shared_ptr<Upload> self_;  // from Start to OnDone
  // Used by one chunk at a time.
  bool got_bytes_ = true;  // messages without bytes do not keep an upload alive
  grpc::ByteBuffer buffer_;
  std::optional<UploadName> name_;
  std::string first_resource_name_;
  std::unique_ptr<BlobUpload> upload_;
  BlobHold hold_;       // until the row is committed
  int64_t number_ = 0;  // among the open uploads
  bool resumed_ = false;
  bool deduplicated_ = false;

  absl::Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kReading;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);  // asked for from outside
  absl::Time waiting_since_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

grpc::ServerReadReactor<grpc::ByteBuffer>* StartUpload(ServiceParts& parts,
                                                       OpenUploads& open_uploads,
                                                       grpc::CallbackServerContext* context,
                                                       grpc::ByteBuffer* response) {
  const auto upload = std::make_shared<Upload>(parts, open_uploads, context, response);
  upload->Start();
  return upload.get();
}

}  // namespace adamant
