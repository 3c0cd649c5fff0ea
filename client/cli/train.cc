// SPDX-License-Identifier: Apache-2.0
// `adamant train`
#include "absl/strings/str_cat.h"
#include "client/cli/exit_code.h"
#include "client/cli/names.h"
#include "client/cli/submit.h"
#include "common/plugin_check.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

struct TrainFlags {
  SubmitFlags submit;
  ThreatFlags threat;
  std::optional<int32_t> epochs, batch_size, eval_every;
  std::optional<int64_t> steps, limit, eval_samples;
  std::optional<uint64_t> seed;
  std::optional<std::string> lr, weight_decay, eps_warmup;
  std::string optimizer, schedule, register_as, val_split;
};

void AddPluginOptions(CLI::App& app) {
  AddTyped(app, "model", "models/ID or ID, jobs/UID, or an architecture, e.g. mini_gap")
      ->group("What");
  AddTyped(app, "dataset", "datasets/ID or ID, or a built-in reader, e.g. shapes")->group("What");
  AddTyped(app, "val-dataset", "data of the evaluations (default: a part of the training data)")
      ->group("What");
  AddTyped(app, "objective", "training method, e.g. standard, pgd_at")->group("What");
  AddTyped(app, "attack", "attack inside training (default: the objective's own)")->group("What");
  AddTyped(app, "augmentation", "random change of the images; repeatable")->group("What");
  AddTyped(app, "eval-attack", "attack of the evaluations; repeatable")->group("Evaluation");
  AddTyped(app, "param", "NAME=VALUE of the plug-in option before it; repeatable")->group("What");
}

void AddRunOptions(CLI::App& app, TrainFlags& flags) {
  app.add_option("--epochs", flags.epochs, "passes over the data")->group("How");
  app.add_option("--steps", flags.steps, "optimiser steps, instead of --epochs")->group("How");
  app.add_option("--batch-size", flags.batch_size, "clean images per step")->group("How");
  app.add_option("--lr", flags.lr, "learning rate")->group("How");
  app.add_option("--optimizer", flags.optimizer, "sgd, adam or rmsprop")->group("How");
  app.add_option("--schedule", flags.schedule, "constant, step, cosine, cyclic or exponential")
      ->group("How");
  app.add_option("--weight-decay", flags.weight_decay, "added to the gradient")->group("How");
  app.add_option("--eps-warmup", flags.eps_warmup,
                 "share of the steps over which epsilon grows from 0")
      ->group("How");
  app.add_option("--seed", flags.seed, "of every random choice (default 0)")->group("How");
  app.add_option("--limit", flags.limit, "only the first N training samples")->group("How");
  app.add_option("--register-as", flags.register_as, "id under which the result is kept")
      ->group("How");
  app.add_option("--val-split", flags.val_split, "split of the evaluations, e.g. test")
      ->group("Evaluation");
  app.add_option("--eval-samples", flags.eval_samples, "first N samples of the evaluations")
      ->group("Evaluation");
  app.add_option("--eval-every", flags.eval_every, "epochs between evaluations; -1 = only the last")
      ->group("Evaluation");
}

absl::StatusOr<double> Number(const char* flag, const std::string& text) {
  const auto number = ParseNumber(text);
  if (!number.ok()) return UsageError(absl::StrCat(flag, " ", number.status().message()));
  return number;
}

absl::Status ApplyNumbers(const TrainFlags& flags, v1::TrainSpec& spec) {
  if (flags.epochs.has_value() && flags.steps.has_value()) {
    return UsageError("--epochs and --steps exclude each other");
  }
  if (flags.epochs.has_value()) spec.clear_steps(), spec.set_epochs(*flags.epochs);
  if (flags.steps.has_value()) spec.clear_epochs(), spec.set_steps(*flags.steps);
  if (flags.batch_size.has_value()) spec.set_batch_size(*flags.batch_size);
  if (flags.seed.has_value()) spec.set_seed(*flags.seed);
  if (flags.lr.has_value()) {
    ASSIGN_OR_RETURN(const double lr, Number("--lr", *flags.lr));
    spec.mutable_optimizer()->set_lr(lr);
  }
  if (flags.weight_decay.has_value()) {
    ASSIGN_OR_RETURN(const double decay, Number("--weight-decay", *flags.weight_decay));
    spec.mutable_optimizer()->set_weight_decay(decay);
  }
  if (flags.eps_warmup.has_value()) {
    ASSIGN_OR_RETURN(const double share, Number("--eps-warmup", *flags.eps_warmup));
    spec.set_eps_warmup_frac(share);
  }
  if (!flags.optimizer.empty()) {
    ASSIGN_OR_RETURN(const int kind,
                     ParseEnum("optimizer", flags.optimizer, *v1::Optimizer::Kind_descriptor()));
    spec.mutable_optimizer()->set_kind(static_cast<v1::Optimizer::Kind>(kind));
  }
  if (!flags.schedule.empty()) {
    ASSIGN_OR_RETURN(const int kind,
                     ParseEnum("schedule", flags.schedule, *v1::Schedule::Kind_descriptor()));
    spec.mutable_schedule()->set_kind(static_cast<v1::Schedule::Kind>(kind));
  }
  if (!flags.register_as.empty()) spec.set_register_as(flags.register_as);
  return absl::OkStatus();
}

absl::Status ApplyData(Session& session, const TrainFlags& flags,
                       const std::vector<TypedPlugin>& plugins, v1::TrainSpec& spec) {
  if (const auto* model = LastPlugin(plugins, "model"); model != nullptr) {
    ASSIGN_OR_RETURN(*spec.mutable_model(), ResolveModel(session, *model, true));
  }
  if (const auto* data = LastPlugin(plugins, "dataset"); data != nullptr) {
    ASSIGN_OR_RETURN(*spec.mutable_train(), ResolveData(session, *data));
  }
  if (const auto* data = LastPlugin(plugins, "val-dataset"); data != nullptr) {
    ASSIGN_OR_RETURN(*spec.mutable_validation(), ResolveData(session, *data));
  }
  if (!flags.val_split.empty()) {
    if (!spec.has_validation()) {
      *spec.mutable_validation() = spec.train();
      spec.mutable_validation()->clear_begin();
      spec.mutable_validation()->clear_end();
      spec.mutable_validation()->clear_sample_ids();
    }
    spec.mutable_validation()->set_split(flags.val_split);
  }
  if (flags.limit.has_value()) spec.mutable_train()->set_end(*flags.limit);
  return absl::OkStatus();
}

absl::Status ApplyMethod(const TrainFlags& flags, const std::vector<TypedPlugin>& plugins,
                         v1::TrainSpec& spec) {
  if (const auto* objective = LastPlugin(plugins, "objective"); objective != nullptr) {
    *spec.mutable_objective() = *objective;
  }
  if (const auto* attack = LastPlugin(plugins, "attack"); attack != nullptr) {
    *spec.mutable_attack() = *attack;
  }
  if (const auto all = AllPlugins(plugins, "augmentation"); !all.empty()) {
    spec.mutable_augmentations()->Assign(all.begin(), all.end());
  }
  if (!flags.threat.norm.empty() || !flags.threat.epsilon.empty()) {
    RETURN_IF_ERROR(ApplyThreat(flags.threat, *spec.mutable_threat(), nullptr));
  }
  if (flags.eval_samples.has_value()) spec.mutable_evaluation()->set_samples(*flags.eval_samples);
  if (flags.eval_every.has_value()) {
    spec.mutable_evaluation()->set_every_epochs(*flags.eval_every);
  }
  const auto attacks = AllPlugins(plugins, "eval-attack");
  if (!attacks.empty()) spec.mutable_evaluation()->clear_attacks();
  for (const v1::PluginSpec& attack : attacks) {
    v1::AttackEntry& entry = *spec.mutable_evaluation()->add_attacks();
    *entry.mutable_attack() = attack;
    if (spec.has_threat()) *entry.mutable_threat() = spec.threat();
  }
  return absl::OkStatus();
}

absl::StatusOr<int> Train(const CLI::App& app, const TrainFlags& flags, Session& session) {
  ASSIGN_OR_RETURN(const std::vector<TypedPlugin> plugins, BindParams(CollectTyped(app)));
  v1::JobSpec job;
  v1::TrainSpec& spec = *job.mutable_train();
  RETURN_IF_ERROR(LoadSpecFile(flags.submit, spec));
  if (flags.submit.file.empty() &&
      (LastPlugin(plugins, "model") == nullptr || LastPlugin(plugins, "dataset") == nullptr)) {
    return UsageError("--model and --dataset are needed (or a spec file with -f)");
  }
  RETURN_IF_ERROR(ApplyData(session, flags, plugins, spec));
  RETURN_IF_ERROR(ApplyNumbers(flags, spec));
  RETURN_IF_ERROR(ApplyMethod(flags, plugins, spec));
  return SubmitJob(session, flags.submit, spec, job);
}

}  // namespace

void AddTrain(CLI::App& root, Commands& commands) {
  auto flags = std::make_shared<TrainFlags>();
  CLI::App* app = root.add_subcommand("train", "Train a model, plainly or adversarially");
  AddPluginOptions(*app);
  AddThreatFlags(*app, flags->threat);
  AddRunOptions(*app, *flags);
  AddSubmitFlags(*app, flags->submit);
  app->footer(
      "Example:\n"
      "  adamant train --model mnist_cnn --param kind=advertorch --dataset mnist --objective "
      "pgd_at \\\n"
      "    --norm linf --epsilon 0.3 --epochs 5 --register-as mnist-robust --watch");
  commands.push_back({app, "submit the training",
                      [app, flags](Session& session) { return Train(*app, *flags, session); },
                      Effect::kSubmits});
}

}  // namespace adamant
