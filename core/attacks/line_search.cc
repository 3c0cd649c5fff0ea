// SPDX-License-Identifier: Apache-2.0
// Simple changes of growing strength, without a norm; the weakest that is misclassified counts.
//   brightness_contrast  strength s = 1/steps .. 1: all values plus s, minus s, and drawn by s
//                        towards the middle of the box; last of all the negative image;
//   gaussian_blur        standard deviations s = max_sigma/steps .. max_sigma.
//
// Differs from Foolbox: its brightness, contrast and inversion attacks are one, compared by L2
// distance; the blur's border goes on instead of being mirrored.
#include <cmath>

#include "core/attacks/script.h"
#include "core/attacks/warp_pixels.h"

namespace adamant {
namespace {

struct Plan {
  int64_t steps = 0;
  double max_sigma = 0;  // gaussian_blur
};

double Strength(const Plan& plan, int64_t step) {
  return static_cast<double>(step) / static_cast<double>(plan.steps);
}

Script ChangeBrightness(Subject& subject, Plan plan) {
  const double low = subject.threat.clip_min;
  const double high = subject.threat.clip_max;
  const double middle = (low + high) / 2;
  const Pixels clean = subject.Clean();
  const size_t count = clean.size();
  Pixels images(3 * count);
  for (int64_t step = 1; step <= plan.steps; ++step) {
    const double s = Strength(plan, step);
    for (size_t i = 0; i < count; ++i) {
      images[i] = static_cast<float>(clean[i] + s * (high - low));
      images[count + i] = static_cast<float>(clean[i] - s * (high - low));
      images[2 * count + i] = static_cast<float>(clean[i] + s * (middle - clean[i]));
    }
    ClipToBox(subject, absl::MakeSpan(images));
    co_await subject.Ask(images);
  }
  Pixels negative(count);
  for (size_t i = 0; i < count; ++i) negative[i] = static_cast<float>(low + high - clean[i]);
  ClipToBox(subject, absl::MakeSpan(negative));
  co_await subject.Ask(negative);
}

Script BlurMoreAndMore(Subject& subject, Plan plan) {
  const PlaneShape& shape = subject.shape;
  for (int64_t step = 1; step <= plan.steps; ++step) {
    Pixels image = subject.Clean();
    for (int64_t c = 0; c < shape.channels; ++c) {
      BlurPlane(shape.height, shape.width, plan.max_sigma * Strength(plan, step), 4,
                /*mirror=*/false, image.data() + c * shape.plane());
    }
    ClipToBox(subject, absl::MakeSpan(image));
    co_await subject.Ask(image);
  }
}

using Write = Script (*)(Subject& subject, Plan plan);

class LineSearch final : public Attack {
 public:
  LineSearch(Plan plan, int64_t queries, ScriptOptions::Aim aim, Write write)
      : plan_(plan),
        options_{.queries = queries, .largest_question = 3, .aim = aim},
        write_(write) {}

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    ThreatModel box = WholeBox(threat);
    box.norm = Norm::kL2;
    box.epsilon = HugeL2(box, batch);
    AttackResult result = RunScripts(victim, batch, box, settings, control, options_,
                                     [this](Subject& subject) { return write_(subject, plan_); });
    result.min_norm.reset();  // the report's distances are those of a threat model's norm
    return result;
  }

 private:
  // The box's diagonal, and what rounding adds.
  static double HugeL2(const ThreatModel& box, const Batch& batch) {
    const int64_t values = batch.size() > 0 ? batch.images.numel() / batch.size() : 1;
    return 1.001 * box.epsilon * std::sqrt(static_cast<double>(values));
  }

  const Plan plan_;
  const ScriptOptions options_;
  const Write write_;
};

Param Steps() { return Int("steps", 100).Range(1, 100000).Doc("strengths to try"); }

const Registration<Attack> kBrightnessContrast{
    {.name = "brightness_contrast",
     .summary = "brighter, darker, less contrast, negative: the nearest that is misclassified",
     .params = {Steps()},
     .traits = {"forward_only", "no_ball"},
     .test_params = {{"steps", 20}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      const int64_t steps = params.Int("steps");
      return std::make_unique<LineSearch>(Plan{steps}, 3 * steps + 1, ScriptOptions::Aim::kNearest,
                                          ChangeBrightness);
    }};

const Registration<Attack> kGaussianBlur{
    {.name = "gaussian_blur",
     .summary = "the weakest Gaussian blur that is misclassified",
     .params = {Steps(),
                Real("max_sigma", 10).Range(0.01, 1000).Doc("largest standard deviation, pixels")},
     .traits = {"forward_only", "no_ball"},
     .test_params = {{"steps", 20}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      const int64_t steps = params.Int("steps");
      return std::make_unique<LineSearch>(Plan{steps, params.Real("max_sigma")}, steps,
                                          ScriptOptions::Aim::kFirst, BlurMoreAndMore);
    }};

}  // namespace
}  // namespace adamant
