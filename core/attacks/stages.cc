// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/stages.h"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/attacks/losses.h"
#include "core/attacks/steps.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

// Passes claims on with the rows of the whole batch, and remembers which were accepted.
class StageJudge final : public Judge {
 public:
  StageJudge(Judge& judge, at::Tensor rows, at::Tensor accepted)
      : judge_(judge), rows_(std::move(rows)), accepted_(std::move(accepted)) {}

  at::Tensor Submit(const Claims& claims) override {
    Claims whole = claims;
    whole.rows = rows_.index_select(0, claims.rows.to(rows_.device()));
    at::Tensor accepted = judge_.Submit(whole);
    accepted_.index_fill_(0, whole.rows.masked_select(accepted.to(whole.rows.device())), 1);
    return accepted;
  }

 private:
  Judge& judge_;
  const at::Tensor rows_;  // int64: of the stage's batch within the whole one
  at::Tensor accepted_;    // bool, of the whole batch
};

at::Tensor Chosen(const at::Tensor& values, const at::Tensor& rows) {
  return values.defined() ? values.index_select(0, rows.to(values.device())) : values;
}

void Add(const at::Tensor& total, const at::Tensor& rows, const at::Tensor& part) {
  if (part.defined()) total.index_add_(0, rows, part.to(at::kLong));
}

AttackResult Start(const Batch& batch) {
  const auto zeros = [&] { return at::zeros_like(batch.labels, at::kLong); };
  AttackResult out{.images = batch.images.detach().clone(),
                   .counts = {zeros(), zeros(), zeros(), zeros(), zeros(), zeros(), zeros()}};
  return out;
}

// A minimum-norm stage may end outside the ball; the image of the stage before is kept then.
at::Tensor InBall(const AttackResult& stage, const at::Tensor& before, const ThreatModel& threat) {
  if (!stage.min_norm.defined()) return stage.images.detach();
  const at::Tensor inside = stage.min_norm <= ClaimDistance(threat);
  return at::where(PerRow(inside), stage.images.detach(), before);
}

void Merge(const AttackResult& stage, const at::Tensor& rows, const ThreatModel& threat,
           AttackResult& whole) {
  const at::Tensor before = whole.images.index_select(0, rows);
  whole.images.index_copy_(0, rows, InBall(stage, before, threat));
  SampleCounts& to = whole.counts;
  const SampleCounts& from = stage.counts;
  Add(to.steps, rows, from.steps);
  Add(to.forwards, rows, from.forwards);
  Add(to.backwards, rows, from.backwards);
  Add(to.zero_grads, rows, from.zero_grads);
  Add(to.nonfinite_grads, rows, from.nonfinite_grads);
  Add(to.nonfinite_logits, rows, from.nonfinite_logits);
  Add(to.extra_forwards, rows, from.extra_forwards);
}

std::unique_ptr<Attack> MakeStage(const v1::PluginSpec& spec, Norm norm) {
  absl::StatusOr<std::unique_ptr<Attack>> attack = MakePlugin<Attack>(spec);
  if (!attack.ok()) throw std::invalid_argument(std::string(attack.status().message()));
  const auto& norms = Registry<Attack>::All().at(spec.name()).declaration.norms;
  if (std::find(norms.begin(), norms.end(), NormName(norm)) == norms.end()) {
    throw std::invalid_argument(
        absl::StrCat("stage ", spec.name(), " does not support ", NormName(norm)));
  }
  return *std::move(attack);
}

}  // namespace

std::string StageStream(const std::string& stream, int stage, const std::string& name) {
  const size_t colon = stream.find(':');
  const bool position = colon != std::string::npos && colon > 0 &&
                        std::all_of(stream.begin(), stream.begin() + static_cast<long>(colon),
                                    [](char c) { return absl::ascii_isdigit(c); });
  return absl::StrCat(position ? stream.substr(0, colon) : stream, ".", stage, ":", name);
}

AttackResult CompositeAttack::Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                                  const AttackSettings& settings, const RunControl& control) const {
  const std::vector<v1::PluginSpec> stages = Stages(threat.norm);
  AttackResult whole = Start(batch);
  const at::Tensor accepted = at::zeros_like(batch.labels, at::kBool);
  for (size_t i = 0; i < stages.size(); ++i) {
    const std::unique_ptr<Attack> attack = MakeStage(stages[i], threat.norm);
    const at::Tensor rows = accepted.logical_not().nonzero().flatten();
    if (rows.size(0) == 0) break;
    AttackSettings own = settings;
    own.stream = StageStream(settings.stream, static_cast<int>(i), stages[i].name());
    own.clean_logits = Chosen(settings.clean_logits, rows);
    own.targets = Chosen(settings.targets, rows);
    own.start = Chosen(settings.start, rows);
    std::optional<StageJudge> judge;
    if (settings.judge != nullptr) own.judge = &judge.emplace(*settings.judge, rows, accepted);
    const Batch left{Chosen(batch.images, rows), Chosen(batch.labels, rows),
                     Chosen(batch.ids, rows)};
    const AttackResult done = attack->Run(victim, left, threat, own, control);
    Merge(done, rows, threat, whole);
    if (settings.judge != nullptr) continue;
    // Nobody judges: what the model takes for another class is left alone.
    Add(whole.counts.forwards, rows, at::ones_like(rows));
    const at::Tensor wrong =
        Predictions(victim.Logits(whole.images.index_select(0, rows))) != left.labels;
    accepted.index_copy_(0, rows, wrong);
  }
  return whole;
}

}  // namespace adamant
