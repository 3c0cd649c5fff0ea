// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "adamant/v1/train.pb.h"
#include "core/models/model.h"

namespace adamant {

// SGD with momentum, Adam and AdamW over a model's parameters, with a state that can be saved:
//   SGD    g += wd * w;  m = momentum * m + g;  w -= lr * (nesterov ? g + momentum * m : m)
//   Adam   g += wd * w;  m, v = running means of g, g^2;  w -= lr * m^ / (sqrt(v^) + eps)
//   AdamW  w *= 1 - lr * wd, then Adam without the decay in g
// where m^ and v^ are divided by 1 - beta^steps. Borrows the parameters; parameters without a
// gradient are left alone. Not thread-safe.
class Optimizer {
 public:
  // `spec` must be complete (CompleteTrainSpec).
  Optimizer(const v1::Optimizer& spec, NamedTensors parameters);

  void Step(double lr);
  void ClearGradients();

  // Scales all gradients so that their global L2 norm is at most `max_norm` (0 = leaves them), and
  // returns the norm before that: a scalar tensor.
  at::Tensor ClipGradients(double max_norm);

  // Live tensors under stable names, e.g. "conv1.weight.momentum": copy into them to restore.
  NamedTensors State() const;

 private:
  struct Slot {
    std::string name;
    at::Tensor parameter;
    double weight_decay = 0;
    at::Tensor first;   // momentum, or the mean of gradients
    at::Tensor second;  // Adam: the mean of squared gradients
    at::Tensor steps;   // Adam: scalar
  };
  // Slots that have a gradient and this weight decay, as parallel lists.
  struct Lists {
    std::vector<at::Tensor> parameters, gradients, first, second, steps;
  };

  Lists ListsFor(double weight_decay) const;
  void Update(const Lists& lists, double lr, double weight_decay);

  const v1::Optimizer spec_;
  std::vector<Slot> slots_;
};

}  // namespace adamant
