// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "adamant/v1/job.pb.h"

namespace adamant {

// What `adamant` returns to the shell. `adamant help exit-codes` prints the same list.
enum ExitCode {
  kExitOk = 0,
  kExitFailed = 1,     // the job FAILED or was CANCELLED, or another failure
  kExitUsage = 2,      // the command line is wrong
  kExitTimeout = 3,    // --timeout of a wait is over
  kExitDenied = 4,     // authentication or permission
  kExitTemporary = 5,  // UNAVAILABLE, RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED
  kExitRefused = 6,    // invalid, precondition, not found, exists; a REJECTED model or dataset
  kExitInterrupted = 130,
};

// An error of the command line itself (exit code 2).
absl::Status UsageError(absl::string_view message);
bool IsUsageError(const absl::Status& status);

// `status` as an answer of the server that refuses something (exit code 6), e.g. REJECTED.
absl::Status RefusedError(absl::string_view message);

ExitCode ExitCodeOf(const absl::Status& status);
// --grpc-exit-codes: 64 + the code of an error of a call; the others keep theirs.
int GrpcExitCodeOf(const absl::Status& status);
ExitCode ExitCodeOf(const v1::Job& terminal_job);

absl::string_view ExitCodeHelp();

}  // namespace adamant
