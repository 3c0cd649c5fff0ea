// SPDX-License-Identifier: Apache-2.0
// What further passes of the network, or over the data, tell the checks of the validity report.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace adamant::validity {

// A measurement, or why there is none.
template <class T>
using Measured = absl::StatusOr<T>;
absl::Status Unmeasured(const std::string& why);
absl::Status OnlyInFull();

struct PixelRange {
  double low = 0;
  double high = 1;
  int64_t images = 0;
};
struct ForwardNoise {
  double difference = 0;  // largest, of logits scaled to unit length
  int64_t fewest_correct = 0;
  int64_t most_correct = 0;
  int64_t samples = 0;
};
struct ZeroGradients {
  int64_t samples = 0;
  std::vector<std::pair<std::string, int64_t>> by_loss;
};
// The most any classifier can reach at a threat, from the data alone.
struct ClassifierBound {
  double epsilon = 0;
  double robust = 0;  // ratio measured at this threat
  double bound = 1;   // ratio
  int64_t samples = 0;
};
struct OneStepComparison {
  std::optional<int64_t>
      only_one_step;     // samples that one step breaks and the iterative one leaves
  double iterative = 0;  // points
  double one_step = 0;
  int64_t samples = 0;
};
struct Share {
  int64_t count = 0;
  int64_t samples = 0;
};
struct NoiseSearch {
  int64_t broken = 0;  // by noise, of the survivors
  int64_t survivors = 0;
  int64_t gradient_broken = 0;  // of the probe set, by the best gradient attack
};
// Two epsilons on the same samples.
struct EpsilonPair {
  double smaller = 0;
  double larger = 0;
  int64_t recovered = 0;  // robust at the larger one only
  int64_t lost = 0;       // robust at the smaller one only
  int64_t samples = 0;
};
struct Doubling {
  int64_t steps = 0;                           // before it doubled
  double robust_before = 0, robust_after = 0;  // points
  double loss_before = 0, loss_after = 0;      // mean best loss of survivors
};
// How often an attack, and a random search, found an adversarial point that is there.
struct Binarized {
  int64_t found = 0;
  int64_t by_chance = 0;
  int64_t samples = 0;
};
struct LossPair {
  std::string first, second;                   // losses, otherwise equal attacks
  double first_robust = 0, second_robust = 0;  // points
};

}  // namespace adamant::validity
