// SPDX-License-Identifier: Apache-2.0
// Opening what a job's context offers.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/run/run_context.h"

namespace adamant {

// The slice that `source` selects from the data under `role`. An empty split is "train" for role
// train, else "test".
absl::StatusOr<DataSlice> OpenSlice(const v1::DataSource& source, absl::string_view role,
                                    RunContext& context);

// INVALID_ARGUMENT with both sizes when the model cannot take the images, or has fewer classes.
absl::Status CheckFits(const DatasetInfo& data, const ModelShape& model, absl::string_view role);

}  // namespace adamant
