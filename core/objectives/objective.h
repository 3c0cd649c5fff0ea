// SPDX-License-Identifier: Apache-2.0
// The Objective contract: (model, batch) -> training loss with named terms.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "core/attacks/attack.h"
#include "core/base/registry.h"
#include "core/base/rng.h"
#include "core/data/dataset.h"
#include "core/models/model.h"

namespace adamant {

// An attack and the threat model that it runs under inside training.
struct InnerAttackChoice {
  v1::PluginSpec attack;
  ThreatModel threat;
};

struct CraftOptions {
  std::optional<BatchNormMode> bn_mode;  // instead of TrainSpec.attack_bn_mode
};

// What an objective works with during one step. Valid for the duration of the call.
struct StepContext {
  // Runs the inner attack called `name` ("inner") on images [B,C,H,W] and labels [B] of this batch;
  // the result is detached and leaves no gradient on any parameter. Throws Stopped.
  using Craft = std::function<at::Tensor(const std::string& name, const at::Tensor& images,
                                         const at::Tensor& labels, const CraftOptions& options)>;

  Model& model;        // in training mode
  const Batch& batch;  // augmented images [B,C,H,W] in [0,1], labels [B], ids [B]
  std::map<std::string, at::Tensor>& memory;  // the objective's own; survives the step and a resume
  Craft craft;
  uint64_t seed = 0;
  int64_t step = 0;
  int64_t total_steps = 1;
  int64_t epoch = 0;
  double ramp = 1;  // factor of pairing and regularising weights, (0,1]
  double label_smoothing = 0;
  int64_t forwards = 0;  // rows, counted by Forward

  // Logits [N,K] with a graph.
  at::Tensor Forward(const at::Tensor& images);

  // The draws of `stream` for one sample; id 0 for draws that belong to no sample.
  Rng Stream(absl::string_view stream, int64_t sample_id) const {
    return Rng(seed, stream, sample_id);
  }
};

struct LossTerm {
  std::string name;  // snake_case and stable: it becomes a metric
  at::Tensor value;  // scalar, detached, unweighted
  double weight = 1;
};

struct StepOutput {
  at::Tensor loss;              // scalar with graph; equals the sum of weight * value over `terms`
  std::vector<LossTerm> terms;  // in a fixed order
  std::vector<std::pair<std::string, at::Tensor>> stats;  // detached scalars, e.g. batch accuracy
  at::Tensor adversarial;  // the batch that was crafted, detached; undefined without an attack
};

// A training method: it owns the loss and nothing else. It never opens data, never steps an
// optimiser, never writes a checkpoint. One instance per run; not thread-safe.
class Objective {
 public:
  static constexpr char kFamily[] = "objective";
  using Factory = std::unique_ptr<Objective>(const Params&);

  virtual ~Objective() = default;

  // The inner attack where the spec names none (`threat`: the spec's, if it has one), or nullopt
  // when this objective attacks nothing.
  virtual std::optional<InnerAttackChoice> DefaultAttack(
      const std::optional<ThreatModel>& threat) const;

  // Once, before the first step and again at resume. INVALID_ARGUMENT when the model lacks what the
  // objective needs.
  virtual absl::Status Prepare(const Model& model);

  // Builds adversarials, runs forwards and returns the loss.
  virtual StepOutput Step(StepContext& context) = 0;

  // After gradients exist, before clipping.
  virtual void AfterBackward(Model& model);

  // After the optimiser stepped.
  virtual void AfterOptimizerStep(Model& model);
};

// Mean cross-entropy of logits [N,K] and labels [N]; target (1-s) * onehot + s / K for smoothing s.
at::Tensor CrossEntropy(const at::Tensor& logits, const at::Tensor& labels, double label_smoothing);

// Share of rows whose largest logit is the label's: detached scalar.
at::Tensor BatchAccuracy(const at::Tensor& logits, const at::Tensor& labels);

// min(1, (step+1) / ceil(share * total_steps)); 1 when share is 0.
double Ramp(double share, int64_t step, int64_t total_steps);

}  // namespace adamant
