// SPDX-License-Identifier: Apache-2.0
// Gradient ascent on gradients estimated from differences of losses along random directions u:
//   g = 1 / (2 n s) * sum_k (L(x + s u_k) - L(x - s u_k)) * u_k,  k = 1..n.
//   nes  (Ilyas et al. 2018, arXiv 1804.08598): u normal; v = mu v + (1 - mu) g; a step of `lr`
//        along sign(v) for LINF, v / ||v|| for L2.
//   spsa (Uesato et al. 2018, arXiv 1802.05666): u of random signs, margin loss; a step of Adam.
// Each iterate costs one forward pass and 2 n for its gradient.
//
// Differs from the published code: probes are cut to [0,1], every iterate is tested, n counts pairs
// for both attacks, and the learning rate stays the same.
#include <cmath>

#include "core/attacks/losses.h"
#include "core/attacks/script.h"

namespace adamant {
namespace {

constexpr size_t kPairsAsked = 16;
constexpr double kTiny = 1e-12;

struct Estimate {
  int64_t pairs = 0;
  double distance = 0;
  bool normal = false;  // else signs
};

// Adds the estimate at `x` to `gradient`.
Script AddGradient(Subject& subject, Estimate how, uint32_t step, const Pixels& x,
                   std::vector<double>& gradient) {
  const size_t count = x.size();
  Pixels directions(kPairsAsked * count);
  Pixels probes;
  for (int64_t first = 0; first < how.pairs; first += kPairsAsked) {
    const size_t pairs =
        std::min(kPairsAsked, static_cast<size_t>(how.pairs) - static_cast<size_t>(first));
    probes.resize(2 * pairs * count);
    for (size_t k = 0; k < pairs; ++k) {
      const absl::Span<float> u(directions.data() + k * count, count);
      const DrawAt at{.step = step,
                      .purpose = Purpose::kDirection,
                      .draw = static_cast<uint16_t>(static_cast<size_t>(first) + k)};
      how.normal ? subject.rng.Normal(at, u) : subject.rng.Signs(at, u);
      for (size_t i = 0; i < count; ++i) {
        const auto move = static_cast<float>(how.distance * u[i]);
        probes[2 * k * count + i] = x[i] + move;
        probes[(2 * k + 1) * count + i] = x[i] - move;
      }
    }
    ClipToBox(subject, absl::MakeSpan(probes));
    const std::vector<Answer>& answers = co_await subject.Probe(probes);
    for (size_t k = 0; k < pairs; ++k) {
      const double difference = answers[2 * k].loss - answers[2 * k + 1].loss;
      if (!std::isfinite(difference)) continue;
      const double weight = difference / (2 * static_cast<double>(how.pairs) * how.distance);
      for (size_t i = 0; i < count; ++i) gradient[i] += weight * directions[k * count + i];
    }
  }
}

struct NesPlan {
  Estimate estimate;
  double learning_rate = 0;
  double momentum = 0;
};

Script ClimbNes(Subject& subject, NesPlan plan) {
  Pixels x = subject.Clean();
  std::vector<double> gradient(x.size());
  std::vector<double> velocity(x.size());
  for (uint32_t step = 0;; ++step) {
    co_await subject.Ask(x);
    std::fill(gradient.begin(), gradient.end(), 0.0);
    co_await AddGradient(subject, plan.estimate, step, x, gradient);
    double squares = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      velocity[i] = plan.momentum * velocity[i] + (1 - plan.momentum) * gradient[i];
      squares += velocity[i] * velocity[i];
    }
    const double scale = plan.learning_rate / std::max(std::sqrt(squares), kTiny);
    for (size_t i = 0; i < x.size(); ++i) {
      const double v = velocity[i];
      const double move = subject.threat.norm == Norm::kL2
                              ? scale * v
                              : plan.learning_rate * static_cast<double>((v > 0) - (v < 0));
      x[i] = static_cast<float>(x[i] + move);
    }
    ProjectImage(subject, absl::MakeSpan(x));
  }
}

struct SpsaPlan {
  Estimate estimate;
  double learning_rate = 0;
};

Script ClimbSpsa(Subject& subject, SpsaPlan plan) {
  constexpr double kFirst = 0.9;
  constexpr double kSecond = 0.999;
  constexpr double kFloor = 1e-8;
  Pixels x = subject.Clean();
  std::vector<double> gradient(x.size());
  std::vector<double> mean(x.size());
  std::vector<double> square(x.size());
  double first_left = 1;
  double second_left = 1;
  for (uint32_t step = 0;; ++step) {
    co_await subject.Ask(x);
    std::fill(gradient.begin(), gradient.end(), 0.0);
    co_await AddGradient(subject, plan.estimate, step, x, gradient);
    first_left *= kFirst;
    second_left *= kSecond;
    for (size_t i = 0; i < x.size(); ++i) {
      mean[i] = kFirst * mean[i] + (1 - kFirst) * gradient[i];
      square[i] = kSecond * square[i] + (1 - kSecond) * gradient[i] * gradient[i];
      const double size = std::sqrt(square[i] / (1 - second_left)) + kFloor;
      x[i] = static_cast<float>(x[i] + plan.learning_rate * mean[i] / (1 - first_left) / size);
    }
    ProjectImage(subject, absl::MakeSpan(x));
  }
}

class Nes final : public Attack {
 public:
  explicit Nes(const Params& params)
      : plan_{{params.Int("n"), params.Real("s"), /*normal=*/true},
              params.Real("lr"),
              params.Real("momentum")},
        options_{.queries = params.Int("queries"),
                 .largest_question = 2 * kPairsAsked,
                 .loss = params.Text("loss")} {
    if (options_.loss == "dlr_targeted") {
      throw std::invalid_argument("loss dlr_targeted needs a target, which nes does not have");
    }
  }

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    return RunScripts(victim, batch, threat, settings, control, options_,
                      [this](Subject& subject) { return ClimbNes(subject, plan_); });
  }

 private:
  const NesPlan plan_;
  const ScriptOptions options_;
};

class Spsa final : public Attack {
 public:
  explicit Spsa(const Params& params)
      : plan_{{params.Int("n"), params.Real("delta"), /*normal=*/false}, params.Real("lr")},
        options_{.queries = params.Int("steps") * (2 * params.Int("n") + 1) + 1,
                 .largest_question = 2 * kPairsAsked} {}

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    return RunScripts(victim, batch, threat, settings, control, options_,
                      [this](Subject& subject) { return ClimbSpsa(subject, plan_); });
  }

 private:
  const SpsaPlan plan_;
  const ScriptOptions options_;
};

const Registration<Attack> kNes{
    {.name = "nes",
     .summary = "PGD on gradients estimated along normal directions",
     .paper = "Ilyas et al. 2018, arXiv 1804.08598",
     .params = {Int("queries", 10000).Range(1, 1000000).Doc("forward passes"),
                Int("n", 50).Range(1, 1000).Doc("pairs of probes for a gradient"),
                Real("s", 0.001).Range(1e-6, 1).Doc("distance of a probe, in units of a normal"),
                Real("lr", 0.01).Range(0, 1).Doc("step, pixel units"),
                Real("momentum", 0.9).Range(0, 0.999).Doc("weight of the gradients before"),
                Choice("loss", "ce", LossNames()).Doc("loss to ascend")},
     .norms = {"linf", "l2"},
     .traits = {"forward_only"},
     .test_params = {{"queries", 211}, {"n", 10}, {"lr", 0.2}}},
    [](const Params& params) -> std::unique_ptr<Attack> { return std::make_unique<Nes>(params); }};

const Registration<Attack> kSpsa{
    {.name = "spsa",
     .summary = "Adam on gradients estimated along random signs",
     .paper = "Uesato et al. 2018, arXiv 1802.05666",
     .params = {Int("steps", 100).Range(1, 100000).Doc("steps of Adam"),
                Int("n", 128).Range(2, 8192).Doc("pairs of probes for a gradient"),
                Real("delta", 0.01).Range(1e-6, 1).Doc("distance of a probe, pixel units"),
                Real("lr", 0.01).Range(0, 1).Doc("learning rate of Adam")},
     .norms = {"linf"},
     .traits = {"forward_only"},
     .test_params = {{"steps", 10}, {"n", 10}}},
    [](const Params& params) -> std::unique_ptr<Attack> { return std::make_unique<Spsa>(params); }};

}  // namespace
}  // namespace adamant
