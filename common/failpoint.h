// SPDX-License-Identifier: Apache-2.0
// Named places where a test makes a program fail (reliability.md 6.3). Compiled in when the build
// sets ADAMANT_FAILPOINTS (presets dev, asan and tsan; never release); without it they do nothing.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace adamant {

// What happens at a failpoint is read once from the environment variable ADAMANT_FAILPOINTS:
//   name=action[@N],...     at the N-th hit (default 1); `@N+` from the N-th on, `@*` always
// Actions: kill (SIGKILL to this process), stop (SIGSTOP; whoever tests sends SIGCONT), eio,
// enospc, eintr, short_write (an errno for the caller, see FailpointErrno), fail (an INTERNAL
// status), and skip (the caller leaves the step out). Every hit that fires appends the line "name
// action" to the file named by ADAMANT_FAILPOINT_LOG before it acts: the counter that proves it
// fired. An unknown name or action in the variable ends the process with a message. Thread-safe. 0,
// or the errno that the caller must behave as if it got: EIO, ENOSPC, EINTR. kShortWrite asks for
// a write of fewer bytes, kSkip for leaving the step out.
int FailpointErrno(absl::string_view name);

inline constexpr int kShortWrite = -1;
inline constexpr int kSkip = -2;

// OK, or the status of an action at `name`: eio and fail INTERNAL, enospc RESOURCE_EXHAUSTED.
absl::Status FailpointStatus(absl::string_view name);

// For tests within one process: replaces every rule by those of `rules`, as the variable has them.
void ArmFailpoints(absl::string_view rules);

// Every name of reliability.md 6.3 that this build has.
absl::Span<const absl::string_view> FailpointNames();

}  // namespace adamant

// For steps that can only be killed or stopped.
#define ADAMANT_FAILPOINT(name) static_cast<void>(::adamant::FailpointErrno(name))
