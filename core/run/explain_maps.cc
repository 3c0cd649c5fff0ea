// SPDX-License-Identifier: Apache-2.0
#include "core/run/explain_maps.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr int64_t kMaxMapBytes = 1 << 30;

// Share of each map's positive display mass inside its region, and the share of the image that the
// region covers; both [N]. A map without mass gives NaN.
struct RegionShares {
  at::Tensor mass;
  at::Tensor area;
};

RegionShares Shares(const at::Tensor& raw, Signedness signedness, const at::Tensor& regions) {
  const at::Tensor display =
      Normalise(Upsample(raw, regions.size(1), regions.size(2), Upsampling::kBilinear), signedness)
          .clamp_min(0);
  const at::Tensor inside = regions.to(display.scalar_type());
  return {(display * inside).sum({1, 2}) / display.sum({1, 2}), inside.mean({1, 2})};
}

// Runs the chunks and collects their records. One per job.
class ChunkExplainer {
 public:
  ChunkExplainer(const ExplainPlan& plan, Model& model, const std::string& device)
      : plan_(plan), model_(model), device_(device), view_(model) {
    for (const PlannedExplainer& planned : plan.explainers) {
      for (const Tap& layer : plan.layers) {
        out_.columns.push_back(
            {planned.name, planned.spec, layer.name, planned.explainer->signedness(), {}});
      }
    }
  }

  absl::Status Run(const SampleChunk& chunk, const RunControl& control) {
    const at::Tensor clean = chunk.batch.images.to(device_);
    const at::Tensor logits = view_.Forward(clean, {}).logits;
    ASSIGN_OR_RETURN(const at::Tensor classes,
                     ResolveClasses(plan_.target, logits, chunk.batch.labels, chunk.batch.ids));
    at::Tensor adversarial;
    if (plan_.attack.has_value()) adversarial = Craft(chunk, clean, logits, control);
    Keep(chunk.batch.images, adversarial);
    Append(chunk, clean, classes, false);
    if (adversarial.defined()) Append(chunk, adversarial, classes, true);
    done_ += clean.size(0);
    return absl::OkStatus();
  }

  ExplainedSamples Finish() && {
    for (MapColumn& column : out_.columns) {
      std::stable_sort(column.records.begin(), column.records.end(),
                       [](const MapRecord& a, const MapRecord& b) { return a.sample < b.sample; });
    }
    out_.forwards += view_.forwards();
    out_.backwards += view_.backwards();
    return std::move(out_);
  }

 private:
  // Labels as known, else the prediction: what an attack moves away from.
  at::Tensor Craft(const SampleChunk& chunk, const at::Tensor& clean, const at::Tensor& logits,
                   const RunControl& control) {
    const at::Tensor known = chunk.batch.labels.to(device_);
    const Batch batch{clean, at::where(known.ge(0), known, logits.argmax(1)), chunk.batch.ids};
    AttackSettings settings;
    settings.seed = plan_.seed;
    settings.stream = absl::StrCat("0:", plan_.attack->spec.name());
    Victim victim(model_);
    const AttackResult result =
        plan_.attack->attack->Run(victim, batch, plan_.attack->threat, settings, control);
    out_.forwards += victim.forwards();
    out_.backwards += victim.backwards();
    return result.images.detach();
  }

  void Keep(const at::Tensor& images, const at::Tensor& adversarial) {
    if (!plan_.WantsPictures()) return;
    for (int64_t i = 0; i < images.size(0); ++i) {
      if (static_cast<int64_t>(out_.pictures.size()) >= plan_.max_pictures) return;
      PictureSample& kept = out_.pictures.emplace_back();
      kept.image = images[i].clone();
      if (adversarial.defined()) kept.adversarial = adversarial[i].cpu().clone();
    }
  }

  void Append(const SampleChunk& chunk, const at::Tensor& images, const at::Tensor& classes,
              bool adversarial) {
    size_t column = 0;
    for (const PlannedExplainer& planned : plan_.explainers) {
      const ExplainMaps maps = planned.explainer->Explain(
          view_, {images, classes, chunk.batch.ids, plan_.layers, plan_.score, plan_.seed});
      for (const LayerMaps& layer : maps.layers) {
        Record(chunk, maps, layer, classes.cpu(), adversarial, out_.columns[column++]);
      }
    }
  }

  void Record(const SampleChunk& chunk, const ExplainMaps& maps, const LayerMaps& layer,
              const at::Tensor& classes, bool adversarial, MapColumn& column) const;

  const ExplainPlan& plan_;
  Model& model_;
  const std::string device_;
  ModelView view_;
  ExplainedSamples out_;
  int64_t done_ = 0;  // samples of the chunks before
};

void ChunkExplainer::Record(const SampleChunk& chunk, const ExplainMaps& maps,
                            const LayerMaps& layer, const at::Tensor& classes, bool adversarial,
                            MapColumn& column) const {
  const at::Tensor raw = layer.raw.detach().to(at::kCPU, at::kFloat);
  const auto value = [](const at::Tensor& of, int64_t i) { return of[i].item<double>(); };
  RegionShares shares;
  if (chunk.regions.defined()) shares = Shares(raw, column.signedness, chunk.regions);
  for (int64_t i = 0; i < raw.size(0); ++i) {
    MapRecord& record = column.records.emplace_back();
    record.raw = raw[i].clone();
    record.sample = done_ + i;
    record.adversarial = adversarial;
    record.failed = !record.raw.isfinite().all().item<bool>();
    v1::ExplainRow& row = record.row;
    row.set_sample_id(chunk.batch.ids[i].item<int64_t>());
    const auto label = chunk.batch.labels[i].item<int32_t>();
    if (label >= 0) row.set_label(label);
    row.set_explainer(column.explainer);
    row.set_layer(column.layer);
    row.set_variant(adversarial ? "adv" : "clean");
    row.set_target_class(classes[i].item<int32_t>());
    row.set_predicted(maps.predicted[i].item<int32_t>());
    row.set_confidence(value(maps.confidence, i));
    row.set_score(value(maps.scores, i));
    row.set_raw_min(record.raw.min().item<double>());
    row.set_raw_max(record.raw.max().item<double>());
    row.set_pre_relu_min(value(layer.pre_relu_min, i));
    row.set_pre_relu_max(value(layer.pre_relu_max, i));
    row.set_empty(layer.empty[i].item<bool>());
    row.set_name(chunk.names[static_cast<size_t>(i)]);
    if (!chunk.regions.defined()) continue;
    row.set_area_in_region(value(shares.area, i));
    const double share = value(shares.mass, i);
    if (!row.empty() && std::isfinite(share)) row.set_share_in_region(share);
  }
}

absl::Status CheckMapBytes(const ExplainPlan& plan, int64_t samples) {
  int64_t bytes = 0;
  for (const Tap& layer : plan.layers) {
    bytes += layer.height * layer.width * 4 * samples * plan.variants() *
             static_cast<int64_t>(plan.explainers.size());
  }
  if (bytes <= kMaxMapBytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the maps of ", samples, " samples take ", bytes, " bytes, at most ",
                   kMaxMapBytes, ": choose fewer samples, or layers of lower resolution"));
}

}  // namespace

absl::StatusOr<ExplainedSamples> ExplainAll(
    const ExplainPlan& plan, const ExplainSamples& samples, Model& model, const std::string& device,
    const RunControl& control, const std::function<void(int64_t done, int64_t all)>& progress) {
  const int64_t size = samples.size();
  RETURN_IF_ERROR(CheckMapBytes(plan, size));
  const int64_t maps_each = plan.variants() * static_cast<int64_t>(plan.explainers.size()) *
                            static_cast<int64_t>(plan.layers.size());
  ChunkExplainer explainer(plan, model, device);
  for (int64_t begin = 0; begin < size; begin += plan.max_batch) {
    control.Check();
    const int64_t end = std::min(size, begin + plan.max_batch);
    ASSIGN_OR_RETURN(const SampleChunk chunk, samples.Read(begin, end));
    RETURN_IF_ERROR(explainer.Run(chunk, control));
    progress(end * maps_each, size * maps_each);
  }
  return std::move(explainer).Finish();
}

}  // namespace adamant
