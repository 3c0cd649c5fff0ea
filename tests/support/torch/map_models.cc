// SPDX-License-Identifier: Apache-2.0
#include "tests/support/torch/map_models.h"

#include <stdexcept>

#include "core/base/torch.h"

namespace adamant::testing {

MapModel::MapModel(const std::vector<std::vector<float>>& weight, const std::vector<float>& bias)
    : bias_(torch::tensor(bias)) {
  std::vector<at::Tensor> rows;
  for (const std::vector<float>& row : weight) rows.push_back(torch::tensor(row));
  weight_ = at::stack(rows);
  info_.architecture.set_name("maps");
  info_.shape = {1, 2, 2, weight_.size(0)};
  info_.taps = {{"maps", 2, 2, 2}};
  info_.default_tap = "maps";
  info_.gap_head = true;
}

void MapModel::set_squares(bool squares) {
  squares_ = squares;
  info_.gap_head = !squares;
}

at::Tensor MapModel::Forward(const at::Tensor& images, const TapVisitor& visit) const {
  rows_ += images.size(0);
  at::Tensor maps = at::cat({images, 1 - images}, 1);
  if (visit) maps = visit("maps", maps);
  const at::Tensor pooled = (squares_ ? maps.square() : maps).mean({2, 3});
  return (pooled.unsqueeze(1) * weight_).sum(2) + bias_;
}

std::pair<at::Tensor, at::Tensor> MapModel::GapHead() const {
  if (!info_.gap_head) return {};
  return {weight_, bias_};
}

Batch FourPixels() {
  return {torch::tensor({0.2F, 0.4F, 0.6F, 0.8F}).view({1, 1, 2, 2}), torch::zeros({1}, at::kLong),
          torch::zeros({1}, at::kLong)};
}

std::unique_ptr<Model> MiniGap(const ModelShape& shape) {
  v1::PluginSpec spec;
  spec.set_name("mini_gap");
  (*spec.mutable_params()->mutable_fields())["width"].set_number_value(4);
  auto model = MakePlugin<Model>(spec, shape, uint64_t{1});
  if (!model.ok()) throw std::logic_error(std::string(model.status().message()));
  return *std::move(model);
}

}  // namespace adamant::testing
