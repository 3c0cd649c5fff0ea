// SPDX-License-Identifier: Apache-2.0
// Checks of the threat model and of what an attack can reach within it.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "core/run/validity/check.h"

namespace adamant::validity {
namespace {

constexpr double kSlack = 1e-9;  // of ratios of floating-point numbers

double Travel(const AttackFacts& attack) {
  return static_cast<double>(attack.steps) * attack.step_size / attack.epsilon;
}

bool HasTravel(const AttackFacts& attack) {
  return attack.steps > 0 && attack.step_size > 0 && attack.epsilon > 0 && !attack.own_budget;
}

// What `attack` cannot do that an attack of the same steps at a larger epsilon cannot either.
const AttackFacts* SameAttack(const ValidityFacts& facts, const AttackFacts& attack) {
  for (const AttackFacts& other : facts.attacks) {
    if (HasTravel(other) && other.name == attack.name && other.norm == attack.norm &&
        other.epsilon > attack.epsilon && other.steps == attack.steps &&
        other.step_size == attack.step_size && Travel(other) < 1 - kSlack) {
      return &other;
    }
  }
  return nullptr;
}

}  // namespace

Finding EpsilonBound(const ValidityFacts& facts) {
  if (!facts.bounds.ok()) return NotRun(std::string(facts.bounds.status().message()));
  Finding found = Passes({1, 1, facts.samples});
  for (const ClassifierBound& at : *facts.bounds) {
    const Numbers numbers{at.robust, at.bound, at.samples};
    if (at.robust > at.bound + kSlack) {
      return Fails(kError, numbers,
                   absl::StrFormat("the measured %.2f %% exceeds %.2f %%, the most any classifier "
                                   "can reach at this epsilon: the attack did not converge or is "
                                   "not white-box",
                                   100 * at.robust, 100 * at.bound));
    }
    if (at.bound < facts.clean.ratio() - kSlack) {
      found =
          Fails(kWarning, numbers,
                absl::StrFormat("epsilon %g is degenerate here: no classifier can exceed %.2f %%",
                                at.epsilon, 100 * at.bound));
    } else if (found.status == v1::ValidityCheck::PASS) {
      found = Passes(numbers);
    }
  }
  return found;
}

Finding TravelLimit(const ValidityFacts& facts) {
  Finding found = NotRun("no attack has a fixed step size");
  for (const AttackFacts& attack : facts.attacks) {
    if (!HasTravel(attack)) continue;
    const double travel = Travel(attack);
    const Numbers numbers{travel, 1, facts.samples};
    if (const AttackFacts* other = SameAttack(facts, attack);
        travel < 1 - kSlack && other != nullptr) {
      return Fails(kError, numbers,
                   absl::StrFormat("results at %g and %g come from the same attack", attack.epsilon,
                                   other->epsilon));
    }
    if (travel < 2 - kSlack && (found.status != v1::ValidityCheck::FAIL || travel < found.value)) {
      found = Fails(travel < 1 - kSlack ? kWarning : kInfo, numbers,
                    absl::StrFormat("the attack can move at most %g of %g", travel * attack.epsilon,
                                    attack.epsilon));
    } else if (found.status == v1::ValidityCheck::NOT_RUN) {
      found = Passes(numbers);
    }
  }
  return found;
}

Finding EpsilonMonotone(const ValidityFacts& facts) {
  if (!facts.epsilons.ok()) return NotRun(std::string(facts.epsilons.status().message()));
  Finding found = Passes({0, 2, 0});
  for (const EpsilonPair& pair : *facts.epsilons) {
    const auto n = static_cast<double>(pair.samples);
    const auto rise = static_cast<double>(pair.recovered - pair.lost);
    const double error =
        std::sqrt(static_cast<double>(pair.recovered + pair.lost) - rise * rise / n);
    const Numbers numbers{100 * rise / n, 200 * error / n, pair.samples};
    if (rise > 0 && rise > 2 * error) {
      return Fails(kWarning, numbers, "accuracy rises with epsilon");
    }
    found = Passes(numbers);
  }
  return found;
}

Finding UnboundedAttack(const ValidityFacts& facts) {
  if (!facts.unbounded.ok()) return NotRun(std::string(facts.unbounded.status().message()));
  const Share& left = *facts.unbounded;
  const double points = 100 * static_cast<double>(left.count) / static_cast<double>(left.samples);
  const double chance = 100 / static_cast<double>(facts.num_classes);
  const Numbers numbers{points, points > chance ? chance : 0, left.samples};
  if (left.count == 0) return Passes(numbers);
  return Fails(points > chance ? kError : kWarning, numbers,
               absl::StrFormat("an unbounded attack leaves %.2f %%: the gradients do not lead to "
                               "errors",
                               points));
}

Finding PreprocessingGap(const ValidityFacts& facts) {
  constexpr double kMostLost = 0.05;
  if (facts.broken == 0) return NotRun("no adversarial image was found");
  const double lost =
      static_cast<double>(facts.broken - facts.broken_8bit) / static_cast<double>(facts.broken);
  const Numbers numbers{lost, kMostLost, facts.broken};
  if (lost <= kMostLost) return Passes(numbers);
  return Fails(
      kWarning, numbers,
      absl::StrFormat("%.1f %% of adversarial images do not survive preprocessing", 100 * lost));
}

Finding CertifiedFloor(const ValidityFacts& facts) {
  if (!facts.declared_certified.has_value()) return NotRun("no certified accuracy was declared");
  const Numbers numbers{facts.robust.ratio(), *facts.declared_certified, facts.samples};
  if (facts.robust.ratio() >= *facts.declared_certified) return Passes(numbers);
  return Fails(kError, numbers,
               "attack result is below the certificate: bug in epsilon, bounds or data");
}

}  // namespace adamant::validity
