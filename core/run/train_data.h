// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/run_control.h"
#include "core/data/dataset.h"

namespace adamant {

// A slice of a dataset, decoded once and kept in CPU memory: as bytes when every value is a
// multiple of 1/255, else as float32. Immutable, thread-safe.
class TrainData {
 public:
  static absl::StatusOr<TrainData> Load(const DataSlice& slice, const RunControl& control);

  int64_t size() const { return ids_.size(0); }
  // Samples at these positions of the slice, in this order, on the CPU.
  Batch Gather(absl::Span<const int64_t> positions) const;

 private:
  at::Tensor images_;  // uint8 or float32 [N,C,H,W]
  at::Tensor labels_;  // int64 [N]
  at::Tensor ids_;     // int64 [N]
};

// Splits the ids of `slice`: the last `ratio` of their permutation by stream `split` validates, in
// that random order; the training part keeps the order of the slice.
std::pair<DataSlice, DataSlice> SplitForValidation(const DataSlice& slice, double ratio,
                                                   uint64_t seed);

// The permutation of 0..size-1 for an epoch: a function of (seed, epoch) alone.
std::vector<int64_t> EpochOrder(uint64_t seed, int64_t epoch, int64_t size);

}  // namespace adamant
