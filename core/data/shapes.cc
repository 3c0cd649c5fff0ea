// SPDX-License-Identifier: Apache-2.0
// Procedural images with exact masks and boxes: digits of a 5x7 font on noise (`glyph28`) or
// coloured shapes (`geo32`). Each class also carries a faint texture, a deliberately non-robust
// feature: standard training learns it, and an attack of epsilon 0.06 removes it. Sample i has
// label i mod 10. Needs no files.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/sha256.h"
#include "core/base/torch.h"
#include "core/data/dataset.h"
#include "core/data/shapes_pixels.h"

namespace adamant {
namespace {

constexpr int64_t kClasses = 10;

const char* const kGeoNames[kClasses] = {
    "disc", "square", "diamond", "triangle up",     "triangle down",
    "ring", "plus",   "cross",   "horizontal bars", "vertical bars"};

double HintOf(const Params& params, bool glyph) {
  const double hint = params.Real("hint");
  return hint >= 0 ? hint : glyph ? 0.04 : 0.03;
}

class Shapes : public Dataset {
 public:
  explicit Shapes(const Params& params)
      : glyph_(params.Text("variant") == "glyph28"),
        painter_(glyph_ ? kGlyphSide : kGeoSide, static_cast<uint64_t>(params.Int("seed")),
                 HintOf(params, glyph_), static_cast<int>(params.Int("distractors"))) {
    info_.splits = {{"train", params.Int("train")}, {"test", params.Int("test")}};
    info_.num_classes = kClasses;
    info_.channels = painter_.channels();
    info_.height = info_.width = painter_.side();
    for (int64_t k = 0; k < kClasses; ++k) {
      info_.class_names.push_back(glyph_ ? absl::StrCat(k) : kGeoNames[k]);
    }
    info_.has_masks = info_.has_boxes = true;
    info_.summary = absl::StrFormat("%s, seed %d: %d train, %d test", params.Text("variant"),
                                    params.Int("seed"), params.Int("train"), params.Int("test"));
    info_.digest = Sha256Hex(absl::StrFormat("shapes 1;%s;hint %.17g;distractors %d", info_.summary,
                                             HintOf(params, glyph_), params.Int("distractors")));
  }

  const DatasetInfo& info() const override { return info_; }

  absl::StatusOr<Batch> Read(const std::string& split,
                             absl::Span<const int64_t> ids) const override {
    const absl::StatusOr<int64_t> size = SplitSize(split);
    if (!size.ok()) return size.status();
    Painted painted = Paint(split, ids);
    Batch batch;
    batch.images = painted.images.to(at::kFloat).div_(255);
    batch.ids = torch::tensor(at::ArrayRef<int64_t>(ids.data(), ids.size()), at::kLong);
    batch.labels = batch.ids.remainder(kClasses);
    return batch;
  }

  std::optional<at::Tensor> Masks(const std::string& split,
                                  absl::Span<const int64_t> ids) const override {
    return Paint(split, ids).masks.to(at::kBool);
  }

  std::optional<std::vector<Box>> Boxes(const std::string& split,
                                        absl::Span<const int64_t> ids) const override {
    return Paint(split, ids).boxes;
  }

 private:
  struct Painted {
    at::Tensor images;  // uint8 [N,C,S,S]
    at::Tensor masks;   // uint8 [N,S,S]
    std::vector<Box> boxes;
  };

  Painted Paint(const std::string& split, absl::Span<const int64_t> ids) const {
    const auto n = static_cast<int64_t>(ids.size());
    const int64_t pixels = info_.height * info_.width;
    Painted out{torch::empty({n, info_.channels, info_.height, info_.width}, at::kByte),
                torch::empty({n, info_.height, info_.width}, at::kByte),
                {}};
    const uint32_t split_number = split == "train" ? 0 : 1;
    for (int64_t i = 0; i < n; ++i) {
      const ShapeBox box =
          painter_.Paint(static_cast<uint32_t>(ids[i]), split_number,
                         out.images.mutable_data_ptr<uint8_t>() + i * info_.channels * pixels,
                         out.masks.mutable_data_ptr<uint8_t>() + i * pixels);
      out.boxes.push_back({box.top, box.left, box.bottom, box.right});
    }
    return out;
  }

  bool glyph_;
  ShapePainter painter_;
  DatasetInfo info_;
};

absl::StatusOr<std::unique_ptr<Dataset>> Make(const Params& params, const DataFiles& files) {
  if (!files.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("shapes draws its images itself and takes no files; got ", files[0].name));
  }
  return std::make_unique<Shapes>(params);
}

const Registration<Dataset> kShapes{
    {.name = "shapes",
     .summary = "procedural digits or shapes with exact masks and boxes",
     .params =
         {Choice("variant", "glyph28", {"glyph28", "geo32"})
              .Doc("digits 1x28x28, or coloured shapes 3x32x32"),
          Int("seed", 0).Range(0, 9007199254740991).Doc("key of all draws"),
          Int("train", 6000).Range(1, 200000).Doc("samples of split train"),
          Int("test", 1000).Range(1, 200000).Doc("samples of split test"),
          Real("hint", -1)
              .Range(-1, 0.1)
              .Doc("amplitude of the non-robust texture, pixel units; negative: 0.04 for glyph28, "
                   "0.03 for geo32"),
          Int("distractors", 2).Range(0, 4).Doc("grey squares per image, glyph28 only")},
     .traits = {"no_files"}},
    Make};

}  // namespace
}  // namespace adamant
