// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "adamant/v1/job.pb.h"

namespace adamant {

// How a worker left.
struct WorkerExit {
  std::string job;          // `jobs/{uid}`, or the resource it validated
  int attempt = 0;          // 0 = a validation, a probe or an interactive worker
  absl::string_view cause;  // ok, error, signal, oom, device, lost
  absl::Duration lived;
  int64_t peak_host_bytes = 0;
  int64_t peak_device_bytes = 0;
};

// Told what happens while jobs run and no commit shows. Called by any thread; must not block.
class RunObserver {
 public:
  virtual ~RunObserver() = default;
  virtual void OnWorkerStarted(const std::string& /*job*/, int /*attempt*/, int /*pid*/) {}
  virtual void OnWorkerExited(const WorkerExit& /*exit*/) {}
  // From the claim to the first progress of the attempt.
  virtual void OnFirstStep(v1::JobKind /*kind*/, absl::Duration /*since_claim*/) {}
  virtual void OnLeaseRenewed(bool /*kept*/) {}
  // A write of an attempt was refused because another owns the job.
  virtual void OnFenced() {}
  // A job of an earlier process was queued again.
  virtual void OnRecovered() {}
  virtual void OnProbe(const std::string& /*device*/, bool /*healthy*/) {}
};

}  // namespace adamant
