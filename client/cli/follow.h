// SPDX-License-Identifier: Apache-2.0
// Watching a job to its end, and what comes with it.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/session.h"

namespace adamant {

// Shows the events of `job` until it ends and returns it. With -o jsonl the events go to stdout.
// CANCELLED after Ctrl-C, once the user was told that the job goes on.
absl::StatusOr<v1::Job> WatchToEnd(Session& session, const std::string& job, int64_t from_seq = 0);

// Waits silently. DEADLINE_EXCEEDED after `timeout`.
absl::StatusOr<v1::Job> WaitForEnd(Session& session, const std::string& job,
                                   absl::Duration timeout);

// Writes the job to stdout as -o says; returns the exit code its state asks for. `watched`: its
// events are on stdout already when the format is jsonl.
int FinishWithJob(Session& session, const v1::Job& job, bool watched);

// Downloads all artifacts of the job into `folder`, which is made when needed.
absl::Status SaveArtifacts(Session& session, const v1::Job& job, const std::string& folder,
                           bool overwrite);

// A progress callback for transfers: a line on a terminal, nothing elsewhere.
TransferProgress ShowTransfer(Session& session, const std::string& what);

}  // namespace adamant
