// SPDX-License-Identifier: Apache-2.0
#include "core/run/explain_samples.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "core/base/torch.h"
#include "core/data/image_file.h"
#include "core/data/preprocess.h"
#include "core/run/inputs.h"

namespace adamant {
namespace {

constexpr int kMaxInlineImages = 64;
constexpr size_t kMaxInlineBytes = 1 << 20;
constexpr int64_t kMaxSide = 8192;

absl::Status At(const absl::Status& status, absl::string_view where) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(where, ": ", status.message()));
}

// [C,H,W] of raw float32 or uint8 pixels; which of them follows from the number of bytes.
absl::StatusOr<at::Tensor> ReadRaw(const v1::InlineImage& image) {
  const v1::ImageShape& shape = image.raw_shape();
  const auto in_range = [](int64_t side) { return side >= 1 && side <= kMaxSide; };
  if (!in_range(shape.channels()) || !in_range(shape.height()) || !in_range(shape.width())) {
    return absl::InvalidArgumentError("raw_shape: every side must be in [1, 8192]");
  }
  const int64_t values = int64_t{shape.channels()} * shape.height() * shape.width();
  const auto bytes = static_cast<int64_t>(image.data().size());
  if (bytes != values && bytes != 4 * values) {
    return absl::InvalidArgumentError(
        absl::StrCat("raw_shape holds ", values, " values, so data must be ", values,
                     " bytes (uint8) or ", 4 * values, " (float32), got ", bytes));
  }
  at::Tensor raw = torch::empty({shape.channels(), shape.height(), shape.width()},
                                bytes == values ? at::kByte : at::kFloat);
  std::memcpy(raw.mutable_data_ptr(), image.data().data(), image.data().size());
  return bytes == values ? raw.to(at::kFloat).div_(255) : raw;
}

absl::StatusOr<at::Tensor> Decode(const v1::InlineImage& image) {
  if (image.has_raw_shape()) return ReadRaw(image);
  ASSIGN_OR_RETURN(const PixelImage pixels, DecodeImage(image.data()));
  return ToTensor(pixels);
}

// First 8 bytes of SHA-256 over the float32 values: the identity of an uploaded image.
int64_t IdOf(const at::Tensor& image) {
  const at::Tensor values = image.contiguous();
  const Sha256::Digest digest =
      Sha256Of({static_cast<const char*>(values.const_data_ptr()), values.nbytes()});
  int64_t id = 0;
  std::memcpy(&id, digest.data(), sizeof(id));
  return id;
}

absl::Status CheckValues(const Batch& batch) {
  const at::Tensor inside = batch.images.ge(0).logical_and(batch.images.le(1)).flatten(1).all(1);
  for (int64_t i = 0; i < inside.size(0); ++i) {
    if (inside[i].item<bool>()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("sample ", batch.ids[i].item<int64_t>(),
                     " has a value outside [0,1] or not finite; scale the pixels to [0,1]"));
  }
  return absl::OkStatus();
}

// bool [N,H,W] from masks, else from boxes, else undefined.
at::Tensor Regions(const DataSlice& slice, absl::Span<const int64_t> ids, int64_t height,
                   int64_t width) {
  const std::optional<at::Tensor> masks = slice.dataset->Masks(slice.split, ids);
  if (masks.has_value()) return *masks;
  const auto boxes = slice.dataset->Boxes(slice.split, ids);
  if (!boxes.has_value()) return {};
  at::Tensor regions =
      torch::zeros({static_cast<int64_t>(boxes->size()), height, width}, at::kBool);
  for (size_t i = 0; i < boxes->size(); ++i) {
    const Box& box = (*boxes)[i];
    regions[static_cast<int64_t>(i)]
        .slice(0, box.top, box.bottom)
        .slice(1, box.left, box.right)
        .fill_(true);
  }
  return regions;
}

}  // namespace

absl::StatusOr<ExplainSamples> ExplainSamples::Open(const v1::ExplainSpec& spec,
                                                    const ModelShape& shape, RunContext& context) {
  if (spec.images_size() > 0) return OpenInline(spec, shape, kMaxInlineBytes);
  ExplainSamples samples;
  samples.shape_ = shape;
  samples.preprocess_ = spec.preprocess();
  ASSIGN_OR_RETURN(samples.slice_, OpenSlice(spec.data(), "data", context));
  const DatasetInfo& info = samples.slice_->dataset->info();
  samples.data_name_ = samples.slice_->name;
  samples.data_digest_ = info.digest;
  samples.class_names_ = info.class_names;
  if (samples.size() == 0) return absl::InvalidArgumentError("data: the slice holds no sample");
  return samples;
}

absl::StatusOr<ExplainSamples> ExplainSamples::OpenInline(const v1::ExplainSpec& spec,
                                                          const ModelShape& shape,
                                                          size_t max_bytes) {
  ExplainSamples samples;
  samples.shape_ = shape;
  samples.preprocess_ = spec.preprocess();
  RETURN_IF_ERROR(samples.DecodeInline(spec, max_bytes));
  return samples;
}

absl::Status ExplainSamples::DecodeInline(const v1::ExplainSpec& spec, size_t max_bytes) {
  size_t bytes = 0;
  for (const v1::InlineImage& image : spec.images()) bytes += image.data().size();
  if (spec.images_size() > kMaxInlineImages || bytes > max_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat("images: ", spec.images_size(), " of ", bytes,
                                                     " bytes; at most ", kMaxInlineImages, " of ",
                                                     max_bytes, " bytes together"));
  }
  std::vector<at::Tensor> images;
  std::vector<int64_t> labels;
  std::vector<int64_t> ids;
  for (const v1::InlineImage& image : spec.images()) {
    const std::string where =
        absl::StrCat("images[", images.size(), "]", image.name().empty() ? "" : " ", image.name());
    const absl::StatusOr<at::Tensor> decoded = Decode(image);
    if (!decoded.ok()) return At(decoded.status(), where);
    const absl::StatusOr<at::Tensor> ready =
        Preprocess(*decoded, preprocess_, shape_.channels, shape_.height, shape_.width);
    if (!ready.ok()) return At(ready.status(), where);
    images.push_back(*ready);
    labels.push_back(image.has_label() ? image.label() : -1);
    ids.push_back(IdOf(*ready));
    inline_.names.push_back(image.name());
  }
  inline_.batch = {torch::stack(images), torch::tensor(labels, at::kLong),
                   torch::tensor(ids, at::kLong)};
  data_name_ = "images of the request";
  return absl::OkStatus();
}

int64_t ExplainSamples::size() const {
  return slice_.has_value() ? slice_->size() : inline_.batch.size();
}

absl::StatusOr<SampleChunk> ExplainSamples::Read(int64_t begin, int64_t end) const {
  SampleChunk chunk;
  if (!slice_.has_value()) {
    chunk.batch = {inline_.batch.images.slice(0, begin, end),
                   inline_.batch.labels.slice(0, begin, end),
                   inline_.batch.ids.slice(0, begin, end)};
    chunk.names.assign(inline_.names.begin() + begin, inline_.names.begin() + end);
  } else {
    const DatasetInfo& info = slice_->dataset->info();
    const bool fits = info.channels == shape_.channels && info.height == shape_.height &&
                      info.width == shape_.width;
    ASSIGN_OR_RETURN(chunk, fits ? ReadSlice(begin, end) : ReadResized(begin, end));
    chunk.names.resize(static_cast<size_t>(end - begin));
  }
  RETURN_IF_ERROR(CheckValues(chunk.batch));
  return chunk;
}

absl::StatusOr<SampleChunk> ExplainSamples::ReadSlice(int64_t begin, int64_t end) const {
  SampleChunk chunk;
  ASSIGN_OR_RETURN(chunk.batch, slice_->Read(begin, end));
  const auto ids = absl::MakeConstSpan(slice_->ids).subspan(begin, end - begin);
  chunk.regions = Regions(*slice_, ids, shape_.height, shape_.width);
  return chunk;
}

absl::StatusOr<SampleChunk> ExplainSamples::ReadResized(int64_t begin, int64_t end) const {
  std::vector<at::Tensor> images;
  std::vector<at::Tensor> labels;
  std::vector<at::Tensor> regions;
  v1::Preprocess of_mask = preprocess_;
  of_mask.set_pad_value(0);
  for (int64_t i = begin; i < end; ++i) {
    ASSIGN_OR_RETURN(const Batch one, slice_->Read(i, i + 1));
    const absl::StatusOr<at::Tensor> image =
        Preprocess(one.images[0], preprocess_, shape_.channels, shape_.height, shape_.width);
    const int64_t id = slice_->ids[static_cast<size_t>(i)];
    if (!image.ok()) return At(image.status(), absl::StrCat("sample ", id));
    images.push_back(*image);
    labels.push_back(one.labels);
    const at::Tensor region = Regions(*slice_, {id}, one.images.size(2), one.images.size(3));
    if (!region.defined()) continue;
    ASSIGN_OR_RETURN(const at::Tensor mask,
                     Preprocess(region.to(at::kFloat), of_mask, 1, shape_.height, shape_.width));
    regions.push_back(mask.ge(0.5));
  }
  SampleChunk chunk;
  chunk.batch = {torch::stack(images), torch::cat(labels),
                 torch::tensor(at::ArrayRef<int64_t>(slice_->ids.data() + begin,
                                                     static_cast<size_t>(end - begin)),
                               at::kLong)};
  if (regions.size() == images.size()) chunk.regions = torch::cat(regions);
  return chunk;
}

}  // namespace adamant
