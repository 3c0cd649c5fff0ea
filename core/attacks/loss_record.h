// SPDX-License-Identifier: Apache-2.0
// How the loss of each sample went.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace adamant {

// The losses that a search observed, per row of its batch and in order; of the last restart. A
// Judge that is one as well gets them. Not thread-safe.
class LossRecord {
 public:
  virtual ~LossRecord() = default;

  void Begin(const at::Tensor& rows);  // int64 [M]: a restart of these rows
  void Add(const at::Tensor& rows, const at::Tensor& losses);

  const std::vector<std::vector<double>>& curves() const { return curves_; }

 private:
  std::vector<std::vector<double>> curves_;
};

}  // namespace adamant
