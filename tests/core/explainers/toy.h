// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "core/base/torch.h"
#include "core/explainers/explainer.h"
#include "tests/support/torch/memory_run_context.h"

namespace adamant {

// mini_gap with fresh weights for `shapes`.
inline std::unique_ptr<Model> MiniGap(uint64_t seed = 1) {
  return *MakePlugin<Model>(Plugin("mini_gap", {{"width", 4}}), ModelShape{1, 28, 28, 10}, seed);
}

// The first `count` test images of `shapes`.
inline Batch Digits(int64_t count) {
  const auto dataset = *MakePlugin<Dataset>(Plugin("shapes"), DataFiles{});
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(i);
  return *dataset->Read("test", ids);
}

// A chunk of `shapes` that explains the true classes at the default layer.
inline ExplainInput Input(const Model& model, int64_t count) {
  const Batch batch = Digits(count);
  ExplainInput input;
  input.images = batch.images;
  input.classes = batch.labels;
  input.ids = batch.ids;
  input.layers = *SelectLayers(model.info(), {});
  return input;
}

inline v1::PluginSpec WithBool(v1::PluginSpec spec, const std::string& name, bool value) {
  (*spec.mutable_params()->mutable_fields())[name].set_bool_value(value);
  return spec;
}

// Largest difference relative to the largest magnitude of `b`.
inline double RelativeDifference(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

}  // namespace adamant
