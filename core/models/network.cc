// SPDX-License-Identifier: Apache-2.0
#include "core/models/network.h"

#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "core/base/rng.h"
#include "core/base/torch.h"
#include "core/models/relu_max_pool.h"

namespace adamant {
namespace {

at::Tensor PerChannel(const Params& params, const std::string& name, int64_t channels) {
  std::vector<double> values = params.RealList(name);
  if (values.size() == 1) values.assign(static_cast<size_t>(channels), values[0]);
  if (static_cast<int64_t>(values.size()) != channels) {
    throw std::invalid_argument(absl::StrCat(name, " has ", values.size(),
                                             " values; give one, or one for each of the ", channels,
                                             " channels"));
  }
  return torch::tensor(values, at::kFloat).reshape({1, channels, 1, 1});
}

std::string ShapeText(const ModelShape& s) {
  return absl::StrCat(s.channels, "x", s.height, "x", s.width, " with ", s.num_classes, " classes");
}

}  // namespace

std::vector<Param> WithNormaliser(const std::string& kind, const std::vector<double>& mean,
                                  const std::vector<double>& std, std::vector<Param> params) {
  params.push_back(Choice("normaliser", kind, {"identity", "channel", "per_image"})
                       .Doc("first layer: nothing, (x - mean) / std per channel, or each image to "
                            "mean 0 and deviation 1"));
  params.push_back(
      RealList("normaliser_mean", mean).Range(-10, 10).Doc("channel: one value, or one a channel"));
  params.push_back(
      RealList("normaliser_std", std).Range(1e-6, 10).Doc("channel: one value, or one a channel"));
  return params;
}

ModelShape ShapeOr(ModelShape shape, const ModelShape& own) {
  if (shape.channels == 0) shape.channels = own.channels;
  if (shape.height == 0) shape.height = own.height;
  if (shape.width == 0) shape.width = own.width;
  if (shape.num_classes == 0) shape.num_classes = own.num_classes;
  return shape;
}

at::Tensor Pass::Tap(const std::string& name, const at::Tensor& value) const {
  return visit_ ? visit_(name, value.to(at::kFloat)).to(value.scalar_type()) : value;
}

at::Tensor Pass::Relu(const at::Tensor& x) const {
  return leak_.defined() ? LeakyBackwardRelu(x, leak_) : at::relu(x);
}

at::Tensor Pass::ReluMaxPool(const at::Tensor& x, const std::string& tap) const {
  if (!visit_ || tap.empty()) return adamant::ReluMaxPool(x, leak_);
  return MaxPool(Tap(tap, Relu(x)), 2, 2);
}

at::Tensor Pass::Dropout(const at::Tensor& x, double p) {
  if (!training_ || p <= 0) return x;
  at::Tensor uniform = torch::empty(x.sizes());
  Rng(seed_, absl::StrCat("dropout:", step_), 0)
      .Uniform({.step = call_, .draw = dropout_layers_++},
               {uniform.mutable_data_ptr<float>(), static_cast<size_t>(uniform.numel())});
  return x * uniform.ge(p).to(x.options()).div_(1 - p);
}

Network::Network(const Params& params, const ModelShape& shape, uint64_t seed) : weights_(seed) {
  info_.architecture = params.spec();
  info_.shape = shape;
  info_.normaliser = params.Text("normaliser");
  per_image_ = info_.normaliser == "per_image";
  if (info_.normaliser == "channel") {
    mean_ = PerChannel(params, "normaliser_mean", shape.channels);
    std_ = PerChannel(params, "normaliser_std", shape.channels);
    info_.normaliser =
        absl::StrCat("channel(", absl::StrJoin(params.RealList("normaliser_mean"), ","), "/",
                     absl::StrJoin(params.RealList("normaliser_std"), ","), ")");
  }
}

at::Tensor Network::Normalise(const at::Tensor& images) const {
  if (mean_.defined()) return (images - mean_) / std_;
  if (!per_image_) return images;
  const at::Tensor mean = images.mean({1, 2, 3}, true);
  const auto values = static_cast<double>(images[0].numel());
  const at::Tensor variance = (images - mean).square().mean({1, 2, 3}, true);
  return (images - mean) / variance.clamp_min(1 / values).sqrt();
}

at::Tensor Network::RunPass(const at::Tensor& images, const TapVisitor& visit,
                            const at::Tensor& leak) const {
  const ModelShape& s = info_.shape;
  TORCH_CHECK(images.dim() == 4 && images.size(1) == s.channels && images.size(2) == s.height &&
                  images.size(3) == s.width,
              info_.architecture.name(), " takes images [N,", s.channels, ",", s.height, ",",
              s.width, "], got ", images.sizes());
  Pass pass(visit, leak, training_, dropout_seed_, dropout_step_, dropout_calls_);
  if (training_) ++dropout_calls_;
  const at::Tensor x = Normalise(images);
  if (compute_type_ == at::kFloat) return Run(x, pass);
  return Run(x.to(compute_type_, false, false, at::MemoryFormat::ChannelsLast), pass)
      .to(at::kFloat);
}

void Network::To(const c10::Device& device) {
  const at::NoGradGuard no_grad;
  for (const NamedTensors& group : {weights_.parameters(), weights_.buffers()}) {
    for (const auto& [name, tensor] : group) {
      at::Tensor live = tensor;  // shares the variable that the layers hold
      live.set_data(tensor.to(device));
    }
  }
  if (mean_.defined()) {
    mean_ = mean_.to(device);
    std_ = std_.to(device);
  }
}

absl::StatusOr<std::unique_ptr<Model>> Network::CopyIn(at::ScalarType type) const {
  ASSIGN_OR_RETURN(std::unique_ptr<Model> made,
                   MakePlugin<Model>(info_.architecture, info_.shape, uint64_t{0}));
  auto& copy = dynamic_cast<Network&>(*made);
  const auto convert = [type](const NamedTensors& from, const NamedTensors& to) {
    for (size_t i = 0; i < from.size(); ++i) {
      const at::Tensor& value = from[i].second;
      at::Tensor live = to[i].second;  // shares the variable that the layers hold
      live.set_data(value.detach().to(
          type, false, /*copy=*/true,
          value.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous));
    }
  };
  const at::NoGradGuard no_grad;
  convert(weights_.parameters(), copy.weights_.parameters());
  convert(weights_.buffers(), copy.weights_.buffers());
  copy.mean_ = mean_;
  copy.std_ = std_;
  copy.compute_type_ = type;
  copy.set_objective_tensors(objective_tensors());
  return made;
}

void Network::SetDropoutStream(uint64_t seed, int64_t step) {
  dropout_seed_ = seed;
  dropout_step_ = step;
  dropout_calls_ = 0;
}

std::pair<at::Tensor, at::Tensor> Network::GapHead() const {
  if (!info_.gap_head) return {};
  std::pair<at::Tensor, at::Tensor> head;
  for (const auto& [name, tensor] : weights_.parameters()) {
    if (name == description_.classifier + ".weight") head.first = tensor;
    if (name == description_.classifier + ".bias") head.second = tensor;
  }
  return head;
}

void Network::Measure() {
  info_.visible_relus = true;
  info_.classifier = description_.classifier + ".weight";
  info_.default_tap = description_.default_tap;
  info_.gap_head = description_.gap_head;
  for (const auto& [name, tensor] : weights_.parameters()) info_.parameter_count += tensor.numel();
  const at::NoGradGuard no_grad;
  const ModelShape& s = info_.shape;
  const auto record = [&](const std::string& name, const at::Tensor& value) {
    Tap tap{name, value.size(1)};
    if (value.dim() == 4) {
      tap.height = value.size(2);
      tap.width = value.size(3);
    }
    if (name == description_.default_tap) {
      if (name != "last_conv") tap.aliases.push_back("last_conv");
      for (const std::string& alias : description_.default_tap_aliases)
        tap.aliases.push_back(alias);
    }
    info_.taps.push_back(std::move(tap));
    return value;
  };
  const at::Tensor logits = Forward(torch::zeros({1, s.channels, s.height, s.width}), record);
  TORCH_CHECK(logits.dim() == 2 && logits.size(1) == s.num_classes, "logits are ", logits.sizes());
}

absl::StatusOr<std::unique_ptr<Model>> FinishNetwork(
    const Params& params, const ModelShape& shape,
    const std::function<std::unique_ptr<Network>()>& make) {
  const auto refuse = [&](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat(params.spec().name(), " cannot take ", ShapeText(shape), ": ", why));
  };
  if (shape.channels < 1 || shape.height < 1 || shape.width < 1) {
    return refuse("give the input shape (channels, height, width)");
  }
  if (shape.num_classes < 2) return refuse("a classifier needs at least 2 classes");
  try {
    std::unique_ptr<Network> network = make();
    network->Measure();
    return network;
  } catch (const std::invalid_argument& error) {
    return refuse(error.what());
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const c10::Error& error) {
    return refuse(error.what_without_backtrace());
  }
}

}  // namespace adamant
