// SPDX-License-Identifier: Apache-2.0
// Models with activation maps, for attacks and losses that look at them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/data/dataset.h"
#include "core/models/model.h"
#include "core/models/prototypes.h"

namespace adamant::testing {

// Grey images of two by two pixels; the tap `maps` has two channels, x and 1 - x; z = W a + b with
// the spatial means a of the maps, or of their squares.
class MapModel : public Model, public ObjectiveTensors {
 public:
  MapModel(const std::vector<std::vector<float>>& weight, const std::vector<float>& bias);

  void set_gap(bool gap) { info_.gap_head = gap; }  // whether the model tells its head
  void set_squares(bool squares);                   // of the maps; the model then has no GAP head
  void set_default_tap(const std::string& tap) { info_.default_tap = tap; }
  const at::Tensor& weight() const { return weight_; }  // [K,2]
  int64_t rows() const { return rows_; }                // of all forward passes

  const ModelInfo& info() const override { return info_; }
  at::Tensor Forward(const at::Tensor& images, const TapVisitor& visit) const override;
  NamedTensors Parameters() const override { return {{"weight", weight_}, {"bias", bias_}}; }
  NamedTensors Buffers() const override { return {}; }
  void Train(bool) override {}
  bool training() const override { return false; }
  void To(const c10::Device&) override {}
  std::pair<at::Tensor, at::Tensor> GapHead() const override;

 protected:
  ModelInfo info_;

 private:
  at::Tensor weight_, bias_;
  bool squares_ = false;
  mutable int64_t rows_ = 0;
};

// 0.2 0.4 / 0.6 0.8, mean 0.5, label 0.
Batch FourPixels();

// The architecture mini_gap with fresh weights of width 4.
std::unique_ptr<Model> MiniGap(const ModelShape& shape);

}  // namespace adamant::testing
