// SPDX-License-Identifier: Apache-2.0
// Checks for masked gradients.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/run/validity/check.h"

namespace adamant::validity {

Finding IterativeVsOneStep(const ValidityFacts& facts) {
  constexpr double kMostPoints = 1;
  if (!facts.one_step.ok()) return NotRun(std::string(facts.one_step.status().message()));
  const OneStepComparison& seen = *facts.one_step;
  const auto n = static_cast<double>(seen.samples);
  const double points = seen.only_one_step.has_value()
                            ? 100 * static_cast<double>(*seen.only_one_step) / n
                            : seen.iterative - seen.one_step;
  const Numbers numbers{points, kMostPoints, seen.samples};
  if (points <= kMostPoints + 1e-9) return Passes(numbers);
  const int64_t count =
      seen.only_one_step.value_or(static_cast<int64_t>(std::llround(points * n / 100)));
  return Fails(kWarning, numbers,
               absl::StrCat("one-step attack is stronger than the iterative one on ", count,
                            " samples: masking or too few steps"));
}

Finding WhiteVsBlack(const ValidityFacts& facts) {
  constexpr double kMostPoints = 0.2;
  if (!facts.only_black_box.ok()) {
    return NotRun(std::string(facts.only_black_box.status().message()));
  }
  const Share& only = *facts.only_black_box;
  const double points = 100 * static_cast<double>(only.count) / static_cast<double>(only.samples);
  const Numbers numbers{points, kMostPoints, only.samples};
  if (points <= kMostPoints + 1e-9) return Passes(numbers);
  return Fails(
      kWarning, numbers,
      absl::StrCat("black-box beats white-box on ", only.count, " samples: gradient masking"));
}

Finding SquareHelps(const ValidityFacts& facts) {
  constexpr double kMostPoints = 0.2;
  if (!facts.square_drop.ok()) return NotRun(std::string(facts.square_drop.status().message()));
  const Numbers numbers{*facts.square_drop, kMostPoints, facts.samples};
  if (*facts.square_drop <= kMostPoints + 1e-9) return Passes(numbers);
  std::string text = absl::StrFormat(
      "Square reduced robust accuracy by %.2f points: gradients may be masked", *facts.square_drop);
  for (const auto& [attack, robust] : facts.follow_up) {
    absl::StrAppendFormat(&text, "; %s leaves %.2f %%", attack, robust);
  }
  return Fails(kWarning, numbers, text);
}

Finding RandomSearch(const ValidityFacts& facts) {
  if (!facts.random_search.ok()) return NotRun(std::string(facts.random_search.status().message()));
  const NoiseSearch& seen = *facts.random_search;
  const Numbers numbers{static_cast<double>(seen.broken), 0, seen.survivors};
  if (seen.broken == 0) return Passes(numbers);
  return Fails(seen.broken > seen.gradient_broken ? kError : kWarning, numbers,
               "random search beats the gradient");
}

Finding UnstablePredictions(const ValidityFacts& facts) {
  constexpr double kMostChange = 0.1;
  if (!facts.loss_noise.ok()) return NotRun(std::string(facts.loss_noise.status().message()));
  const Numbers numbers{*facts.loss_noise, kMostChange, 0};
  if (*facts.loss_noise <= kMostChange) return Passes(numbers);
  return Fails(kWarning, numbers, "loss is unstable around the data; use EOT or a smoothed attack");
}

Finding Binarization(const ValidityFacts& facts) {
  constexpr double kFewestFound = 0.95;
  constexpr double kMostByChance = 0.5;
  if (!facts.binarized.ok()) return NotRun(std::string(facts.binarized.status().message()));
  const auto n = static_cast<double>(facts.binarized->samples);
  const double by_chance = static_cast<double>(facts.binarized->by_chance) / n;
  if (by_chance > kMostByChance) {
    return NotRun(absl::StrFormat(
        "random search already finds the known adversarial points in %.1f %% of cases",
        100 * by_chance));
  }
  const double found = static_cast<double>(facts.binarized->found) / n;
  const Numbers numbers{found, kFewestFound, facts.binarized->samples};
  if (found >= kFewestFound) return Passes(numbers);
  return Fails(kWarning, numbers,
               absl::StrFormat("the attack misses known adversarial points in %.1f %% of cases",
                               100 * (1 - found)));
}

Finding AttackSelfTest(const ValidityFacts& facts) {
  if (!facts.self_test.ok()) return NotRun(std::string(facts.self_test.status().message()));
  const Numbers numbers{static_cast<double>(facts.self_test->size()), 0, 0};
  if (facts.self_test->empty()) return Passes(numbers);
  return Fails(kError, numbers,
               absl::StrCat("attack configuration fails on a model with a known answer: ",
                            absl::StrJoin(*facts.self_test, ", ")));
}

}  // namespace adamant::validity
