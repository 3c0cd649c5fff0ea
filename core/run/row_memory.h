// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "core/models/model.h"

namespace adamant {

// Bytes of host memory that a call of the network with its input gradient needs at most: a line
// through what calls with two and four rows allocated (one row is computed by other kernels).
// Parameters are not in it.
struct RowMemory {
  int64_t fixed = 0;
  int64_t per_row = 0;
  int64_t Of(int64_t rows) const { return fixed + per_row * rows; }
};

// The model must be on the CPU. Seven rows go forward and backward; calls are not counted anywhere.
RowMemory MeasureRowMemory(Model& model);

// `rows`, halved until a call fits into 60 % of `budget` bytes; at least 1.
int64_t RowsWithin(const RowMemory& memory, int64_t budget, int64_t rows);

}  // namespace adamant
