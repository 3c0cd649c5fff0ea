// SPDX-License-Identifier: Apache-2.0
// Checks of what was run and on how much.
#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/run/validity/check.h"

namespace adamant::validity {
namespace {

template <class Test>
bool Any(const ValidityFacts& facts, Test test) {
  return std::any_of(facts.attacks.begin(), facts.attacks.end(), test);
}

std::vector<std::string> Names(const ValidityFacts& facts) {
  std::vector<std::string> names;
  for (const AttackFacts& attack : facts.attacks) {
    if (std::find(names.begin(), names.end(), attack.name) == names.end()) {
      names.push_back(attack.name);
    }
  }
  return names;
}

// The defence that the model's behaviour gives away; "" for none.
std::string VisibleDefence(const ValidityFacts& facts) {
  if (DeterministicForward(facts).status == v1::ValidityCheck::FAIL) return "randomisation";
  if (StaticModel(facts).status == v1::ValidityCheck::FAIL) return "change at test time";
  if (ZeroGradient(facts).status == v1::ValidityCheck::FAIL) return "zero gradients";
  return "";
}

}  // namespace

Finding AttackMix(const ValidityFacts& facts) {
  const int kinds = Any(facts, [](const AttackFacts& a) { return a.gradient && a.untargeted; }) +
                    Any(facts, [](const AttackFacts& a) { return a.gradient && a.targeted; }) +
                    Any(facts, [](const AttackFacts& a) {
                      return a.forward_only && !a.own_budget;  // the others search no ball
                    });
  const Numbers numbers{static_cast<double>(kinds), 3, facts.samples};
  if (kinds == 3) return Passes(numbers);
  return Fails(kWarning, numbers, absl::StrCat("only ", absl::StrJoin(Names(facts), ", "), " ran"));
}

Finding AdaptiveNeeded(const ValidityFacts& facts) {
  const std::string defence = VisibleDefence(facts);
  const std::string& name = defence.empty() ? facts.declared_defence : defence;
  if (name.empty()) return NotRun("the model declares no auxiliary defence");
  if (Any(facts, [](const AttackFacts& a) { return a.adaptive; })) return Passes({1, 1, 0});
  return Fails(defence.empty() ? kInfo : kWarning, {0, 1, 0},
               absl::StrCat("defence ", name, ": adaptive attack missing"));
}

Finding AttackDiversity(const ValidityFacts& facts) {
  constexpr double kMostShare = 0.95;
  if (facts.attacks.size() < 2) return NotRun("one attack ran");
  if (facts.broken == 0) return NotRun("no sample was broken");
  std::map<std::string, int64_t> by_name;
  for (const AttackFacts& attack : facts.attacks) by_name[attack.name] += attack.broken;
  const auto most =
      std::max_element(by_name.begin(), by_name.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  const double share = static_cast<double>(most->second) / static_cast<double>(facts.broken);
  const Numbers numbers{share, kMostShare, facts.broken};
  if (share < kMostShare) return Passes(numbers);
  return Fails(kInfo, numbers, absl::StrCat(most->first, " does all the work"));
}

Finding FragilePoints(const ValidityFacts& facts) {
  constexpr double kMostShare = 0.005;
  int64_t count = facts.fragile;
  // An image that was claimed without its float32 logits may be refused for any reason, not for
  // rounding alone.
  for (const AttackFacts& attack : facts.attacks) {
    if (!attack.claims_unseen) count += attack.rejected;
  }
  const double share = static_cast<double>(count) / static_cast<double>(facts.samples);
  const Numbers numbers{share, kMostShare, facts.samples};
  if (share <= kMostShare) return Passes(numbers);
  return Fails(kWarning, numbers, absl::StrCat(count, " decisions are within rounding"));
}

Finding SampleSize(const ValidityFacts& facts) {
  constexpr int64_t kFewest = 200;
  constexpr double kWidest = 3;
  const double half = 50 * (facts.robust.high() - facts.robust.low());
  const Numbers numbers{half, kWidest, facts.samples};
  if (facts.samples >= kFewest && half <= kWidest) return Passes(numbers);
  return Fails(kWarning, numbers,
               absl::StrFormat("n=%d: interval ±%.2f points", facts.samples, half));
}

Finding Protocol(const ValidityFacts& facts) {
  const Numbers numbers{0, 1, facts.samples};
  if (!Any(facts, [](const AttackFacts& a) { return !a.transfer; })) {
    return Fails(kError, numbers, "transfer protocol: not a robust accuracy");
  }
  if (facts.craft) {
    return Fails(kError, numbers, "last-iterate protocol: successes along the way are not counted");
  }
  return Passes({1, 1, facts.samples});
}

}  // namespace adamant::validity
