// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/run/evaluation.h"
#include "core/run/row_memory.h"

namespace adamant {
namespace {

// Rows per call where nothing is asked for: 64 on the CPU and 256 on a GPU, halved for large
// images.
int64_t AutoComputeBatch(const ModelShape& shape, const std::string& device) {
  constexpr int64_t kLargeImage = 3 * 96 * 96;  // values per row that the default still allows
  int64_t rows = device == "cpu" ? 64 : 256;
  const int64_t values = shape.channels * shape.height * shape.width;
  for (int64_t size = values; size > kLargeImage && rows > 1; size /= 2) rows /= 2;
  return rows;
}

}  // namespace

int64_t ComputeBatch(const EvaluationOptions& options, Model& model) {
  if (options.compute_batch > 0) return options.compute_batch;
  const int64_t rows = std::max<int64_t>(
      1, AutoComputeBatch(model.info().shape, options.device) / options.micro_batch_divisor);
  if (options.memory_limit <= 0 || options.device != "cpu" || rows == 1) return rows;
  return RowsWithin(MeasureRowMemory(model), options.memory_limit, rows);
}

int64_t VerifyRows(int64_t compute_batch) {
  return std::clamp<int64_t>(compute_batch / 8, std::min<int64_t>(8, compute_batch), compute_batch);
}

}  // namespace adamant
