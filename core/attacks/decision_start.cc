// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/decision_start.h"

namespace adamant {
namespace {

constexpr uint32_t kAmounts = 50;

}  // namespace

Script FindUniform(Subject& subject, Pixels& found) {
  const double low = subject.threat.clip_min;
  const double range = subject.threat.clip_max - low;
  found.resize(static_cast<size_t>(subject.count()));
  for (uint32_t draw = 0;; ++draw) {
    subject.rng.Uniform({.step = draw, .purpose = Purpose::kStart}, absl::MakeSpan(found));
    for (float& v : found) v = static_cast<float>(low + range * v);
    const std::vector<Answer>& answers = co_await subject.Ask(found);
    if (answers[0].wrong) co_return;
  }
}

Script FindSaltAndPepper(Subject& subject, uint16_t restart, Pixels& found) {
  Pixels places(static_cast<size_t>(subject.count()));
  Pixels signs(places.size());
  for (uint32_t draw = 0;; ++draw) {
    subject.rng.Uniform({.step = draw, .restart = restart, .purpose = Purpose::kStart},
                        absl::MakeSpan(places));
    subject.rng.Signs({.step = draw, .restart = restart, .purpose = Purpose::kStart, .draw = 1},
                      absl::MakeSpan(signs));
    const float share = static_cast<float>(draw % kAmounts + 1) / kAmounts;
    found = subject.Clean();
    for (size_t i = 0; i < found.size(); ++i) {
      if (places[i] >= share) continue;
      found[i] =
          static_cast<float>(signs[i] > 0 ? subject.threat.clip_max : subject.threat.clip_min);
    }
    const std::vector<Answer>& answers = co_await subject.Ask(found);
    if (answers[0].wrong) co_return;
  }
}

}  // namespace adamant
