// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/status.h"
#include "adamant/v1/explain.pb.h"
#include "core/run/run_context.h"

namespace adamant {

// Runs an ExplainJob: maps for every sample, the table, and pictures of the first samples. The
// model stays in eval mode and its weights and buffers unchanged. OUT_OF_RANGE when more than 1 %
// of the maps hold a value that is not finite. Throws Stopped. Metric per chunk: "explain_maps",
// the maps computed so far.
absl::Status RunExplain(const v1::ExplainSpec& spec, RunContext& context,
                        v1::ExplainReport& report);

}  // namespace adamant
