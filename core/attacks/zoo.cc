// SPDX-License-Identifier: Apache-2.0
// ZOO (Chen et al. 2017, arXiv 1708.03999): the objective of Carlini and Wagner,
//   ||v - x||_2^2 + c * max(z_y - max_{j != y} z_j + kappa, 0),
// descended one coordinate at a time: its derivative from (f(v + h e_i) - f(v - h e_i)) / 2h, its
// step by Adam with a state for each coordinate. `coordinates` random ones are tried at once. c is
// found by bisection: `binary_search_steps` equal parts of the budget.
//
// Differs from the authors' code: works on pixels cut to [0,1] instead of their arctanh; uses
// logits for the margin; neither reduces dimensions nor samples by importance; exact budget. The
// defaults are ours: theirs (128 coordinates, lr .01, c .01) need millions of queries to move.
#include <algorithm>
#include <cmath>

#include "core/attacks/script.h"

namespace adamant {
namespace {

constexpr size_t kCoordinatesAsked = 16;
constexpr double kFirst = 0.9;
constexpr double kSecond = 0.999;
constexpr double kFloor = 1e-8;

struct Plan {
  int64_t queries = 0;
  int64_t binary_search_steps = 0;
  int64_t coordinates = 0;
  double h = 0;
  double learning_rate = 0;
  double first_c = 0;
  double kappa = 0;
};

// Adam, one state for each coordinate.
struct Moments {
  explicit Moments(size_t count) : mean(count), square(count), steps(count) {}

  double Step(size_t i, double gradient) {
    mean[i] = kFirst * mean[i] + (1 - kFirst) * gradient;
    square[i] = kSecond * square[i] + (1 - kSecond) * gradient * gradient;
    ++steps[i];
    const double first = mean[i] / (1 - std::pow(kFirst, steps[i]));
    const double second = square[i] / (1 - std::pow(kSecond, steps[i]));
    return first / (std::sqrt(second) + kFloor);
  }

  std::vector<double> mean, square;
  std::vector<int> steps;
};

// Descends with one c until `budget` images were asked about. `won`: it was misclassified once.
Script Descend(Subject& subject, Plan plan, uint16_t round, double c, int64_t budget, bool& won) {
  Pixels x = subject.Clean();
  Moments moments(x.size());
  std::vector<uint32_t> words(static_cast<size_t>(plan.coordinates));
  std::vector<size_t> chosen;
  Pixels probes;
  for (uint32_t step = 0; budget > 0; ++step) {
    const std::vector<Answer>& here = co_await subject.Ask(x);
    --budget;
    won = won || here[0].wrong;
    subject.rng.Words({.step = step, .restart = round, .purpose = Purpose::kDirection},
                      absl::MakeSpan(words));
    const Pixels origin = x;
    for (size_t first = 0; first < words.size() && budget > 0; first += kCoordinatesAsked) {
      probes.clear();
      chosen.clear();
      const size_t end = std::min(words.size(), first + kCoordinatesAsked);
      for (size_t k = first; k < end; ++k) {
        const size_t i = uint64_t{words[k]} * x.size() >> 32;
        chosen.push_back(i);
        for (const double side : {plan.h, -plan.h}) {
          probes.insert(probes.end(), origin.begin(), origin.end());
          float& value = probes[probes.size() - x.size() + i];
          value = static_cast<float>(value + side);
        }
      }
      ClipToBox(subject, absl::MakeSpan(probes));
      const std::vector<Answer>& answers = co_await subject.Ask(probes);
      budget -= static_cast<int64_t>(answers.size());
      for (size_t k = 0; k < chosen.size(); ++k) {
        const size_t i = chosen[k];
        const double up = answers[2 * k].loss;
        const double down = answers[2 * k + 1].loss;
        if (!std::isfinite(up - down)) continue;
        const double margin = std::max(plan.kappa - up, 0.0) - std::max(plan.kappa - down, 0.0);
        const double change = static_cast<double>(origin[i]) - subject.clean[i];
        const double gradient = 2 * change + c * margin / (2 * plan.h);
        x[i] = static_cast<float>(x[i] - plan.learning_rate * moments.Step(i, gradient));
      }
    }
    ClipToBox(subject, absl::MakeSpan(x));
  }
}

Script SearchConstant(Subject& subject, Plan plan) {
  double low = 0;
  double high = HUGE_VAL;
  double c = plan.first_c;
  const int64_t part = std::max<int64_t>(plan.queries / plan.binary_search_steps, 1);
  for (uint16_t round = 0;; ++round) {
    bool won = false;
    co_await Descend(subject, plan, round, c, part, won);
    (won ? high : low) = c;
    c = std::isinf(high) ? c * 10 : (low + high) / 2;
  }
}

class Zoo final : public Attack {
 public:
  explicit Zoo(const Params& params)
      : plan_{params.Int("queries"),     params.Int("binary_search_steps"),
              params.Int("coordinates"), params.Real("h"),
              params.Real("lr"),         params.Real("initial_const"),
              params.Real("kappa")},
        options_{.queries = plan_.queries,
                 .largest_question = 2 * kCoordinatesAsked,
                 .aim = ScriptOptions::Aim::kNearest} {}

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    return RunScripts(victim, batch, threat, settings, control, options_,
                      [this](Subject& subject) { return SearchConstant(subject, plan_); });
  }

 private:
  const Plan plan_;
  const ScriptOptions options_;
};

const Registration<Attack> kZoo{
    {.name = "zoo",
     .summary = "the objective of Carlini and Wagner, descended coordinate by coordinate",
     .paper = "Chen et al. 2017, arXiv 1708.03999",
     .params = {Int("queries", 10000).Range(1, 1000000).Doc("forward passes"),
                Int("binary_search_steps", 3).Range(1, 20).Doc("values of c to try"),
                Int("coordinates", 32).Range(1, 100000).Doc("coordinates of one step"),
                Real("h", 1e-4).Range(1e-7, 1).Doc("distance of a probe, pixel units"),
                Real("lr", 0.1).Range(0, 1).Doc("learning rate of Adam"),
                Real("initial_const", 1).Range(1e-9, 1e6).Doc("first c"),
                Real("kappa", 0).Range(0, 1e6).Doc("confidence")},
     .norms = {"l2"},
     .traits = {"forward_only"},
     .test_params = {{"queries", 600}, {"initial_const", 10}}},
    [](const Params& params) -> std::unique_ptr<Attack> { return std::make_unique<Zoo>(params); }};

}  // namespace
}  // namespace adamant
