// SPDX-License-Identifier: Apache-2.0
// Checks of inputs, model and data.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/run/validity/check.h"

namespace adamant::validity {

Finding InputRange(const ValidityFacts& facts) {
  if (!facts.pixels.ok()) return NotRun(std::string(facts.pixels.status().message()));
  const PixelRange& range = *facts.pixels;
  const double outside = std::max({0.0, -range.low, range.high - 1});
  const Numbers numbers{outside, 0, range.images};
  if (range.low >= 0 && range.high <= 1) return Passes(numbers);
  return Fails(kError, numbers,
               absl::StrFormat("pixel range [%g, %g] is outside [0,1]; epsilon has no meaning",
                               range.low, range.high));
}

Finding LogitsNotProbabilities(const ValidityFacts& facts) {
  if (!facts.probabilities.ok()) return NotRun(std::string(facts.probabilities.status().message()));
  const Share& rows = *facts.probabilities;
  const double share = static_cast<double>(rows.count) / static_cast<double>(rows.samples);
  const Numbers numbers{share, 1, rows.samples};
  if (rows.count < rows.samples) return Passes(numbers);
  const bool matters = std::any_of(facts.attacks.begin(), facts.attacks.end(),
                                   [](const AttackFacts& attack) { return attack.needs_logits; });
  return Fails(matters ? kError : kWarning, numbers,
               "outputs look like probabilities; attack losses need logits");
}

Finding DeterministicForward(const ValidityFacts& facts) {
  constexpr double kLargestDifference = 1e-4;
  if (!facts.noise.ok()) return NotRun(std::string(facts.noise.status().message()));
  const ForwardNoise& noise = *facts.noise;
  const Numbers numbers{noise.difference, kLargestDifference, noise.samples};
  if (noise.difference <= kLargestDifference && noise.fewest_correct == noise.most_correct) {
    return Passes(numbers);
  }
  const bool averaged =
      std::any_of(facts.attacks.begin(), facts.attacks.end(),
                  [](const AttackFacts& attack) { return attack.name == "eot_pgd"; });
  return Fails(averaged ? kWarning : kError, numbers,
               absl::StrFormat("the forward pass is random (difference %g); needs EOT: use version "
                               "rand, eot >= 20",
                               noise.difference));
}

Finding BatchInvariance(const ValidityFacts& facts) {
  constexpr double kLargestDifference = 1e-3;
  if (!facts.batch_rows.ok()) return NotRun(std::string(facts.batch_rows.status().message()));
  const Numbers numbers{facts.batch_difference, kLargestDifference, facts.batch_rows->samples};
  if (facts.batch_difference <= kLargestDifference) return Passes(numbers);
  return Fails(kError, numbers,
               "a sample's logits depend on its batch (train-mode batch norm or cross-sample "
               "operation)");
}

Finding StaticModel(const ValidityFacts& facts) {
  if (!facts.changes.ok()) return NotRun(std::string(facts.changes.status().message()));
  const Numbers numbers{facts.changes->empty() ? 0.0 : 1.0, 0, 0};
  if (facts.changes->empty()) return Passes(numbers);
  return Fails(kWarning, numbers,
               "the model changes at test time; attack the static base and use an adaptive attack");
}

Finding ZeroGradient(const ValidityFacts& facts) {
  constexpr double kMostOfMargin = 0.01;
  if (!facts.zero_gradients.ok()) {
    return NotRun(std::string(facts.zero_gradients.status().message()));
  }
  const ZeroGradients& zero = *facts.zero_gradients;
  const auto total = static_cast<double>(zero.samples);
  std::vector<std::string> texts;
  double worst = 0;
  bool error = false;
  for (const auto& [loss, count] : zero.by_loss) {
    if (count == 0) continue;
    const double share = static_cast<double>(count) / total;
    worst = std::max(worst, share);
    error |= loss == "margin" && share > kMostOfMargin;
    texts.push_back(absl::StrCat(count, " of ", zero.samples, " samples have a zero gradient for ",
                                 loss, ": white-box results may be masked"));
  }
  const Numbers numbers{worst, error ? kMostOfMargin : 0, zero.samples};
  if (texts.empty()) return Passes(numbers);
  return Fails(error ? kError : kWarning, numbers, absl::StrJoin(texts, "; "));
}

Finding FiniteValues(const ValidityFacts& facts) {
  const auto total =
      static_cast<double>(facts.nonfinite_grads + facts.nonfinite_logits + facts.errors);
  const Numbers numbers{total, 0, facts.samples};
  std::vector<std::string> texts;
  const auto add = [&](int64_t count, const char* what) {
    if (count > 0) texts.push_back(absl::StrCat(count, " non-finite ", what));
  };
  add(facts.nonfinite_logits, "logits");
  add(facts.errors, "clean outputs");
  const bool error = !texts.empty();
  add(facts.nonfinite_grads, "gradients");
  if (texts.empty()) return Passes(numbers);
  return Fails(error ? kError : kWarning, numbers, absl::StrJoin(texts, "; "));
}

Finding ClassCount(const ValidityFacts& facts) {
  const Numbers numbers{static_cast<double>(facts.num_classes), 2, facts.samples};
  if (facts.label_classes < 2) {
    return Fails(
        kError, numbers,
        absl::StrCat("K=", facts.num_classes, ": all ", facts.samples, " labels are of one class"));
  }
  std::vector<std::string> texts;
  for (const AttackFacts& attack : facts.attacks) {
    for (const std::string& note : attack.notes) {
      const std::string text = absl::StrCat("K=", facts.num_classes, ": ", note);
      if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(text);
    }
  }
  if (texts.empty()) return Passes(numbers);
  return Fails(kInfo, numbers, absl::StrJoin(texts, "; "));
}

Finding CleanAccuracy(const ValidityFacts& facts) {
  constexpr double kMostPoints = 0.3;
  if (!facts.declared_clean.has_value()) return NotRun("no clean accuracy was declared");
  const double declared = *facts.declared_clean;
  const double points = 100 * std::abs(facts.clean.ratio() - declared);
  const Numbers numbers{points, kMostPoints, facts.samples};
  const bool inside = declared >= facts.clean.low() && declared <= facts.clean.high();
  if (points <= kMostPoints || inside) return Passes(numbers);
  return Fails(kWarning, numbers,
               absl::StrFormat("clean accuracy %.2f %%, declared %.2f %%: wrong normalisation, "
                               "labels or subset?",
                               100 * facts.clean.ratio(), 100 * declared));
}

}  // namespace adamant::validity
