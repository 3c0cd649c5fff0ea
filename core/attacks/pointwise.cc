// SPDX-License-Identifier: Apache-2.0
// Pointwise attack (Schott et al. 2018, arXiv 1805.09190): starts at an image with salt and pepper
// noise that is misclassified and sets one pixel after another back to its clean value, in random
// order, as long as the image stays misclassified; again and again until no pixel can go back.
//
// Differs from Foolbox: whole pixels instead of single values, which is what L0 counts; a start
// that is locally minimal is followed by the next one instead of the end.
#include <algorithm>

#include "core/attacks/decision_start.h"

namespace adamant {
namespace {

bool Differs(const Subject& subject, const Pixels& x, int64_t pixel) {
  for (int64_t i = pixel; i < subject.count(); i += subject.shape.plane()) {
    if (x[i] != subject.clean[i]) return true;
  }
  return false;
}

// One pass over the pixels of `x`; `reset` counts those that went back.
Script ResetPixels(Subject& subject, DrawAt at, Pixels& x, int64_t& reset) {
  std::vector<int64_t> order(static_cast<size_t>(subject.shape.plane()));
  subject.rng.Permutation(at, absl::MakeSpan(order));
  Pixels candidate = x;
  for (const int64_t pixel : order) {
    if (!Differs(subject, x, pixel)) continue;
    for (int64_t i = pixel; i < subject.count(); i += subject.shape.plane()) {
      candidate[i] = subject.clean[i];
    }
    const std::vector<Answer>& answers = co_await subject.Ask(candidate);
    if (answers[0].wrong) {
      x = candidate;
      ++reset;
    } else {
      candidate = x;
    }
  }
}

Script Shrink(Subject& subject) {
  Pixels x;
  uint32_t pass = 0;
  for (uint16_t restart = 0;; ++restart) {
    co_await FindSaltAndPepper(subject, restart, x);
    int64_t reset = 1;
    while (reset > 0) {
      reset = 0;
      const DrawAt at{.step = ++pass, .purpose = Purpose::kDirection};
      co_await ResetPixels(subject, at, x, reset);
    }
  }
}

class Pointwise final : public Attack {
 public:
  explicit Pointwise(const Params& params)
      : options_{.queries = params.Int("queries"), .aim = ScriptOptions::Aim::kNearest} {}

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    return RunScripts(victim, batch, threat, settings, control, options_, Shrink);
  }

 private:
  const ScriptOptions options_;
};

const Registration<Attack> kPointwise{
    {.name = "pointwise",
     .summary = "sets the pixels of a noisy image back while it stays misclassified",
     .paper = "Schott et al. 2018, arXiv 1805.09190",
     .params = {Int("queries", 10000).Range(1, 1000000).Doc("forward passes")},
     .norms = {"l0"},
     .traits = {"forward_only"},
     .test_params = {{"queries", 400}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<Pointwise>(params);
    }};

}  // namespace
}  // namespace adamant
