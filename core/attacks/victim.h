// SPDX-License-Identifier: Apache-2.0
// A Model as attacks see it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "core/models/model.h"

namespace adamant {

// How batch normalisation behaves while an attack runs (training.md 1.4).
enum class BatchNormMode { kEval, kTrainFrozenStats, kTrain };

// Per-sample loss [N] to ascend, from logits [N,K] and labels [N].
using LossFunction = std::function<at::Tensor(const at::Tensor& logits, const at::Tensor& labels)>;

struct LossGradient {
  at::Tensor gradient;  // of the sum of losses with respect to the images, [N,C,H,W]; non-finite
                        // components are 0
  at::Tensor loss;      // [N]
  at::Tensor logits;    // [N,K]
};

// Wraps a Model for attacks: freezes parameters and fixes the mode for its lifetime (restored on
// destruction, also after an exception), counts forward and backward rows, gives input gradients
// only. Borrows the model. Not thread-safe.
class Victim {
 public:
  // compute_batch > 0: every network call has exactly that many rows, padded by repeating the last
  // one.
  explicit Victim(Model& model, BatchNormMode mode = BatchNormMode::kEval,
                  int64_t compute_batch = 0);
  ~Victim();
  Victim(const Victim&) = delete;
  Victim& operator=(const Victim&) = delete;

  at::Tensor Logits(const at::Tensor& images);
  LossGradient Gradient(const at::Tensor& images, const at::Tensor& labels,
                        const LossFunction& loss);

  const ModelInfo& info() const { return model_.info(); }
  int64_t forwards() const { return forwards_; }  // rows, without padding
  int64_t backwards() const { return backwards_; }
  int64_t padded_rows() const { return padded_rows_; }

 private:
  Model& model_;
  const BatchNormMode mode_;
  const int64_t compute_batch_;
  int64_t forwards_ = 0;
  int64_t backwards_ = 0;
  int64_t padded_rows_ = 0;
};

}  // namespace adamant
