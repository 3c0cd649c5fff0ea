// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/decision_start.h"

#include <algorithm>

namespace adamant {
namespace {

constexpr uint32_t kAmounts = 50;
constexpr uint32_t kFineTries = 50;
constexpr uint32_t kGrains = 5;  // 1, 2, 4, 8 and 16 pixels
constexpr int kBisections = 30;

// Every square of `grain` pixels takes the value of its corner.
void Coarsen(const PlaneShape& shape, int64_t grain, Pixels& image) {
  for (int64_t p = 0; p < shape.size(); ++p) {
    const int64_t row = p % shape.plane() / shape.width;
    const int64_t column = p % shape.width;
    image[p] = image[p - row % grain * shape.width - column % grain];
  }
}

}  // namespace

Script FindUniform(Subject& subject, Pixels& found) {
  const double low = subject.threat.clip_min;
  const double range = subject.threat.clip_max - low;
  found.resize(static_cast<size_t>(subject.count()));
  for (uint32_t draw = 0;; ++draw) {
    subject.rng.Uniform({.step = draw, .purpose = Purpose::kStart}, absl::MakeSpan(found));
    for (float& v : found) v = static_cast<float>(low + range * v);
    if (draw >= kFineTries) Coarsen(subject.shape, int64_t{1} << (draw % kGrains), found);
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

void Between(const Subject& subject, const Pixels& far, double share, Pixels& out) {
  for (size_t i = 0; i < far.size(); ++i) {
    const float x = subject.clean[i];
    if (subject.threat.norm == Norm::kLinf) {
      const auto reach = static_cast<float>(share);
      out[i] = std::clamp(far[i], x - reach, x + reach);
    } else {
      out[i] = static_cast<float>(x + share * (static_cast<double>(far[i]) - x));
    }
  }
}

Script Approach(Subject& subject, double width, Pixels& x) {
  const Pixels far = x;
  Pixels middle(x.size());
  double low = 0;
  double high = subject.threat.norm == Norm::kLinf ? Distance(subject, x, subject.clean) : 1;
  for (int i = 0; i < kBisections && high - low > width; ++i) {
    const double share = (low + high) / 2;
    Between(subject, far, share, middle);
    const std::vector<Answer>& answers = co_await subject.Ask(middle);
    (answers[0].wrong ? high : low) = share;
    if (answers[0].wrong) x = middle;
  }
}

}  // namespace adamant
