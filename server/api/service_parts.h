// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "adamant/worker/v1/worker.pb.h"
#include "server/api/api_limits.h"
#include "server/api/page_token.h"
#include "server/api/task_pool.h"
#include "server/api/timers.h"
#include "server/blobs/blob_store.h"
#include "server/jobs/events.h"
#include "server/jobs/interactive_pool.h"
#include "server/jobs/scheduler.h"
#include "server/store/job_store.h"
#include "server/telemetry/metrics.h"

namespace adamant {

// The only tenant in local mode; a column and a key everywhere.
inline constexpr char kLocalTenant[] = "local";
inline constexpr char kLocalOwner[] = "local";

struct UploadOptions {
  absl::Duration idle_limit = absl::Seconds(60);  // without bytes
  absl::Duration check_every = absl::Seconds(5);  // whether an upload is idle
  std::function<absl::Time()> now = [] { return absl::Now(); };
  // Whether a tenant may have so many bytes of blobs; unset = any.
  std::function<absl::Status(int64_t bytes)> admit_tenant;
};

// What the services are built from; all borrowed, all must outlive the gRPC server.
struct ServiceParts {
  JobStore& store;
  BlobStore& blobs;
  Scheduler& scheduler;
  EventHub& hub;
  Metrics& metrics;
  const worker::v1::Catalog& catalog;
  const PageTokens& tokens;
  TaskPool& calls;    // handlers that wait for the store
  TaskPool& disk;     // hashing, blobs, log files
  TaskPool& streams;  // advances watches and waits
  Timers& timers;
  std::string log_folder;  // of job logs
  bool accept_torchscript = true;
  ApiLimits limits = {};
  UploadOptions uploads;
  // RESOURCE_EXHAUSTED / STORAGE_FULL when the disk has no room for new work: submits,
  // registrations and uploads ask first. Does not block.
  std::function<absl::Status()> storage_admission = [] { return absl::OkStatus(); };
  InteractivePool* interactive = nullptr;  // null: Explain is not served
};

}  // namespace adamant
