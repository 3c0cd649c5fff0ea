// SPDX-License-Identifier: Apache-2.0
#include "worker/server_link.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/failpoint.h"
#include "common/status_macros.h"
#include "common/worker_exit.h"

namespace adamant {
namespace {

using worker::v1::Frame;

constexpr absl::Duration kHeartbeatInterval = absl::Seconds(1);
constexpr int64_t kMaxUnacknowledged = 1024;  // frames

int64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  int64_t total = 0;
  int64_t resident = 0;
  file >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

int64_t PeakResidentBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

double MonotonicSeconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

absl::Status FromRefusal(const google::rpc::Status& refusal) {
  return {static_cast<absl::StatusCode>(refusal.code()), refusal.message()};
}

}  // namespace

ServerLink::ServerLink(Descriptor socket)
    : channel_(std::move(socket)), reader_([this] { ReadFrames(); }) {}

ServerLink::~ServerLink() {
  {
    absl::MutexLock lock(&mutex_);
    closing_ = true;
  }
  channel_.Shutdown();
  reader_.join();
  if (heartbeat_.joinable()) heartbeat_.join();
}

void ServerLink::SayHello(const worker::v1::Hello& hello) {
  Frame frame;
  *frame.mutable_hello() = hello;
  ADAMANT_FAILPOINT("hello.before");
  Send(std::move(frame));
  heartbeat_ = std::thread([this] { SendHeartbeats(); });
}

ReceivedFrame ServerLink::WaitForStart() {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(
      +[](std::unique_ptr<ReceivedFrame>* start) { return *start != nullptr; }, &start_));
  return std::move(*start_);
}

// The server sends a call only after the answer to the one before, so a Cancel that came earlier is
// not meant for this one.
ReceivedFrame ServerLink::WaitForCall() {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(
      absl::Condition(+[](std::deque<ReceivedFrame>* calls) { return !calls->empty(); }, &calls_));
  ReceivedFrame call = std::move(calls_.front());
  calls_.pop_front();
  return call;
}

void ServerLink::Send(Frame frame, const std::vector<int>& descriptors) {
  {
    absl::MutexLock lock(&mutex_);
    const auto window_open = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return sent_ - acknowledged_ < kMaxUnacknowledged || closing_;
    };
    mutex_.Await(absl::Condition(&window_open));
    ++sent_;
  }
  // A failure means that the server is gone; the reader sees it too and ends the process.
  if (!channel_.Send(std::move(frame), descriptors).ok()) stop_requested_ = true;
}

absl::Status ServerLink::Publish(const std::string& purpose, absl::string_view bytes,
                                 const std::function<Frame(int64_t output_id)>& announce) {
  Frame request;
  {
    absl::MutexLock lock(&mutex_);
    request.mutable_open_output()->set_output_id(next_output_++);
  }
  const int64_t id = request.open_output().output_id();
  request.mutable_open_output()->set_purpose(purpose);
  request.mutable_open_output()->set_max_bytes(static_cast<int64_t>(bytes.size()));
  Send(std::move(request));
  Answer opened = WaitForAnswer(id);
  RETURN_IF_ERROR(FromRefusal(opened.refusal));
  RETURN_IF_ERROR(WriteAll(opened.descriptor.get(), bytes));
  opened.descriptor.Close();
  Send(announce(id));
  return FromRefusal(WaitForAnswer(id).refusal);
}

ServerLink::Answer ServerLink::WaitForAnswer(int64_t output_id) {
  absl::MutexLock lock(&mutex_);
  const auto arrived = [this, output_id]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return answers_.contains(output_id);
  };
  mutex_.Await(absl::Condition(&arrived));
  Answer answer = std::move(answers_.extract(output_id).mapped());
  ++steps_;  // waiting for the disk is work
  return answer;
}

void ServerLink::DeliverAnswer(int64_t output_id, google::rpc::Status refusal,
                               Descriptor descriptor) {
  absl::MutexLock lock(&mutex_);
  answers_[output_id] = {std::move(refusal), std::move(descriptor)};
}

void ServerLink::Deliver(ReceivedFrame received) {
  Frame& frame = received.frame;
  switch (frame.body_case()) {
    case Frame::kStart: {
      absl::MutexLock lock(&mutex_);
      start_ = std::make_unique<ReceivedFrame>(std::move(received));
      break;
    }
    case Frame::kOutputOpened: {
      Descriptor output;
      if (!received.descriptors.empty()) output = std::move(received.descriptors[0]);
      DeliverAnswer(frame.output_opened().output_id(), frame.output_opened().refusal(),
                    std::move(output));
      break;
    }
    case Frame::kPublished:
      DeliverAnswer(frame.published().output_id(), frame.published().refusal(), Descriptor());
      break;
    case Frame::kAck: {
      absl::MutexLock lock(&mutex_);
      acknowledged_ = frame.ack().stored_through();
      break;
    }
    case Frame::kExplainCall: {
      absl::MutexLock lock(&mutex_);
      stop_requested_ = false;
      calls_.push_back(std::move(received));
      break;
    }
    case Frame::kCancel:
    case Frame::kDrain:
      stop_requested_ = true;
      break;
    default:
      break;
  }
}

void ServerLink::ReadFrames() {
  while (true) {
    absl::StatusOr<ReceivedFrame> received = channel_.Receive();
    if (!received.ok()) {
      absl::MutexLock lock(&mutex_);
      if (closing_) return;
      std::_Exit(kExitProtocol);  // a worker does not outlive its server
    }
    Deliver(*std::move(received));
  }
}

void ServerLink::SendHeartbeats() {
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      if (mutex_.AwaitWithTimeout(absl::Condition(&closing_), kHeartbeatInterval)) return;
    }
    Frame frame;
    worker::v1::Heartbeat& beat = *frame.mutable_heartbeat();
    beat.set_step(steps_);
    beat.set_monotonic_seconds(MonotonicSeconds());
    beat.set_rss_bytes(ResidentBytes());
    beat.set_peak_rss_bytes(PeakResidentBytes());
    if (FailpointErrno("heartbeat.skip") != kSkip) Send(std::move(frame));
  }
}

}  // namespace adamant
