// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "adamant/v1/job.pb.h"

namespace adamant {

// Whether a report of an untrusted worker may be stored: of the job's kind, every number finite,
// every blob it names among `published` (hex digests). INVALID_ARGUMENT names the field.
absl::Status CheckReport(const v1::JobReport& report, v1::JobKind kind,
                         const absl::flat_hash_set<std::string>& published);

}  // namespace adamant
