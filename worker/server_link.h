// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "adamant/worker/v1/worker.pb.h"
#include "common/frame_channel.h"

namespace adamant {

// The worker's end of the channel to adamantd: a thread reads frames, another sends a heartbeat
// every second. When the server is gone the process ends at once. Thread-safe.
class ServerLink {
 public:
  explicit ServerLink(Descriptor socket);
  ~ServerLink();

  // Sends Hello and starts the heartbeat.
  void SayHello(const worker::v1::Hello& hello);
  // Blocks for the Start frame; the descriptors are those of start.inputs, by fd_index.
  ReceivedFrame WaitForStart();

  // Blocks for the next ExplainCall frame; a stop request from before it is forgotten.
  ReceivedFrame WaitForCall();

  // Blocks while too many frames are unacknowledged.
  void Send(worker::v1::Frame frame, const std::vector<int>& descriptors = {});
  // Asks for an output, writes `bytes`, announces it with `announce` (which gets the output id) and
  // waits until the server has published it. Returns the server's refusal.
  absl::Status Publish(const std::string& purpose, absl::string_view bytes,
                       const std::function<worker::v1::Frame(int64_t output_id)>& announce);

  bool stop_requested() const { return stop_requested_; }
  void Tick() { ++steps_; }

 private:
  struct Answer {
    google::rpc::Status refusal;
    Descriptor descriptor;
  };

  void ReadFrames();
  void SendHeartbeats();
  Answer WaitForAnswer(int64_t output_id);
  void Deliver(ReceivedFrame received);
  void DeliverAnswer(int64_t output_id, google::rpc::Status refusal, Descriptor descriptor);

  FrameChannel channel_;
  std::atomic<bool> stop_requested_ = false;
  std::atomic<int64_t> steps_ = 0;

  absl::Mutex mutex_;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t sent_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t acknowledged_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<ReceivedFrame> start_ ABSL_GUARDED_BY(mutex_);
  std::deque<ReceivedFrame> calls_ ABSL_GUARDED_BY(mutex_);
  std::map<int64_t, Answer> answers_ ABSL_GUARDED_BY(mutex_);
  int64_t next_output_ ABSL_GUARDED_BY(mutex_) = 1;

  std::thread reader_;
  std::thread heartbeat_;
};

}  // namespace adamant
