// SPDX-License-Identifier: Apache-2.0
// The part of SpecChecker that knows TrainSpec.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/api/spec_checker.h"

namespace adamant {
namespace {

constexpr int kMaxEpochs = 100000;
constexpr int64_t kMaxSteps = 1000000000;
constexpr int kMaxBatch = 65536;

// Augmentations are steps of the data pipeline, not plug-ins: their declarations are here.
const v1::PluginFamily& Augmentations() {
  static const v1::PluginFamily family = [] {
    v1::PluginFamily made;
    made.set_name("augmentation");
    v1::PluginInfo& crop = *made.add_plugins();
    crop.set_name("random_crop");
    v1::ParamInfo& pad = *crop.add_params();
    pad.set_name("pad");
    pad.set_type(v1::INT);
    pad.mutable_default_value()->set_number_value(4);
    pad.set_min(0);
    pad.set_max(64);
    v1::PluginInfo& flip = *made.add_plugins();
    flip.set_name("hflip");
    v1::ParamInfo& share = *flip.add_params();
    share.set_name("p");
    share.set_type(v1::REAL);
    share.mutable_default_value()->set_number_value(0.5);
    share.set_min(0);
    share.set_max(1);
    return made;
  }();
  return family;
}

}  // namespace

void SpecChecker::CheckTrain(v1::TrainSpec& spec) {
  CheckModelSource("spec.model", *spec.mutable_model(), /*training=*/true);
  CheckTrainData(spec);
  if (!spec.has_objective()) spec.mutable_objective()->set_name("standard");
  CheckPlugin("spec.objective", "objective", *spec.mutable_objective());
  CheckTrainThreat(spec);
  CheckOptimizer(*spec.mutable_optimizer());
  CheckTrainLength(spec);
  CheckSchedule(spec);
  CheckAugmentations(spec);
  CheckTrainEvaluation(spec);
  CheckCheckpointPolicy(spec);
  if (spec.precision() != v1::PRECISION_UNSPECIFIED && spec.precision() != v1::FP32)
    NotServed("spec.precision", "training in another precision than FP32");
  spec.set_precision(v1::FP32);
  if (spec.ema_decay() != 0) NotServed("spec.ema_decay", "averaging weights");
  if (!(spec.max_grad_norm() >= 0)) Bad("spec.max_grad_norm", "must not be negative; 0 = off");
  Range("spec.label_smoothing", spec.label_smoothing(), 0, 0.5);
  Range("spec.ramp_frac", spec.ramp_frac(), 0, 1);
  Range("spec.eps_warmup_frac", spec.eps_warmup_frac(), 0, 1);
  if (spec.attack_bn_mode() == v1::BATCH_NORM_MODE_UNSPECIFIED)
    spec.set_attack_bn_mode(v1::BN_EVAL);
  if (spec.on_nan() == v1::ON_NAN_SKIP || spec.on_nan() == v1::ON_NAN_ROLLBACK)
    NotServed("spec.on_nan", "going on after a loss that is not finite");
  spec.set_on_nan(v1::ON_NAN_FAIL);
  if (spec.world_size() == 0) spec.set_world_size(1);
  if (spec.world_size() != 1) NotServed("spec.world_size", "training on several devices");
  if (spec.has_evolution()) NotServed("spec.evolution", "taking map snapshots during training");
  if (!spec.register_as().empty()) CheckResourceId("spec.register_as", spec.register_as());
}

void SpecChecker::CheckTrainData(v1::TrainSpec& spec) {
  CheckDataSource("spec.train", *spec.mutable_train(), "train");
  if (spec.has_validation()) {
    CheckDataSource("spec.validation", *spec.mutable_validation(), "test");
    if (spec.has_val_ratio())
      Bad("spec.val_ratio", "is used only without spec.validation; leave one of them out");
    return;
  }
  if (!spec.has_val_ratio()) spec.set_val_ratio(0.1);
  Range("spec.val_ratio", spec.val_ratio(), 0, 0.5);
}

void SpecChecker::CheckTrainLength(v1::TrainSpec& spec) {
  if ((spec.epochs() != 0) == (spec.steps() != 0)) {
    Bad("spec.epochs",
        spec.epochs() != 0 ? "give epochs or steps, not both" : "is missing: give epochs or steps");
  } else if (spec.epochs() != 0) {
    Range("spec.epochs", spec.epochs(), 1, kMaxEpochs);
  } else {
    Range("spec.steps", static_cast<double>(spec.steps()), 1, static_cast<double>(kMaxSteps));
  }
  Range("spec.batch_size", spec.batch_size(), 0, kMaxBatch);
}

void SpecChecker::CheckOptimizer(v1::Optimizer& optimizer) {
  if (optimizer.kind() == v1::Optimizer::KIND_UNSPECIFIED) optimizer.set_kind(v1::Optimizer::SGD);
  const bool adam = optimizer.kind() == v1::Optimizer::ADAM;
  if (!adam && optimizer.kind() != v1::Optimizer::SGD)
    return NotServed("spec.optimizer.kind", "this optimiser");
  if (!optimizer.has_lr()) optimizer.set_lr(adam ? 1e-3 : 0.1);
  if (!(optimizer.lr() > 0 && optimizer.lr() <= 10)) Bad("spec.optimizer.lr", "must be in (0, 10]");
  if (!optimizer.has_weight_decay()) optimizer.set_weight_decay(adam ? 0 : 5e-4);
  Range("spec.optimizer.weight_decay", optimizer.weight_decay(), 0, 1);
  const auto below_one = [this](const char* field, double value) {
    if (!(value >= 0 && value < 1))
      Bad(absl::StrCat("spec.optimizer.", field), "must be in [0, 1)");
  };
  if (adam) {
    if (optimizer.has_momentum() || optimizer.nesterov())
      Bad("spec.optimizer.momentum", "belongs to SGD; ADAM has beta1 and beta2");
    if (!optimizer.has_beta1()) optimizer.set_beta1(0.9);
    if (!optimizer.has_beta2()) optimizer.set_beta2(0.999);
    if (!optimizer.has_eps()) optimizer.set_eps(1e-8);
    below_one("beta1", optimizer.beta1());
    below_one("beta2", optimizer.beta2());
    if (!(optimizer.eps() > 0 && optimizer.eps() <= 10))
      Bad("spec.optimizer.eps", "must be in (0, 10]");
    return;
  }
  if (optimizer.has_beta1() || optimizer.has_beta2() || optimizer.has_eps() ||
      optimizer.decoupled()) {
    Bad("spec.optimizer.kind", "beta1, beta2, eps and decoupled belong to ADAM");
  }
  if (!optimizer.has_momentum()) optimizer.set_momentum(0.9);
  below_one("momentum", optimizer.momentum());
  if (optimizer.nesterov() && optimizer.momentum() == 0)
    Bad("spec.optimizer.nesterov", "needs a momentum above 0");
}

void SpecChecker::CheckSchedule(v1::TrainSpec& spec) {
  v1::Schedule& schedule = *spec.mutable_schedule();
  if (schedule.kind() == v1::Schedule::KIND_UNSPECIFIED) schedule.set_kind(v1::Schedule::CONSTANT);
  if (!v1::Schedule::Kind_IsValid(schedule.kind())) Bad("spec.schedule.kind", "is unknown");
  const auto only_for = [this](const char* field, bool wrong, const char* kinds) {
    if (wrong) Bad(absl::StrCat("spec.schedule.", field), absl::StrCat("is for ", kinds, " only"));
  };
  const auto kind = schedule.kind();
  const bool decays = kind == v1::Schedule::STEP || kind == v1::Schedule::EXPONENTIAL;
  only_for("gamma", schedule.has_gamma() && !decays, "STEP and EXPONENTIAL");
  only_for("milestones", !schedule.milestones().empty() && kind != v1::Schedule::STEP, "STEP");
  only_for("peak", schedule.has_peak() && kind != v1::Schedule::CYCLIC, "CYCLIC");
  only_for("every", schedule.every() != 0 && kind != v1::Schedule::EXPONENTIAL, "EXPONENTIAL");
  only_for("min_lr", schedule.min_lr() != 0 && kind != v1::Schedule::COSINE, "COSINE");
  if (decays && !schedule.has_gamma()) schedule.set_gamma(0.1);
  if (schedule.has_gamma() && !(schedule.gamma() > 0 && schedule.gamma() <= 1))
    Bad("spec.schedule.gamma", "must be in (0, 1]");
  if (kind == v1::Schedule::CYCLIC && !schedule.has_peak()) schedule.set_peak(0.5);
  if (schedule.has_peak() && !(schedule.peak() > 0 && schedule.peak() < 1))
    Bad("spec.schedule.peak", "must be in (0, 1)");
  if (kind == v1::Schedule::EXPONENTIAL && schedule.every() == 0) schedule.set_every(1);
  if (schedule.every() < 0) Bad("spec.schedule.every", "must be at least 1");
  if (schedule.kind() == v1::Schedule::STEP && schedule.milestones().empty())
    Bad("spec.schedule.milestones", "is missing: STEP needs at least one");
  for (int i = 0; i < schedule.milestones_size(); ++i) {
    const int64_t before = i == 0 ? 0 : schedule.milestones(i - 1);
    if (schedule.milestones(i) <= before)
      Bad(absl::StrCat("spec.schedule.milestones[", i, "]"), "must be ascending and above 0");
  }
  if (!(schedule.min_lr() >= 0)) Bad("spec.schedule.min_lr", "must not be negative");
  if (schedule.warmup_steps() < 0) Bad("spec.schedule.warmup_steps", "must not be negative");
}

void SpecChecker::CheckAugmentations(v1::TrainSpec& spec) {
  for (int i = 0; i < spec.augmentations_size(); ++i) {
    v1::PluginSpec& augmentation = *spec.mutable_augmentations(i);
    augmentation = NormalizePluginSpec(augmentation, Augmentations(),
                                       absl::StrCat("spec.augmentations[", i, "]"), violations_);
  }
}

void SpecChecker::CheckTrainThreat(v1::TrainSpec& spec) {
  if (spec.has_attack() && !spec.has_threat())
    return Bad("spec.threat", "is missing: an attack needs a norm and an epsilon");
  if (spec.has_attack())
    CheckAttackChoice("spec.", *spec.mutable_attack(), *spec.mutable_threat(), /*inner=*/true);
  else if (spec.has_threat())
    CheckThreat("spec.threat", *spec.mutable_threat());
}

void SpecChecker::CheckTrainEvaluation(v1::TrainSpec& spec) {
  v1::TrainEvaluation& evaluation = *spec.mutable_evaluation();
  if (evaluation.every_epochs() != 0 && evaluation.every_steps() != 0)
    Bad("spec.evaluation.every_steps", "replaces every_epochs; give one of them");
  if (evaluation.every_steps() < 0 || evaluation.every_epochs() < -1)
    Bad("spec.evaluation.every_epochs", "must be positive, or -1 for only at the end");
  if (evaluation.every_epochs() == 0 && evaluation.every_steps() == 0)
    evaluation.set_every_epochs(1);
  if (evaluation.samples() < 0) Bad("spec.evaluation.samples", "must not be negative");
  if (evaluation.samples() == 0) evaluation.set_samples(1000);
  if (evaluation.attacks_size() > 16) Bad("spec.evaluation.attacks", "has more than 16");
  for (int i = 0; i < evaluation.attacks_size(); ++i)
    CheckEntry(absl::StrCat("spec.evaluation.attacks[", i, "]"), *evaluation.mutable_attacks(i));
  if (!evaluation.analyses().empty())
    NotServed("spec.evaluation.analyses", "running analyses during training");
}

void SpecChecker::CheckCheckpointPolicy(v1::TrainSpec& spec) {
  v1::CheckpointPolicy& policy = *spec.mutable_checkpoint();
  if (policy.every_steps() < 0 || policy.every_seconds() < 0 || policy.keep_latest() < 0 ||
      policy.keep_best() < 0) {
    Bad("spec.checkpoint", "numbers must not be negative");
  }
  if (policy.every_steps() == 0) policy.set_every_steps(500);
  if (policy.every_seconds() == 0) policy.set_every_seconds(300);
  if (policy.keep_latest() == 0) policy.set_keep_latest(2);
  if (policy.keep_best() == 0) policy.set_keep_best(1);
  if (policy.keep_best() > 1) NotServed("spec.checkpoint.keep_best", "keeping more than 1");
  const std::string& metric = policy.metric();
  if (!metric.empty() && metric != "robust_accuracy" && metric != "clean_accuracy")
    Bad("spec.checkpoint.metric", "must be robust_accuracy or clean_accuracy");
}

}  // namespace adamant
