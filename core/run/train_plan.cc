// SPDX-License-Identifier: Apache-2.0
#include "core/run/train_plan.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/plugin_check.h"
#include "common/sha256.h"
#include "core/objectives/objective.h"
#include "core/run/augment.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace adamant {
namespace {

constexpr int64_t kMaxBatch = 65536;

// Collects what is wrong with a spec.
class Checker {
 public:
  void Refuse(absl::string_view field, absl::string_view text) {
    found_.push_back(absl::StrCat(field, ": ", text));
  }
  void Require(bool good, absl::string_view field, absl::string_view text) {
    if (!good) Refuse(field, text);
  }
  void Within(absl::string_view field, double value, double min, double max) {
    if (!(value >= min && value <= max)) {
      Refuse(field, absl::StrCat(value, " is outside [", min, ", ", max, "]"));
    }
  }
  void Below(absl::string_view field, double value, double min, double end) {
    if (!(value >= min && value < end)) {
      Refuse(field, absl::StrCat(value, " is outside [", min, ", ", end, ")"));
    }
  }
  void Above(absl::string_view field, double value, double above, double max) {
    if (!(value > above && value <= max)) {
      Refuse(field, absl::StrCat(value, " is outside (", above, ", ", max, "]"));
    }
  }
  void Plugin(v1::PluginSpec& spec, const v1::PluginFamily& family, absl::string_view field) {
    std::vector<Violation> violations;
    v1::PluginSpec normal = NormalizePluginSpec(spec, family, field, violations);
    for (const Violation& violation : violations) Refuse(violation.field, violation.description);
    if (violations.empty()) spec = std::move(normal);
  }
  absl::Status status() const {
    if (found_.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrJoin(found_, "; "));
  }

 private:
  std::vector<std::string> found_;
};

void CompleteOptimizer(v1::Optimizer& optimizer, Checker& check) {
  if (optimizer.kind() == v1::Optimizer::KIND_UNSPECIFIED) optimizer.set_kind(v1::Optimizer::SGD);
  const bool adam = optimizer.kind() == v1::Optimizer::ADAM;
  check.Require(adam || optimizer.kind() == v1::Optimizer::SGD, "optimizer.kind",
                "this version serves SGD and ADAM");
  if (!optimizer.has_lr()) optimizer.set_lr(adam ? 1e-3 : 0.1);
  if (!optimizer.has_weight_decay()) optimizer.set_weight_decay(adam ? 0 : 5e-4);
  check.Above("optimizer.lr", optimizer.lr(), 0, 10);
  check.Within("optimizer.weight_decay", optimizer.weight_decay(), 0, 1);
  if (adam) {
    check.Require(!optimizer.has_momentum(), "optimizer.momentum", "ADAM has beta1 instead");
    check.Require(!optimizer.nesterov(), "optimizer.nesterov", "for SGD only");
    if (!optimizer.has_beta1()) optimizer.set_beta1(0.9);
    if (!optimizer.has_beta2()) optimizer.set_beta2(0.999);
    if (!optimizer.has_eps()) optimizer.set_eps(1e-8);
    check.Below("optimizer.beta1", optimizer.beta1(), 0, 1);
    check.Below("optimizer.beta2", optimizer.beta2(), 0, 1);
    check.Above("optimizer.eps", optimizer.eps(), 0, 10);
  } else {
    check.Require(!optimizer.decoupled(), "optimizer.decoupled", "for ADAM only");
    check.Require(!optimizer.has_beta1() && !optimizer.has_beta2() && !optimizer.has_eps(),
                  "optimizer", "beta1, beta2 and eps are for ADAM only");
    if (!optimizer.has_momentum()) optimizer.set_momentum(0.9);
    check.Below("optimizer.momentum", optimizer.momentum(), 0, 1);
    check.Require(!optimizer.nesterov() || optimizer.momentum() > 0, "optimizer.nesterov",
                  "needs momentum above 0");
  }
}

void CompleteSchedule(v1::Schedule& schedule, Checker& check) {
  using Kind = v1::Schedule;
  if (schedule.kind() == Kind::KIND_UNSPECIFIED) schedule.set_kind(Kind::CONSTANT);
  const auto kind = schedule.kind();
  const bool decays = kind == Kind::STEP || kind == Kind::EXPONENTIAL;
  check.Require(decays || !schedule.has_gamma(), "schedule.gamma", "for STEP and EXPONENTIAL only");
  check.Require(kind == Kind::STEP || schedule.milestones().empty(), "schedule.milestones",
                "for STEP only");
  check.Require(kind != Kind::STEP || !schedule.milestones().empty(), "schedule.milestones",
                "STEP needs at least one");
  check.Require(kind == Kind::CYCLIC || !schedule.has_peak(), "schedule.peak", "for CYCLIC only");
  check.Require(kind == Kind::EXPONENTIAL || schedule.every() == 0, "schedule.every",
                "for EXPONENTIAL only");
  check.Require(kind == Kind::COSINE || schedule.min_lr() == 0, "schedule.min_lr",
                "for COSINE only");
  if (decays && !schedule.has_gamma()) schedule.set_gamma(0.1);
  if (decays) check.Above("schedule.gamma", schedule.gamma(), 0, 1);
  if (kind == Kind::CYCLIC && !schedule.has_peak()) schedule.set_peak(0.5);
  if (kind == Kind::CYCLIC) {
    check.Require(schedule.peak() > 0 && schedule.peak() < 1, "schedule.peak",
                  "must lie between 0 and 1");
  }
  if (kind == Kind::EXPONENTIAL && schedule.every() == 0) schedule.set_every(1);
  check.Within("schedule.every", schedule.every(), 0, 1e9);
  check.Within("schedule.min_lr", schedule.min_lr(), 0, 10);
  check.Within("schedule.warmup_steps", static_cast<double>(schedule.warmup_steps()), 0, 1e9);
  for (const int64_t milestone : schedule.milestones()) {
    check.Within("schedule.milestones", static_cast<double>(milestone), 1, 1e9);
  }
}

void CompleteEvaluation(v1::TrainEvaluation& evaluation, Checker& check) {
  check.Require(evaluation.every_epochs() == 0 || evaluation.every_steps() == 0,
                "evaluation.every_steps", "set every_epochs or every_steps, not both");
  if (evaluation.every_epochs() == 0 && evaluation.every_steps() == 0) {
    evaluation.set_every_epochs(1);
  }
  check.Within("evaluation.every_epochs", evaluation.every_epochs(), -1, 1e5);
  check.Within("evaluation.every_steps", static_cast<double>(evaluation.every_steps()), 0, 1e9);
  if (evaluation.samples() == 0) evaluation.set_samples(1000);
  check.Within("evaluation.samples", static_cast<double>(evaluation.samples()), 1, 1e9);
  check.Require(evaluation.analyses().empty(), "evaluation.analyses",
                "not served by this version; run them in an AttackJob");
}

void CompleteCheckpoint(v1::CheckpointPolicy& policy, Checker& check) {
  if (policy.every_steps() == 0) policy.set_every_steps(500);
  if (policy.every_seconds() == 0) policy.set_every_seconds(300);
  if (policy.keep_latest() == 0) policy.set_keep_latest(2);
  if (policy.keep_best() == 0) policy.set_keep_best(1);
  check.Within("checkpoint.every_steps", static_cast<double>(policy.every_steps()), 1, 1e9);
  check.Within("checkpoint.every_seconds", policy.every_seconds(), 0.1, 1e7);
  check.Within("checkpoint.keep_latest", policy.keep_latest(), 1, 1000);
  check.Require(policy.keep_best() == 1, "checkpoint.keep_best", "this version keeps 1");
  check.Require(policy.metric().empty() || policy.metric() == "robust_accuracy" ||
                    policy.metric() == "clean_accuracy",
                "checkpoint.metric", "known: clean_accuracy, robust_accuracy");
}

void RefuseUnserved(const v1::TrainSpec& spec, Checker& check) {
  check.Require(spec.precision() == v1::PRECISION_UNSPECIFIED || spec.precision() == v1::FP32,
                "precision", "this version trains in FP32 only");
  check.Require(spec.ema_decay() == 0, "ema_decay", "not served by this version; leave it 0");
  check.Require(spec.on_nan() == v1::ON_NAN_UNSPECIFIED || spec.on_nan() == v1::ON_NAN_FAIL,
                "on_nan", "this version serves ON_NAN_FAIL only");
  check.Require(!spec.has_evolution(), "evolution", "not served by this version");
  check.Require(spec.world_size() == 0 || spec.world_size() == 1, "world_size",
                "this version trains on one device");
}

std::string DeterministicBytes(const v1::TrainSpec& spec) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream out(&stream);
    out.SetSerializationDeterministic(true);
    spec.SerializeToCodedStream(&out);
  }
  return bytes;
}

}  // namespace

absl::StatusOr<v1::TrainSpec> CompleteTrainSpec(const v1::TrainSpec& given) {
  v1::TrainSpec spec = given;
  Checker check;
  check.Require((spec.epochs() != 0) != (spec.steps() != 0), "epochs",
                "set exactly one of epochs and steps");
  check.Within("epochs", spec.epochs(), 0, 1e5);
  check.Within("steps", static_cast<double>(spec.steps()), 0, 1e9);
  check.Within("batch_size", spec.batch_size(), 0, kMaxBatch);
  check.Within("max_grad_norm", spec.max_grad_norm(), 0, 1e9);
  check.Within("label_smoothing", spec.label_smoothing(), 0, 0.5);
  check.Within("ramp_frac", spec.ramp_frac(), 0, 1);
  check.Within("eps_warmup_frac", spec.eps_warmup_frac(), 0, 1);
  if (!spec.has_val_ratio()) spec.set_val_ratio(0.1);
  check.Within("val_ratio", spec.val_ratio(), 0, 0.5);
  if (spec.objective().name().empty()) spec.mutable_objective()->set_name("standard");
  check.Plugin(*spec.mutable_objective(), Registry<Objective>::Family(), "objective");
  for (int i = 0; i < spec.augmentations_size(); ++i) {
    check.Plugin(*spec.mutable_augmentations(i), AugmentationFamily(),
                 absl::StrCat("augmentations[", i, "]"));
  }
  CompleteOptimizer(*spec.mutable_optimizer(), check);
  CompleteSchedule(*spec.mutable_schedule(), check);
  CompleteEvaluation(*spec.mutable_evaluation(), check);
  CompleteCheckpoint(*spec.mutable_checkpoint(), check);
  RefuseUnserved(spec, check);
  if (absl::Status status = check.status(); !status.ok()) return status;
  spec.set_precision(v1::FP32);
  spec.set_on_nan(v1::ON_NAN_FAIL);
  spec.set_world_size(1);
  if (spec.attack_bn_mode() == v1::BATCH_NORM_MODE_UNSPECIFIED) {
    spec.set_attack_bn_mode(v1::BN_EVAL);
  }
  return spec;
}

std::string TrainSpecDigest(const v1::TrainSpec& spec) {
  return Sha256Hex(DeterministicBytes(spec));
}

std::string ResumeDigest(v1::TrainSpec spec) {
  spec.clear_evaluation();
  spec.clear_checkpoint();
  spec.clear_register_as();
  spec.clear_epochs();
  return TrainSpecDigest(spec);
}

}  // namespace adamant
