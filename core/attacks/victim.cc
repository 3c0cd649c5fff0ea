// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/victim.h"

#include <algorithm>
#include <limits>

#include "absl/cleanup/cleanup.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr int64_t kSmallestTail = 8;  // rows; smaller calls are hardly faster

LossGradient Joined(std::vector<LossGradient>& parts) {
  if (parts.size() == 1) return std::move(parts[0]);
  const auto join = [&](at::Tensor LossGradient::* part) {
    std::vector<at::Tensor> all;
    for (LossGradient& one : parts) all.push_back(std::move(one.*part));
    return at::cat(all);
  };
  return {join(&LossGradient::gradient), join(&LossGradient::loss), join(&LossGradient::logits),
          join(&LossGradient::nonfinite)};
}

LossGradient WithoutGradient(const at::Tensor& images, const at::Tensor& logits) {
  const at::Tensor flags = at::zeros({images.size(0)}, images.options().dtype(at::kBool));
  return {at::zeros_like(images).detach(),
          at::zeros({images.size(0)}, at::kDouble).to(images.device()), logits, flags};
}

at::Tensor InputGradient(const at::Tensor& value, const at::Tensor& images, bool last) {
  at::Tensor gradient;
  if (value.requires_grad()) {
    gradient = torch::autograd::grad({value.sum()}, {images}, {}, /*retain_graph=*/!last,
                                     /*create_graph=*/false, /*allow_unused=*/true)[0];
  }
  return (gradient.defined() ? gradient : at::zeros_like(images)).detach();
}

// The first `count` rows, without graph and without what is not finite.
LossGradient Finished(const at::Tensor& logits, const at::Tensor& value, const at::Tensor& gradient,
                      int64_t count) {
  const at::NoGradGuard no_grad;
  LossGradient out;
  out.gradient = gradient.narrow(0, 0, count);
  out.logits = logits.detach().narrow(0, 0, count);
  const at::Tensor bad_logits = at::isfinite(out.logits).all(1).logical_not();
  out.loss = value.detach()
                 .narrow(0, 0, count)
                 .to(at::kDouble)
                 .masked_fill(bad_logits, -std::numeric_limits<double>::infinity());
  out.nonfinite = at::isfinite(out.gradient).flatten(1).all(1).logical_not();
  out.gradient = at::nan_to_num(out.gradient, 0.0, 0.0, 0.0).contiguous();
  return out;
}

SeenPass AsSeen(const Outputs& outputs, const TapLoss& loss, Aims aims, at::Tensor rows) {
  SeenPass pass{outputs.logits, {}, std::move(aims), std::move(rows)};
  for (const std::string& tap : loss.taps) pass.taps.push_back(outputs.taps.at(tap));
  return pass;
}

}  // namespace

Aims Aims::Select(const at::Tensor& keep) const {
  return {labels.index_select(0, keep),
          targets.defined() ? targets.index_select(0, keep) : at::Tensor()};
}

FrozenModel::FrozenModel(Model& model, BatchNormMode mode)
    : model_(model), training_(model.training()) {
  for (const auto& [name, parameter] : model.Parameters()) {
    requires_grad_.emplace_back(parameter, parameter.requires_grad());
    parameter.set_requires_grad(false);
  }
  if (mode == BatchNormMode::kTrainFrozenStats) {
    for (const auto& [name, buffer] : model.Buffers()) {
      buffers_.emplace_back(buffer, buffer.detach().clone());
    }
  }
  model.Train(mode != BatchNormMode::kEval);
}

FrozenModel::~FrozenModel() {
  const c10::InferenceMode no_inference(false);
  const at::NoGradGuard no_grad;
  for (auto& [buffer, before] : buffers_) buffer.copy_(before);
  for (auto& [parameter, required] : requires_grad_) parameter.set_requires_grad(required);
  model_.Train(training_);
}

Victim::Victim(Model& model, BatchNormMode mode, int64_t compute_batch, Tail tail)
    : model_(model),
      random_(dynamic_cast<RandomModel*>(&model)),
      frozen_(model, mode),
      compute_batch_(compute_batch),
      tail_(tail) {
  TORCH_CHECK(mode == BatchNormMode::kEval || compute_batch == 0,
              "batch statistics need the whole batch in one call: compute_batch must be 0");
}

int64_t Victim::PaddedSize(int64_t rows) const {
  if (tail_ == Tail::kExact || compute_batch_ == 0) return CallSize(rows);
  int64_t size = kSmallestTail;
  while (size < rows) size *= 2;
  return std::min(size, compute_batch_);
}

at::Tensor Victim::Padded(const at::Tensor& all, int64_t begin, int64_t count, int64_t size) {
  const at::Tensor rows = all.narrow(0, begin, count);
  if (size == count) return rows;
  std::vector<int64_t> shape = rows.sizes().vec();
  shape[0] = size - count;
  return at::cat({rows, rows.narrow(0, count - 1, 1).expand(shape)});
}

void Victim::set_noise(std::optional<ModelNoise> noise) {
  if (random_ == nullptr) return;
  noise_ = std::move(noise);
  if (!noise_.has_value() || !noise_->ids.defined()) random_->SetNoise(noise_);
}

void Victim::BeginCall(int64_t begin, int64_t count) {
  if (before_call_) before_call_();
  if (noise_.has_value() && noise_->ids.defined()) {
    ModelNoise rows = *noise_;
    rows.ids = CallRows(noise_->ids, begin, count);
    random_->SetNoise(rows);
  }
  forwards_ += count;
  padded_rows_ += PaddedSize(count) - count;
}

at::Tensor Victim::Logits(const at::Tensor& images) {
  std::vector<at::Tensor> parts;
  const int64_t n = images.size(0);
  for (int64_t begin = 0; begin < n; begin += CallSize(n)) {
    const int64_t count = std::min(CallSize(n), n - begin);
    BeginCall(begin, count);
    const c10::InferenceMode inference;
    parts.push_back(model_.Logits(CallRows(images, begin, count)).narrow(0, 0, count));
  }
  const at::NoGradGuard no_grad;
  return n == 0 ? at::empty({0, info().shape.num_classes}, images.options()) : at::cat(parts);
}

RecordedPass::Call Victim::RecordCall(const at::Tensor& images, int64_t begin, int64_t count,
                                      const at::Tensor& slopes) {
  BeginCall(begin, count);
  const at::AutoGradMode grad_mode(true);
  RecordedPass::Call call{.begin = begin, .count = count};
  call.images = CallRows(images, begin, count).detach().requires_grad_(true);
  call.logits = slopes.defined() ? model_.LeakyLogits(call.images, CallRows(slopes, begin, count))
                                 : model_.Logits(call.images);
  return call;
}

Aims Victim::PaddedAims(const Aims& aims, int64_t begin, int64_t count, int64_t size) {
  Aims rows{Padded(aims.labels, begin, count, size)};
  if (aims.targets.defined()) rows.targets = Padded(aims.targets, begin, count, size);
  return rows;
}

LossGradient Victim::GradientCall(const RecordedPass::Call& call, const Aims& aims,
                                  const LossFunction& loss, bool last) {
  const at::AutoGradMode grad_mode(true);
  const at::Tensor value =
      loss(call.logits, PaddedAims(aims, call.begin, call.count, call.images.size(0)));
  return Finished(call.logits, value, InputGradient(value, call.images, last), call.count);
}

LossGradient Victim::Gradient(const at::Tensor& images, const Aims& aims, const LossFunction& loss,
                              const at::Tensor& slopes) {
  const int64_t n = images.size(0);
  TORCH_CHECK(n > 0, "a gradient needs at least one image");
  std::vector<LossGradient> parts;
  for (int64_t begin = 0; begin < n; begin += CallSize(n)) {
    const int64_t count = std::min(CallSize(n), n - begin);
    parts.push_back(
        GradientCall(RecordCall(images, begin, count, slopes), aims, loss, /*last=*/true));
    backwards_ += count;
  }
  return Joined(parts);
}

LossGradient Victim::JoinedCall(const at::Tensor& images, const Aims& aims, const at::Tensor& rows,
                                int64_t begin, int64_t count, const TapLoss& loss) {
  BeginCall(begin, count);
  const at::AutoGradMode grad_mode(true);
  const at::Tensor x = CallRows(images, begin, count).detach().requires_grad_(true);
  const Outputs outputs = model_.ForwardWithTaps(x, loss.taps);
  const std::vector<at::Tensor> values = loss.values(AsSeen(
      outputs, loss, PaddedAims(aims, begin, count, x.size(0)), CallRows(rows, begin, count)));
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& value : values) {
    gradients.push_back(InputGradient(value, x, /*last=*/gradients.size() + 1 == values.size()));
  }
  const at::NoGradGuard no_grad;
  return Finished(outputs.logits, values[0], loss.join ? loss.join(gradients) : gradients[0],
                  count);
}

LossGradient Victim::Gradient(const at::Tensor& images, const Aims& aims, const at::Tensor& rows,
                              const TapLoss& loss) {
  const int64_t n = images.size(0);
  TORCH_CHECK(n > 0, "a gradient needs at least one image");
  std::vector<LossGradient> parts;
  for (int64_t begin = 0; begin < n; begin += CallSize(n)) {
    const int64_t count = std::min(CallSize(n), n - begin);
    parts.push_back(JoinedCall(images, aims, rows, begin, count, loss));
    backwards_ += loss.backwards * count;
  }
  return Joined(parts);
}

std::vector<at::Tensor> Victim::Values(const at::Tensor& images, const Aims& aims,
                                       const at::Tensor& rows, const TapLoss& values) {
  const int64_t n = images.size(0);
  TORCH_CHECK(n > 0, "values need at least one image");
  std::vector<std::vector<at::Tensor>> parts;
  for (int64_t begin = 0; begin < n; begin += CallSize(n)) {
    const int64_t count = std::min(CallSize(n), n - begin);
    BeginCall(begin, count);
    const bool with_graph = values.backwards > 0;
    const at::AutoGradMode grad_mode(with_graph);
    const at::Tensor x = CallRows(images, begin, count).detach().requires_grad_(with_graph);
    const Outputs outputs = model_.ForwardWithTaps(x, values.taps);
    const std::vector<at::Tensor> seen = values.values(AsSeen(
        outputs, values, PaddedAims(aims, begin, count, x.size(0)), CallRows(rows, begin, count)));
    parts.resize(seen.size());
    for (size_t i = 0; i < seen.size(); ++i) {
      parts[i].push_back(seen[i].detach().narrow(0, 0, count));
    }
    backwards_ += values.backwards * count;
  }
  std::vector<at::Tensor> all;
  for (const std::vector<at::Tensor>& part : parts) all.push_back(at::cat(part));
  return all;
}

RecordedPass Victim::Record(const at::Tensor& images) {
  const int64_t n = images.size(0);
  TORCH_CHECK(n > 0, "a recorded pass needs at least one image");
  RecordedPass pass;
  pass.victim_ = this;
  std::vector<at::Tensor> logits;
  for (int64_t begin = 0; begin < n; begin += CallSize(n)) {
    const int64_t count = std::min(CallSize(n), n - begin);
    pass.calls_.push_back(RecordCall(images, begin, count));
    logits.push_back(pass.calls_.back().logits.detach().narrow(0, 0, count));
  }
  pass.logits_ = at::cat(logits);
  return pass;
}

RecordedPass Victim::RecordFew(const at::Tensor& images) {
  const int64_t all = compute_batch_;
  const absl::Cleanup restore = [&] { compute_batch_ = all; };
  if (all > 1) compute_batch_ = all / 2;
  return Record(images);
}

LossGradient RecordedPass::Gradient(const LossFunction& loss, const Aims& aims, bool last,
                                    const at::Tensor& wanted) {
  std::vector<LossGradient> parts;
  for (const Call& call : calls_) {
    const int64_t rows = wanted.defined()
                             ? wanted.narrow(0, call.begin, call.count).sum().item<int64_t>()
                             : call.count;
    if (rows > 0) {
      parts.push_back(victim_->GradientCall(call, aims, loss, last));
      victim_->backwards_ += rows;
    } else {
      parts.push_back(WithoutGradient(call.images.narrow(0, 0, call.count),
                                      logits_.narrow(0, call.begin, call.count)));
    }
  }
  return Joined(parts);
}

}  // namespace adamant
