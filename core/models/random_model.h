// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/rng.h"

namespace adamant {

// Where a random model takes the noise of a forward pass from: row i of the pass from the stream of
// ids[i] at `at`. Silent: the deterministic base of the model, without noise.
struct ModelNoise {
  uint64_t seed = 0;
  std::string stream = {};
  at::Tensor ids = {};  // int64 [N], CPU
  DrawAt at = {};
  bool silent = false;
};

// What a Model also is when its eval passes are random and it lets others choose the noise. One
// that is random without saying so (TorchScript) draws afresh in every pass.
class RandomModel {
 public:
  virtual ~RandomModel() = default;
  // For all passes until the next call; nullopt: fresh noise in every pass.
  virtual void SetNoise(const std::optional<ModelNoise>& noise) = 0;
};

}  // namespace adamant
