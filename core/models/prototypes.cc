// SPDX-License-Identifier: Apache-2.0
#include "core/models/prototypes.h"

#include <limits>
#include <map>

#include "absl/strings/str_cat.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

// ||f_n - c_k||: [N,K].
at::Tensor Distances(const at::Tensor& features, const at::Tensor& centres) {
  return (features.unsqueeze(1) - centres).norm(2, {2});
}

at::Tensor SquaredDistances(const at::Tensor& features, const at::Tensor& centres) {
  return (features.unsqueeze(1) - centres).square().sum(2).clamp(1e-12, 1e12);
}

at::Tensor At(const at::Tensor& values, const at::Tensor& labels) {
  return values.gather(1, labels.unsqueeze(1)).squeeze(1);
}

// Sum over all classes but the label's.
at::Tensor SumOfOthers(const at::Tensor& values, const at::Tensor& labels) {
  return values.scatter(1, labels.unsqueeze(1), 0.0).sum(1);
}

absl::Status CheckFits(const Prototypes& found, const Tap& tap, int64_t num_classes) {
  const int64_t width = found.aux_weight.defined() ? found.aux_weight.size(0) : tap.channels;
  const auto fits = [&](const at::Tensor& centres) {
    return centres.defined() && centres.dim() == 2 && centres.size(0) == num_classes &&
           centres.size(1) == width;
  };
  if (!fits(found.pull) || (found.push.defined() && !fits(found.push))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "objective.pcl.", tap.name, ": the prototypes are not [", num_classes, ",", width, "]"));
  }
  return absl::OkStatus();
}

}  // namespace

NamedTensors ObjectiveTensorsOf(const Model& model) {
  const auto* carrier = dynamic_cast<const ObjectiveTensors*>(&model);
  return carrier == nullptr ? NamedTensors() : carrier->objective_tensors();
}

absl::StatusOr<std::vector<Prototypes>> PrototypesOf(const Model& model) {
  const NamedTensors all = ObjectiveTensorsOf(model);
  const std::map<std::string, at::Tensor> tensors(all.begin(), all.end());
  std::vector<Prototypes> out;
  for (const Tap& tap : model.info().taps) {
    const auto find = [&](const char* last) {
      const auto found = tensors.find(absl::StrCat("objective.pcl.", tap.name, ".", last));
      return found == tensors.end() ? at::Tensor() : found->second;
    };
    Prototypes one{tap.name, find("prototypes"), {}, find("aux.weight"), find("aux.bias")};
    if (!one.pull.defined()) {
      one.pull = find("pull");
      one.push = find("push");
      if (!one.pull.defined() && !one.push.defined()) continue;
    }
    const absl::Status fits = CheckFits(one, tap, model.info().shape.num_classes);
    if (!fits.ok()) return fits;
    out.push_back(std::move(one));
  }
  if (!out.empty()) return out;
  return absl::FailedPreconditionError(
      "the model carries no prototypes (tensors objective.pcl.* of its safetensors file): use a "
      "checkpoint that was trained with them");
}

at::Tensor PrototypeFeatures(const Prototypes& prototypes, const at::Tensor& tap) {
  const at::Tensor pooled = tap.dim() == 4 ? tap.mean({2, 3}) : tap;
  if (!prototypes.aux_weight.defined()) return pooled;
  return at::linear(pooled, prototypes.aux_weight, prototypes.aux_bias);
}

at::Tensor PrototypeConformity(const Prototypes& prototypes, const at::Tensor& features,
                               const at::Tensor& labels, double push_weight) {
  const auto others = static_cast<double>(prototypes.pull.size(0) - 1);
  if (prototypes.push.defined()) {
    const at::Tensor pushed = SumOfOthers(SquaredDistances(features, prototypes.push), labels);
    return At(SquaredDistances(features, prototypes.pull), labels) - push_weight / others * pushed;
  }
  const at::Tensor far = Distances(features, prototypes.pull);
  const at::Tensor between = Distances(prototypes.pull, prototypes.pull).index_select(0, labels);
  return At(far, labels) - push_weight / others * SumOfOthers(far + between, labels);
}

at::Tensor PrototypeLead(const Prototypes& prototypes, const at::Tensor& features,
                         const at::Tensor& labels) {
  const at::Tensor far = Distances(features, prototypes.pull);
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  return At(far, labels) - far.scatter(1, labels.unsqueeze(1), kInfinity).amin(1);
}

}  // namespace adamant
