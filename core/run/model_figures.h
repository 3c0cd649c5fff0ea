// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "core/models/model.h"

namespace adamant {

// What one forward pass over one image costs.
struct ModelFigures {
  int64_t activation_bytes = 0;
  int64_t flops = 0;
};

// Measures a pass of `model` in eval mode over one grey image of which gradients are wanted. Works
// for every model that LibTorch runs, TorchScript included.
//
// activation_bytes: every buffer that an operator allocated, each counted once: what autograd can
// keep for the backward pass, at most. Views and in-place results add nothing; the image and the
// weights do not count.
// flops: of convolutions and matrix products, a multiply-add counted as two; biases, normalisation,
// activations and pooling are left out (below 1 % of such networks).
ModelFigures MeasureFigures(const Model& model);

}  // namespace adamant
