// SPDX-License-Identifier: Apache-2.0
// From a random image back to the decision boundary: a first, far adversarial image.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/attacks/search.h"

namespace adamant {

// The nearest misclassified of `draws` random images for each row in search, uniform noise in
// cells of 1, 2, 4 and 8 pixels in turn, so that it does not depend on the class that fine noise is
// taken for; the clean image where there is none. All of them are evaluated, and observed.
at::Tensor RandomMisclassified(Search& search, int64_t draws);

// The last misclassified image of a bisection between the clean images and `far`, each step
// evaluated and observed. `clamp`: intermediate images change no value by more than the share of
// the box; else every value by the same share of its way.
at::Tensor OntoBoundary(Search& search, at::Tensor far, int64_t halvings, bool clamp);

}  // namespace adamant
