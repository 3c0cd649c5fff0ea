// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "adamant/worker/v1/worker.pb.h"
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
  InteractivePool* interactive = nullptr;  // null: Explain is not served
};

}  // namespace adamant
