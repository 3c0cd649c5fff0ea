// SPDX-License-Identifier: Apache-2.0
// What the checks of the validity report look at: counts and measurements, no model and no tensors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "adamant/v1/attack.pb.h"
#include "core/run/validity/measurements.h"

namespace adamant::validity {

// One attack instance.
struct AttackFacts {
  std::string name;   // plug-in
  std::string label;  // "0:pgd"
  v1::Norm norm = v1::LINF;
  double epsilon = 0;
  bool own_budget = false;  // no L_p ball
  bool gradient = false;    // white-box
  bool one_step = false;
  bool targeted = false;  // apgd_t, multi_targeted, fab_t
  bool untargeted = false;
  bool forward_only = false;
  bool transfer = false;  // replays a crafted set
  bool adaptive = false;
  bool needs_logits = false;    // a loss other than cross-entropy
  bool records_losses = false;  // iterative, and a search that observes its loss
  bool claims_unseen = false;   // claims images that it has not evaluated in float32
  std::string loss;             // "" when it has none
  std::string schedule;         // every parameter but the loss
  int64_t steps = 0;            // of a fixed step size; 0: none
  double step_size = 0;
  int64_t restarts = 1;
  double robust = 0;  // points: after it in a cascade, else against it alone
  int64_t rejected = 0;
  int64_t broken = 0;  // first by it
  std::vector<double> accuracy_by_step;
  std::vector<std::string> notes;
};

struct ValidityFacts {
  int64_t samples = 0;
  v1::Accuracy clean;
  v1::Accuracy robust;
  int64_t errors = 0;
  int64_t fragile = 0;
  int64_t broken = 0;
  int64_t broken_8bit = 0;
  int64_t nonfinite_grads = 0;
  int64_t nonfinite_logits = 0;
  int64_t num_classes = 0;
  int64_t label_classes = 0;  // classes that occur
  bool craft = false;
  std::optional<double> declared_clean;  // ratios
  std::optional<double> declared_certified;
  std::string declared_defence;  // an auxiliary one that the model file tells; "" for none
  std::vector<AttackFacts> attacks;

  Measured<PixelRange> pixels = OnlyInFull();
  Measured<Share> probabilities = OnlyInFull();  // rows that look like probabilities
  Measured<ForwardNoise> noise = OnlyInFull();
  Measured<Share> batch_rows = OnlyInFull();     // samples compared
  double batch_difference = 0;                   // relative, of their logits
  Measured<std::string> changes = OnlyInFull();  // how the model changes; "": it does not
  Measured<ZeroGradients> zero_gradients = OnlyInFull();
  Measured<std::vector<ClassifierBound>> bounds = OnlyInFull();
  Measured<OneStepComparison> one_step = OnlyInFull();
  Measured<Share> only_black_box = OnlyInFull();
  Measured<double> square_drop = OnlyInFull();  // points
  Measured<Share> unbounded = OnlyInFull();     // left by an unbounded attack
  Measured<std::vector<std::vector<double>>> loss_curves = OnlyInFull();
  Measured<Share> silent = OnlyInFull();  // robust samples with an accepted claim
  Measured<NoiseSearch> random_search = OnlyInFull();
  Measured<std::vector<EpsilonPair>> epsilons = OnlyInFull();
  Measured<std::vector<Doubling>> doublings = OnlyInFull();
  Measured<std::pair<double, double>> restarts = OnlyInFull();  // points before and after
  Measured<double> loss_noise = OnlyInFull();                   // mean relative change
  Measured<std::vector<std::string>> self_test = OnlyInFull();  // what was missed
  Measured<Binarized> binarized = OnlyInFull();
  // Attacks that followed on one where Square helped, and the points they left.
  std::vector<std::pair<std::string, double>> follow_up;
  Measured<std::vector<LossPair>> losses = OnlyInFull();
};

}  // namespace adamant::validity
