// SPDX-License-Identifier: Apache-2.0
#include "core/run/explain.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "core/base/torch.h"
#include "core/run/explain_artifacts.h"
#include "core/run/fingerprint.h"

namespace adamant {
namespace {

constexpr int kMaxReportRows = 1000;
constexpr int kMaxListedErrors = 20;
constexpr int64_t kPictureSide = 224;
constexpr double kToleratedErrors = 0.01;

// Running mean of the values that exist.
struct Mean {
  double sum = 0;
  int64_t count = 0;

  void Add(double value) {
    sum += value;
    ++count;
  }
  double value() const { return sum / static_cast<double>(count); }
};

// Publishes the artifacts of a job.
class Publisher {
 public:
  Publisher(RunContext& context, const ExplainedSamples& explained, const ExplainPlan& plan,
            const ExplainFacts& facts)
      : context_(context), explained_(explained), plan_(plan), facts_(facts) {}

  absl::Status All() {
    RETURN_IF_ERROR(Maps());
    if (plan_.Wants(v1::TABLE)) {
      RETURN_IF_ERROR(Write("table", "table.csv", "text/csv", TableCsv(explained_.columns)));
    }
    if (plan_.Wants(v1::SHEET_PNG)) RETURN_IF_ERROR(Sheets());
    return Pictures();
  }

 private:
  absl::Status Write(const std::string& role, const std::string& name, const std::string& type,
                     absl::string_view bytes) {
    v1::Artifact artifact;
    artifact.set_role(role);
    artifact.set_name(name);
    artifact.set_media_type(type);
    return context_.WriteArtifact(std::move(artifact), bytes).status();
  }

  absl::Status Maps() {
    const bool upsampled = plan_.Wants(v1::UPSAMPLED_MAP);
    if (!upsampled && !plan_.Wants(v1::RAW_MAP)) return absl::OkStatus();
    for (const MapColumn& column : explained_.columns) {
      RETURN_IF_ERROR(Write("maps", absl::StrCat("maps.", column.name(), ".safetensors"),
                            "application/octet-stream",
                            MapsFile(column, plan_, facts_, upsampled)));
    }
    return absl::OkStatus();
  }

  absl::Status Sheets() {
    int number = 0;
    for (const PixelImage& sheet : DrawSheets(explained_, plan_, facts_)) {
      ++number;
      const std::string name = number == 1 ? "sheet.png" : absl::StrCat("sheet-", number, ".png");
      RETURN_IF_ERROR(Write("sheet", name, "image/png", EncodePng(sheet)));
    }
    return absl::OkStatus();
  }

  absl::Status Pictures() {
    if (!plan_.Wants(v1::OVERLAY_PNG) && !plan_.Wants(v1::HEATMAP_PNG)) return absl::OkStatus();
    const int64_t scale = plan_.scale > 0 ? plan_.scale : ScaleFor(facts_.shape, kPictureSide);
    const RunControl control = context_.Control();
    for (size_t sample = 0; sample < explained_.pictures.size(); ++sample) {
      control.Check();
      for (const MapColumn& column : explained_.columns) {
        const auto position = static_cast<int64_t>(sample);
        const std::vector<MapPictures> drawn =
            DrawMaps(column, position, explained_.pictures[sample], plan_, scale);
        for (size_t variant = 0; variant < drawn.size(); ++variant) {
          RETURN_IF_ERROR(WritePictures(column, sample, variant, drawn[variant]));
        }
      }
    }
    return absl::OkStatus();
  }

  absl::Status WritePictures(const MapColumn& column, size_t sample, size_t variant,
                             const MapPictures& drawn) {
    const size_t record = sample * static_cast<size_t>(plan_.variants()) + variant;
    // Ids of inline images are hashes: their position names the file.
    const v1::ExplainRow& row = column.records[record].row;
    const std::string id =
        facts_.data_digest.empty() ? absl::StrCat("image", sample) : absl::StrCat(row.sample_id());
    const std::string name =
        absl::StrCat(id, ".", column.name(), variant == 1 ? ".adv" : "", ".png");
    if (plan_.Wants(v1::OVERLAY_PNG)) {
      RETURN_IF_ERROR(Write("overlay", "overlay." + name, "image/png", EncodePng(drawn.overlay)));
    }
    if (plan_.Wants(v1::HEATMAP_PNG)) {
      RETURN_IF_ERROR(Write("heatmap", "heatmap." + name, "image/png", EncodePng(drawn.heatmap)));
    }
    return absl::OkStatus();
  }

  RunContext& context_;
  const ExplainedSamples& explained_;
  const ExplainPlan& plan_;
  const ExplainFacts& facts_;
};

// Adds the rows of one column to the report, with a note on its means.
void ReportColumn(const MapColumn& column, v1::ExplainReport& report, Mean& share, Mean& area) {
  Mean column_share;
  Mean column_area;
  int64_t empty = 0;
  for (const MapRecord& record : column.records) {
    report.set_num_maps(report.num_maps() + 1);
    if (record.failed) {
      report.set_errors(report.errors() + 1);
      if (report.errors() <= kMaxListedErrors) {
        report.add_notes(absl::StrCat("NUMERICAL: sample ", record.row.sample_id(), ", ",
                                      column.name(), ": the map is not finite"));
      }
      continue;
    }
    if (record.row.empty()) ++empty;
    if (report.rows_size() < kMaxReportRows) *report.add_rows() = record.row;
    if (record.adversarial || !record.row.has_share_in_region()) continue;
    for (Mean* mean : {&share, &column_share}) mean->Add(record.row.share_in_region());
    for (Mean* mean : {&area, &column_area}) mean->Add(record.row.area_in_region());
  }
  report.set_empty_maps(report.empty_maps() + empty);
  if (empty > 0) {
    report.add_notes(absl::StrCat(column.name(), ": ", empty, " of ", column.records.size(),
                                  " maps are empty; means leave them out"));
  }
  if (column_share.count > 0) {
    report.add_notes(absl::StrFormat(
        "%s: %.1f %% of the map inside the region, which covers %.1f %% of the image (clean "
        "images, mean of %d maps)",
        column.name(), 100 * column_share.value(), 100 * column_area.value(), column_share.count));
  }
}

absl::Status FillReport(const ExplainedSamples& explained, const ExplainPlan& plan,
                        const ExplainSamples& samples, v1::ExplainReport& report) {
  report.set_data_name(samples.data_name());
  report.set_data_digest(samples.data_digest());
  report.set_num_samples(samples.size());
  report.set_forwards(explained.forwards);
  report.set_backwards(explained.backwards);
  for (const Tap& layer : plan.layers) report.add_layers(layer.name);
  Mean share;
  Mean area;
  for (const MapColumn& column : explained.columns) ReportColumn(column, report, share, area);
  if (share.count > 0) {
    report.set_mean_share_in_region(share.value());
    report.set_mean_area_in_region(area.value());
  }
  if (static_cast<double>(report.errors()) >
      kToleratedErrors * static_cast<double>(report.num_maps())) {
    return absl::OutOfRangeError(absl::StrCat(
        "NUMERICAL: ", report.errors(), " of ", report.num_maps(),
        " maps hold values that are not finite, more than 1 %; check the model's weights"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunExplain(const v1::ExplainSpec& spec, RunContext& context,
                        v1::ExplainReport& report) {
  const auto start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, OpenModel(context.model()));
  model->To(c10::Device(context.device()));
  const ModelInfo& info = model->info();
  ASSIGN_OR_RETURN(ExplainPlan plan, PlanExplain(spec, info));
  if (spec.max_batch() == 0)
    plan.max_batch = std::max<int64_t>(1, plan.max_batch / context.micro_batch_divisor());
  ASSIGN_OR_RETURN(const ExplainSamples samples, ExplainSamples::Open(spec, info.shape, context));
  const auto progress = [&](int64_t done, int64_t all) {
    v1::Progress message;
    message.set_phase("explain");
    message.set_step(done);
    message.set_total_steps(all);
    message.set_fraction_ratio(static_cast<double>(done) / static_cast<double>(all));
    context.Progress(message);
    context.Metrics(done, {{"explain_maps", static_cast<double>(done)}});
  };
  ASSIGN_OR_RETURN(
      const ExplainedSamples explained,
      ExplainAll(plan, samples, *model, context.device(), context.Control(), progress));
  report.set_model_name(context.model().name);
  report.set_model_sha256(context.model().sha256);
  report.set_fingerprint(Fingerprint(context.device()));
  RETURN_IF_ERROR(FillReport(explained, plan, samples, report));
  if (report.empty_maps() > 0) {
    context.Warn("EMPTY_MAPS", absl::StrCat(report.empty_maps(), " of ", report.num_maps(),
                                            " maps are empty: nothing speaks for the class there"));
  }
  const ExplainFacts facts{WeightsDigest(*model), samples.data_digest(), info.shape,
                           samples.class_names()};
  RETURN_IF_ERROR(Publisher(context, explained, plan, facts).All());
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  report.set_seconds(seconds.count());
  return absl::OkStatus();
}

}  // namespace adamant
