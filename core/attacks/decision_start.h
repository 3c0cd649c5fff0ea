// SPDX-License-Identifier: Apache-2.0
// Where decision-based attacks begin: an image that is misclassified, however far away, and the
// boundary between it and the clean image.
#pragma once

#include "core/attacks/script.h"

namespace adamant {

// Uniform images until one is misclassified. All fine noise may belong to the label's class: later
// tries have grains of up to 16 pixels as well.
Script FindUniform(Subject& subject, Pixels& found);
// The clean image with ever more black and white values, up to all of them, then again. Calls with
// another `restart` draw other noise.
Script FindSaltAndPepper(Subject& subject, uint16_t restart, Pixels& found);

// The clean image with `share` of its change to `far` (L2), or with the change cut to +-share
// (LINF). `out` may be `far`.
void Between(const Subject& subject, const Pixels& far, double share, Pixels& out);
// Moves the misclassified image `x` to the boundary by bisection over Between, to `width`.
Script Approach(Subject& subject, double width, Pixels& x);

}  // namespace adamant
