// SPDX-License-Identifier: Apache-2.0
#include "core/models/torchscript.h"

#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/runtime/profiling_graph_executor_impl.h>
#include <torch/script.h>

#include <istream>
#include <mutex>
#include <stdexcept>
#include <streambuf>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

constexpr double kBatchTolerance = 1e-3;  // relative to the largest logit
constexpr int64_t kProbeBatch = 7;

// A readable stream over bytes that stay where they are.
class MemoryBuffer : public std::streambuf {
 public:
  explicit MemoryBuffer(absl::string_view bytes) {
    char* begin = const_cast<char*>(bytes.data());
    setg(begin, begin, begin + bytes.size());
  }

 protected:
  pos_type seekoff(off_type offset, std::ios_base::seekdir from, std::ios_base::openmode) override {
    const off_type base = from == std::ios_base::beg   ? 0
                          : from == std::ios_base::cur ? gptr() - eback()
                                                       : egptr() - eback();
    if (base + offset < 0 || base + offset > egptr() - eback()) return pos_type(off_type(-1));
    setg(eback(), eback() + base + offset, egptr());
    return base + offset;
  }
  pos_type seekpos(pos_type position, std::ios_base::openmode mode) override {
    return seekoff(position, std::ios_base::beg, mode);
  }
};

// The profiling executor compiles anew at each batch size; process-wide, so set once.
void SwitchOffSpecialisation() {
  static std::once_flag once;
  std::call_once(once, [] {
    torch::jit::getProfilingMode() = false;
    torch::jit::setGraphExecutorOptimize(false);
  });
}

class TorchScriptModel : public Model {
 public:
  TorchScriptModel(torch::jit::Module module, const ModelShape& shape)
      : module_(std::move(module)) {
    info_.format = v1::TORCHSCRIPT;
    info_.shape = shape;
    info_.normaliser = "inside the program";
    info_.trainable = false;
    module_.eval();
    for (at::Tensor parameter : module_.parameters()) {
      if (parameter.requires_grad()) info_.parameter_count += parameter.numel();
      if (parameter.is_leaf()) parameter.requires_grad_(false);
    }
  }

  const ModelInfo& info() const override { return info_; }

  at::Tensor Forward(const at::Tensor& images, const TapVisitor& /*visit*/) const override {
    torch::jit::Module module = module_;  // the same module: forward() is not const
    if (compute_type_ == at::kFloat) return LogitsIn(module.forward({images}));
    const at::Tensor x = images.to(compute_type_, false, false, at::MemoryFormat::ChannelsLast);
    return LogitsIn(module.forward({x})).to(at::kFloat);
  }

  NamedTensors Parameters() const override { return {}; }
  NamedTensors Buffers() const override { return {}; }
  void Train(bool on) override {
    if (on) throw std::logic_error("a TorchScript model cannot be trained");
  }
  bool training() const override { return false; }
  void To(const c10::Device& device) override { module_.to(device); }

  absl::StatusOr<std::unique_ptr<Model>> CopyIn(at::ScalarType type) const override {
    torch::jit::Module module = module_.clone();
    module.to(type);
    auto copy = std::make_unique<TorchScriptModel>(std::move(module), info_.shape);
    copy->compute_type_ = type;
    return copy;
  }

 private:
  static at::Tensor LogitsIn(const c10::IValue& result) {
    if (result.isTensor()) return result.toTensor();
    if (result.isTuple()) {
      const auto& elements = result.toTupleRef().elements();
      if (!elements.empty() && elements[0].isTensor()) return elements[0].toTensor();
    }
    throw std::invalid_argument(absl::StrCat("forward returned ", result.tagKind(),
                                             " instead of logits [N,K] or a tuple that starts "
                                             "with them"));
  }

  torch::jit::Module module_;
  ModelInfo info_;
  at::ScalarType compute_type_ = at::kFloat;  // of weights and activations
};

absl::Status Refuse(absl::string_view probe, absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("TorchScript model refused, ", probe, " probe: ", why));
}

absl::Status CheckLogits(const at::Tensor& logits, int64_t rows, const ModelShape& shape) {
  if (logits.dim() != 2 || logits.size(0) != rows || logits.size(1) != shape.num_classes) {
    return Refuse("shape",
                  absl::StrCat("for ", rows, " images forward returned ", c10::str(logits.sizes()),
                               ", expected [", rows, ", ", shape.num_classes, "]"));
  }
  if (logits.scalar_type() != at::kFloat) return Refuse("shape", "logits are not float32");
  if (!logits.isfinite().all().item<bool>()) return Refuse("range", "logits are not finite");
  return absl::OkStatus();
}

// The same images alone, again, and in a batch must give the same logits.
absl::Status ProbeBatches(const Model& model, const at::Tensor& images) {
  const at::NoGradGuard no_grad;
  const ModelShape& shape = model.info().shape;
  const at::Tensor together = model.Logits(images);
  RETURN_IF_ERROR(CheckLogits(together, images.size(0), shape));
  if (!together.equal(model.Logits(images))) {
    return Refuse("determinism", "two runs on the same images gave different logits");
  }
  const at::Tensor alone = model.Logits(images.slice(0, 0, 1));
  RETURN_IF_ERROR(CheckLogits(alone, 1, shape));
  const double scale = std::max(together.abs().max().item<double>(), 1e-6);
  const double apart = (alone - together.slice(0, 0, 1)).abs().max().item<double>();
  if (apart > kBatchTolerance * scale) {
    return Refuse("batch", absl::StrCat("logits of an image depend on the other images of the "
                                        "batch (difference ",
                                        apart, "): is it in training mode?"));
  }
  return absl::OkStatus();
}

absl::Status ProbeGradient(const Model& model, const at::Tensor& images) {
  const at::AutoGradMode with_grad(true);
  const at::Tensor x = images.clone().requires_grad_(true);
  const at::Tensor logits = model.Logits(x);
  if (!logits.requires_grad()) {
    return Refuse("gradient", "logits do not depend on the images differentiably");
  }
  const at::Tensor grad = torch::autograd::grad(
      {logits.logsumexp(1).sum() + logits.select(1, 0).sum()}, {x}, {}, {}, false, true)[0];
  if (!grad.defined() || !grad.isfinite().all().item<bool>() || !grad.any().item<bool>()) {
    return Refuse("gradient", "the gradient at the images is zero or not finite");
  }
  return absl::OkStatus();
}

absl::Status Probe(const Model& model) {
  const ModelShape& s = model.info().shape;
  const at::Tensor zero = torch::zeros({1, s.channels, s.height, s.width});
  {
    const at::NoGradGuard no_grad;
    RETURN_IF_ERROR(CheckLogits(model.Logits(zero), 1, s));
  }
  const int64_t pixels = kProbeBatch * s.channels * s.height * s.width;
  const at::Tensor images = torch::arange(pixels)
                                .mul_(73)
                                .remainder_(251)
                                .to(at::kFloat)
                                .div_(250)
                                .reshape({kProbeBatch, s.channels, s.height, s.width});
  RETURN_IF_ERROR(ProbeBatches(model, images));
  return ProbeGradient(model, images);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> OpenTorchScript(const ModelInput& input) {
  if (!input.architecture.name().empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the file is TorchScript, which brings its own program: leave out the architecture ",
        input.architecture.name(), " or upload safetensors"));
  }
  const ModelShape& s = input.shape;
  if (s.num_classes == 1) {
    return absl::InvalidArgumentError("model has 1 output class; robustness is not defined");
  }
  if (s.channels < 1 || s.height < 1 || s.width < 1 || s.num_classes < 1) {
    return absl::InvalidArgumentError(
        "a TorchScript model needs its input shape and its number of classes in the request");
  }
  SwitchOffSpecialisation();
  MemoryBuffer buffer(input.file->bytes());
  std::istream stream(&buffer);
  try {
    auto model = std::make_unique<TorchScriptModel>(torch::jit::load(stream, at::kCPU), s);
    RETURN_IF_ERROR(Probe(*model));
    return model;
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const c10::Error& error) {
    return Refuse("load", error.what_without_backtrace());
  } catch (const std::exception& error) {
    return Refuse("load", error.what());
  }
}

}  // namespace adamant
