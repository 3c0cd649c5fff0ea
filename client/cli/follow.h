// SPDX-License-Identifier: Apache-2.0
// Watching a job to its end, and what comes with it.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/session.h"

namespace adamant {

// What the first Ctrl-C does to the job; the second one ends the program at once.
enum class OnInterrupt { kDetach, kCancelJob };

// Shows the events of `job` until it ends and returns it. With -o jsonl the events go to stdout.
// After Ctrl-C: CANCELLED, once the user was told that the job goes on; or the cancelled job.
absl::StatusOr<v1::Job> WatchToEnd(Session& session, const std::string& job, OnInterrupt interrupt,
                                   int64_t from_seq = 0);

// Waits silently. DEADLINE_EXCEEDED after `timeout`.
absl::StatusOr<v1::Job> WaitForEnd(Session& session, const std::string& job, OnInterrupt interrupt,
                                   absl::Duration timeout);

// Writes the job to stdout as -o says; returns the exit code its state asks for. `watched`: its
// events are on stdout already when the format is jsonl.
int FinishWithJob(Session& session, const v1::Job& job, bool watched);

// Downloads all artifacts of the job into `folder`, which is made when needed.
absl::Status SaveArtifacts(Session& session, const v1::Job& job, const std::string& folder,
                           bool overwrite);

// Upload and Download of Client, interruptible, with bytes, rate and ETA on stderr: a line that is
// redrawn on a terminal, elsewhere one line per 10 s; at the end what was sent and its digest.
absl::StatusOr<v1::BlobRef> UploadFile(Session& session, const std::string& path,
                                       const std::string& label);
absl::Status DownloadFile(Session& session, const v1::BlobRef& blob, const std::string& path,
                          bool overwrite);

}  // namespace adamant
