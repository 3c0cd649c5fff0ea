// SPDX-License-Identifier: Apache-2.0
// Rotations and translations (Engstrom et al. 2019, arXiv 1712.02779), without a norm: the image
// turned about its centre, then moved, bilinear, zeros from outside.
//   grid        31 angles over +-max_rotation times 5 x 5 translations over +-max_translation;
//   worst_of_k  k random poses, uniform in the same ranges.
//
// Differs from the authors' code: pads with zeros instead of enlarging the image first.
#include "core/attacks/script.h"
#include "core/attacks/warp_pixels.h"

namespace adamant {
namespace {

constexpr int64_t kAngles = 31;
constexpr int64_t kPlaces = 5;
constexpr int64_t kPoses = kAngles * kPlaces * kPlaces;

struct Plan {
  bool grid = true;
  int64_t k = 0;
  double rotation = 0;
  double translation = 0;
};

// Value `i` of `count` over +-range.
double Tick(int64_t i, int64_t count, double range) {
  return range * (2 * static_cast<double>(i) / static_cast<double>(count - 1) - 1);
}

Pose GridPose(const Plan& plan, int64_t index) {
  return {Tick(index / (kPlaces * kPlaces), kAngles, plan.rotation),
          Tick(index / kPlaces % kPlaces, kPlaces, plan.translation),
          Tick(index % kPlaces, kPlaces, plan.translation)};
}

Pose RandomPose(const Subject& subject, const Plan& plan, int64_t index) {
  float u[3];
  subject.rng.Uniform({.step = static_cast<uint32_t>(index), .purpose = Purpose::kTransform},
                      absl::MakeSpan(u));
  return {plan.rotation * (2.0 * u[0] - 1), plan.translation * (2.0 * u[1] - 1),
          plan.translation * (2.0 * u[2] - 1)};
}

Script TryPoses(Subject& subject, Plan plan) {
  Pixels image(static_cast<size_t>(subject.count()));
  for (int64_t i = 0; i < (plan.grid ? kPoses : plan.k); ++i) {
    const Pose pose = plan.grid ? GridPose(plan, i) : RandomPose(subject, plan, i);
    MovePixels(subject.shape, pose, subject.clean.data(), image.data());
    ClipToBox(subject, absl::MakeSpan(image));
    co_await subject.Ask(image);
  }
}

class Spatial final : public Attack {
 public:
  explicit Spatial(const Params& params)
      : plan_{params.Text("mode") == "grid", params.Int("k"), params.Real("max_rotation"),
              params.Real("max_translation")},
        options_{.queries = plan_.grid ? kPoses : plan_.k} {}

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    return RunScripts(victim, batch, WholeBox(threat), settings, control, options_,
                      [this](Subject& subject) { return TryPoses(subject, plan_); });
  }

 private:
  const Plan plan_;
  const ScriptOptions options_;
};

const Registration<Attack> kSpatial{
    {.name = "spatial",
     .summary = "rotations and translations",
     .paper = "Engstrom et al. 2019, arXiv 1712.02779",
     .params =
         {Choice("mode", "grid", {"grid", "worst_of_k"}).Doc("all 775 poses, or k random ones"),
          Int("k", 10).Range(1, 1000000).Doc("poses of worst_of_k"),
          Real("max_rotation", 30).Range(0, 180).Doc("degrees"),
          Real("max_translation", 3).Range(0, 1000).Doc("pixels")},
     .traits = {"forward_only", "no_ball"}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<Spatial>(params);
    }};

}  // namespace
}  // namespace adamant
