// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "adamant/worker/v1/worker.pb.h"

namespace adamant {

// What an attempt may do to its worker. Signal and Wake may be called by any thread.
class WorkerLink {
 public:
  virtual ~WorkerLink() = default;
  // A worker that does not read is found by the watchdog: no error is reported.
  virtual void Send(worker::v1::Frame frame, const std::vector<int>& descriptors) = 0;
  // See WorkerProcess::Acknowledge.
  virtual void Acknowledge(int64_t frame_number) = 0;
  virtual void Signal(int signum) = 0;
  // Ends the current wait for news.
  virtual void Wake() = 0;
};

}  // namespace adamant
