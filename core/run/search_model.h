// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/run_control.h"
#include "core/models/model.h"

namespace adamant {

// What attacks search on when they are asked for a lower precision than the float32 that verifies
// their claims.
struct SearchModel {
  std::unique_ptr<Model> model;  // null: the model itself
  std::string precision;         // that is used: "fp32", "bf16"
  std::string note;              // for the report; "" when there is nothing to say
};

// `precision` "fp32" or "bf16". Compares the gradients of the cross-entropy in both precisions at
// `images` [N,C,H,W]: where they point apart (mean cosine below one half), the search stays in
// float32, and the note says so. INVALID_ARGUMENT for another precision, and for a model that
// cannot compute in it. Throws Stopped.
absl::StatusOr<SearchModel> MakeSearchModel(Model& model, const std::string& precision,
                                            const std::string& device, const at::Tensor& images,
                                            const RunControl& control);

}  // namespace adamant
