// SPDX-License-Identifier: Apache-2.0
#include "client/cli/exit_code.h"

#include "absl/strings/cord.h"
#include "client/error.h"

namespace adamant {
namespace {

constexpr char kUsage[] = "adamant.cli/usage";
constexpr char kRefused[] = "adamant.cli/refused";

absl::Status Marked(absl::Status status, absl::string_view mark) {
  status.SetPayload(mark, absl::Cord("1"));
  return status;
}

}  // namespace

absl::Status UsageError(absl::string_view message) {
  return Marked(absl::InvalidArgumentError(message), kUsage);
}

bool IsUsageError(const absl::Status& status) { return status.GetPayload(kUsage).has_value(); }

absl::Status RefusedError(absl::string_view message) {
  return Marked(absl::FailedPreconditionError(message), kRefused);
}

ExitCode ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return kExitOk;
  if (IsUsageError(status)) return kExitUsage;
  if (status.GetPayload(kRefused).has_value()) return kExitRefused;
  if (absl::IsCancelled(status)) return kExitInterrupted;
  if (!IsServerError(status)) return kExitFailed;
  switch (status.code()) {
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return kExitDenied;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kDeadlineExceeded:
      return kExitTemporary;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kAborted:
      return kExitRefused;
    default:
      return kExitFailed;
  }
}

int GrpcExitCodeOf(const absl::Status& status) {
  return IsServerError(status) ? 64 + status.raw_code() : ExitCodeOf(status);
}

ExitCode ExitCodeOf(const v1::Job& terminal_job) {
  return terminal_job.state() == v1::SUCCEEDED ? kExitOk : kExitFailed;
}

absl::string_view ExitCodeHelp() {
  return "Exit codes of adamant:\n"
         "  0    success (wait and watch: the job SUCCEEDED)\n"
         "  1    the job FAILED or was CANCELLED, or another failure\n"
         "  2    the command line or a spec file is wrong\n"
         "  3    the time-out of a wait is over; the job goes on\n"
         "  4    authentication or permission\n"
         "  5    temporary: server unreachable, busy or too slow; try again\n"
         "  6    refused by the server: invalid, precondition, not found, exists, REJECTED\n"
         "  130  interrupted; the job goes on\n"
         "--grpc-exit-codes gives 64 + the gRPC code instead when a call to the server failed,\n"
         "e.g. 69 NOT_FOUND, 78 UNAVAILABLE.\n";
}

}  // namespace adamant
