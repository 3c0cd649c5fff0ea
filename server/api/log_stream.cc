// SPDX-License-Identifier: Apache-2.0
#include "server/api/log_stream.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "server/api/log_lines.h"
#include "server/api/status.h"
#include "server/jobs/job.h"
#include "server/jobs/job_log.h"
#include "server/store/await.h"

namespace adamant {
namespace {

constexpr int64_t kChunkBytes = 64 << 10;
constexpr int64_t kScanBytes = 1 << 20;
constexpr int64_t kMaxTailLines = 100000;
constexpr absl::Duration kPoll = absl::Seconds(1);  // the truth behind the hub's hints

// One read: each round runs on the disk pool, reads a chunk, and writes it or waits. Rounds never
// overlap. Thread-safe; owns itself until OnDone.
class LogStream : public grpc::ServerWriteReactor<v1::ReadLogResponse>,
                  public std::enable_shared_from_this<LogStream> {
 public:
  LogStream(ServiceParts& parts, const v1::ReadLogRequest& request)
      : parts_(parts), request_(request), offset_(request.offset()) {}

  void Start() {
    self_ = shared_from_this();
    left_ =
        request_.limit_bytes() == 0 ? std::numeric_limits<int64_t>::max() : request_.limit_bytes();
    absl::StatusOr<std::string> uid = JobUid(request_.name());
    absl::Status status = uid.ok() ? CheckRequest() : uid.status();
    if (!status.ok()) return End(status);
    uid_ = *std::move(uid);
    if (request_.follow()) {
      subscription_ = parts_.hub.Subscribe(uid_, [weak = weak_from_this()] {
        if (const auto alive = weak.lock()) alive->News();
      });
    }
    Post(shared_from_this());
  }

  void OnWriteDone(bool ok) override {
    const auto alive = weak_from_this().lock();
    if (!ok) return End(absl::CancelledError("the reader has gone"));
    if (alive != nullptr) Post(alive);
  }

  void OnCancel() override {
    {
      absl::MutexLock lock(&mutex_);
      cancelled_ = true;
    }
    News();
  }

  void OnDone() override {
    std::shared_ptr<LogStream> last = std::move(self_);
    parts_.timers.At(absl::Now(), [last] { last->subscription_.reset(); });
  }

 private:
  absl::Status CheckRequest() {
    if (request_.offset() < 0 || request_.limit_bytes() < 0 || request_.tail_lines() < 0 ||
        request_.attempt() < 0) {
      return InvalidField("offset", "INVALID_SPEC", "numbers must not be negative");
    }
    if (request_.offset() != 0 && request_.tail_lines() != 0)
      return InvalidField("tail_lines", "INVALID_SPEC", "replaces offset; give one of them");
    if (request_.tail_lines() > kMaxTailLines) {
      return InvalidField("tail_lines", "INVALID_SPEC",
                          absl::StrCat("is more than ", kMaxTailLines));
    }
    ASSIGN_OR_RETURN(LogLines lines, LogLines::Make(request_.min_level()));
    lines_ = lines;
    return absl::OkStatus();
  }

  void News() {
    const auto alive = weak_from_this().lock();
    absl::MutexLock lock(&mutex_);
    news_ = true;
    if (waiting_ && alive != nullptr) {
      waiting_ = false;
      PostLocked(alive);
    }
  }

  void Post(const std::shared_ptr<LogStream>& alive) {
    absl::MutexLock lock(&mutex_);
    PostLocked(alive);
  }

  void PostLocked(const std::shared_ptr<LogStream>& alive) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    news_ = false;
    if (parts_.disk.Run([alive] { alive->Round(); })) return;
    waiting_ = true;  // the pool is full
    WaitForNews(alive);
  }

  void WaitForNews(const std::shared_ptr<LogStream>& alive) {
    parts_.timers.At(absl::Now() + kPoll, [weak = std::weak_ptr<LogStream>(alive)] {
      if (const auto stream = weak.lock()) stream->News();
    });
  }

  void Round() {
    {
      absl::MutexLock lock(&mutex_);
      if (cancelled_) return EndLocked(absl::CancelledError("the reader has gone"));
    }
    absl::Status status = ReadChunk();
    if (!status.ok()) return End(status);
  }

  absl::Status ReadChunk() {
    ASSIGN_OR_RETURN(const v1::Job job, Await<v1::Job>([this](Reply<v1::Job> reply) {
                       parts_.store.GetJob(kLocalTenant, uid_, std::move(reply));
                     }));
    if (std::exchange(first_, false)) RETURN_IF_ERROR(FindStart());
    const bool complete = IsComplete(job);
    while (ready_.empty() && left_ > 0) {
      ASSIGN_OR_RETURN(const bool more, FillReady(complete));
      if (!more) break;
    }
    if (ready_.empty() || left_ == 0) {
      WaitOrEnd(complete || !request_.follow() || left_ == 0);
      return absl::OkStatus();
    }
    LogPiece piece = std::move(ready_.front());
    ready_.pop_front();
    if (static_cast<int64_t>(piece.bytes.size()) > left_)
      piece.bytes.resize(static_cast<size_t>(left_));
    left_ -= static_cast<int64_t>(piece.bytes.size());
    message_.set_offset(piece.offset);
    message_.set_data(std::move(piece.bytes));
    StartWrite(&message_);
    return absl::OkStatus();
  }

  // Nothing will be appended to what is read.
  bool IsComplete(const v1::Job& job) const {
    return IsTerminal(job.state()) ||
           (request_.attempt() > 0 && job.attempt() > request_.attempt());
  }

  void WaitOrEnd(bool end) {
    if (end) return End(absl::OkStatus());
    if (parts_.hub.going_away()) return End(DrainingStatus());
    const auto alive = shared_from_this();
    absl::MutexLock lock(&mutex_);
    if (news_ || cancelled_) {
      PostLocked(alive);
    } else {
      waiting_ = true;
      WaitForNews(alive);
    }
  }

  // Reads on and puts what is wanted into `ready_`. False at the end of the log. A line that is
  // still being written is left for later, unless the log is `complete`.
  absl::StatusOr<bool> FillReady(bool complete) {
    ASSIGN_OR_RETURN(LogPiece piece,
                     ReadJobLog(parts_.log_folder, uid_, request_.attempt(), offset_, kChunkBytes));
    if (piece.bytes.empty()) return false;
    if (lines_->takes_all()) {
      offset_ = piece.offset + static_cast<int64_t>(piece.bytes.size());
      ready_.push_back(std::move(piece));
      return true;
    }
    const size_t last_line = piece.bytes.rfind('\n') + 1;  // 0 when there is none
    const bool at_end = last_line == 0 && (complete || !request_.follow() ||
                                           static_cast<int64_t>(piece.bytes.size()) >= kChunkBytes);
    if (last_line == 0 && !at_end) return false;
    if (last_line > 0) piece.bytes.resize(last_line);
    offset_ = piece.offset + static_cast<int64_t>(piece.bytes.size());
    for (const LogLines::Run& run : lines_->Choose(piece.bytes)) {
      ready_.push_back({piece.offset + static_cast<int64_t>(run.begin),
                        piece.bytes.substr(run.begin, run.size)});
    }
    return true;
  }

  absl::Status FindStart() {
    if (request_.tail_lines() > 0) return FindTail();
    const int64_t bytes = JobLogBytes(parts_.log_folder, uid_, request_.attempt());
    if (request_.offset() <= bytes) return absl::OkStatus();
    return WithReason(
        absl::OutOfRangeError(absl::StrCat("offset ", request_.offset(),
                                           " is beyond the end of the log, ", bytes, " bytes")),
        "BAD_OFFSET", {{"size", absl::StrCat(bytes)}});
  }

  // Moves the offset to the last `tail_lines` wanted lines.
  absl::Status FindTail() {
    ASSIGN_OR_RETURN(LogLines lines, LogLines::Make(request_.min_level()));
    std::deque<int64_t> starts;  // of the last wanted lines
    int64_t at = 0;
    bool in_line = false;  // the last line is wanted and has no end yet
    while (true) {
      ASSIGN_OR_RETURN(const LogPiece piece,
                       ReadJobLog(parts_.log_folder, uid_, request_.attempt(), at, kScanBytes));
      if (piece.bytes.empty()) break;
      const size_t last_line = piece.bytes.rfind('\n') + 1;
      const size_t size = last_line > 0 ? last_line : piece.bytes.size();
      const absl::string_view text = absl::string_view(piece.bytes).substr(0, size);
      for (const LogLines::Run& run : lines.Choose(text)) {
        for (size_t i = run.begin; i < run.begin + run.size; ++i) {
          if (!std::exchange(in_line, text[i] != '\n'))
            starts.push_back(piece.offset + static_cast<int64_t>(i));
          if (static_cast<int64_t>(starts.size()) > request_.tail_lines()) starts.pop_front();
        }
      }
      at = piece.offset + static_cast<int64_t>(size);
    }
    offset_ = starts.empty() ? at : starts.front();
    return absl::OkStatus();
  }

  void End(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    EndLocked(status);
  }

  // gRPC must not call back while the lock is held, so the finish happens on the timer thread.
  void EndLocked(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (std::exchange(ended_, true)) return;
    parts_.timers.At(absl::Now(),
                     [alive = shared_from_this(), status] { alive->Finish(ToGrpc(status)); });
  }

  ServiceParts& parts_;
  const v1::ReadLogRequest request_;
  std::string uid_;                                       // set once in Start
  std::unique_ptr<EventHub::Subscription> subscription_;  // set once in Start
  std::shared_ptr<LogStream> self_;                       // from Start to OnDone
  // Used by the current round only.
  v1::ReadLogResponse message_;
  int64_t offset_;
  int64_t left_ = 0;
  bool first_ = true;
  std::optional<LogLines> lines_;  // set in Start
  std::deque<LogPiece> ready_;     // chosen from one chunk, not sent yet

  absl::Mutex mutex_;
  bool news_ ABSL_GUARDED_BY(mutex_) = false;
  bool waiting_ ABSL_GUARDED_BY(mutex_) = false;  // no round is posted or runs
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerWriteReactor<v1::ReadLogResponse>* StartReadLog(ServiceParts& parts,
                                                            const v1::ReadLogRequest& request) {
  const auto stream = std::make_shared<LogStream>(parts, request);
  stream->Start();
  return stream.get();
}

}  // namespace adamant
