// SPDX-License-Identifier: Apache-2.0
// `adamant attack`
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "client/cli/attack_shards.h"
#include "client/cli/exit_code.h"
#include "client/cli/names.h"
#include "client/cli/submit.h"
#include "common/plugin_check.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

struct AttackFlags {
  SubmitFlags submit;
  ThreatFlags threat;
  SelectFlags select;
  std::optional<int32_t> batch_size, compute_batch;
  std::vector<uint64_t> seeds;
  std::string mode;
  std::string precision;
  std::string depth;
  std::optional<double> declared_clean, declared_certified;
  bool no_cascade = false;
  std::string outputs;
  std::optional<int> shards;
  std::vector<std::string> merge;
};

// What runs where no attack is named. The portfolio searches LINF balls only.
std::string DefaultAttack(const v1::AttackSpec& spec) {
  return spec.attacks(0).threat().norm() == v1::LINF ? "portfolio" : "autoattack";
}

// Attacks with a budget of their own take no threat model.
absl::StatusOr<std::set<std::string>> AttacksWithoutBall(Session& session) {
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(const v1::Capabilities capabilities, client->GetCapabilities());
  std::set<std::string> names;
  for (const v1::PluginFamily& family : capabilities.families()) {
    if (family.name() != "attack") continue;
    for (const v1::PluginInfo& attack : family.plugins()) {
      if (HasTrait(&attack, "no_ball")) names.insert(attack.name());
    }
  }
  return names;
}

absl::Status ApplyAttacks(const AttackFlags& flags, const std::vector<TypedPlugin>& plugins,
                          Session& session, v1::AttackSpec& spec) {
  const auto attacks = AllPlugins(plugins, "attack");
  if (!attacks.empty()) spec.clear_attacks();
  for (const v1::PluginSpec& attack : attacks) *spec.add_attacks()->mutable_attack() = attack;
  const bool unnamed = spec.attacks().empty();
  if (unnamed) spec.add_attacks();
  // Beside others they are left alone; on their own the server says that the flags have no use.
  std::set<std::string> without_ball;
  if (spec.attacks_size() > 1) {
    ASSIGN_OR_RETURN(without_ball, AttacksWithoutBall(session));
  }
  for (v1::AttackEntry& entry : *spec.mutable_attacks()) {
    if (without_ball.contains(entry.attack().name())) continue;
    if (!flags.threat.epsilon.empty()) entry.clear_epsilons();
    RETURN_IF_ERROR(ApplyThreat(flags.threat, *entry.mutable_threat(), entry.mutable_epsilons()));
  }
  if (unnamed) spec.mutable_attacks(0)->mutable_attack()->set_name(DefaultAttack(spec));
  if (const auto all = AllPlugins(plugins, "analysis"); !all.empty()) {
    spec.mutable_analyses()->Assign(all.begin(), all.end());
  }
  return absl::OkStatus();
}

absl::Status ApplyRun(const AttackFlags& flags, v1::AttackSpec& spec) {
  if (flags.batch_size.has_value()) spec.set_batch_size(*flags.batch_size);
  if (flags.compute_batch.has_value()) spec.set_compute_batch(*flags.compute_batch);
  if (flags.no_cascade) spec.set_cascade(false);
  if (!flags.precision.empty()) spec.set_search_precision(flags.precision);
  if (!flags.depth.empty()) spec.set_depth(flags.depth);
  if (flags.declared_clean.has_value()) {
    spec.set_declared_clean_accuracy(*flags.declared_clean);
  }
  if (flags.declared_certified.has_value()) {
    spec.set_declared_certified_accuracy(*flags.declared_certified);
  }
  if (!flags.seeds.empty()) spec.mutable_seeds()->Assign(flags.seeds.begin(), flags.seeds.end());
  if (!flags.mode.empty()) {
    ASSIGN_OR_RETURN(const int mode, ParseEnum("mode", flags.mode, *v1::AttackMode_descriptor()));
    spec.set_mode(static_cast<v1::AttackMode>(mode));
  }
  if (flags.outputs.empty()) return absl::OkStatus();
  spec.clear_outputs();
  for (absl::string_view output : absl::StrSplit(flags.outputs, ',')) {
    ASSIGN_OR_RETURN(const int value, ParseEnum("output", output, *v1::AttackOutput_descriptor()));
    spec.add_outputs(static_cast<v1::AttackOutput>(value));
  }
  return absl::OkStatus();
}

// Whether flags say what is attacked, with what; a merge knows that from its shards.
bool SaysWhat(const AttackFlags& flags) {
  const SelectFlags& select = flags.select;
  return !flags.submit.file.empty() || flags.shards.has_value() || flags.no_cascade ||
         !flags.threat.norm.empty() || !flags.threat.epsilon.empty() || !select.split.empty() ||
         !select.ids.empty() || select.samples != 0 || select.begin != 0;
}

absl::StatusOr<int> Merge(const AttackFlags& flags, Session& session) {
  v1::JobSpec job;
  ASSIGN_OR_RETURN(*job.mutable_attack(), MergeSpec(session, flags.merge));
  RETURN_IF_ERROR(ApplyRun(flags, *job.mutable_attack()));
  return SubmitJob(session, flags.submit, *job.mutable_attack(), job);
}

absl::StatusOr<int> Attack(const CLI::App& app, const AttackFlags& flags, Session& session) {
  ASSIGN_OR_RETURN(const std::vector<TypedPlugin> plugins, BindParams(CollectTyped(app)));
  if (!flags.merge.empty()) {
    if (!plugins.empty() || SaysWhat(flags)) {
      return UsageError("--merge takes model, data and attacks from the shards; do not name them");
    }
    return Merge(flags, session);
  }
  v1::JobSpec job;
  v1::AttackSpec& spec = *job.mutable_attack();
  RETURN_IF_ERROR(LoadSpecFile(flags.submit, spec));
  const auto* model = LastPlugin(plugins, "model");
  const auto* data = LastPlugin(plugins, "dataset");
  if (flags.submit.file.empty() && (model == nullptr || data == nullptr)) {
    return UsageError("--model and --dataset are needed (or a spec file with -f)");
  }
  if (model != nullptr) {
    ASSIGN_OR_RETURN(*spec.mutable_model(), ResolveModel(session, *model, false));
  }
  if (data != nullptr) {
    ASSIGN_OR_RETURN(*spec.mutable_data(), ResolveData(session, *data));
  }
  RETURN_IF_ERROR(ApplySelection(flags.select, *spec.mutable_data()));
  RETURN_IF_ERROR(ApplyAttacks(flags, plugins, session, spec));
  RETURN_IF_ERROR(ApplyRun(flags, spec));
  if (flags.shards.value_or(1) > 1) {
    return SubmitShards(session, flags.submit, *flags.shards, job);
  }
  return SubmitJob(session, flags.submit, spec, job);
}

}  // namespace

void AddAttack(CLI::App& root, Commands& commands) {
  auto flags = std::make_shared<AttackFlags>();
  CLI::App* app = root.add_subcommand("attack", "Measure the accuracy of a model under attack");
  AddTyped(*app, "model", "models/ID or ID, or jobs/UID")->group("What");
  AddTyped(*app, "attack",
           "attack, e.g. autoattack (default: portfolio for linf, else autoattack); repeatable: "
           "each sees what the ones before left robust")
      ->group("What");
  AddTyped(*app, "analysis", "question to answer besides, e.g. epsilon_sweep; repeatable")
      ->group("What");
  AddTyped(*app, "param", "NAME=VALUE of the plug-in option before it; repeatable")->group("What");
  AddThreatFlags(*app, flags->threat);
  AddTyped(*app, "dataset", "datasets/ID or ID, or a built-in reader, e.g. shapes")->group("Data");
  AddSelectFlags(*app, flags->select);
  app->add_flag("--no-cascade", flags->no_cascade, "every attack sees every sample")->group("How");
  app->add_option("--seed", flags->seeds,
                  "of every random choice (default 0); repeatable: the worst case over all")
      ->group("How");
  app->add_option("--mode", flags->mode,
                  "evaluate (default), min_norm: smallest distance of every sample, craft")
      ->group("How");
  app->add_option("--batch-size", flags->batch_size, "samples in flight")->group("How");
  app->add_option("--compute-batch", flags->compute_batch, "rows per call of the network")
      ->group("How");
  app->add_option("--precision", flags->precision,
                  "of the search: fp32 (default) or bf16; what is found is verified in fp32")
      ->group("How");
  app->add_option("--depth", flags->depth,
                  "of the checks behind the verdict: quick (default) or full")
      ->group("Verdict");
  app->add_option("--declared-clean", flags->declared_clean,
                  "clean accuracy that the model is said to have, e.g. 0.982")
      ->group("Verdict");
  app->add_option("--declared-certified", flags->declared_certified,
                  "accuracy that is proven for this threat model, e.g. 0.942")
      ->group("Verdict");
  app->add_option("--outputs", flags->outputs,
                  "comma list of summary, sample_table, adversarial_examples, curves")
      ->group("How");
  app->add_option("--shards", flags->shards,
                  "divide the samples among so many jobs, which run side by side; with --wait or "
                  "--watch their results are merged into one report")
      ->check(CLI::Range(1, 32))
      ->group("Shards");
  app->add_option("--merge", flags->merge, "comma list of the jobs of all shards: merge them now")
      ->delimiter(',')
      ->group("Shards");
  AddSubmitFlags(*app, flags->submit);
  app->footer(
      "Examples:\n"
      "  adamant attack --model mnist-robust --dataset mnist --epsilon 0.3 --wait\n"
      "  adamant attack --model mnist-robust --dataset mnist --samples 1000 --norm linf --epsilon "
      "0.3 \\\n"
      "    --attack pgd --param steps=40 --param step_size=0.01 --attack apgd_ce --wait");
  commands.push_back({app, "submit the attack",
                      [app, flags](Session& session) { return Attack(*app, *flags, session); },
                      Effect::kSubmits});
}

}  // namespace adamant
