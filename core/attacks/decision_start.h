// SPDX-License-Identifier: Apache-2.0
// Where decision-based attacks begin: an image that is misclassified, however far away.
#pragma once

#include "core/attacks/script.h"

namespace adamant {

// Uniform images until one is misclassified.
Script FindUniform(Subject& subject, Pixels& found);
// The clean image with ever more black and white values, up to all of them, then again. Calls with
// another `restart` draw other noise.
Script FindSaltAndPepper(Subject& subject, uint16_t restart, Pixels& found);

}  // namespace adamant
