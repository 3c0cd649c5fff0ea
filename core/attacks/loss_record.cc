// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/loss_record.h"

#include <algorithm>

#include "core/base/torch.h"

namespace adamant {

void LossRecord::Begin(const at::Tensor& rows) {
  const at::Tensor host = rows.to(at::kCPU);
  for (int64_t i = 0; i < host.size(0); ++i) {
    const auto row = static_cast<size_t>(host.const_data_ptr<int64_t>()[i]);
    if (row >= curves_.size()) curves_.resize(row + 1);
    curves_[row].clear();
  }
}

void LossRecord::Add(const at::Tensor& rows, const at::Tensor& losses) {
  const at::Tensor host = rows.to(at::kCPU);
  const at::Tensor values = losses.to(at::kCPU, at::kDouble).contiguous();
  for (int64_t i = 0; i < host.size(0); ++i) {
    const auto row = static_cast<size_t>(host.const_data_ptr<int64_t>()[i]);
    if (row >= curves_.size()) curves_.resize(row + 1);
    curves_[row].push_back(values.const_data_ptr<double>()[i]);
  }
}

}  // namespace adamant
