// SPDX-License-Identifier: Apache-2.0
// Checks whether the search was through when it stopped.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "core/run/validity/check.h"

namespace adamant::validity {
namespace {

constexpr double kMostPoints = 0.5;
constexpr double kSlack = 1e-9;  // of differences of floating-point numbers
constexpr size_t kLastSteps = 10;
constexpr double kMostRise = 0.05;

bool RisesWithSteps(const ValidityFacts& facts) {
  return std::any_of(facts.attacks.begin(), facts.attacks.end(), [](const AttackFacts& attack) {
    return !std::is_sorted(attack.accuracy_by_step.rbegin(), attack.accuracy_by_step.rend());
  });
}

// By how much the best loss so far changes in the last steps, on a scale from its first value to
// its last.
double LateRise(const std::vector<double>& losses) {
  std::vector<double> best = losses;
  for (size_t i = 1; i < best.size(); ++i) best[i] = std::max(best[i], best[i - 1]);
  const double range = best.back() - best.front();
  if (!(range > 0)) return 0;
  const size_t from = best.size() > kLastSteps ? best.size() - 1 - kLastSteps : 0;
  return (best.back() - best[from]) / range;
}

}  // namespace

Finding Convergence(const ValidityFacts& facts) {
  if (RisesWithSteps(facts)) {
    return Fails(kError, {1, 0, facts.samples},
                 "robust accuracy rises from one step to a later one");
  }
  if (!facts.doublings.ok()) {
    const bool recorded =
        std::any_of(facts.attacks.begin(), facts.attacks.end(),
                    [](const AttackFacts& attack) { return !attack.accuracy_by_step.empty(); });
    return recorded ? Passes({0, 0, facts.samples})
                    : NotRun(std::string(facts.doublings.status().message()));
  }
  Finding found = Passes({0, kMostPoints, facts.samples});
  for (const Doubling& step : *facts.doublings) {
    const double drop = step.robust_before - step.robust_after;
    const Numbers numbers{drop, kMostPoints, facts.samples};
    const double rise = step.loss_after - step.loss_before;
    if (drop > kMostPoints + kSlack || rise > 0.01 * std::abs(step.loss_before)) {
      found = Fails(kWarning, numbers, absl::StrFormat("not converged at %d steps", step.steps));
    } else if (found.status == v1::ValidityCheck::PASS) {
      found = Passes(numbers);
    }
  }
  return found;
}

Finding IncompleteOptimisation(const ValidityFacts& facts) {
  constexpr double kMostRising = 0.05;
  constexpr double kMostFalling = 0.5;
  if (!facts.loss_curves.ok()) return NotRun(std::string(facts.loss_curves.status().message()));
  int64_t rising = 0;
  int64_t falls = 0;
  int64_t moves = 0;
  for (const std::vector<double>& losses : *facts.loss_curves) {
    if (losses.empty()) continue;
    rising += LateRise(losses) > kMostRise;
    for (size_t i = 1; i < losses.size(); ++i) falls += losses[i] < losses[i - 1];
    moves += static_cast<int64_t>(losses.size()) - 1;
  }
  const auto survivors = static_cast<int64_t>(facts.loss_curves->size());
  const double share =
      survivors > 0 ? static_cast<double>(rising) / static_cast<double>(survivors) : 0;
  const Numbers numbers{share, kMostRising, survivors};
  if (share > kMostRising) {
    return Fails(kWarning, numbers,
                 absl::StrFormat("loss still rising at the end on %.1f %%", 100 * share));
  }
  const double falling = moves > 0 ? static_cast<double>(falls) / static_cast<double>(moves) : 0;
  if (falling > kMostFalling) {
    return Fails(kInfo, {falling, kMostFalling, survivors},
                 "loss is not monotone: step too large or noisy gradient");
  }
  return Passes(numbers);
}

Finding Restarts(const ValidityFacts& facts) {
  if (!facts.restarts.ok()) return NotRun(std::string(facts.restarts.status().message()));
  const auto [before, after] = *facts.restarts;
  const Numbers numbers{before - after, kMostPoints, facts.samples};
  if (before - after <= kMostPoints + kSlack) return Passes(numbers);
  return Fails(kWarning, numbers,
               absl::StrFormat("more restarts still help: %.2f %% -> %.2f %%", before, after));
}

Finding SilentSuccess(const ValidityFacts& facts) {
  if (!facts.silent.ok()) return NotRun(std::string(facts.silent.status().message()));
  const Numbers numbers{static_cast<double>(facts.silent->count), 0, facts.silent->samples};
  if (facts.silent->count == 0) return Passes(numbers);
  return Fails(kError, numbers,
               absl::StrFormat("%d samples have a verified adversarial iterate but count as robust",
                               facts.silent->count));
}

Finding LossDisagreement(const ValidityFacts& facts) {
  constexpr double kMostGap = 2;
  if (!facts.losses.ok()) return NotRun(std::string(facts.losses.status().message()));
  Finding found = NotRun("no two attacks differ in their loss alone");
  for (const LossPair& pair : *facts.losses) {
    const double gap = std::abs(pair.first_robust - pair.second_robust);
    const Numbers numbers{gap, kMostGap, facts.samples};
    if (gap > kMostGap + kSlack) {
      const std::string& weak = pair.first_robust > pair.second_robust ? pair.first : pair.second;
      return Fails(kWarning, numbers,
                   absl::StrFormat("the %s attack misses %.2f points", weak, gap));
    }
    found = Passes(numbers);
  }
  return found;
}

}  // namespace adamant::validity
