// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/cli/report.h"
#include "client/cli/table.h"
#include "client/cli/text.h"

namespace adamant {
namespace {

constexpr int kRows = 32;  // more of them only with `wide`

std::string RowsText(const v1::ExplainReport& report, bool wide) {
  std::vector<std::string> header = {"SAMPLE",    "EXPLAINER",  "LAYER",     "CLASS", "LABEL",
                                     "PREDICTED", "CONFIDENCE", "IN REGION", "EMPTY"};
  const bool variants =
      wide || std::any_of(report.rows().begin(), report.rows().end(),
                          [](const v1::ExplainRow& row) { return row.variant() != "clean"; });
  if (variants) header.insert(header.begin() + 1, "VARIANT");
  if (wide) header.insert(header.end(), {"SCORE", "MIN", "MAX", "REGION AREA"});
  Table table(header);
  const int count = wide ? report.rows_size() : std::min(report.rows_size(), kRows);
  for (int i = 0; i < count; ++i) {
    const v1::ExplainRow& row = report.rows(i);
    std::vector<std::string> cells = {
        row.name().empty() ? absl::StrCat(row.sample_id()) : row.name(),
        row.explainer(),
        row.layer(),
        absl::StrCat(row.target_class()),
        row.has_label() ? absl::StrCat(row.label()) : "-",
        absl::StrCat(row.predicted()),
        PercentText(row.confidence()),
        row.has_share_in_region() ? PercentText(row.share_in_region()) : "-",
        row.empty() ? "empty" : ""};
    if (variants) cells.insert(cells.begin() + 1, row.variant());
    if (wide) {
      cells.insert(cells.end(),
                   {NumberText(row.score()), NumberText(row.raw_min()), NumberText(row.raw_max()),
                    row.has_area_in_region() ? PercentText(row.area_in_region()) : "-"});
    }
    table.Add(std::move(cells));
  }
  if (table.empty()) return "";
  std::string text = absl::StrCat("\nMaps\n", table.Render("  "));
  if (count < report.rows_size()) {
    absl::StrAppend(&text, "  ... ", report.rows_size() - count, " more with -o wide\n");
  }
  return text;
}

}  // namespace

std::string ExplainReportText(const v1::Job& job, bool wide) {
  const v1::ExplainReport& report = job.result().explain();
  std::vector<std::pair<std::string, std::string>> fields = {
      {"Model", absl::StrCat(report.model_name(), report.model_sha256().empty() ? "" : ", sha256 ",
                             ShortDigest(report.model_sha256()))},
      {"Data", report.data_name()},
      {"Maps", absl::StrCat(report.num_maps(), " for ", report.num_samples(), " samples, ",
                            report.empty_maps(), " empty, ", report.errors(), " errors")}};
  if (report.has_mean_share_in_region()) {
    std::string text = PercentText(report.mean_share_in_region());
    if (report.has_mean_area_in_region()) {
      absl::StrAppend(&text, " of the maps lie inside the region, which covers ",
                      PercentText(report.mean_area_in_region()), " of the image");
    }
    fields.emplace_back("In region", text);
  }
  if (wide) {
    fields.emplace_back("Work", absl::StrCat(CountText(report.forwards()), " forward and ",
                                             CountText(report.backwards()), " backward rows in ",
                                             SecondsText(report.seconds())));
    fields.emplace_back("Fingerprint", report.fingerprint());
  }
  std::string text = absl::StrCat("\n", RenderFields(fields), RowsText(report, wide));
  for (const v1::AnalysisTable& table : report.tables())
    absl::StrAppend(&text, AnalysisText(table));
  return absl::StrCat(text, NotesText("Notes", report.notes()));
}

}  // namespace adamant
