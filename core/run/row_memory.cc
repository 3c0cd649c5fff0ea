// SPDX-License-Identifier: Apache-2.0
#include "core/run/row_memory.h"

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <memory>

#include "core/attacks/losses.h"
#include "core/attacks/victim.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

// What the calling thread allocates through LibTorch while the meter is installed.
class PeakMeter final : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, int64_t alloc_size, size_t, size_t, c10::Device) override {
    now_ += alloc_size;
    peak_ = std::max(peak_, now_);
  }
  bool memoryProfilingEnabled() const override { return true; }
  int64_t peak() const { return peak_; }

 private:
  int64_t now_ = 0;
  int64_t peak_ = 0;
};

int64_t PeakOf(Model& model, int64_t rows) {
  const ModelShape& shape = model.info().shape;
  Victim victim(model);
  const at::Tensor images = at::full({rows, shape.channels, shape.height, shape.width}, 0.5F);
  const at::Tensor labels = at::zeros({rows}, at::kLong);
  const LossFunction loss = MakeLoss("ce", /*targeted=*/false, Numerics::kReference);
  const auto meter = std::make_shared<PeakMeter>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, meter);
  victim.Gradient(images, {labels}, loss);
  return meter->peak();
}

}  // namespace

RowMemory MeasureRowMemory(Model& model) {
  PeakOf(model, 1);  // what a model keeps after its first call
  const int64_t two = PeakOf(model, 2);
  const int64_t four = PeakOf(model, 4);
  const int64_t per_row = std::max<int64_t>(0, (four - two) / 2);
  return {.fixed = std::max<int64_t>(0, two - 2 * per_row), .per_row = per_row};
}

int64_t RowsWithin(const RowMemory& memory, int64_t budget, int64_t rows) {
  const int64_t most = budget / 5 * 3;
  while (rows > 1 && memory.Of(rows) > most) rows /= 2;
  return rows;
}

}  // namespace adamant
