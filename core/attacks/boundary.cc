// SPDX-License-Identifier: Apache-2.0
// Boundary attack (Brendel et al. 2018, arXiv 1712.04248), from decisions alone: starts at a random
// misclassified image, moves it to the boundary by bisection, and walks towards the clean one. A
// proposal goes `delta` times the distance in a random direction at the same distance from the
// clean image, then `eps` times the distance towards it. Both lengths follow the shares of success:
// if more than half of the sideways moves are misclassified both grow, if less than a fifth both
// shrink; if more than a quarter of the proposals are misclassified eps grows, if less than a tenth
// it shrinks.
//
// As in Foolbox, the sideways move alone is tested every tenth time. Differs from it: its share is
// taken of ten tests instead of a hundred, the proposals' of all instead of every tenth, and the
// start is a uniform image, not one blended with the clean image.
#include <algorithm>
#include <cmath>

#include "core/attacks/decision_start.h"

namespace adamant {
namespace {

constexpr double kTiny = 1e-12;
constexpr double kAdaption = 1.5;
constexpr double kStartWidth = 1e-3;
constexpr uint32_t kSidewaysEvery = 10;

// Successes among the last tries, judged when the window is full.
class Share {
 public:
  explicit Share(int window) : window_(window) {}

  // +1: more than `high` of a full window, -1: less than `low`, else 0.
  int Add(bool success, double low, double high) {
    wins_ += success;
    if (++tries_ < window_) return 0;
    const double share = static_cast<double>(wins_) / tries_;
    wins_ = tries_ = 0;
    return share > high ? 1 : share < low ? -1 : 0;
  }

 private:
  const int window_;
  int wins_ = 0;
  int tries_ = 0;
};

struct Lengths {
  double delta = 0;
  double eps = 0;
};

double Factor(int verdict) { return std::pow(kAdaption, verdict); }

// A point at x's distance from the clean image, `delta` times that distance away from x.
void Sideways(const Subject& subject, const DrawAt& at, double delta, const Pixels& x,
              Pixels& out) {
  subject.rng.Normal(at, absl::MakeSpan(out));
  const double distance = Distance(subject, x, subject.clean);
  double along = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    along += out[i] * (static_cast<double>(subject.clean[i]) - x[i]);
  }
  along /= std::max(distance * distance, kTiny);
  for (size_t i = 0; i < x.size(); ++i) {
    out[i] = static_cast<float>(out[i] - along * (static_cast<double>(subject.clean[i]) - x[i]));
  }
  const double scale = delta * distance / std::max(EuclideanNorm(out), kTiny);
  const double back = 1 / std::sqrt(1 + delta * delta);
  for (size_t i = 0; i < x.size(); ++i) {
    const double from = static_cast<double>(x[i]) - subject.clean[i] + scale * out[i];
    out[i] = static_cast<float>(subject.clean[i] + back * from);
  }
  ClipToBox(subject, absl::MakeSpan(out));
}

Script WalkBoundary(Subject& subject, Lengths length) {
  Pixels x;
  co_await FindUniform(subject, x);
  co_await Approach(subject, kStartWidth, x);
  Pixels candidate(x.size());
  Share sideways(10);
  Share inwards(30);
  for (uint32_t step = 1;; ++step) {
    Sideways(subject, {.step = step, .purpose = Purpose::kDirection}, length.delta, x, candidate);
    if (step % kSidewaysEvery == 0) {
      const std::vector<Answer>& answers = co_await subject.Ask(candidate);
      const double factor = Factor(sideways.Add(answers[0].wrong, 0.2, 0.5));
      length.delta *= factor;
      length.eps *= factor;
    }
    const double before = Distance(subject, x, subject.clean);
    const double now = Distance(subject, candidate, subject.clean);
    // What cutting to the box took away counts as a part of the step.
    const double keep =
        std::min(1.0, (1 - std::min(length.eps, 1.0)) * before / std::max(now, kTiny));
    Between(subject, candidate, keep, candidate);
    const std::vector<Answer>& answers = co_await subject.Ask(candidate);
    length.eps *= Factor(inwards.Add(answers[0].wrong, 0.1, 0.25));
    if (answers[0].wrong) x = candidate;
  }
}

class Boundary final : public Attack {
 public:
  explicit Boundary(const Params& params)
      : lengths_{params.Real("delta"), params.Real("eps")},
        options_{.queries = params.Int("queries"), .aim = ScriptOptions::Aim::kNearest} {}

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    return RunScripts(victim, batch, threat, settings, control, options_,
                      [this](Subject& subject) { return WalkBoundary(subject, lengths_); });
  }

 private:
  const Lengths lengths_;
  const ScriptOptions options_;
};

const Registration<Attack> kBoundary{
    {.name = "boundary",
     .summary = "random walk along the decision boundary, from decisions alone",
     .paper = "Brendel et al. 2018, arXiv 1712.04248",
     .params = {Int("queries", 25000).Range(1, 1000000).Doc("forward passes"),
                Real("delta", 0.01).Range(1e-9, 1).Doc("first sideways step, of the distance"),
                Real("eps", 0.01).Range(1e-9, 1).Doc("first step inwards, of the distance")},
     .norms = {"l2"},
     .traits = {"forward_only"},
     .test_params = {{"queries", 300}, {"delta", 0.1}, {"eps", 0.1}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<Boundary>(params);
    }};

}  // namespace
}  // namespace adamant
