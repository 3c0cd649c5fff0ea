// SPDX-License-Identifier: Apache-2.0
// What an evaluation reads: images and labels by position.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/data/dataset.h"

namespace adamant {

// Samples by position 0..size-1. read(positions) returns CPU tensors in that order.
struct Samples {
  int64_t size = 0;
  std::function<absl::StatusOr<Batch>(absl::Span<const int64_t>)> read;
};
Samples SamplesOf(const DataSlice& slice);  // borrows the slice
Samples SamplesOf(const Batch& batch);      // shares the tensors

// INVALID_ARGUMENT names the first sample whose label is outside 0..num_classes-1 or whose image is
// not inside [0,1].
absl::Status CheckSamples(const Batch& batch, int64_t num_classes);

std::vector<int64_t> Labels(const Batch& batch);
at::Tensor ToTensor(absl::Span<const int64_t> values);  // int64

}  // namespace adamant
