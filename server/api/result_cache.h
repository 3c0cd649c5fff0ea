// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "adamant/v1/job.pb.h"
#include "server/store/job_store.h"

namespace adamant {

// The newest reproducible job of the tenant that has answered `spec` already: the same spec, and
// what it names has not been replaced since. NOT_FOUND when there is none. Blocks on the store.
absl::StatusOr<v1::Job> FindCachedResult(JobStore& store, const std::string& tenant,
                                         const v1::JobSpec& spec);

}  // namespace adamant
