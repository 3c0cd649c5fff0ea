// SPDX-License-Identifier: Apache-2.0
// Class prototypes that a model was trained with (PCL: Mustafa et al. 2019, arXiv 1904.00887), as
// its file keeps them, and the distances of features to them.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "core/models/model.h"

namespace adamant {

// What a Model also is when it can carry what its objective trained beside it.
class ObjectiveTensors {
 public:
  virtual ~ObjectiveTensors() = default;
  // The tensors `objective.*` of the model file, under these names.
  virtual NamedTensors objective_tensors() const { return objective_tensors_; }
  void set_objective_tensors(NamedTensors tensors) { objective_tensors_ = std::move(tensors); }

 private:
  NamedTensors objective_tensors_;
};

NamedTensors ObjectiveTensorsOf(const Model& model);  // none where it carries none

// The prototypes of one tap: tensors `objective.pcl.<tap>.` followed by
//   prototypes [K,d]                form paper,
//   pull [K,d] and push [K,d]       form code,
//   aux.weight [d,C], aux.bias [d]  a layer between the pooled tap and the prototypes, if there is.
struct Prototypes {
  std::string tap;
  at::Tensor pull;  // [K,d]
  at::Tensor push;  // [K,d]; undefined: form paper
  at::Tensor aux_weight, aux_bias;
};

// In the order of the taps. FAILED_PRECONDITION where the model has none, INVALID_ARGUMENT where
// they do not fit it.
absl::StatusOr<std::vector<Prototypes>> PrototypesOf(const Model& model);

// [N,d]: the tap (maps: their spatial mean) behind the auxiliary layer.
at::Tensor PrototypeFeatures(const Prototypes& prototypes, const at::Tensor& tap);

// Per sample [N], with features f [N,d] and labels y; small is near to the label's prototype.
//   paper: ||f - c_y|| - push_weight / (K-1) * sum_{j != y} (||f - c_j|| + ||c_y - c_j||)
//   code:  ||f - c_y||^2 - push_weight * mean_{j != y} ||f - c'_j||^2, each in [1e-12, 1e12]
at::Tensor PrototypeConformity(const Prototypes& prototypes, const at::Tensor& features,
                               const at::Tensor& labels, double push_weight);

// ||f - c_y|| - min_{j != y} ||f - c_j||: above 0 the nearest prototype is another one. [N].
at::Tensor PrototypeLead(const Prototypes& prototypes, const at::Tensor& features,
                         const at::Tensor& labels);

}  // namespace adamant
