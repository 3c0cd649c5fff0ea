// SPDX-License-Identifier: Apache-2.0
#include "client/cli/html_report.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "client/cli/html.h"
#include "client/cli/report.h"
#include "client/cli/text.h"
#include "client/client.h"

namespace adamant {
namespace {

using Rows = std::vector<std::vector<std::string>>;
using Fields = std::vector<std::pair<std::string, std::string>>;

std::string FieldsHtml(const Fields& fields) {
  std::string html;
  for (const auto& [name, value] : fields) {
    if (!value.empty()) html += Element("dt", "", name) + Element("dd", "", value);
  }
  return html.empty() ? "" : absl::StrCat("<dl>", html, "</dl>\n");
}

template <typename Texts>
std::string NotesHtml(absl::string_view heading, const Texts& notes) {
  if (notes.empty()) return "";
  std::string html = heading.empty() ? "" : Element("h3", "", heading);
  html += "<ul class=\"notes\">";
  for (const auto& note : notes) html += Element("li", "", note);
  return html + "</ul>\n";
}

std::string Section(absl::string_view heading, const std::string& body) {
  return body.empty() ? "" : absl::StrCat(Element("h3", "", heading), "\n", body);
}

std::string Card(absl::string_view label, absl::string_view value, absl::string_view note,
                 const std::string& picture = "") {
  return absl::StrCat("<div class=\"card\">", Element("div", "label", label),
                      Element("div", "value", value), picture, Element("div", "note", note),
                      "</div>\n");
}

// The ratio as a mark on a scale from 0 to 100 %, its interval as a bar.
std::string IntervalPicture(const v1::Accuracy& accuracy) {
  return absl::StrFormat(
      "<svg viewBox=\"0 0 200 14\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
      "<rect x=\"0\" y=\"6\" width=\"200\" height=\"2\" fill=\"#dfe4ea\"/>"
      "<rect x=\"%.1f\" y=\"3\" width=\"%.1f\" height=\"8\" fill=\"#2458a6\" opacity=\"0.35\"/>"
      "<rect x=\"%.1f\" y=\"0\" width=\"2\" height=\"14\" fill=\"#2458a6\"/></svg>",
      200 * accuracy.low(), std::max(1.0, 200 * (accuracy.high() - accuracy.low())),
      std::clamp(200 * accuracy.ratio() - 1, 0.0, 198.0));
}

std::string AccuracyCard(absl::string_view label, const v1::Accuracy& accuracy, double level) {
  if (accuracy.total() == 0) return "";
  return Card(label, PercentText(accuracy.ratio()),
              absl::StrFormat("%g %% interval %.2f to %.2f %%, %s of %s samples", 100 * level,
                              100 * accuracy.low(), 100 * accuracy.high(),
                              CountText(accuracy.correct()), CountText(accuracy.total())),
              IntervalPicture(accuracy));
}

std::string TablesHtml(const google::protobuf::RepeatedPtrField<v1::AnalysisTable>& tables) {
  std::string html;
  for (const v1::AnalysisTable& table : tables) {
    std::vector<std::string> header;
    for (const v1::TableColumn& column : table.columns()) {
      header.push_back(column.unit().empty()
                           ? column.name()
                           : absl::StrCat(column.name(), " [", column.unit(), "]"));
    }
    Rows rows;
    for (const v1::TableRow& row : table.rows()) {
      std::vector<std::string> cells;
      for (const v1::TableCell& cell : row.cells()) {
        cells.push_back(cell.has_text() ? cell.text() : NumberText(cell.number()));
      }
      cells.resize(header.size());
      rows.push_back(std::move(cells));
    }
    html += Section(absl::StrCat(table.analysis(), table.name().empty() ? "" : ": ", table.name()),
                    HtmlTable(header, rows) + NotesHtml("", table.notes()));
  }
  return html;
}

std::vector<std::string> FailedChecks(const v1::AttackReport& report) {
  std::vector<std::string> texts;
  for (const v1::ValidityCheck& check : report.checks()) {
    if (check.status() != v1::ValidityCheck::FAIL) continue;
    texts.push_back(
        absl::StrCat(check.id(), " ",
                     absl::AsciiStrToLower(absl::StripPrefix(
                         v1::ValidityCheck::Severity_Name(check.severity()), "SEVERITY_")),
                     ": ", check.text()));
  }
  return texts;
}

std::string AttackHtml(const v1::Job& job) {
  const v1::AttackReport& report = job.result().attack();
  const double level =
      job.spec().attack().has_confidence_level() ? job.spec().attack().confidence_level() : 0.95;
  std::string html = absl::StrCat(
      "<div class=\"cards\">", Card("Verdict", VerdictName(report), report.verdict_reason()),
      AccuracyCard("Robust accuracy (upper bound)", report.robust_accuracy(), level),
      AccuracyCard("Clean accuracy", report.clean_accuracy(), level),
      Card("Of the correct samples", PercentText(report.robust_of_correct_ratio()), "stay robust"),
      "</div>\n");
  html += NotesHtml("What speaks against the number", FailedChecks(report));
  Rows rows;
  for (const v1::AttackBlock& block : report.attacks()) {
    rows.push_back({BlockPosition(block), PluginText(block.attack()), ThreatText(block.threat()),
                    ShortAccuracy(block.after_accuracy()), ShortAccuracy(block.alone_accuracy()),
                    CountText(block.broken()), CountText(block.broken_first()),
                    CountText(block.attacked()), CountText(block.forwards()),
                    CountText(block.backwards()), NumberText(block.seconds())});
  }
  html += Section("Attacks", HtmlTable({"#", "Attack", "Threat", "After", "Alone", "Broken",
                                        "First", "Of", "Forwards", "Backwards", "Seconds"},
                                       rows));
  rows.clear();
  for (const v1::ClassBlock& block : report.classes()) {
    rows.push_back(
        {absl::StrCat(block.label()), CountText(block.clean_accuracy().total()),
         ShortAccuracy(block.clean_accuracy()), ShortAccuracy(block.robust_accuracy()),
         block.most_frequent_adv_pred() < 0 ? "-" : absl::StrCat(block.most_frequent_adv_pred())});
  }
  html += Section("Classes",
                  HtmlTable({"Class", "Samples", "Clean", "Robust", "Mostly taken for"}, rows));

  rows.clear();
  for (const v1::DistanceBlock& block : report.distances()) {
    rows.push_back({v1::Norm_Name(block.norm()), CountText(block.count()), NumberText(block.mean()),
                    NumberText(block.median()), NumberText(block.low()), NumberText(block.high())});
  }
  html += Section("Distances of the broken samples",
                  HtmlTable({"Norm", "Samples", "Mean", "Median", "5 %", "95 %"}, rows));
  rows.clear();
  for (const v1::ValidityCheck& check : report.checks()) {
    rows.push_back({check.id(), v1::ValidityCheck::Status_Name(check.status()), check.name(),
                    NumberText(check.value()), NumberText(check.threshold()), check.text()});
  }
  html += Section("Validity checks",
                  HtmlTable({"Check", "Status", "Name", "Value", "Threshold", "Text"}, rows));
  html += TablesHtml(report.tables());
  std::vector<std::string> notes(report.notes().begin(), report.notes().end());
  for (const v1::AttackBlock& block : report.attacks()) {
    for (const std::string& note : block.notes()) {
      notes.push_back(absl::StrCat("attack ", BlockPosition(block), ": ", note));
    }
  }
  html += NotesHtml("Notes", notes);
  return html +
         Section("Details", FieldsHtml({{"Model", report.model_name()},
                                        {"Protocol", report.protocol()},
                                        {"Model digest", report.model_sha256()},
                                        {"Data", report.data_name()},
                                        {"Split", report.split()},
                                        {"Selection", report.selection()},
                                        {"Data digest", report.data_digest()},
                                        {"Seed", absl::StrCat(report.seed())},
                                        {"Compute batch", absl::StrCat(report.compute_batch())},
                                        {"Device", report.device()},
                                        {"Run time", SecondsText(report.seconds())},
                                        {"Configuration", report.config_hash()},
                                        {"Fingerprint", report.fingerprint()}}));
}

std::string EvaluationsHtml(const v1::TrainReport& report) {
  std::vector<std::string> header = {"Epoch", "Step", "Loss", "Clean"};
  for (const v1::TrainEvaluationResult& result : report.evaluations()) {
    for (int i = static_cast<int>(header.size()) - 4; i < result.robust_accuracy_size(); ++i) {
      header.push_back(absl::StrCat("Robust: ", result.robust_accuracy(i).name()));
    }
  }
  header.emplace_back("Kept");
  Rows rows;
  for (const v1::TrainEvaluationResult& result : report.evaluations()) {
    std::vector<std::string> row = {absl::StrCat(result.epoch()), absl::StrCat(result.step()),
                                    NumberText(result.train_loss()),
                                    ShortAccuracy(result.clean_accuracy())};
    for (const v1::NamedAccuracy& robust : result.robust_accuracy()) {
      row.push_back(ShortAccuracy(robust.accuracy()));
    }
    row.resize(header.size() - 1, "-");
    row.emplace_back(result.step() == report.kept_step() ? "kept" : "");
    rows.push_back(std::move(row));
  }
  return HtmlTable(header, rows);
}

std::string TrainHtml(const v1::Job& job) {
  const v1::TrainReport& report = job.result().train();
  const v1::TrainSpec& spec = job.spec().train();
  std::string cards;
  for (const v1::TrainEvaluationResult& result : report.evaluations()) {
    if (result.step() != report.kept_step()) continue;
    cards = AccuracyCard("Clean accuracy", result.clean_accuracy(), 0.95);
    for (const v1::NamedAccuracy& robust : result.robust_accuracy()) {
      cards +=
          AccuracyCard(absl::StrCat("Robust accuracy, ", robust.name()), robust.accuracy(), 0.95);
    }
    break;
  }
  cards += Card("Trained", absl::StrCat(CountText(report.steps()), " steps"),
                absl::StrCat(report.epochs(), " epochs in ", SecondsText(report.train_seconds())));
  return absl::StrCat(
      "<div class=\"cards\">", cards, "</div>\n", Section("Evaluations", EvaluationsHtml(report)),
      NotesHtml("Warnings", report.warnings()),
      Section(
          "Details",
          FieldsHtml(
              {{"Model", SourceText(spec.model())},
               {"Data", SourceText(spec.train())},
               {"Objective", PluginText(spec.objective())},
               {"Threat", ThreatText(spec.threat())},
               {"Kept", absl::StrCat("step ", report.kept_step(),
                                     report.kept_by().empty() ? "" : ", by ", report.kept_by())},
               {"Registered as", spec.register_as()},
               {"Weights", report.has_weights() ? BlobName(report.weights()) : ""},
               {"Weights digest", report.weights_sha256()},
               {"Data digest", report.train_digest()},
               {"Reproducible", report.reproducible() ? "yes" : report.reproducible_reason()},
               {"Fingerprint", report.fingerprint()}})));
}

std::string ExplainHtml(const v1::Job& job) {
  const v1::ExplainReport& report = job.result().explain();
  std::string cards = Card("Maps", CountText(report.num_maps()),
                           absl::StrCat("of ", CountText(report.num_samples()), " samples, ",
                                        report.empty_maps(), " empty"));
  if (report.has_mean_share_in_region()) {
    cards += Card("Inside the region", PercentText(report.mean_share_in_region()),
                  report.has_mean_area_in_region()
                      ? absl::StrCat("of the map; the region covers ",
                                     PercentText(report.mean_area_in_region()), " of the image")
                      : "of the map");
  }
  Rows rows;
  for (const v1::ExplainRow& row : report.rows()) {
    if (rows.size() == 100) break;
    rows.push_back({row.name().empty() ? absl::StrCat(row.sample_id()) : row.name(),
                    row.explainer(), row.layer(), row.variant(), absl::StrCat(row.target_class()),
                    absl::StrCat(row.predicted()), PercentText(row.confidence()),
                    row.has_share_in_region() ? PercentText(row.share_in_region()) : "-"});
  }
  return absl::StrCat("<div class=\"cards\">", cards, "</div>\n",
                      Section("Maps", HtmlTable({"Sample", "Method", "Layer", "Variant", "Class",
                                                 "Predicted", "Confidence", "Inside region"},
                                                rows)),
                      TablesHtml(report.tables()), NotesHtml("Notes", report.notes()),
                      Section("Details", FieldsHtml({{"Model", report.model_name()},
                                                     {"Model digest", report.model_sha256()},
                                                     {"Data", report.data_name()},
                                                     {"Data digest", report.data_digest()},
                                                     {"Run time", SecondsText(report.seconds())},
                                                     {"Fingerprint", report.fingerprint()}})));
}

// Losses share a chart, accuracies another; every other metric has its own.
std::string ChartsHtml(const std::vector<v1::MetricPoint>& points) {
  std::map<std::string, std::map<std::string, ChartSeries>> charts;
  for (const v1::MetricPoint& point : points) {
    const bool loss = absl::StrContains(point.name(), "loss");
    const bool accuracy = absl::StrContains(point.name(), "accuracy");
    const std::string chart = accuracy ? "1 Accuracy" : loss ? "0 Loss" : "2 " + point.name();
    ChartSeries& series = charts[chart][point.name()];
    series.name = point.name();
    series.points.emplace_back(static_cast<double>(point.step()), point.value());
  }
  std::string html;
  for (auto& [name, by_name] : charts) {
    std::vector<ChartSeries> series;
    for (auto& [metric, one] : by_name) {
      std::stable_sort(one.points.begin(), one.points.end(),
                       [](const auto& a, const auto& b) { return a.first < b.first; });
      series.push_back(std::move(one));
    }
    html += LineChart(name.substr(2), series, name[0] == '1');
  }
  return html.empty() ? "" : absl::StrCat("<div class=\"charts\">", html, "</div>\n");
}

std::string TitleOf(const v1::Job& job) {
  const std::string kind = absl::AsciiStrToLower(v1::JobKind_Name(job.kind()));
  return job.options().display_name().empty() ? absl::StrCat(kind, " ", job.name())
                                              : job.options().display_name();
}

std::string JobHtml(const ReportJob& entry) {
  const v1::Job& job = entry.job;
  const char* colour = job.state() == v1::SUCCEEDED ? "state good"
                       : job.state() == v1::FAILED  ? "state bad"
                                                    : "state";
  std::string html =
      absl::StrCat("<h2>", Escaped(TitleOf(job)), " ",
                   Element("span", colour, v1::JobState_Name(job.state())), "</h2>\n");
  html +=
      Element("p", "sub",
              absl::StrCat(job.name(), ", ", absl::AsciiStrToLower(v1::JobKind_Name(job.kind())),
                           ", ended ", TimeText(job.end_time())));
  if (job.state() != v1::SUCCEEDED) {
    html += FieldsHtml({{"Reason", v1::StateReason_Name(job.state_reason())},
                        {"Message", job.state_message()},
                        {"Error", job.error().message()}});
  }
  if (job.result().has_train()) html += TrainHtml(job);
  if (job.result().has_attack()) html += AttackHtml(job);
  if (job.result().has_explain()) html += ExplainHtml(job);
  html += Section("Curves", ChartsHtml(entry.points));
  std::string pictures;
  for (const ReportPicture& picture : entry.pictures) {
    pictures += ImageElement(picture.media_type, picture.bytes, picture.name);
  }
  if (!pictures.empty()) pictures = absl::StrCat("<div class=\"pictures\">", pictures, "</div>\n");
  return html + Section("Pictures", pictures);
}

// Side by side, when there is more than one job.
std::string OverviewHtml(const std::vector<ReportJob>& jobs) {
  Rows rows;
  for (const ReportJob& entry : jobs) {
    const v1::JobReport& result = entry.job.result();
    std::string clean = "-", robust = "-";
    if (result.has_attack()) {
      clean = ShortAccuracy(result.attack().clean_accuracy());
      robust = ShortAccuracy(result.attack().robust_accuracy());
    }
    for (const v1::TrainEvaluationResult& kept : result.train().evaluations()) {
      if (kept.step() != result.train().kept_step()) continue;
      clean = ShortAccuracy(kept.clean_accuracy());
      if (kept.robust_accuracy_size() > 0) {
        robust = ShortAccuracy(kept.robust_accuracy(0).accuracy());
      }
    }
    rows.push_back({TitleOf(entry.job), std::string(absl::StripPrefix(entry.job.name(), "jobs/")),
                    v1::JobKind_Name(entry.job.kind()), v1::JobState_Name(entry.job.state()), clean,
                    robust});
  }
  return HtmlTable({"Name", "Job", "Kind", "State", "Clean", "Robust"}, rows);
}

}  // namespace

std::string HtmlReport(const std::vector<ReportJob>& jobs, absl::string_view made) {
  const std::string title =
      jobs.size() == 1 ? TitleOf(jobs[0].job) : absl::StrCat(jobs.size(), " jobs");
  std::string body = Element("h1", "", "Robustness report");
  body += Element("p", "sub", title);
  if (jobs.size() > 1) body += OverviewHtml(jobs);
  for (const ReportJob& job : jobs) body += JobHtml(job);
  return HtmlPage(absl::StrCat("Adamant: ", title),
                  absl::StrCat(body, Element("footer", "", made)));
}

}  // namespace adamant
