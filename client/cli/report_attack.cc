// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "client/cli/report.h"
#include "client/cli/table.h"
#include "client/cli/text.h"

namespace adamant {
namespace {

std::string DataText(const v1::AttackReport& report) {
  std::string text = report.data_name();
  if (!report.split().empty()) absl::StrAppend(&text, ", split ", report.split());
  if (!report.selection().empty()) absl::StrAppend(&text, ", ", report.selection());
  return absl::StrCat(text, " (", report.num_samples(), " samples)");
}

std::string AttacksText(const v1::AttackReport& report, bool wide) {
  std::vector<std::string> header = {"#",     "ATTACK", "THREAT",   "AFTER",     "ALONE",  "BROKEN",
                                     "FIRST", "OF",     "FORWARDS", "BACKWARDS", "SECONDS"};
  if (wide) header.insert(header.end(), {"REJECTED", "PADDED", "ZERO GRADS", "NONFINITE"});
  Table table(header);
  for (const v1::AttackBlock& block : report.attacks()) {
    std::vector<std::string> row = {BlockPosition(block),
                                    wide ? PluginText(block.attack()) : block.attack().name(),
                                    ThreatText(block.threat()),
                                    ShortAccuracy(block.after_accuracy()),
                                    ShortAccuracy(block.alone_accuracy()),
                                    CountText(block.broken()),
                                    CountText(block.broken_first()),
                                    CountText(block.attacked()),
                                    CountText(block.forwards()),
                                    CountText(block.backwards()),
                                    NumberText(block.seconds())};
    if (wide) {
      row.insert(row.end(), {CountText(block.rejected_claims()), CountText(block.padded_rows()),
                             CountText(block.zero_grads()),
                             CountText(block.nonfinite_grads() + block.nonfinite_logits())});
    }
    table.Add(std::move(row));
  }
  if (table.empty()) return "";
  return absl::StrCat(
      "\nAttacks (AFTER: robust against this one and all before it; ALONE: against "
      "this one; FIRST: broken by none before)\n",
      table.Render("  "));
}

std::string ClassesText(const v1::AttackReport& report) {
  Table table({"CLASS", "SAMPLES", "CLEAN", "ROBUST", "MOSTLY TAKEN FOR"});
  for (const v1::ClassBlock& block : report.classes()) {
    table.Add(
        {absl::StrCat(block.label()), CountText(block.clean_accuracy().total()),
         ShortAccuracy(block.clean_accuracy()), ShortAccuracy(block.robust_accuracy()),
         block.most_frequent_adv_pred() < 0 ? "-" : absl::StrCat(block.most_frequent_adv_pred())});
  }
  return table.empty() ? "" : absl::StrCat("\nClasses\n", table.Render("  "));
}

// The verdict beside the number it is about.
std::string HeadlineText(const v1::AttackReport& report) {
  return absl::StrFormat("%s  robust accuracy %.1f %% (upper bound) [%.1f, %.1f]\n",
                         VerdictName(report), 100 * report.robust_accuracy().ratio(),
                         100 * report.robust_accuracy().low(),
                         100 * report.robust_accuracy().high());
}

// What speaks against the number; when nothing does, why there is no better verdict.
std::string FindingsText(const v1::AttackReport& report) {
  std::string text;
  for (const v1::ValidityCheck& check : report.checks()) {
    if (check.status() != v1::ValidityCheck::FAIL) continue;
    const absl::string_view severity = v1::ValidityCheck::Severity_Name(check.severity());
    absl::StrAppend(&text, "  ", check.id(), " ",
                    absl::AsciiStrToLower(absl::StripPrefix(severity, "SEVERITY_")), ": ",
                    check.text(), "\n");
  }
  if (report.verdict() == v1::UNCHECKED || text.empty()) {
    if (!report.verdict_reason().empty())
      absl::StrAppend(&text, "  ", report.verdict_reason(), "\n");
  }
  return text;
}

// The mean over classes and the class of lowest robust accuracy.
std::string ClassSummary(const v1::AttackReport& report) {
  if (report.classes().empty()) return "";
  double sum = 0;
  const v1::ClassBlock* worst = &report.classes(0);
  for (const v1::ClassBlock& block : report.classes()) {
    sum += block.robust_accuracy().ratio();
    if (block.robust_accuracy().ratio() < worst->robust_accuracy().ratio()) worst = &block;
  }
  return absl::StrCat(PercentText(sum / report.classes_size()), " on average, class ",
                      worst->label(), " worst with ",
                      PercentText(worst->robust_accuracy().ratio()));
}

std::string SeedsText(const v1::AttackReport& report) {
  if (report.seeds().empty()) return "";
  double sum = 0;
  double low = 1;
  double high = 0;
  for (const v1::SeedBlock& seed : report.seeds()) {
    const double ratio = seed.robust_accuracy().ratio();
    sum += ratio;
    low = std::min(low, ratio);
    high = std::max(high, ratio);
  }
  return absl::StrCat(report.seeds_size(), " seeds: mean ", PercentText(sum / report.seeds_size()),
                      ", ", PercentText(low), " to ", PercentText(high),
                      "; the robust accuracy is the worst case over them");
}

std::string DistancesText(const v1::AttackReport& report) {
  Table table({"NORM", "BROKEN", "MEAN", "MEDIAN", "5 %", "95 %"});
  for (const v1::DistanceBlock& block : report.distances()) {
    table.Add({absl::AsciiStrToLower(v1::Norm_Name(block.norm())), CountText(block.count()),
               NumberText(block.mean()), NumberText(block.median()), NumberText(block.low()),
               NumberText(block.high())});
  }
  return table.empty() ? ""
                       : absl::StrCat("\nDistances of the broken samples\n", table.Render("  "));
}

// Tables of the evaluation itself are for those who ask for everything, except those that answer
// what was asked.
bool Shown(const v1::AnalysisTable& table, bool wide) {
  return wide || table.analysis() != "evaluation" ||
         absl::StartsWith(table.name(), "success rate") ||
         table.name() == "accuracy under corruption";
}

std::string ChecksText(const v1::AttackReport& report) {
  Table table({"CHECK", "STATUS", "NAME", "VALUE", "THRESHOLD", "TEXT"});
  for (const v1::ValidityCheck& check : report.checks()) {
    table.Add({check.id(), v1::ValidityCheck::Status_Name(check.status()), check.name(),
               NumberText(check.value()), NumberText(check.threshold()), check.text()});
  }
  return table.empty() ? "" : absl::StrCat("\nValidity checks\n", table.Render("  "));
}

}  // namespace

std::string BlockPosition(const v1::AttackBlock& block) {
  return block.name().empty() ? absl::StrCat(block.position())
                              : block.name().substr(0, block.name().find(':'));
}

std::string AttackReportText(const v1::Job& job, bool wide) {
  const v1::AttackReport& report = job.result().attack();
  const v1::AttackSpec& spec = job.spec().attack();
  const double level = spec.has_confidence_level() ? spec.confidence_level() : 0.95;
  std::vector<std::pair<std::string, std::string>> fields = {
      {"Model", absl::StrCat(report.model_name(), report.model_sha256().empty() ? "" : ", sha256 ",
                             ShortDigest(report.model_sha256()))},
      {"Data", DataText(report)},
      {"Clean accuracy", AccuracyText(report.clean_accuracy(), level)},
      {"Robust accuracy", AccuracyText(report.robust_accuracy(), level)},
      {"Protocol", report.protocol() == "white-box" ? "" : report.protocol()},
      {"Seeds", SeedsText(report)},
      {"Classes", ClassSummary(report)},
      {"Of the correct",
       absl::StrCat(PercentText(report.robust_of_correct_ratio()), " stay robust")},
      {"Work",
       absl::StrCat(CountText(report.forwards()), " forward and ", CountText(report.backwards()),
                    " backward rows in ", SecondsText(report.seconds()))}};
  if (report.error_count() > 0) {
    fields.emplace_back("Not evaluated", absl::StrCat(report.error_count(), " samples: errors"));
  }
  if (report.work_repeated() > 0) {
    fields.emplace_back("Repeated", absl::StrCat(CountText(report.work_repeated()),
                                                 " rows, computed again after a stop"));
  }
  if (report.fragile() > 0) {
    fields.emplace_back("Fragile", absl::StrCat(report.fragile(), " samples within 1e-4 of a tie"));
  }
  if (wide) {
    fields.emplace_back("Broken as 8-bit", absl::StrCat(report.broken_8bit(), " samples"));
    fields.emplace_back("Device", report.device());
    fields.emplace_back("Seed", absl::StrCat(report.seed()));
    fields.emplace_back("Compute batch", absl::StrCat(report.compute_batch()));
    fields.emplace_back("Padded rows", CountText(report.padded_rows()));
    fields.emplace_back("Final check", SecondsText(report.final_check_seconds()));
    fields.emplace_back("Configuration", report.config_hash());
    fields.emplace_back("Fingerprint", report.fingerprint());
  }
  std::string text = absl::StrCat("\n", HeadlineText(report), FindingsText(report), "\n",
                                  RenderFields(fields), AttacksText(report, wide));
  if (wide) absl::StrAppend(&text, ClassesText(report), DistancesText(report));
  if (wide) absl::StrAppend(&text, ChecksText(report));
  for (const v1::AnalysisTable& table : report.tables()) {
    if (Shown(table, wide)) absl::StrAppend(&text, AnalysisText(table));
  }
  for (const v1::AttackBlock& block : report.attacks()) {
    absl::StrAppend(
        &text, NotesText(absl::StrCat("Notes of attack ", BlockPosition(block)), block.notes()));
  }
  return absl::StrCat(text, NotesText("Notes", report.notes()));
}

}  // namespace adamant
