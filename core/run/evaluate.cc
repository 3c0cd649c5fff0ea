// SPDX-License-Identifier: Apache-2.0
#include "core/run/evaluate.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "core/analyses/analysis.h"
#include "core/base/statistics.h"
#include "core/base/torch.h"
#include "core/run/attack_artifacts.h"
#include "core/run/attack_journal.h"
#include "core/run/attack_report.h"
#include "core/run/attack_seeds.h"
#include "core/run/attack_tables.h"
#include "core/run/crafted_set.h"
#include "core/run/fingerprint.h"
#include "core/run/inputs.h"
#include "core/run/search_model.h"
#include "core/run/shards.h"
#include "core/run/validity.h"

namespace adamant {
namespace {

using Clock = std::chrono::steady_clock;
using Entries = google::protobuf::RepeatedPtrField<v1::AttackEntry>;

absl::Status CheckServed(const v1::AttackSpec& spec) {
  if (spec.attacks().empty()) {
    return absl::InvalidArgumentError("attacks: name at least one attack, e.g. pgd");
  }
  if (spec.has_confidence_level() &&
      !(spec.confidence_level() > 0 && spec.confidence_level() < 1)) {
    return absl::InvalidArgumentError("confidence_level: must lie between 0 and 1");
  }
  if (spec.batch_size() < 0 || spec.compute_batch() < 0) {
    return absl::InvalidArgumentError("batch_size and compute_batch: 0 (automatic) or positive");
  }
  return absl::OkStatus();
}

bool Wants(const v1::AttackSpec& spec, v1::AttackOutput output) {
  if (spec.outputs().empty()) return output == v1::SUMMARY || output == v1::SAMPLE_TABLE;
  return std::find(spec.outputs().begin(), spec.outputs().end(), output) != spec.outputs().end();
}

std::function<void(const EvaluationProgress&)> Observer(RunContext& context, int64_t size) {
  return [&context, size](const EvaluationProgress& now) {
    v1::Progress progress;
    progress.set_phase(now.phase);
    progress.set_step(now.attacked);
    progress.set_fraction_ratio(now.fraction);
    progress.set_samples_per_second(now.samples_per_second);
    if (now.seconds_left > 0) {
      progress.mutable_eta()->set_seconds(static_cast<int64_t>(now.seconds_left + 1));
    }
    context.Progress(progress);
    if (now.phase == "final_check" || size == 0) return;
    const double share = static_cast<double>(now.robust) / static_cast<double>(size);
    std::vector<std::pair<std::string, double>> values = {
        {now.phase == "clean" ? "clean_accuracy" : "robust_accuracy", share},
        {"samples_per_second", now.samples_per_second},
        {"robust_samples", static_cast<double>(now.robust)},
        {"broken_samples", static_cast<double>(now.broken)}};
    if (!now.attack.empty()) {
      const auto add = [&](const char* name, int64_t total) {
        values.emplace_back(absl::StrCat(name, ".", now.attack), static_cast<double>(total));
      };
      add("attack_samples", now.attack_samples);
      add("attack_successes", now.attack_successes);
      add("attack_gradient_queries", now.attack_gradient_queries);
    }
    context.Metrics(now.attacked, values);
  };
}

EvaluationOptions MakeOptions(const v1::AttackSpec& spec, RunContext& context, int64_t size) {
  EvaluationOptions options;
  options.seed = spec.seeds().empty() ? 0 : spec.seeds(0);
  options.cascade = !spec.has_cascade() || spec.cascade();
  options.craft = spec.mode() == v1::CRAFT;
  options.keep_images = Wants(spec, v1::ADVERSARIAL_EXAMPLES);
  options.nearest = spec.mode() == v1::MIN_NORM;
  options.decision_draws = std::max(1, spec.decision_draws());
  options.stop = spec.stop();
  options.batch_size = spec.batch_size();
  options.compute_batch = spec.compute_batch();
  options.micro_batch_divisor = context.micro_batch_divisor();
  options.memory_limit = context.memory_limit();
  options.device = context.device();
  options.observe = Observer(context, size);
  return options;
}

// Publishes one file of the run.
absl::StatusOr<v1::BlobRef> Publish(RunContext& context, const std::string& role,
                                    const std::string& name, const std::string& media_type,
                                    const std::string& bytes) {
  v1::Artifact artifact;
  artifact.set_role(role);
  artifact.set_name(name);
  artifact.set_media_type(media_type);
  return context.WriteArtifact(std::move(artifact), bytes);
}

absl::Status WriteFiles(const EvaluationResult& result, const Samples& samples,
                        const std::vector<AttackInstance>& instances, const v1::AttackSpec& spec,
                        const AttackJournal& journal, RunContext& context,
                        v1::AttackReport& report) {
  if (spec.has_shard()) {
    ASSIGN_OR_RETURN(
        *report.mutable_shard_records(),
        Publish(context, "shard_records", "shard_records.safetensors", "application/octet-stream",
                SerializeShard(journal, spec.shard(), result.compute_batch)));
  }
  const std::map<std::string, std::string> metadata = {
      {"source_model_digest", report.model_sha256()},
      {"dataset_digest", report.data_digest()},
      {"split", report.split()},
      {"slice", report.selection()},
      {"seed", absl::StrCat(report.seed())},
      {"config_hash", report.config_hash()}};
  if (Wants(spec, v1::SAMPLE_TABLE)) {
    ASSIGN_OR_RETURN(*report.mutable_sample_table(),
                     Publish(context, "sample_table", "samples.safetensors",
                             "application/octet-stream", SampleTable(result, instances, metadata)));
    RETURN_IF_ERROR(
        Publish(context, "sample_csv", "samples.csv", "text/csv", SampleCsv(result)).status());
  }
  if (Wants(spec, v1::ADVERSARIAL_EXAMPLES)) {
    ASSIGN_OR_RETURN(const std::string bytes, AdversarialSet(result, samples, instances, metadata));
    ASSIGN_OR_RETURN(*report.mutable_adversarial_examples(),
                     Publish(context, "adversarial_examples", "adv_set.safetensors",
                             "application/octet-stream", bytes));
  }
  return absl::OkStatus();
}

// The evaluation that analyses get: entries alone, no files.
absl::StatusOr<std::vector<MeasuredAccuracy>> EvaluateAlone(
    Model& model, const Samples& samples, const std::vector<v1::AttackEntry>& entries,
    EvaluationOptions options, const RunControl& control) {
  const Entries list(entries.begin(), entries.end());
  ASSIGN_OR_RETURN(const std::vector<AttackInstance> instances,
                   MakeInstances(list, model.info().shape));

  options.cascade = false;
  options.keep_images = false;
  options.nearest = false;
  options.stop.Clear();

  options.observe = {};
  ASSIGN_OR_RETURN(const EvaluationResult result,
                   RunEvaluation(model, samples, instances, options, control));
  v1::AttackReport report;
  v1::AttackSpec alone;
  alone.set_cascade(false);
  FillReport(result, instances, alone, model.info().shape.num_classes, report);
  std::vector<MeasuredAccuracy> out;
  for (const v1::AttackBlock& block : report.attacks()) {
    if (!block.has_alone_accuracy()) continue;  // a stage before the last
    out.push_back({block.position(), entries[block.position()].attack(), block.threat().epsilon(),
                   block.alone_accuracy()});
  }
  return out;
}

absl::Status RunAnalyses(Model& model, const DataSlice& data, const v1::AttackSpec& spec,
                         const EvaluationOptions& options, const RunControl& control,
                         RunContext& context, v1::AttackReport& report) {
  for (const v1::PluginSpec& choice : spec.analyses()) {
    ASSIGN_OR_RETURN(const std::unique_ptr<Analysis> analysis, MakePlugin<Analysis>(choice));
    AnalysisInput input;
    input.model = &model;
    input.model_name = report.model_name();
    input.data = &data;
    input.attacks = {spec.attacks().begin(), spec.attacks().end()};
    input.seed = options.seed;
    input.control = &control;
    input.evaluate = [&](const std::vector<v1::AttackEntry>& entries) {
      return EvaluateAlone(model, SamplesOf(data), entries, options, control);
    };
    ASSIGN_OR_RETURN(AnalysisOutput output, analysis->Run(input));
    for (v1::AnalysisTable& table : output.tables) *report.add_tables() = std::move(table);
    for (const Picture& picture : output.pictures) {
      RETURN_IF_ERROR(
          Publish(context, "picture", picture.name, picture.media_type, picture.bytes).status());
    }
  }
  return absl::OkStatus();
}

// What kind of attacker the numbers speak of.
std::string Protocol(const std::vector<AttackInstance>& instances) {
  const bool replayed = std::all_of(instances.begin(), instances.end(),
                                    [](const AttackInstance& one) { return one.replays_set; });
  return replayed ? "transfer protocol, not white-box robustness" : "white-box";
}

// The set that attacks of this run replay, or null.
absl::StatusOr<std::unique_ptr<CraftedSet>> OpenCrafted(
    const v1::AttackSpec& spec, const std::vector<AttackInstance>& instances,
    const std::vector<int64_t>& ids, RunContext& context) {
  const bool wanted = std::any_of(instances.begin(), instances.end(),
                                  [](const AttackInstance& one) { return one.replays_set; });
  if (wanted && !spec.has_adversarial_set()) {
    return absl::InvalidArgumentError(
        "adversarial_set: is missing; attack transfer replays a crafted set");
  }
  if (!wanted) return nullptr;
  ASSIGN_OR_RETURN(const DataInput input, context.data("adversarial_set"));
  if (input.files.empty()) return absl::InvalidArgumentError("adversarial_set: is empty");
  ASSIGN_OR_RETURN(CraftedSet set, CraftedSet::Read(input.files[0].view));
  RETURN_IF_ERROR(set.Holds(ids));
  return std::make_unique<CraftedSet>(std::move(set));
}

// What was evaluated, on what.
void Describe(const DataSlice& data, const EvaluationOptions& options, RunContext& context,
              v1::AttackReport& report) {
  report.set_model_name(context.model().name);
  report.set_model_sha256(context.model().sha256);
  report.set_data_name(data.name);
  report.set_data_digest(data.dataset->info().digest);
  report.set_split(data.split);
  report.set_selection(SelectionText(data.ids));
  report.set_seed(options.seed);
  report.set_device(context.device());
  report.set_fingerprint(Fingerprint(context.device()));
  report.set_compute_batch(static_cast<int32_t>(options.compute_batch));
}

// Takes over what an earlier attempt finished. Work that cannot be taken over is done again.
absl::Status Restore(RunContext& context, AttackJournal& journal) {
  const std::shared_ptr<const FileView> file = context.resume();
  if (file == nullptr) return absl::OkStatus();
  const absl::Status restored = journal.Restore(file);
  const bool smaller_calls =
      absl::IsFailedPrecondition(restored) && context.micro_batch_divisor() > 1;
  if (!absl::IsDataLoss(restored) && !smaller_calls) return restored;
  context.Warn("JOURNAL_DROPPED",
               absl::StrCat("what an earlier attempt finished is computed again: ",
                            smaller_calls ? "it used more rows per call" : restored.message()));
  return absl::OkStatus();
}

constexpr int64_t kPrecisionProbe = 16;  // images on which gradients are compared

absl::StatusOr<SearchModel> SearchModelFor(Model& model, const Samples& samples,
                                           const v1::AttackSpec& spec, const std::string& device,
                                           const RunControl& control) {
  std::vector<int64_t> positions(
      static_cast<size_t>(std::min<int64_t>(samples.size, kPrecisionProbe)));
  std::iota(positions.begin(), positions.end(), int64_t{0});
  ASSIGN_OR_RETURN(const Batch probe, samples.read(positions));
  return MakeSearchModel(model, spec.search_precision(), device, probe.images, control);
}

// One evaluation per seed; the worst case over them is the result.
absl::StatusOr<EvaluationResult> RunSeeds(Model& model, const Samples& samples,
                                          const std::vector<AttackInstance>& instances,
                                          const EvaluationOptions& given, AttackJournal& journal,
                                          const RunControl& control, const v1::AttackSpec& spec,
                                          v1::AttackReport& report) {
  std::vector<EvaluationResult> runs;
  for (int i = 0; i < std::max(1, spec.seeds_size()); ++i) {
    EvaluationOptions options = given;
    options.seed = spec.seeds().empty() ? 0 : spec.seeds(i);
    options.run = i;
    options.journal = &journal;
    ASSIGN_OR_RETURN(EvaluationResult result,
                     RunEvaluation(model, samples, instances, options, control));
    if (spec.seeds_size() > 1) {
      v1::SeedBlock& block = *report.add_seeds();
      block.set_seed(options.seed);
      *block.mutable_robust_accuracy() =
          MakeAccuracy(CountRobust(result), samples.size, ConfidenceZ(spec));
    }
    runs.push_back(std::move(result));
  }
  return WorstCase(std::move(runs));
}

}  // namespace

absl::Status Evaluate(const v1::AttackSpec& spec, RunContext& context, v1::AttackReport& report) {
  RETURN_IF_ERROR(CheckServed(spec));
  ASSIGN_OR_RETURN(const DataSlice data, OpenSlice(spec.data(), "data", context));
  ModelInput input = context.model();
  input.allow_nonfinite |= spec.allow_nonfinite();
  ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, OpenModel(input));
  model->To(c10::Device(context.device()));
  return EvaluateModel(*model, data, spec, context, report);
}

absl::Status EvaluateModel(Model& model, const DataSlice& selected, const v1::AttackSpec& spec,
                           RunContext& context, v1::AttackReport& report) {
  const Clock::time_point start = Clock::now();
  RETURN_IF_ERROR(CheckServed(spec));
  const ModelShape& shape = model.info().shape;
  RETURN_IF_ERROR(CheckFits(selected.dataset->info(), shape, "data"));
  ASSIGN_OR_RETURN(const std::vector<AttackInstance> instances,
                   MakeInstances(spec.attacks(), shape, spec.mode() == v1::MIN_NORM));
  RETURN_IF_ERROR(CheckShard(spec, instances));
  ASSIGN_OR_RETURN(const std::vector<ShardRecords> shards, OpenShards(spec, context));
  const DataSlice data = ShardOf(selected, spec);
  EvaluationOptions options = MakeOptions(spec, context, data.size());
  if (!shards.empty() && spec.compute_batch() == 0) {
    options.compute_batch = shards[0].compute_batch;
  }
  const Samples samples = SamplesOf(data);
  const RunControl control = context.Control();
  options.compute_batch = ComputeBatch(options, model);  // the checks below take the same
  Describe(data, options, context, report);
  report.set_config_hash(ConfigHash(spec, instances, report));
  AttackJournal journal(report.config_hash(), [&](int64_t step, absl::string_view bytes) {
    return context.SaveCheckpoint(step, bytes);
  });
  RETURN_IF_ERROR(shards.empty() ? Restore(context, journal)
                                 : MergeShards(shards, data, shape, journal));
  ASSIGN_OR_RETURN(const std::unique_ptr<CraftedSet> crafted,
                   OpenCrafted(spec, instances, data.ids, context));
  options.crafted = crafted.get();
  ASSIGN_OR_RETURN(const SearchModel search,
                   SearchModelFor(model, samples, spec, context.device(), control));
  options.search_model = search.model.get();
  ASSIGN_OR_RETURN(const EvaluationResult result,
                   RunSeeds(model, samples, instances, options, journal, control, spec, report));
  FillReport(result, instances, spec, shape.num_classes, report);
  FillTables(result, instances, spec, shape.num_classes, report);
  if (!shards.empty()) NoteCohorts(instances, report);
  report.set_protocol(Protocol(instances));
  report.set_search_precision(search.precision);
  if (!search.note.empty()) report.add_notes(search.note);
  RETURN_IF_ERROR(WriteFiles(result, samples, instances, spec, journal, context, report));
  if (spec.has_shard()) {
    DescribeShard(spec.shard(), report);
  } else {
    RETURN_IF_ERROR(RunAnalyses(model, data, spec, options, control, context, report));
    RETURN_IF_ERROR(
        RunValidityChecks({model, samples, spec, instances, options, result, control}, report));
  }
  report.set_seconds(std::chrono::duration<double>(Clock::now() - start).count());
  return absl::OkStatus();
}

absl::StatusOr<RobustnessMeasure> MeasureRobustness(Model& model, const Samples& samples,
                                                    const Entries& attacks,
                                                    const MeasureOptions& options,
                                                    const RunControl& control) {
  ASSIGN_OR_RETURN(std::vector<AttackInstance> instances,
                   MakeInstances(attacks, model.info().shape));
  for (AttackInstance& instance : instances) {
    instance.stream = absl::StrCat("eval_attack:", instance.spec.name(), ":", options.epoch);
  }
  EvaluationOptions evaluation;
  evaluation.seed = options.seed;
  evaluation.cascade = false;
  evaluation.device = options.device;
  ASSIGN_OR_RETURN(const EvaluationResult result,
                   RunEvaluation(model, samples, instances, evaluation, control));
  v1::AttackReport report;
  v1::AttackSpec alone;
  alone.set_cascade(false);
  FillReport(result, instances, alone, model.info().shape.num_classes, report);
  RobustnessMeasure out;
  out.clean_accuracy = report.clean_accuracy();
  out.worst_case = report.robust_accuracy();
  for (size_t i = 0; i < instances.size(); ++i) {
    if (!instances[i].last_stage) continue;
    v1::NamedAccuracy& named = out.robust_accuracy.emplace_back();
    named.set_name(instances[i].entry);
    *named.mutable_accuracy() = report.attacks(static_cast<int>(i)).alone_accuracy();
  }
  std::map<int32_t, int64_t> predicted;
  for (const v1::SampleOutcome& outcome : result.outcomes) ++predicted[outcome.clean_pred()];
  for (const auto& [label, count] : predicted) {
    out.largest_class_share = std::max(
        out.largest_class_share, static_cast<double>(count) / static_cast<double>(samples.size));
  }
  return out;
}

}  // namespace adamant
