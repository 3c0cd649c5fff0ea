// SPDX-License-Identifier: Apache-2.0
#include "core/run/validity/probe.h"

#include <algorithm>

#include "common/status_macros.h"
#include "core/base/torch.h"
#include "core/run/validity/gather.h"

namespace adamant::validity {
namespace {

constexpr size_t kProbeSize = 256;

}  // namespace

Probe::Probe(const ValidityInput& input)
    : input_(input),
      frozen_(input.model),
      caller_(input.model, input.result.compute_batch, [this] { input_.control.Check(); }) {
  positions_ = Correct(kProbeSize);
}

std::vector<int64_t> Probe::Correct(size_t most) const {
  const auto& outcomes = input_.result.outcomes;
  std::vector<int64_t> out;
  for (size_t p = 0; p < outcomes.size(); ++p) {
    if (IsCorrect(outcomes[p])) out.push_back(static_cast<int64_t>(p));
  }
  std::stable_sort(out.begin(), out.end(), [&](int64_t a, int64_t b) {
    return outcomes[a].sample_id() < outcomes[b].sample_id();
  });
  out.resize(std::min(out.size(), most));
  return out;
}

std::vector<int64_t> Probe::Survivors() const {
  std::vector<int64_t> out;
  for (const int64_t p : positions_) {
    if (input_.result.outcomes[p].state() == v1::ROBUST) out.push_back(p);
  }
  return out;
}

absl::StatusOr<Batch> Probe::Read(absl::Span<const int64_t> positions) const {
  ASSIGN_OR_RETURN(Batch batch, input_.samples.read(positions));
  const c10::Device device(input_.options.device);
  return Batch{batch.images.to(device), batch.labels.to(device), batch.ids};
}

at::Tensor Probe::LogitsInCalls(const at::Tensor& images, int64_t rows) {
  const c10::InferenceMode inference;
  std::vector<at::Tensor> parts;
  for (int64_t begin = 0; begin < images.size(0); begin += rows) {
    input_.control.Check();
    const int64_t count = std::min(rows, images.size(0) - begin);
    parts.push_back(input_.model.Logits(images.narrow(0, begin, count)).to(at::kCPU));
    forwards_ += count;
  }
  return at::cat(parts).to(at::kFloat);
}

absl::StatusOr<EvaluationResult> Probe::Evaluate(const std::vector<int64_t>& positions,
                                                 const v1::PluginSpec& attack,
                                                 const v1::ThreatModel& threat,
                                                 const std::string& stream) {
  google::protobuf::RepeatedPtrField<v1::AttackEntry> entries;
  v1::AttackEntry& entry = *entries.Add();
  *entry.mutable_attack() = attack;
  *entry.mutable_threat() = threat;
  ASSIGN_OR_RETURN(std::vector<AttackInstance> instances,
                   MakeInstances(entries, input_.model.info().shape));
  for (AttackInstance& instance : instances) instance.stream = stream;
  const Samples some{static_cast<int64_t>(positions.size()), [&](absl::Span<const int64_t> chosen) {
                       std::vector<int64_t> from;
                       for (const int64_t p : chosen) from.push_back(positions[p]);
                       return input_.samples.read(from);
                     }};
  EvaluationOptions options;
  options.seed = input_.options.seed;
  options.batch_size = input_.options.batch_size;
  options.compute_batch = input_.result.compute_batch;
  options.device = input_.options.device;
  ASSIGN_OR_RETURN(EvaluationResult result,
                   RunEvaluation(input_.model, some, instances, options, input_.control));
  Count(result.forwards, result.backwards);
  return result;
}

}  // namespace adamant::validity
