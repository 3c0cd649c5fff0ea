// SPDX-License-Identifier: Apache-2.0
// A Model as attacks see it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "core/attacks/loss_function.h"
#include "core/models/model.h"
#include "core/models/random_model.h"

namespace adamant {

// How batch normalisation behaves while an attack runs (training.md 1.4).
enum class BatchNormMode { kEval, kTrainFrozenStats, kTrain };

// Makes every parameter of a model constant and sets its mode; restores both on destruction, also
// after an exception. Borrows the model.
class FrozenModel {
 public:
  explicit FrozenModel(Model& model, BatchNormMode mode = BatchNormMode::kEval);
  ~FrozenModel();
  FrozenModel(const FrozenModel&) = delete;
  FrozenModel& operator=(const FrozenModel&) = delete;

 private:
  Model& model_;
  const bool training_;
  std::vector<std::pair<at::Tensor, bool>> requires_grad_;
  std::vector<std::pair<at::Tensor, at::Tensor>> buffers_;  // live tensor, its value before
};

class Victim;

// One forward pass that keeps its graph, so that several gradients may be taken from it. Holds the
// activations of all its rows: attacks that use it declare the trait `keeps_graph`.
class RecordedPass {
 public:
  const at::Tensor& logits() const { return logits_; }  // [N,K], without graph

  // As Victim::Gradient, without another forward pass. Counts a backward row for each row, or for
  // the rows of `wanted` (bool [N]) where that is given: calls without any are left out, their
  // gradients are 0. `last`: the graph is freed.
  LossGradient Gradient(const LossFunction& loss, const Aims& aims, bool last,
                        const at::Tensor& wanted = {});

 private:
  friend class Victim;
  struct Call {
    at::Tensor images, logits;  // padded to the call shape
    int64_t begin = 0;
    int64_t count = 0;
  };

  Victim* victim_ = nullptr;
  std::vector<Call> calls_;
  at::Tensor logits_;
};

// The shape of the last call when the rows do not fill it. A row's arithmetic depends on the shape:
// only kExact makes it independent of the number of rows, to the last bit.
enum class Tail {
  kExact,   // as all calls
  kShrunk,  // the smallest power of two that holds the rows, at least 8: less padding
};

// Wraps a Model for attacks: freezes it for its lifetime, counts forward and backward rows, gives
// input gradients only. Borrows the model. Not thread-safe.
class Victim {
 public:
  // compute_batch > 0: every network call has exactly that many rows, padded by repeating the last
  // one. 0: one call for all rows. Batch statistics need the latter.
  explicit Victim(Model& model, BatchNormMode mode = BatchNormMode::kEval,
                  int64_t compute_batch = 0, Tail tail = Tail::kExact);

  at::Tensor Logits(const at::Tensor& images);
  // slopes: see Model::LeakyLogits; undefined: the model's own gradient.
  LossGradient Gradient(const at::Tensor& images, const Aims& aims, const LossFunction& loss,
                        const at::Tensor& slopes = {});
  // Of a loss that looks inside; rows int64 [N]: positions within the batch. `loss` of the result
  // is that of the first value.
  LossGradient Gradient(const at::Tensor& images, const Aims& aims, const at::Tensor& rows,
                        const TapLoss& loss);
  // The values alone, of any shape [N,...], from one forward pass; `backwards` counts the gradients
  // that they need.
  std::vector<at::Tensor> Values(const at::Tensor& images, const Aims& aims, const at::Tensor& rows,
                                 const TapLoss& values);
  RecordedPass Record(const at::Tensor& images);
  // The same in calls of half the rows: for rows that something of their own singles out, which are
  // fewer.
  RecordedPass RecordFew(const at::Tensor& images);

  // Called before every network call; throws to stop (see RunControl::Check).
  void set_before_call(std::function<void()> before_call) { before_call_ = std::move(before_call); }

  // The noise of a random model for the calls that follow: ids of all rows of a Gradient, Logits or
  // Record. nullopt: fresh noise in every call.
  void set_noise(std::optional<ModelNoise> noise);
  bool random() const { return random_ != nullptr; }  // a RandomModel

  const ModelInfo& info() const { return model_.info(); }
  const Model& model() const { return model_; }
  int64_t forwards() const { return forwards_; }  // rows, without padding
  int64_t backwards() const { return backwards_; }
  int64_t padded_rows() const { return padded_rows_; }  // of forward calls

 private:
  // Rows begin..begin+count of `all`, padded to `size` rows.
  static at::Tensor Padded(const at::Tensor& all, int64_t begin, int64_t count, int64_t size);
  static Aims PaddedAims(const Aims& aims, int64_t begin, int64_t count, int64_t size);
  // The same, padded to the call shape.
  at::Tensor CallRows(const at::Tensor& all, int64_t begin, int64_t count) const {
    return Padded(all, begin, count, PaddedSize(count));
  }
  int64_t CallSize(int64_t rows) const { return compute_batch_ > 0 ? compute_batch_ : rows; }
  int64_t PaddedSize(int64_t rows) const;  // of the call that takes the last `rows`
  void BeginCall(int64_t begin, int64_t count);
  RecordedPass::Call RecordCall(const at::Tensor& images, int64_t begin, int64_t count,
                                const at::Tensor& slopes = {});
  LossGradient GradientCall(const RecordedPass::Call& call, const Aims& aims,
                            const LossFunction& loss, bool last);
  LossGradient JoinedCall(const at::Tensor& images, const Aims& aims, const at::Tensor& rows,
                          int64_t begin, int64_t count, const TapLoss& loss);
  friend class RecordedPass;

  Model& model_;
  RandomModel* const random_;  // the same, or null
  const FrozenModel frozen_;
  int64_t compute_batch_;
  const Tail tail_;
  std::function<void()> before_call_;
  std::optional<ModelNoise> noise_;
  int64_t forwards_ = 0;
  int64_t backwards_ = 0;
  int64_t padded_rows_ = 0;
};

}  // namespace adamant
