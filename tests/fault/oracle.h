// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "adamant/v1/job.pb.h"
#include "tests/fault/history.h"

namespace adamant::testing {

struct JobTruth {
  v1::Job job;
  std::vector<v1::JobEvent> events;  // of a full replay
  std::string log;
};

// What the server says once everything has come to rest.
struct Truth {
  std::map<std::string, JobTruth> jobs;  // by name, of GetJob
  std::set<std::string> listed;          // names, of ListJobs
  std::map<std::string, std::string>
      blobs;  // digest of an acknowledged upload -> that of its bytes
};

struct OracleOptions {
  bool workers_were_killed = false;  // a job may then fail as POISON after three lost workers
  bool disk_failed = false;          // ... or because the server refused its output
};

// Replays the history of the clients against what the server says. Each violation is one line that
// begins with its kind:
//   LOST_SUBMIT, TWO_JOBS, PHANTOM_JOB, NOT_LISTED, TWO_ENDINGS, TERMINAL_CHANGED, SEQ_GAP,
//   WATCH_DIFFERS, WATCH_ENDED_EARLY, BROKEN_CHAIN, CANCEL_IGNORED, BLOB_LOST, FENCE, NOT_AT_REST,
//   FAILED_BY_RESTART, WRONG_RESULT, WRONG_METRIC, LOG_REWRITTEN
// Jobs are expected to be chains (hash_chain.h) with the label "request" = their request_id.
std::vector<std::string> Violations(const std::vector<Entry>& history, const Truth& truth,
                                    const OracleOptions& options = {});

}  // namespace adamant::testing
