// SPDX-License-Identifier: Apache-2.0
// What a training run measures and leaves behind: evaluations, checkpoints, weights, warnings.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "core/run/train_checkpoint.h"
#include "core/run/train_evaluation.h"
#include "core/run/train_plan.h"
#include "core/run/trainer.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"

namespace adamant {
namespace {

constexpr double kCollapsedShare = 0.99;
constexpr double kOverfittingGap = 0.03;
constexpr double kDegenerateEpsilon = 0.5;

std::string JsonList(const std::vector<std::string>& texts) {
  google::protobuf::ListValue list;
  for (const std::string& text : texts) list.add_values()->set_string_value(text);
  std::string json;
  return google::protobuf::util::MessageToJsonString(list, &json).ok() ? json : "[]";
}

double WorstRatio(const google::protobuf::RepeatedPtrField<v1::NamedAccuracy>& accuracies) {
  double worst = 1;
  for (const v1::NamedAccuracy& one : accuracies) worst = std::min(worst, one.accuracy().ratio());
  return worst;
}

}  // namespace

bool Trainer::EvaluationDue() const {
  const v1::TrainEvaluation& policy = setup_.spec.evaluation();
  const int64_t step = state_.step();
  if (step == 0 || step == state_.evaluated_step() || setup_.validation.size() == 0) return false;
  if (step == setup_.length.total_steps) return true;
  const int64_t every = policy.every_steps() > 0
                            ? policy.every_steps()
                            : policy.every_epochs() * setup_.length.steps_per_epoch;
  return every > 0 && step % every == 0;
}

absl::Status Trainer::Evaluate() {
  const Clock::time_point start = Clock::now();
  phase_ = "evaluate";
  const int64_t epoch = (state_.step() - 1) / setup_.length.steps_per_epoch;
  ASSIGN_OR_RETURN(const TrainMeasurement measured,
                   MeasureInTraining(*setup_.model, setup_.validation, setup_.evaluation_attacks,
                                     setup_.spec.seed(), epoch, context_.device(), control_));
  phase_ = "train";
  v1::TrainReport& report = *state_.mutable_report();
  v1::TrainEvaluationResult& result = *report.add_evaluations();
  result.set_step(state_.step());
  result.set_epoch(static_cast<int32_t>(epoch) + 1);
  result.set_train_loss(state_.epoch_loss_sum() /
                        static_cast<double>(std::max<int64_t>(state_.epoch_steps(), 1)));
  *result.mutable_clean_accuracy() = measured.clean_accuracy;
  result.mutable_robust_accuracy()->Assign(measured.robust_accuracy.begin(),
                                           measured.robust_accuracy.end());
  std::vector<std::pair<std::string, double>> values = {
      {"clean_accuracy", measured.clean_accuracy.ratio()}, {"train_loss", result.train_loss()}};
  const double robust = WorstRatio(result.robust_accuracy());
  if (!measured.robust_accuracy.empty()) values.emplace_back("robust_accuracy", robust);
  context_.Metrics(state_.step(), values);
  if (measured.largest_class_share > kCollapsedShare &&
      setup_.model->info().shape.num_classes > 2) {
    WarnOnce("COLLAPSED", absl::StrCat("one class takes ", measured.largest_class_share * 100,
                                       " % of the predictions at step ", state_.step()));
  }
  KeepWeights(setup_.spec.checkpoint().metric() == "robust_accuracy"
                  ? robust
                  : measured.clean_accuracy.ratio());
  state_.set_evaluated_step(state_.step());
  report.set_evaluation_seconds(report.evaluation_seconds() +
                                std::chrono::duration<double>(Clock::now() - start).count());
  return absl::OkStatus();
}

void Trainer::KeepWeights(double metric) {
  v1::TrainReport& report = *state_.mutable_report();
  if (report.kept_step() > 0 && metric <= state_.kept_metric()) return;
  state_.set_kept_metric(metric);
  report.set_kept_step(state_.step());
  report.set_kept_by(setup_.spec.checkpoint().metric());
  kept_ = CloneTensors(Weights());
}

NamedTensors Trainer::Weights() const {
  NamedTensors weights = setup_.model->Parameters();
  for (const auto& buffer : setup_.model->Buffers()) weights.push_back(buffer);
  return weights;
}

NamedTensors Trainer::Tensors() const {
  NamedTensors all = WithPrefix("model.", Weights());
  const auto add = [&](const std::string& prefix, const NamedTensors& tensors) {
    for (auto& named : WithPrefix(prefix, tensors)) all.push_back(std::move(named));
  };
  add("optimizer.", optimizer_.State());
  add("kept.", kept_);
  add("memory.", NamedTensors(memory_.begin(), memory_.end()));
  return all;
}

bool Trainer::CheckpointDue() const {
  const v1::CheckpointPolicy& policy = setup_.spec.checkpoint();
  const int64_t step = state_.step();
  if (step == 0 || step == saved_step_) return false;
  return step % policy.every_steps() == 0 || step % setup_.length.steps_per_epoch == 0 ||
         Clock::now() - last_checkpoint_ >= std::chrono::duration<double>(policy.every_seconds());
}

void Trainer::SaveCheckpoint() {
  const Clock::time_point start = Clock::now();
  const absl::Status saved =
      context_.SaveCheckpoint(state_.step(), WriteTrainCheckpoint(state_, Tensors()));
  last_checkpoint_ = Clock::now();
  if (saved.ok()) {
    saved_step_ = state_.step();
    context_.Metrics(
        state_.step(),
        {{"checkpoint_seconds", std::chrono::duration<double>(last_checkpoint_ - start).count()}});
  } else {
    context_.Warn("CHECKPOINT_NOT_SAVED", saved.message());
  }
}

absl::Status Trainer::WriteWeights(const std::string& role, const std::string& name, int64_t step,
                                   v1::BlobRef* blob) {
  std::map<std::string, std::string> metadata = {
      {"adamant.objective", setup_.spec.objective().name()},
      {"adamant.train_spec_sha256", TrainSpecDigest(setup_.spec)}};
  if (!setup_.class_names.empty()) {
    metadata["adamant.class_names"] = JsonList(setup_.class_names);
  }
  v1::Artifact artifact;
  artifact.set_role(role);
  artifact.set_name(name);
  artifact.set_media_type("application/vnd.safetensors");
  artifact.set_step(step);
  ASSIGN_OR_RETURN(
      *blob, context_.WriteArtifact(std::move(artifact), SerializeModel(*setup_.model, metadata)));
  return absl::OkStatus();
}

absl::Status Trainer::Finish(v1::TrainReport& report) {
  setup_.model->Train(false);
  v1::TrainReport& own = *state_.mutable_report();
  own.set_steps(state_.step());
  own.set_epochs(static_cast<int32_t>(Epoch()));
  own.set_attack_share_ratio(state_.attack_seconds() / std::max(own.train_seconds(), 1e-9));
  if (kept_.empty()) {
    own.set_kept_step(state_.step());
    own.set_kept_by("last");
  } else if (own.kept_step() != state_.step()) {
    v1::BlobRef last;
    RETURN_IF_ERROR(WriteWeights("weights_last", "model-last.safetensors", state_.step(), &last));
    CopyTensors(kept_, Weights());
  }
  RETURN_IF_ERROR(
      WriteWeights("weights", "model.safetensors", own.kept_step(), own.mutable_weights()));
  own.set_weights_sha256(WeightsDigest(*setup_.model));
  WarnAboutOutcome();
  report = own;
  return absl::OkStatus();
}

void Trainer::WarnOnce(const std::string& code, const std::string& text) {
  v1::TrainReport& report = *state_.mutable_report();
  for (const std::string& before : report.warnings()) {
    if (before.rfind(code + ":", 0) == 0) return;
  }
  report.add_warnings(absl::StrCat(code, ": ", text));
  context_.Warn(code, text);
}

void Trainer::WarnAboutPlan() {
  if (setup_.inner == nullptr) return;
  const ThreatModel& threat = setup_.inner->threat();
  if (threat.norm == Norm::kLinf && threat.epsilon >= kDegenerateEpsilon) {
    WarnOnce(
        "DEGENERATE_EPSILON",
        absl::StrCat("epsilon ", threat.epsilon,
                     " lets an attack turn every image into plain grey: no model can be robust"));
  }
  if (setup_.inner->ShortReach()) {
    WarnOnce("SHORT_REACH",
             absl::StrCat("steps * step_size of the inner attack is less than epsilon ",
                          threat.epsilon, ": it cannot cross the ball"));
  }
}

void Trainer::WarnAboutMicroBatches() {
  const std::string text =
      absl::StrCat("batches of ", setup_.spec.batch_size(), " images run in ", setup_.micro_batches,
                   " parts to save memory: gradients are summed, so a step is the same up to "
                   "rounding, but batch "
                   "normalisation sees one part at a time");
  WarnOnce("MICRO_BATCHES", text);
  v1::TrainReport& report = *state_.mutable_report();
  report.set_reproducible(false);
  report.set_reproducible_reason(absl::StrCat("batches in ", setup_.micro_batches, " parts"));
}

void Trainer::WarnAboutOutcome() {
  if (setup_.spec.checkpoint().metric() != "robust_accuracy" || kept_.empty()) return;
  const auto& evaluations = state_.report().evaluations();
  const double last = WorstRatio(evaluations[evaluations.size() - 1].robust_accuracy());
  const double gap = state_.kept_metric() - last;
  if (gap > kOverfittingGap) {
    WarnOnce("ROBUST_OVERFITTING", absl::StrCat("robust accuracy fell from ", state_.kept_metric(),
                                                " at step ", state_.report().kept_step(), " to ",
                                                last, "; the weights of the best step are kept"));
  }
}

}  // namespace adamant
