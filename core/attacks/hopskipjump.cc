// SPDX-License-Identifier: Apache-2.0
// HopSkipJump (Chen et al. 2020, arXiv 1904.02144), from decisions alone. Starts at a random
// misclassified image, then t = 1, 2, ...:
//   the boundary between it and the clean image by bisection, to theta = 1 / D^1.5 (L2), 1 / D^2;
//   the gradient's direction there, from B_t = min(100 sqrt(t), 10000) probes at distance delta:
//     mean of (phi_b - mean phi) u_b, phi_b = +1 where the probe is misclassified, else -1;
//   a step of d / sqrt(t) along it (LINF: its sign), halved until it is misclassified.
//
// Differs from the authors' code: every image that is asked about counts, also probes; the budget
// is exact.
#include <algorithm>
#include <cmath>

#include "core/attacks/decision_start.h"

namespace adamant {
namespace {

constexpr size_t kProbesAsked = 32;
constexpr int kHalvings = 40;
constexpr double kTiny = 1e-12;
constexpr double kFirstDelta = 0.1;

struct Plan {
  int64_t first_probes = 0;
  int64_t most_probes = 0;
};

bool IsL2(const Subject& subject) { return subject.threat.norm == Norm::kL2; }

double Theta(const Subject& subject) {
  const auto d = static_cast<double>(subject.count());
  return IsL2(subject) ? 1 / (d * std::sqrt(d)) : 1 / (d * d);
}

// How near the bisection comes: a share of the way for L2, of the pixel range for LINF.
double Width(const Subject& subject, const Pixels& x) {
  const double theta = Theta(subject);
  return IsL2(subject) ? theta : theta * std::min(Distance(subject, x, subject.clean), 1.0);
}

// One unit direction.
void DrawDirection(const Subject& subject, const DrawAt& at, absl::Span<float> out) {
  if (IsL2(subject)) {
    subject.rng.Normal(at, out);
  } else {
    subject.rng.Uniform(at, out);
    for (float& v : out) v = 2 * v - 1;
  }
  const auto scale = static_cast<float>(1 / std::max(EuclideanNorm(out), kTiny));
  for (float& v : out) v *= scale;
}

// The step's direction at `x`: L2 of norm 1, LINF signs.
Script EstimateDirection(Subject& subject, uint32_t step, int64_t probes, double delta,
                         const Pixels& x, std::vector<double>& direction) {
  const size_t count = x.size();
  std::vector<double> all(count);    // sum of u
  std::vector<double> wrong(count);  // of those that are misclassified
  int64_t wrongs = 0;
  Pixels asked;
  for (int64_t first = 0; first < probes; first += kProbesAsked) {
    const size_t now = std::min(kProbesAsked, static_cast<size_t>(probes - first));
    asked.resize(now * count);
    for (size_t k = 0; k < now; ++k) {
      const absl::Span<float> probe(asked.data() + k * count, count);
      DrawDirection(subject,
                    {.step = step,
                     .purpose = Purpose::kDirection,
                     .draw = static_cast<uint16_t>(static_cast<size_t>(first) + k)},
                    probe);
      for (size_t i = 0; i < count; ++i) {
        probe[i] = static_cast<float>(x[i] + delta * probe[i]);
      }
    }
    ClipToBox(subject, absl::MakeSpan(asked));
    const std::vector<Answer>& answers = co_await subject.Ask(asked);
    for (size_t k = 0; k < now; ++k) {
      wrongs += answers[k].wrong;
      for (size_t i = 0; i < count; ++i) {
        const double u = (static_cast<double>(asked[k * count + i]) - x[i]) / delta;
        all[i] += u;
        if (answers[k].wrong) wrong[i] += u;
      }
    }
  }
  // sum of (phi - mean phi) u, phi = +-1; the plain mean where all answers agree.
  const double mean = 2 * static_cast<double>(wrongs) / static_cast<double>(probes) - 1;
  const bool agree = wrongs == 0 || wrongs == probes;
  for (size_t i = 0; i < count; ++i) {
    direction[i] = agree ? mean * all[i] : 2 * wrong[i] - all[i] - mean * all[i];
  }
  double squares = 0;
  for (const double v : direction) squares += v * v;
  const double size = std::max(std::sqrt(squares), kTiny);
  for (double& v : direction) {
    v = IsL2(subject) ? v / size : static_cast<double>((v > 0) - (v < 0));
  }
}

Script WalkBoundary(Subject& subject, Plan plan) {
  Pixels x;
  co_await FindUniform(subject, x);
  co_await Approach(subject, Width(subject, x), x);
  std::vector<double> direction(x.size());
  Pixels candidate(x.size());
  const auto d = static_cast<double>(subject.count());
  for (uint32_t t = 1;; ++t) {
    const double distance = Distance(subject, x, subject.clean);
    const double root = std::sqrt(static_cast<double>(t));
    const double scale = IsL2(subject) ? std::sqrt(d) : d;
    const double delta = t == 1 ? kFirstDelta : std::max(scale * Theta(subject) * distance, 1e-7);
    const auto probes = std::min(
        static_cast<int64_t>(static_cast<double>(plan.first_probes) * root), plan.most_probes);
    co_await EstimateDirection(subject, t, probes, delta, x, direction);
    double step = distance / root;
    bool moved = false;
    for (int i = 0; i < kHalvings && !moved; ++i, step /= 2) {
      for (size_t j = 0; j < x.size(); ++j) {
        candidate[j] = static_cast<float>(x[j] + step * direction[j]);
      }
      ClipToBox(subject, absl::MakeSpan(candidate));
      const std::vector<Answer>& answers = co_await subject.Ask(candidate);
      moved = answers[0].wrong;
    }
    if (!moved) continue;
    x = candidate;
    co_await Approach(subject, Width(subject, x), x);
  }
}

class HopSkipJump final : public Attack {
 public:
  explicit HopSkipJump(const Params& params)
      : plan_{params.Int("first_probes"), params.Int("most_probes")},
        options_{.queries = params.Int("queries"),
                 .largest_question = kProbesAsked,
                 .aim = ScriptOptions::Aim::kNearest} {}

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    return RunScripts(victim, batch, threat, settings, control, options_,
                      [this](Subject& subject) { return WalkBoundary(subject, plan_); });
  }

 private:
  const Plan plan_;
  const ScriptOptions options_;
};

const Registration<Attack> kHopSkipJump{
    {.name = "hopskipjump",
     .summary = "walk along the decision boundary with estimated directions, from decisions alone",
     .paper = "Chen et al. 2020, arXiv 1904.02144",
     .params = {Int("queries", 10000).Range(1, 1000000).Doc("forward passes"),
                Int("first_probes", 100).Range(1, 10000).Doc("probes for the first direction"),
                Int("most_probes", 10000).Range(1, 60000).Doc("largest number of probes")},
     .norms = {"linf", "l2"},
     .traits = {"forward_only"},
     .test_params = {{"queries", 300}, {"first_probes", 20}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<HopSkipJump>(params);
    }};

}  // namespace
}  // namespace adamant
