// SPDX-License-Identifier: Apache-2.0
#include "core/run/train_setup.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "core/run/inputs.h"
#include "core/run/train_plan.h"

namespace adamant {
namespace {

constexpr int64_t kAutoBatch = 128;
constexpr int kEvaluationSteps = 10;

bool HasBatchNorm(const Model& model) {
  for (const auto& [name, buffer] : model.Buffers()) {
    if (absl::EndsWith(name, "running_mean")) return true;
  }
  return false;
}

absl::Status OpenModelFor(const DatasetInfo& data, RunContext& context, TrainSetup& setup) {
  ModelInput input = context.model();
  if (input.file == nullptr && input.shape.num_classes == 0) {
    input.shape = {data.channels, data.height, data.width, data.num_classes};
  }
  ASSIGN_OR_RETURN(setup.model, OpenModel(input, setup.spec.seed()));
  if (!setup.model->info().trainable || setup.model->Parameters().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("model: ", input.name,
                     " cannot be trained (TorchScript serves evaluation and explanation only); "
                     "use an architecture or safetensors weights"));
  }
  setup.model->To(c10::Device(context.device()));
  for (const auto& [name, parameter] : setup.model->Parameters()) {
    parameter.set_requires_grad(true);
  }
  return CheckFits(data, setup.model->info().shape, "train");
}

absl::Status OpenData(RunContext& context, const RunControl& control, TrainSetup& setup) {
  const v1::TrainSpec& spec = setup.spec;
  ASSIGN_OR_RETURN(DataSlice all, OpenSlice(spec.train(), "train", context));
  const DatasetInfo& info = all.dataset->info();
  setup.train_digest = info.digest;
  setup.class_names = info.class_names;
  RETURN_IF_ERROR(OpenModelFor(info, context, setup));
  DataSlice train = all;
  if (spec.has_validation()) {
    ASSIGN_OR_RETURN(setup.validation, OpenSlice(spec.validation(), "validation", context));
    RETURN_IF_ERROR(
        CheckFits(setup.validation.dataset->info(), setup.model->info().shape, "validation"));
  } else {
    std::tie(train, setup.validation) = SplitForValidation(all, spec.val_ratio(), spec.seed());
  }
  if (setup.validation.size() > spec.evaluation().samples()) {
    setup.validation.ids.resize(spec.evaluation().samples());
  }
  ASSIGN_OR_RETURN(setup.train, TrainData::Load(train, control));
  return absl::OkStatus();
}

// Batch normalisation needs two images in each part.
int MicroBatches(int64_t batch_size, int divisor) {
  return static_cast<int>(std::clamp<int64_t>(batch_size / 2, 1, divisor));
}

absl::Status SetLength(int micro_batch_divisor, TrainSetup& setup) {
  v1::TrainSpec& spec = setup.spec;
  const int64_t size = setup.train.size();
  if (spec.batch_size() == 0) {
    spec.set_batch_size(static_cast<int32_t>(std::min(kAutoBatch, size)));
    setup.micro_batches = MicroBatches(spec.batch_size(), micro_batch_divisor);
  }
  if (spec.batch_size() > size) {
    return absl::InvalidArgumentError(
        absl::StrCat("batch_size: ", spec.batch_size(), " exceeds the ", size,
                     " training samples (a last, smaller batch is dropped)"));
  }
  if (spec.batch_size() < 2 && HasBatchNorm(*setup.model)) {
    return absl::InvalidArgumentError(
        "batch_size: a model with batch normalisation needs at least 2");
  }
  setup.length.steps_per_epoch = size / spec.batch_size();
  setup.length.in_epochs = spec.epochs() > 0;
  setup.length.total_steps =
      spec.epochs() > 0 ? spec.epochs() * setup.length.steps_per_epoch : spec.steps();
  return absl::OkStatus();
}

BatchNormMode ToMode(v1::BatchNormMode mode) {
  switch (mode) {
    case v1::BN_TRAIN_FROZEN_STATS:
      return BatchNormMode::kTrainFrozenStats;
    case v1::BN_TRAIN:
      return BatchNormMode::kTrain;
    default:
      return BatchNormMode::kEval;
  }
}

absl::Status OpenObjective(TrainSetup& setup) {
  const v1::TrainSpec& spec = setup.spec;
  ASSIGN_OR_RETURN(setup.objective, MakePlugin<Objective>(spec.objective()));
  RETURN_IF_ERROR(setup.objective->Prepare(*setup.model));
  std::optional<ThreatModel> threat;
  if (spec.has_threat()) {
    ASSIGN_OR_RETURN(threat, ToThreatModel(spec.threat(), setup.model->info().shape));
  }
  std::optional<InnerAttackChoice> choice = setup.objective->DefaultAttack(threat);
  if (!choice.has_value()) {
    const absl::string_view name = spec.objective().name();
    if (spec.has_attack()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "attack: objective \"", name, "\" attacks nothing; remove it, or use pgd_at"));
    }
    if (spec.eps_warmup_frac() > 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("eps_warmup_frac: objective \"", name, "\" attacks nothing; remove it"));
    }
    return absl::OkStatus();
  }
  if (spec.has_attack()) choice->attack = spec.attack();
  ASSIGN_OR_RETURN(setup.inner,
                   InnerAttack::Make(*choice, ToMode(spec.attack_bn_mode()), spec.seed()));
  return absl::OkStatus();
}

// pgd under the training threat, for a spec that names no evaluation attacks.
v1::AttackEntry DefaultEvaluationAttack(const TrainSetup& setup) {
  v1::AttackEntry entry;
  if (setup.spec.has_threat()) {
    *entry.mutable_threat() = setup.spec.threat();
  } else {
    entry.mutable_threat()->set_epsilon(setup.inner->threat().epsilon);
  }
  if (entry.threat().norm() == v1::NORM_UNSPECIFIED) entry.mutable_threat()->set_norm(v1::LINF);
  entry.mutable_attack()->set_name("pgd");
  auto& params = *entry.mutable_attack()->mutable_params()->mutable_fields();
  params["steps"].set_number_value(kEvaluationSteps);
  params["step_size"].set_number_value(entry.threat().epsilon() / 4);
  params["random_start"].set_bool_value(true);
  return entry;
}

absl::Status ChooseEvaluationAttacks(TrainSetup& setup) {
  google::protobuf::RepeatedPtrField<v1::AttackEntry> entries = setup.spec.evaluation().attacks();
  if (entries.empty() && (setup.spec.has_threat() || setup.inner != nullptr)) {
    *entries.Add() = DefaultEvaluationAttack(setup);
  }
  ASSIGN_OR_RETURN(setup.evaluation_attacks, MakeInstances(entries, setup.model->info().shape));
  return absl::OkStatus();
}

absl::Status ChooseMetric(TrainSetup& setup) {
  const bool attacked = !setup.evaluation_attacks.empty();
  std::string& metric = *setup.spec.mutable_checkpoint()->mutable_metric();
  if (metric.empty()) metric = attacked ? "robust_accuracy" : "clean_accuracy";
  if (metric == "robust_accuracy" && !attacked) {
    return absl::InvalidArgumentError(
        "checkpoint.metric: robust_accuracy needs a threat or evaluation.attacks");
  }
  if (setup.validation.size() == 0 && setup.spec.evaluation().attacks_size() > 0) {
    return absl::InvalidArgumentError(
        "evaluation: there is no validation data; set validation, or val_ratio above 0");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TrainSetup> OpenTraining(const v1::TrainSpec& spec, RunContext& context,
                                        const RunControl& control) {
  TrainSetup setup;
  ASSIGN_OR_RETURN(setup.spec, CompleteTrainSpec(spec));
  ASSIGN_OR_RETURN(setup.augmentations, Augmentations::Make(setup.spec.augmentations()));
  RETURN_IF_ERROR(OpenData(context, control, setup));
  RETURN_IF_ERROR(SetLength(context.micro_batch_divisor(), setup));
  RETURN_IF_ERROR(OpenObjective(setup));
  RETURN_IF_ERROR(ChooseEvaluationAttacks(setup));
  RETURN_IF_ERROR(ChooseMetric(setup));
  return setup;
}

}  // namespace adamant
