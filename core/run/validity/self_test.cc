// SPDX-License-Identifier: Apache-2.0
// The job's attacks on models with two classes whose answer is known: toy_linear, which any
// gradient attack must break, and toy_masked, whose gradients say nothing. Every image has a point
// of its ball that is known to be adversarial, and by construction a share of the largest change of
// the model's score suffices. Where no attack works without gradients toy_masked is left out: V27
// says what such a list lacks.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "core/attacks/steps.h"
#include "core/base/torch.h"
#include "core/models/toy_models.h"
#include "core/run/validity/measure.h"

namespace adamant::validity {
namespace {

constexpr ModelShape kShape{1, 8, 8, 2};
constexpr int64_t kSamples = 32;
constexpr int64_t kCandidates = 8 * kSamples;

struct Toy {
  const char* name;
  ToyPointer model;
  double share;  // of the largest change that suffices
};

// What the score z_1 - z_0 grows along.
at::Tensor Weight() {
  const at::Tensor both = toy::Fixed({2, toy::Values(kShape)}, "weight");
  return (both[1] - both[0]).view({1, 1, kShape.height, kShape.width});
}

at::Tensor Score(const Model& model, const at::Tensor& images) {
  const at::Tensor z = model.Logits(images);
  return z.select(1, 1) - z.select(1, 0);
}

// Images of both classes, `share` of the way to the class boundary that a change by epsilon along
// the gradient of toy_linear makes; those where the change is as large as it should be.
Batch ImagesFor(const Toy& toy, const ThreatModel& threat) {
  const at::NoGradGuard no_grad;
  const at::Tensor weight = Weight();
  const at::Tensor along = StepDirection(threat.norm, weight);
  const at::Tensor ids = at::arange(kCandidates, at::kLong);
  const at::Tensor labels = ids.remainder(2);
  const at::Tensor away = PerRow(1 - 2 * labels).to(at::kDouble);  // raises the score of class 0
  const at::Tensor noise = DrawRows(
      at::empty({kCandidates, 1, kShape.height, kShape.width}), ids, 1, "validity:self_test",
      [](const Rng& rng, absl::Span<float> out) { rng.Uniform({.purpose = Purpose::kTest}, out); });
  const at::Tensor base = 0.45 + 0.1 * noise.to(at::kDouble);
  const double gain = (weight * along).sum().item<double>();
  const at::Tensor score = Score(*ToyLinear(kShape), base.to(at::kFloat)).to(at::kDouble);
  const at::Tensor shift = -toy.share * threat.epsilon * away - PerRow(score) / gain;
  const at::Tensor images = (base + shift * along).clamp(0, 1).to(at::kFloat);
  const at::Tensor known =
      FeasibleSet(images, threat).Project((images + threat.epsilon * away * along).to(at::kFloat));
  const at::Tensor sign = away.flatten();
  const at::Tensor before = sign * Score(*toy.model, images);
  const at::Tensor after = sign * Score(*toy.model, known);
  constexpr double kSlack = 1.001;
  const at::Tensor usable =
      (before < 0).logical_and(-before <= kSlack * toy.share * (after - before));
  const at::Tensor chosen = usable.nonzero().squeeze(1);
  const at::Tensor few = chosen.narrow(0, 0, std::min(kSamples, chosen.size(0)));
  return {images.index_select(0, few), labels.index_select(0, few), few};
}

}  // namespace

Measured<std::vector<std::string>> SelfTest(Probe& probe,
                                            const std::vector<AttackInstance>& attacks,
                                            bool gradient_free) {
  const ThreatModel& threat = attacks.front().threat;
  if (threat.norm != Norm::kLinf && threat.norm != Norm::kL2) {
    return Unmeasured("the known answers are those of LINF and L2");
  }
  std::vector<Toy> toys;
  toys.push_back({"toy_linear", ToyLinear(kShape), 0.75});
  if (gradient_free) toys.push_back({"toy_masked", ToyMasked(kShape), 0.5});
  EvaluationOptions options;
  options.seed = probe.input().options.seed;
  options.compute_batch = kSamples;
  options.device = probe.input().options.device;
  std::vector<std::string> missed;
  for (const Toy& toy : toys) {
    const Batch batch = ImagesFor(toy, threat);
    if (batch.size() == 0) {
      return Unmeasured(absl::StrCat("epsilon is too small for a known answer on ", toy.name));
    }
    ASSIGN_OR_RETURN(
        const EvaluationResult result,
        RunEvaluation(*toy.model, SamplesOf(batch), attacks, options, probe.input().control));
    probe.Count(result.forwards, result.backwards);
    const bool all = std::all_of(result.outcomes.begin(), result.outcomes.end(),
                                 [](const auto& one) { return one.state() == v1::BROKEN; });
    if (!all) missed.push_back(toy.name);
  }
  return missed;
}

}  // namespace adamant::validity
