// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <utility>

#include "core/attacks/losses.h"
#include "core/attacks/steps.h"
#include "core/attacks/victim.h"
#include "core/base/torch.h"
#include "core/run/validity/gather.h"
#include "core/run/validity/measure.h"

namespace adamant::validity {
namespace {

constexpr int kForwards = 5;
constexpr int64_t kBatchSamples = 32;  // single-row calls are slow

bool LookLikeProbabilities(const at::Tensor& row) {
  return row.max().item<double>() < 1 + 1e-5 && row.min().item<double>() > -1e-5 &&
         std::abs(row.sum().item<double>() - 1) <= 1e-5;
}

ForwardNoise Noise(Probe& probe, const Batch& batch) {
  ForwardNoise out{0, batch.size(), 0, batch.size()};
  std::vector<at::Tensor> seen;
  const at::Tensor labels = batch.labels.to(at::kCPU);
  for (int k = 0; k < kForwards; ++k) {
    const at::Tensor logits = probe.Logits(batch.images);
    const int64_t correct = (Predictions(logits) == labels).sum().item<int64_t>();
    out.fewest_correct = std::min(out.fewest_correct, correct);
    out.most_correct = std::max(out.most_correct, correct);
    const at::Tensor wide = logits.to(at::kDouble);
    const at::Tensor unit = wide / wide.square().sum(1, true).sqrt().clamp_min(1e-12);
    for (const at::Tensor& other : seen) {
      out.difference =
          std::max(out.difference, (unit - other).square().sum(1).sqrt().max().item<double>());
    }
    seen.push_back(unit);
  }
  return out;
}

// Largest |dz| / max(1, |z|) between calls of 1, 7 and compute_batch rows.
double BatchDifference(Probe& probe, const at::Tensor& images) {
  const at::Tensor usual = probe.Logits(images);
  const at::Tensor scale = usual.abs().clamp_min(1);
  double most = 0;
  for (const int64_t rows : {1, 7}) {
    const at::Tensor other = probe.LogitsInCalls(images, rows);
    most = std::max(most, ((other - usual).abs() / scale).max().item<double>());
  }
  return most;
}

// Calls once more and looks for what has changed.
std::string Changes(Probe& probe, const at::Tensor& images) {
  const Model& model = probe.input().model;
  if (model.training()) return "training mode";
  std::vector<std::pair<at::Tensor, at::Tensor>> buffers;
  for (const auto& [name, live] : model.Buffers()) buffers.emplace_back(live, live.clone());
  probe.Logits(images);
  for (const auto& [live, before] : buffers) {
    if (!at::equal(live, before)) return "a buffer";
  }
  return "";
}

// The threat model whose ball the start is drawn in.
const AttackInstance* StartThreat(const Probe& probe, const ValidityFacts& facts) {
  const int main = StrongestIterative(facts);
  if (main >= 0) return &probe.input().instances[main];
  for (size_t i = 0; i < facts.attacks.size(); ++i) {
    if (!facts.attacks[i].own_budget) return &probe.input().instances[i];
  }
  return nullptr;
}

ZeroGradients CountZeros(Probe& probe, const Batch& batch, const AttackInstance& instance) {
  ZeroGradients out{batch.size(), {{"ce", 0}, {"margin", 0}, {"dlr", 0}}};
  const int64_t rows = probe.input().result.compute_batch;
  Victim victim(probe.input().model, BatchNormMode::kEval, rows);
  victim.set_before_call([&] { probe.input().control.Check(); });
  const FeasibleSet set(batch.images, instance.threat);
  const at::Tensor start =
      RandomStart(set, batch.ids, probe.input().options.seed, "validity", DrawAt{});
  for (int64_t begin = 0; begin < batch.size(); begin += rows) {
    const int64_t count = std::min(rows, batch.size() - begin);
    RecordedPass pass = victim.Record(start.narrow(0, begin, count));
    const Aims aims{batch.labels.narrow(0, begin, count)};
    for (size_t k = 0; k < out.by_loss.size(); ++k) {
      auto& [name, zeros] = out.by_loss[k];
      const LossGradient seen = pass.Gradient(MakeLoss(name, false, Numerics::kReference), aims,
                                              k + 1 == out.by_loss.size());
      zeros += (seen.gradient.abs().flatten(1).amax(1) == 0).sum().item<int64_t>();
    }
  }
  probe.Count(victim.forwards(), victim.backwards());
  return out;
}

}  // namespace

void MeasureModel(Probe& probe, ValidityFacts& facts) {
  const absl::StatusOr<Batch> batch = probe.positions().empty()
                                          ? Unmeasured("no sample is correct on clean input")
                                          : probe.Read(probe.positions());
  if (!batch.ok()) {
    facts.probabilities = batch.status();
    facts.noise = batch.status();
    facts.batch_rows = batch.status();
    facts.changes = batch.status();
    facts.zero_gradients = batch.status();
    return;
  }
  const at::Tensor logits = probe.Logits(batch->images);
  Share rows{0, batch->size()};
  for (int64_t i = 0; i < logits.size(0); ++i) rows.count += LookLikeProbabilities(logits[i]);
  facts.probabilities = rows;
  facts.noise = Noise(probe, *batch);
  const int64_t few = std::min(kBatchSamples, batch->size());
  facts.batch_difference = BatchDifference(probe, batch->images.narrow(0, 0, few));
  facts.batch_rows = Share{few, few};
  facts.changes = Changes(probe, batch->images);
  const AttackInstance* instance = StartThreat(probe, facts);
  if (instance == nullptr) {
    facts.zero_gradients = Unmeasured("no attack within an L_p ball ran");
  } else {
    facts.zero_gradients = CountZeros(probe, *batch, *instance);
  }
}

}  // namespace adamant::validity
