// SPDX-License-Identifier: Apache-2.0
// TorchScript uploads: whole programs, for evaluation and explanation only.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "core/models/model.h"
#include "core/models/model_file.h"

namespace adamant {

// Loads and probes `input.file`: it must map [B,C,H,W] to [B,K] logits (or to a tuple that starts
// with them), whatever the batch, with a non-zero gradient at the input. INVALID_ARGUMENT says
// which probe failed. The caller limits the time and memory of this call.
absl::StatusOr<std::unique_ptr<Model>> OpenTorchScript(const ModelInput& input);

}  // namespace adamant
