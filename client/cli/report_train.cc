// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/str_cat.h"
#include "client/cli/report.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "client/client.h"

namespace adamant {
namespace {

// One row per evaluation, one column per attack of the evaluation; "*" marks the weights kept.
std::string EvaluationsText(const v1::TrainReport& report) {
  if (report.evaluations().empty()) return "";
  std::vector<std::string> header = {"EPOCH", "STEP", "LOSS", "CLEAN"};
  for (const v1::NamedAccuracy& robust : report.evaluations(0).robust_accuracy()) {
    header.push_back(report.evaluations(0).robust_accuracy_size() == 1
                         ? "ROBUST"
                         : absl::StrCat("ROBUST ", robust.name()));
  }
  header.emplace_back("KEPT");
  Table table(header);
  for (const v1::TrainEvaluationResult& result : report.evaluations()) {
    std::vector<std::string> row = {absl::StrCat(result.epoch()), absl::StrCat(result.step()),
                                    NumberText(result.train_loss()),
                                    ShortAccuracy(result.clean_accuracy())};
    for (const v1::NamedAccuracy& robust : result.robust_accuracy()) {
      row.push_back(ShortAccuracy(robust.accuracy()));
    }
    row.resize(header.size());
    row.back() = std::string(result.step() == report.kept_step() ? 1 : 0, '*');
    table.Add(std::move(row));
  }
  return absl::StrCat("\nEvaluations\n", table.Render("  "));
}

std::string KeptText(const v1::TrainReport& report) {
  return absl::StrCat("step ", report.kept_step(), report.kept_by().empty() ? "" : ", chosen by ",
                      report.kept_by());
}

// The evaluation of the weights kept, with intervals.
const v1::TrainEvaluationResult* KeptEvaluation(const v1::TrainReport& report) {
  for (const v1::TrainEvaluationResult& result : report.evaluations()) {
    if (result.step() == report.kept_step()) return &result;
  }
  return nullptr;
}

}  // namespace

std::string TrainReportText(const v1::Job& job, bool wide) {
  const v1::TrainReport& report = job.result().train();
  const v1::TrainSpec& spec = job.spec().train();
  std::vector<std::pair<std::string, std::string>> fields = {
      {"Model", SourceText(spec.model())},
      {"Data", SourceText(spec.train())},
      {"Objective", wide ? PluginText(spec.objective()) : spec.objective().name()},
      {"Threat", ThreatText(spec.threat())},
      {"Trained", absl::StrCat(report.steps(), " steps, ", report.epochs(), " epochs in ",
                               SecondsText(report.train_seconds()), ", evaluations ",
                               SecondsText(report.evaluation_seconds()))},
      {"Kept", KeptText(report)}};
  if (const v1::TrainEvaluationResult* kept = KeptEvaluation(report); kept != nullptr) {
    fields.emplace_back("Clean accuracy", AccuracyText(kept->clean_accuracy()));
    for (const v1::NamedAccuracy& robust : kept->robust_accuracy()) {
      fields.emplace_back("Robust accuracy",
                          absl::StrCat(AccuracyText(robust.accuracy()), " under ", robust.name()));
    }
  }
  if (report.has_weights()) fields.emplace_back("Weights", BlobName(report.weights()));
  if (!spec.register_as().empty()) {
    fields.emplace_back("Registered as", absl::StrCat("models/", spec.register_as()));
  }
  if (wide) {
    fields.emplace_back("Work", absl::StrCat(CountText(report.forwards()), " forward and ",
                                             CountText(report.backwards()), " backward rows"));
    fields.emplace_back("Attack share", PercentText(report.attack_share_ratio()));
    fields.emplace_back("Weights digest", report.weights_sha256());
    fields.emplace_back("Data digest", report.train_digest());
    fields.emplace_back("Reproducible",
                        report.reproducible() ? "yes" : report.reproducible_reason());
    fields.emplace_back("Resumed", report.resumed() ? "yes" : "no");
    fields.emplace_back("Fingerprint", report.fingerprint());
  }
  return absl::StrCat("\n", RenderFields(fields), EvaluationsText(report),
                      NotesText("Warnings", report.warnings()));
}

}  // namespace adamant
