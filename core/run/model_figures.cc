// SPDX-License-Identifier: Apache-2.0
#include "core/run/model_figures.h"

#include <ATen/record_function.h>

#include <cstring>
#include <set>
#include <vector>

#include "core/base/torch.h"

namespace adamant {
namespace {

// What the operators of one pass did. Results are held so that no address is used twice.
struct Pass {
  std::vector<at::Tensor> results;
  std::set<const void*> inputs;  // buffers that existed before
  std::set<const void*> seen;
  ModelFigures figures;
};

thread_local Pass* current_pass = nullptr;

const void* BufferOf(const at::Tensor& tensor) {
  return tensor.has_storage() ? tensor.storage().unsafeGetStorageImpl() : nullptr;
}

void CountBuffer(const at::Tensor& tensor, Pass& pass) {
  const void* buffer = tensor.defined() ? BufferOf(tensor) : nullptr;
  if (buffer == nullptr || pass.inputs.count(buffer) > 0 || !pass.seen.insert(buffer).second)
    return;
  pass.results.push_back(tensor);
  pass.figures.activation_bytes += static_cast<int64_t>(tensor.storage().nbytes());
}

// What an operator costs: inputs are known when it begins, the result when it ends.
struct Cost : at::ObserverContext {
  int64_t flops = 0;
  int64_t flops_per_value = 0;  // of the result
};

bool Is(const at::RecordFunction& call, const char* name) {
  return std::strcmp(call.name(), name) == 0;
}

// weight [out, in / groups, ...]; transposed: [in, out / groups, ...].
void CostConvolution(c10::ArrayRef<const c10::IValue> inputs, Cost& cost) {
  const at::Tensor weight = inputs[1].toTensor();
  const int64_t per_position = 2 * weight.numel() / weight.size(0);
  if (inputs[6].toBool()) {
    cost.flops = inputs[0].toTensor().numel() * per_position;
  } else {
    cost.flops_per_value = per_position;
  }
}

std::unique_ptr<at::ObserverContext> OnBegin(const at::RecordFunction& call) {
  auto cost = std::make_unique<Cost>();
  const c10::ArrayRef<const c10::IValue> inputs = call.inputs();
  if (Is(call, "aten::convolution")) {
    CostConvolution(inputs, *cost);
  } else if (Is(call, "aten::mm") || Is(call, "aten::bmm") || Is(call, "aten::mv")) {
    cost->flops_per_value = 2 * inputs[0].toTensor().size(-1);
  } else if (Is(call, "aten::addmm") || Is(call, "aten::baddbmm")) {
    cost->flops_per_value = 2 * inputs[1].toTensor().size(-1);
  }
  return cost;
}

void OnEnd(const at::RecordFunction& call, at::ObserverContext* context) {
  if (current_pass == nullptr || context == nullptr) return;
  const Cost& cost = *static_cast<Cost*>(context);
  current_pass->figures.flops += cost.flops;
  for (const c10::IValue& output : call.outputs()) {
    std::vector<at::Tensor> tensors;
    if (output.isTensor()) tensors.push_back(output.toTensor());
    if (output.isTensorList()) tensors = output.toTensorVector();
    for (const at::Tensor& tensor : tensors) {
      if (!tensor.defined()) continue;
      current_pass->figures.flops += cost.flops_per_value * tensor.numel();
      CountBuffer(tensor, *current_pass);
    }
  }
}

// Watches the operators that this thread calls.
class Watch {
 public:
  explicit Watch(Pass& pass)
      : handle_(at::addThreadLocalCallback(at::RecordFunctionCallback(&OnBegin, &OnEnd)
                                               .needsInputs(true)
                                               .needsOutputs(true)
                                               .scopes({at::RecordScope::FUNCTION}))) {
    current_pass = &pass;
  }
  ~Watch() {
    current_pass = nullptr;
    at::removeCallback(handle_);
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

 private:
  const at::CallbackHandle handle_;
};

}  // namespace

ModelFigures MeasureFigures(const Model& model) {
  const ModelShape& shape = model.info().shape;
  const at::Tensor image =
      torch::full({1, shape.channels, shape.height, shape.width}, 0.5).requires_grad_(true);
  Pass pass;
  pass.inputs.insert(BufferOf(image));
  for (const NamedTensors& group : {model.Parameters(), model.Buffers()}) {
    for (const auto& [name, tensor] : group) pass.inputs.insert(BufferOf(tensor));
  }
  const Watch watch(pass);
  const at::Tensor logits = model.Logits(image);
  return pass.figures;
}

}  // namespace adamant
