// SPDX-License-Identifier: Apache-2.0
// Geometry of the threat models: feasible sets, start points, step directions, step sizes.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "core/attacks/attack.h"
#include "core/base/rng.h"

namespace adamant {

// {v : ||v - x||_norm <= epsilon} and the box, for the rows x [N,C,H,W]. Immutable.
class FeasibleSet {
 public:
  FeasibleSet(const at::Tensor& origin, const ThreatModel& threat);

  // LINF clamps; L2 scales, then clips; L1 is the Euclidean projection onto ball and box; L0 keeps
  // the floor(epsilon) pixels with the largest channel-summed squared change.
  at::Tensor Project(const at::Tensor& images) const;

  // The set of the rows `keep` (int64 [M]).
  FeasibleSet Select(const at::Tensor& keep) const;

  const at::Tensor& origin() const { return origin_; }
  const ThreatModel& threat() const { return threat_; }

 private:
  at::Tensor ProjectL2(const at::Tensor& images) const;
  at::Tensor ProjectL1(const at::Tensor& images) const;
  at::Tensor ProjectL0(const at::Tensor& images) const;

  at::Tensor origin_;
  ThreatModel threat_;
  at::Tensor low_;  // LINF: the ball cut by the box
  at::Tensor high_;
};

// One random point of each row's set: uniform in the L2 and LINF ball; see attacks.md 1.6 for L1
// and L0. ids int64 [N] key the draws.
at::Tensor RandomStart(const FeasibleSet& set, const at::Tensor& ids, uint64_t seed,
                       const std::string& stream, const DrawAt& at);

// One random point of each row's sphere, before clipping: LINF a uniform draw scaled to the largest
// change epsilon, L2 a uniform direction, L1 a normal draw projected. Throws std::invalid_argument
// for L0.
at::Tensor SurfaceStart(const FeasibleSet& set, const at::Tensor& ids, uint64_t seed,
                        const std::string& stream, const DrawAt& at);

// A float tensor shaped and placed like `like` [N,...], row i filled by draw(stream of ids[i],
// values of row i). ids int64 [N].
at::Tensor DrawRows(const at::Tensor& like, const at::Tensor& ids, uint64_t seed,
                    const std::string& stream,
                    const std::function<void(const Rng&, absl::Span<float>)>& draw);

// Direction of steepest ascent with unit step: LINF sign; L2 unit vector; L1 the sign of the
// `sparsity` share of largest components, L1 norm 1; L0 (our choice) scaled to a largest component
// of 1.
at::Tensor StepDirection(Norm norm, const at::Tensor& gradient, double sparsity = 0.1);

struct StepRule {
  std::string rule = "madry";  // fixed, eps_div_steps, madry (2.5 epsilon / steps), fraction
  double step_size = 0;        // > 0 overrides the rule
  double step_frac = 0.1;      // fraction: step_frac * epsilon
};

// Parameters steps, step_size, step_rule and step_frac, and the rule that they make.
std::vector<Param> StepParams(int64_t steps, const std::string& rule, int64_t most = 100000);
StepRule ParseStepRule(const Params& params);

// Step in pixel units. For L0 the rules take the range of a pixel, 1, for epsilon. Throws
// std::invalid_argument for rule fixed without a step size.
double StepSize(const StepRule& rule, const ThreatModel& threat, int64_t steps, double step_scale);

// Kurakin et al. 2016: the number of steps of 1/255, floor(min(255 eps + 4, 1.25 * 255 eps)), at
// least 1.
int64_t KurakinSteps(double epsilon);

// mu * velocity + gradient / max(||gradient||_1, 1e-12), without the first term where `velocity` is
// undefined; mu = 0: the gradient.
at::Tensor Accumulated(const at::Tensor& velocity, const at::Tensor& gradient, double mu);

// Sum over all but the first dimension: [N]. Equal to the bit for any N.
at::Tensor RowSum(const at::Tensor& values);

// Size of each row of `change` [N,C,H,W] in a norm, double [N]; L0 counts pixels.
at::Tensor RowNorm(Norm norm, const at::Tensor& change);

// The largest distance at which a claim is worth a verification: epsilon and what float32 rounds.
double ClaimDistance(const ThreatModel& threat);

// A per-row value [N] shaped to multiply images [N,C,H,W].
at::Tensor PerRow(const at::Tensor& values);

}  // namespace adamant
