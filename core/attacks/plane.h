// SPDX-License-Identifier: Apache-2.0
// Projections onto a hyperplane inside a box, in three norms (Croce and Hein 2020b, appendix B).
#pragma once

#include <ATen/core/Tensor.h>

#include "core/attacks/attack.h"

namespace adamant {

// One hyperplane for each row: {u : normal.u = normal.point - excess}.
struct Planes {
  at::Tensor normal;  // [N,...]
  at::Tensor excess;  // double [N]: of the point that the plane was taken at
};

// For each row of `points` (inside the box) the change d that is smallest in the threat's norm
// (LINF, L2, L1) and puts point + d on its plane and in the box; where there is none, every
// coordinate with a normal other than 0 goes to its bound. L1: among equal normals the change is
// shared. Without sorting: LINF and L2 by Newton's method on a piecewise linear function, L1 by
// selection; floats on the CPU row by row, else by tensors. Equal to 1e-6 for any device.
at::Tensor ChangeOntoPlanes(const ThreatModel& threat, const at::Tensor& points,
                            const Planes& planes);

// The form of it for other devices than the CPU.
at::Tensor ChangeOntoPlanesByTensors(const ThreatModel& threat, const at::Tensor& points,
                                     const Planes& planes);

}  // namespace adamant
