// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/frame_channel.h"
#include "server/workers/launch.h"

namespace adamant {

// What the owner of a worker has to react to.
struct WorkerNews {
  enum Kind {
    kFrame,   // `received`
    kBroken,  // the worker broke the protocol: kill it
    kExited,  // reaped; all frames and output before it were delivered
    kWoken,   // Wake was called
    kTimeout,
  };
  Kind kind = kTimeout;
  ReceivedFrame received;
  absl::Status error;  // kBroken; kExited: RESOURCE_EXHAUSTED when it was killed for its memory
};

// One child: the channel on its descriptor 3, its output, its end. Owned by one thread at a time;
// Wake may be called by any. The destructor kills and reaps.
class WorkerProcess {
 public:
  // The child gets SIGKILL when the calling thread ends: call it on one that outlives the child.
  static absl::StatusOr<std::unique_ptr<WorkerProcess>> Spawn(const WorkerCommand& command);
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  // UNAVAILABLE when the worker is gone or does not read for 5 s.
  absl::Status Send(worker::v1::Frame frame, const std::vector<int>& descriptors = {});

  // Flow control: the worker stops at 1024 unacknowledged frames, heartbeats included, so whoever
  // reads its frames passes each number here once the frame is dealt with.
  void Acknowledge(int64_t frame_number);

  // Waits for news until `deadline`. What the child prints meanwhile goes to the output sink.
  WorkerNews Next(absl::Time deadline);

  // Receives stdout and stderr; what was printed before it was set comes first (at most 64 KiB).
  void SetOutput(std::function<void(absl::string_view)> sink);

  // Lets the address space grow by at most `bytes` from now on. Libraries that are mapped already
  // do not count: they take gigabytes with CUDA.
  absl::Status LimitMemory(int64_t bytes);

  // From now on Next reads the resident memory every 100 ms and kills a worker that holds more.
  void LimitResident(int64_t bytes) { resident_limit_ = bytes; }

  void Wake();              // makes the current or next Next return kWoken
  void Signal(int signum);  // through the pidfd: never hits another process
  // Kills if needed, reaps, drains the output. Returns the wait status as of waitpid.
  int Finish();

  pid_t pid() const { return pid_; }
  std::optional<int> wait_status() const { return wait_status_; }

 private:
  WorkerProcess(Descriptor socket, Descriptor output, Descriptor pidfd, Descriptor wake, pid_t pid);
  bool DrainOutput();  // false: nothing more to read now
  void Reap();
  void CheckResident();

  FrameChannel channel_;
  Descriptor output_;  // read end of the pipe behind stdout and stderr
  const Descriptor pidfd_;
  const Descriptor wake_;  // eventfd
  const pid_t pid_;
  bool channel_open_ = true;
  int64_t acknowledged_ = 0;
  std::optional<int> wait_status_;
  int64_t resident_limit_ = 0;  // 0 = none
  absl::Time look_at_resident_ = absl::InfinitePast();
  absl::Status over_limit_;
  std::string early_output_;
  std::function<void(absl::string_view)> sink_;
};

}  // namespace adamant
