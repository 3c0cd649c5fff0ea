// SPDX-License-Identifier: Apache-2.0
#include "core/run/explain_session.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "core/base/torch.h"
#include "core/data/image_file.h"
#include "core/run/explain_artifacts.h"

namespace adamant {
namespace {

constexpr size_t kMaxImageBytes = 4 << 20;
constexpr size_t kMaxResponseBytes = 3 << 20;
constexpr int64_t kMaxChunk = 8;  // images between two looks at a stop request
constexpr int64_t kTopClasses = 5;
constexpr int64_t kPictureSide = 224;

// The spec of a job that computes the same maps: TOP_CLASSES and LAYERS need none.
v1::ExplainSpec AsJob(const v1::ExplainSpec& spec) {
  v1::ExplainSpec job = spec;
  job.clear_outputs();
  for (const int output : spec.outputs()) {
    if (output != v1::TOP_CLASSES && output != v1::LAYERS)
      job.add_outputs(static_cast<v1::ExplainOutput>(output));
  }
  if (job.outputs().empty()) job.add_outputs(v1::RAW_MAP);
  job.set_max_pictures(std::max(1, spec.images_size()));
  return job;
}

bool Wants(const v1::ExplainSpec& spec, v1::ExplainOutput output) {
  return std::find(spec.outputs().begin(), spec.outputs().end(), output) != spec.outputs().end();
}

std::string BytesOf(const at::Tensor& map) {
  const at::Tensor values = map.to(at::kCPU, at::kFloat).contiguous();
  return {static_cast<const char*>(values.const_data_ptr()), values.nbytes()};
}

// [H,W] in the colours' scale: [0,1], or [-1,1] for signed maps.
at::Tensor Upsampled(const at::Tensor& raw, const ModelShape& shape, const ExplainPlan& plan,
                     Signedness signedness) {
  return Normalise(Upsample(raw.unsqueeze(0), shape.height, shape.width, plan.upsampling),
                   signedness)[0];
}

// Of the images from `begin` on.
void FillTopClasses(const at::Tensor& logits, int64_t begin, v1::ExplainResponse& response) {
  const int64_t count = std::min(kTopClasses, logits.size(1));
  const at::Tensor values = logits.detach().to(at::kCPU, at::kDouble);
  const at::Tensor shares = values.softmax(1);
  const at::Tensor order = values.argsort(/*stable=*/true, 1, /*descending=*/true);
  for (int64_t i = 0; i < values.size(0); ++i) {
    for (int64_t rank = 0; rank < count; ++rank) {
      const auto index = order[i][rank].item<int64_t>();
      v1::TopClass& top = *response.mutable_images(static_cast<int>(begin + i))->add_top();
      top.set_index(static_cast<int32_t>(index));
      top.set_logit(values[i][index].item<double>());
      top.set_probability(shares[i][index].item<double>());
    }
  }
}

absl::Status CheckSize(const v1::ExplainResponse& response) {
  if (response.ByteSizeLong() <= kMaxResponseBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("outputs: the answer would have more than ", kMaxResponseBytes,
                   " bytes; send fewer images, choose fewer layers or outputs, a smaller "
                   "display.scale, or submit an explain job"));
}

// Writes the maps and pictures of one column into the response.
class MapWriter {
 public:
  MapWriter(const v1::ExplainSpec& spec, const ExplainPlan& plan, const ModelShape& shape)
      : spec_(spec), plan_(plan), shape_(shape) {}

  absl::Status Write(const ExplainedSamples& explained, const MapColumn& column,
                     v1::ExplainResponse& response) const {
    for (const MapRecord& record : column.records) {
      if (record.failed) {
        return absl::OutOfRangeError(absl::StrCat("the map of image ", record.sample, " at ",
                                                  column.layer,
                                                  " is not finite; check the model's weights"));
      }
      v1::ExplainMap& map = *response.mutable_images(static_cast<int>(record.sample))->add_maps();
      FillMap(record, column, map);
    }
    return plan_.WantsPictures() ? Draw(explained, column, response) : absl::OkStatus();
  }

 private:
  void FillMap(const MapRecord& record, const MapColumn& column, v1::ExplainMap& map) const {
    map.set_layer(column.layer);
    map.set_target_class(record.row.target_class());
    map.set_pre_relu_min(record.row.pre_relu_min());
    map.set_pre_relu_max(record.row.pre_relu_max());
    map.set_empty(record.row.empty());
    const bool upsampled = Wants(spec_, v1::UPSAMPLED_MAP);
    const at::Tensor values =
        upsampled ? Upsampled(record.raw, shape_, plan_, column.signedness) : record.raw;
    map.set_height(static_cast<int32_t>(values.size(0)));
    map.set_width(static_cast<int32_t>(values.size(1)));
    if (upsampled || Wants(spec_, v1::RAW_MAP)) map.set_raw(BytesOf(values));
  }

  // The maps of this column are the last ones of each image.
  absl::Status Draw(const ExplainedSamples& explained, const MapColumn& column,
                    v1::ExplainResponse& response) const {
    const int64_t scale = plan_.scale > 0 ? plan_.scale : ScaleFor(shape_, kPictureSide);
    for (size_t sample = 0; sample < explained.pictures.size(); ++sample) {
      const std::vector<MapPictures> drawn =
          DrawMaps(column, static_cast<int64_t>(sample), explained.pictures[sample], plan_, scale);
      v1::ExplainedImage& image = *response.mutable_images(static_cast<int>(sample));
      const int first = image.maps_size() - static_cast<int>(drawn.size());
      for (size_t variant = 0; variant < drawn.size(); ++variant) {
        v1::ExplainMap& map = *image.mutable_maps(first + static_cast<int>(variant));
        if (Wants(spec_, v1::OVERLAY_PNG)) map.set_overlay_png(EncodePng(drawn[variant].overlay));
        if (Wants(spec_, v1::HEATMAP_PNG)) map.set_heatmap_png(EncodePng(drawn[variant].heatmap));
      }
      RETURN_IF_ERROR(CheckSize(response));
    }
    return absl::OkStatus();
  }

  const v1::ExplainSpec& spec_;
  const ExplainPlan& plan_;
  const ModelShape& shape_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ExplainSession>> ExplainSession::Open(const ModelInput& input,
                                                                     const std::string& device) {
  ASSIGN_OR_RETURN(std::unique_ptr<Model> model, OpenModel(input));
  model->To(c10::Device(device));
  return std::unique_ptr<ExplainSession>(
      new ExplainSession(std::move(model), input.sha256, device));
}

absl::Status ExplainSession::Explain(const v1::ExplainSpec& spec, const RunControl& control,
                                     v1::ExplainResponse& response) const {
  const auto start = std::chrono::steady_clock::now();
  const ModelInfo& info = model_->info();
  ASSIGN_OR_RETURN(ExplainPlan plan, PlanExplain(AsJob(spec), info));
  if (plan.explainers.size() != 1)
    return absl::InvalidArgumentError("explainers: the interactive Explain takes one");
  plan.max_batch = std::min(plan.max_batch, kMaxChunk);
  ASSIGN_OR_RETURN(const ExplainSamples samples,
                   ExplainSamples::OpenInline(spec, info.shape, kMaxImageBytes));
  ASSIGN_OR_RETURN(const ExplainedSamples explained,
                   ExplainAll(plan, samples, *model_, device_, control, [](int64_t, int64_t) {}));
  for (int64_t i = 0; i < samples.size(); ++i) {
    response.add_images()->set_preprocessed(
        absl::StrCat(info.shape.channels, "x", info.shape.height, "x", info.shape.width));
  }
  const MapWriter writer(spec, plan, info.shape);
  for (const MapColumn& column : explained.columns) {
    control.Check();
    RETURN_IF_ERROR(writer.Write(explained, column, response));
  }
  if (Wants(spec, v1::TOP_CLASSES)) {
    const at::NoGradGuard no_grad;
    for (int64_t begin = 0; begin < samples.size(); begin += plan.max_batch) {
      control.Check();
      ASSIGN_OR_RETURN(const SampleChunk chunk,
                       samples.Read(begin, std::min(samples.size(), begin + plan.max_batch)));
      FillTopClasses(model_->Logits(chunk.batch.images.to(device_)), begin, response);
    }
  }
  if (Wants(spec, v1::LAYERS)) {
    for (v1::Layer& layer : DescribeLayers(info)) *response.add_layers() = std::move(layer);
  }
  *response.mutable_explainer() = plan.explainers[0].spec;
  response.set_model_sha256(sha256_);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  response.set_compute_seconds(seconds.count());
  return CheckSize(response);
}

}  // namespace adamant
