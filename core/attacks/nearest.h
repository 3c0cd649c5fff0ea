// SPDX-License-Identifier: Apache-2.0
// What minimum-norm attacks share beside Search::ObserveNearest.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "core/attacks/plane.h"
#include "core/attacks/search.h"

namespace adamant {

// target and stop_at_eps.
std::vector<Param> NearestParams(const std::string& target = "none");
// Ascends the log-odds, or what `loss` names.
SearchOptions ParseNearest(const Params& params, const std::string& loss = "ce");

// A minimum-norm attack that had nothing to search.
AttackResult NothingNear(const Batch& batch);

// The linearised boundary that is nearest to each point, out of several.
class NearestPlane {
 public:
  explicit NearestPlane(Norm norm) : norm_(norm) {}

  // `seen`: gradient and value of z_c - z_y for another class c. Nearer planes, by
  // |z_c - z_y| / ||gradient||_q, replace what was offered before.
  void Offer(const LossGradient& seen);

  const Planes& planes() const { return planes_; }

 private:
  Norm norm_;
  Planes planes_;
  at::Tensor distance_;
};

// Size of a gradient in the norm dual to `norm`, double [N]. Not for L0.
at::Tensor DualNorm(Norm norm, const at::Tensor& gradient);

// Whether the decision, with `kappa` added against the attacker, goes the attacker's way: bool [M].
at::Tensor Reaches(const Aims& aims, const at::Tensor& logits, double kappa);

// cos-shaped fall from `first` at step 0 to `last` at step `steps`.
double Cosine(double first, double last, int64_t step, int64_t steps);

// The constant c of  distance + c * loss  for each row of a batch: doubled in decimal steps until
// the attack succeeds, then halved between failure and success (Carlini and Wagner 2017).
class TradeOff {
 public:
  TradeOff(const at::Tensor& images, double initial, int64_t searches);

  // float [M]: of the rows in search.
  at::Tensor Constants(const at::Tensor& rows) const;
  // success: bool [M].
  void Succeeded(const at::Tensor& rows, const at::Tensor& success);
  // Ends search `number` (from 0) and chooses the next constants.
  void Update(int64_t number);

 private:
  int64_t searches_;
  at::Tensor constant_, low_, high_;  // double [N]
  at::Tensor found_;                  // bool [N]: with this constant
};

}  // namespace adamant
