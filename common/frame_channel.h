// SPDX-License-Identifier: Apache-2.0
// Framed protobuf messages over a Unix socket: uint32 little-endian length, then one
// worker.v1.Frame; descriptors are attached to a frame's first byte.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "adamant/worker/v1/worker.pb.h"
#include "common/files.h"

namespace adamant {

struct ReceivedFrame {
  worker::v1::Frame frame;
  std::vector<Descriptor> descriptors;  // exactly frame.descriptors() of them
};

// One end of the socketpair between adamantd and a worker. Send is thread-safe; Receive must be
// called by one thread.
class FrameChannel {
 public:
  static constexpr uint32_t kMaxFrameBytes = 1 << 20;
  static constexpr int kMaxDescriptors = 64;

  explicit FrameChannel(Descriptor socket) : socket_(std::move(socket)) {}

  // Blocks until the frame is in the socket; sets frame.number and frame.descriptors. UNAVAILABLE
  // when the peer is gone, INVALID_ARGUMENT when the frame is longer than kMaxFrameBytes.
  absl::Status Send(worker::v1::Frame frame, const std::vector<int>& descriptors = {});

  // Blocks for the next frame. UNAVAILABLE at the end of the stream, DATA_LOSS on a protocol error.
  absl::StatusOr<ReceivedFrame> Receive();

  // Makes a blocked Receive return UNAVAILABLE.
  void Shutdown();

  int fd() const { return socket_.get(); }

 private:
  absl::Status ReadExactly(char* out, size_t size);

  const Descriptor socket_;
  absl::Mutex send_mutex_;
  int64_t sent_ ABSL_GUARDED_BY(send_mutex_) = 0;
  std::deque<Descriptor> arrived_;  // descriptors read from the socket, not yet handed out
};

// A connected pair of Unix stream sockets, close-on-exec.
absl::StatusOr<std::pair<Descriptor, Descriptor>> MakeSocketPair();

}  // namespace adamant
