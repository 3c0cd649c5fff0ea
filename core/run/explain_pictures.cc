// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/torch.h"
#include "core/data/preprocess.h"
#include "core/explainers/colour_map.h"
#include "core/explainers/picture.h"
#include "core/run/explain_artifacts.h"

namespace adamant {
namespace {

constexpr int64_t kTileSide = 168;
constexpr size_t kSheetRows = 64;
constexpr size_t kSheetColumns = 24;
constexpr int64_t kBarWidth = 20;

at::Tensor TableOf(const MapColumn& column, const ExplainPlan& plan) {
  return *ColourTable(column.signedness == Signedness::kSigned ? "blue_white_red"
                                                               : plan.colour_map);
}

// The records of one sample: clean, then adversarial.
std::vector<const MapRecord*> RecordsOf(const MapColumn& column, int64_t sample,
                                        const ExplainPlan& plan) {
  std::vector<const MapRecord*> records;
  for (int64_t i = 0; i < plan.variants(); ++i) {
    records.push_back(&column.records[static_cast<size_t>(sample * plan.variants() + i)]);
  }
  return records;
}

// Grey shows no change, white +limit, black -limit.
PixelImage DrawChange(const PictureSample& images, double limit, int64_t scale) {
  const at::Tensor change = images.adversarial - images.image;
  return ToPixels(Enlarge((0.5 + change / (2 * limit)).clamp(0, 1), scale));
}

double ChangeLimit(const PictureSample& images, const ThreatModel& threat) {
  if (threat.norm == Norm::kLinf && threat.epsilon > 0) return threat.epsilon;
  return std::max(1e-6, (images.adversarial - images.image).abs().max().item<double>());
}

std::string Short(double value) { return absl::StrFormat("%.3g", value); }

Tile ImageTile(const at::Tensor& image, const v1::ExplainRow& row, const ExplainFacts& facts,
               int64_t scale) {
  Tile tile;
  tile.picture = ToPixels(Enlarge(image, scale));
  tile.first_line =
      absl::StrFormat("%s %.1f %%", facts.ClassName(row.predicted()), 100 * row.confidence());
  tile.wrong = row.has_label() && row.label() != row.predicted();
  if (tile.wrong) tile.second_line = "wrong";
  return tile;
}

Tile MapTile(const MapRecord& record, PixelImage overlay, const ExplainFacts& facts) {
  Tile tile;
  tile.picture = std::move(overlay);
  const v1::ExplainRow& row = record.row;
  tile.first_line = absl::StrCat("for ", facts.ClassName(row.target_class()));
  if (record.failed) {
    tile.second_line = "not finite";
  } else if (row.empty()) {
    tile.first_line = "empty map";
    tile.second_line = absl::StrCat(Short(row.pre_relu_min()), "..", Short(row.pre_relu_max()));
  } else if (row.has_share_in_region()) {
    tile.second_line = absl::StrFormat("%.0f %% in %.0f %%", 100 * row.share_in_region(),
                                       100 * row.area_in_region());
  } else {
    tile.second_line = absl::StrCat("max ", Short(row.raw_max()));
  }
  return tile;
}

SheetRow DrawRow(const ExplainedSamples& explained, int64_t sample, const ExplainPlan& plan,
                 const ExplainFacts& facts, int64_t scale) {
  const PictureSample& images = explained.pictures[static_cast<size_t>(sample)];
  const auto first = RecordsOf(explained.columns[0], sample, plan);
  const v1::ExplainRow& clean = first[0]->row;
  SheetRow row;
  row.title = clean.name().empty() ? absl::StrCat("#", clean.sample_id()) : clean.name();
  if (row.title.size() > 20) row.title = absl::StrCat(row.title.substr(0, 17), "...");
  if (clean.has_label()) row.subtitle = absl::StrCat("true ", facts.ClassName(clean.label()));
  std::vector<std::vector<MapPictures>> maps;
  for (const MapColumn& column : explained.columns) {
    maps.push_back(DrawMaps(column, sample, images, plan, scale));
  }
  for (size_t variant = 0; variant < first.size(); ++variant) {
    const at::Tensor& image = variant == 0 ? images.image : images.adversarial;
    row.tiles.push_back(ImageTile(image, first[variant]->row, facts, scale));
    if (variant == 1) {
      const double limit = ChangeLimit(images, plan.attack->threat);
      row.tiles.push_back({DrawChange(images, limit, scale), absl::StrCat("+-", Short(limit)), ""});
    }
    for (size_t i = 0; i < maps.size(); ++i) {
      const auto records = RecordsOf(explained.columns[i], sample, plan);
      row.tiles.push_back(MapTile(*records[variant], std::move(maps[i][variant].overlay), facts));
    }
  }
  if (row.tiles.size() > kSheetColumns) row.tiles.resize(kSheetColumns);
  return row;
}

std::vector<std::string> Headers(const ExplainedSamples& explained, const ExplainPlan& plan) {
  std::vector<std::string> headers;
  for (int64_t variant = 0; variant < plan.variants(); ++variant) {
    headers.push_back(variant == 0 ? "image" : "attacked");
    if (variant == 1) headers.push_back("change");
    for (const MapColumn& column : explained.columns) {
      headers.push_back(absl::StrCat(column.explainer, " ", column.layer));
    }
  }
  if (headers.size() > kSheetColumns) headers.resize(kSheetColumns);
  return headers;
}

// One bar for each kind of map on the sheet.
std::vector<ColourBar> DrawBars(const ExplainedSamples& explained, const ExplainPlan& plan,
                                int64_t height) {
  std::vector<ColourBar> bars;
  std::set<Signedness> drawn;
  for (const MapColumn& column : explained.columns) {
    if (!drawn.insert(column.signedness).second) continue;
    const bool is_signed = column.signedness == Signedness::kSigned;
    const at::Tensor values =
        torch::linspace(1, is_signed ? -1 : 0, height).unsqueeze(1).expand({-1, kBarWidth});
    bars.push_back({ToPixels(Colourise(values, TableOf(column, plan), column.signedness)), "max",
                    is_signed ? "-max" : "min"});
  }
  return bars;
}

std::string Footer(const ExplainedSamples& explained, const ExplainPlan& plan) {
  std::string footer =
      absl::StrCat("score ", plan.score_name, ", target ", plan.target_name, "; colours: ",
                   plan.attack.has_value() ? "one scale per clean and attacked pair"
                                           : "each map on its own scale");
  if (plan.attack.has_value()) {
    absl::StrAppend(&footer, "; attack ", plan.attack->spec.name(), " ",
                    NormName(plan.attack->threat.norm), " ", Short(plan.attack->threat.epsilon));
  }
  if (explained.columns[0].records[0].row.has_area_in_region()) {
    absl::StrAppend(&footer,
                    "; a % in b %: share of the map in the object, of the object in the "
                    "image");
  }
  return footer;
}

}  // namespace

int64_t ScaleFor(const ModelShape& shape, int64_t side) {
  return std::max<int64_t>(1, side / std::max(shape.height, shape.width));
}

std::vector<MapPictures> DrawMaps(const MapColumn& column, int64_t sample,
                                  const PictureSample& images, const ExplainPlan& plan,
                                  int64_t scale) {
  const auto records = RecordsOf(column, sample, plan);
  const int64_t height = images.image.size(1) * scale;
  const int64_t width = images.image.size(2) * scale;
  std::vector<at::Tensor> raw;
  for (const MapRecord* record : records) raw.push_back(record->raw.nan_to_num(0, 0, 0));
  const at::Tensor display =
      Normalise(Upsample(torch::stack(raw), height, width, plan.upsampling).unsqueeze(0),
                column.signedness)[0];
  const at::Tensor table = TableOf(column, plan);
  std::vector<MapPictures> pictures;
  for (size_t i = 0; i < records.size(); ++i) {
    const at::Tensor& image = i == 0 ? images.image : images.adversarial;
    const at::Tensor map = display[static_cast<int64_t>(i)];
    const at::Tensor shown = records[i]->row.empty() ? torch::zeros_like(map) : map;
    const at::Tensor colours = Colourise(shown, table, column.signedness);
    pictures.push_back(
        {ToPixels(colours), ToPixels(Overlay(Enlarge(image, scale), colours, plan.opacity))});
  }
  return pictures;
}

std::vector<PixelImage> DrawSheets(const ExplainedSamples& explained, const ExplainPlan& plan,
                                   const ExplainFacts& facts) {
  const int64_t scale = ScaleFor(facts.shape, kTileSide);
  std::vector<PixelImage> sheets;
  for (size_t begin = 0; begin < explained.pictures.size(); begin += kSheetRows) {
    Sheet sheet;
    sheet.columns = Headers(explained, plan);
    for (size_t i = begin; i < std::min(begin + kSheetRows, explained.pictures.size()); ++i) {
      sheet.rows.push_back(DrawRow(explained, static_cast<int64_t>(i), plan, facts, scale));
    }
    sheet.bars = DrawBars(explained, plan, facts.shape.height * scale);
    sheet.footer = Footer(explained, plan);
    sheets.push_back(DrawSheet(sheet));
  }
  return sheets;
}

}  // namespace adamant
