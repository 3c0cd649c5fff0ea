// SPDX-License-Identifier: Apache-2.0
// One evaluation as several jobs, and the job that merges them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/submit.h"

namespace adamant {

// Submits one job for each of `count` shards of the attack. Prints their names; with --wait or
// --watch waits for all of them, then submits the merge and follows it.
absl::StatusOr<int> SubmitShards(Session& session, const SubmitFlags& flags, int count,
                                 v1::JobSpec& job);

// What merges these jobs. A usage error for one that is no shard, FAILED_PRECONDITION for one that
// has not succeeded.
absl::StatusOr<v1::AttackSpec> MergeSpec(Session& session, const std::vector<std::string>& jobs);

}  // namespace adamant
