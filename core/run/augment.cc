// SPDX-License-Identifier: Apache-2.0
#include "core/run/augment.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/plugin_check.h"
#include "common/status_macros.h"
#include "core/base/rng.h"

namespace adamant {
namespace {

// One sample's image: `channels` planes of height x width values.
struct Planes {
  float* data;
  int64_t channels;
  int64_t height;
  int64_t width;
};

// Moves the content by (down, right); what comes in from outside is 0. `scratch` holds one image.
void Shift(const Planes& image, int64_t down, int64_t right, std::vector<float>& scratch) {
  const int64_t plane = image.height * image.width;
  scratch.assign(image.data, image.data + image.channels * plane);
  std::fill(image.data, image.data + image.channels * plane, 0.0f);
  const int64_t kept = image.width - std::abs(right);
  if (kept <= 0) return;
  for (int64_t c = 0; c < image.channels; ++c) {
    for (int64_t y = std::max<int64_t>(0, down); y < image.height + std::min<int64_t>(0, down);
         ++y) {
      const float* from =
          scratch.data() + c * plane + (y - down) * image.width + std::max<int64_t>(0, -right);
      std::copy(from, from + kept,
                image.data + c * plane + y * image.width + std::max<int64_t>(0, right));
    }
  }
}

void Mirror(const Planes& image) {
  for (int64_t row = 0; row < image.channels * image.height; ++row) {
    std::reverse(image.data + row * image.width, image.data + (row + 1) * image.width);
  }
}

double Number(const v1::PluginSpec& spec, const std::string& name) {
  return spec.params().fields().at(name).number_value();
}

// A window of the padded image at offset o shows the content moved by pad - o.
void RandomCrop(const Planes& image, int64_t pad, const Rng& rng, uint32_t step,
                std::vector<float>& scratch) {
  const auto places = static_cast<uint32_t>(2 * pad + 1);
  const DrawAt top{.step = step, .purpose = Purpose::kTransform, .draw = 0};
  const DrawAt left{.step = step, .purpose = Purpose::kTransform, .draw = 1};
  const int64_t down = pad - rng.Below(top, places);
  const int64_t right = pad - rng.Below(left, places);
  if (std::abs(down) >= image.height) {
    std::fill(image.data, image.data + image.channels * image.height * image.width, 0.0f);
  } else {
    Shift(image, down, right, scratch);
  }
}

}  // namespace

v1::PluginFamily AugmentationFamily() {
  const Declaration crop{.name = "random_crop",
                         .summary = "random window of the zero-padded image",
                         .params = {Int("pad", 4).Range(0, 64).Doc("pixels per side")}};
  const Declaration flip{.name = "hflip",
                         .summary = "random left-right mirror",
                         .params = {Real("p", 0.5).Range(0, 1).Doc("probability")}};
  v1::PluginFamily family;
  family.set_name("augmentation");
  *family.add_plugins() = flip.ToProto();
  *family.add_plugins() = crop.ToProto();
  return family;
}

absl::StatusOr<Augmentations> Augmentations::Make(
    const google::protobuf::RepeatedPtrField<v1::PluginSpec>& specs) {
  Augmentations augmentations;
  for (const v1::PluginSpec& spec : specs) {
    ASSIGN_OR_RETURN(v1::PluginSpec complete, NormalizePluginSpec(spec, AugmentationFamily()));
    augmentations.specs_.push_back(std::move(complete));
  }
  return augmentations;
}

at::Tensor Augmentations::Apply(const Batch& batch, uint64_t seed, int64_t epoch) const {
  at::Tensor images = batch.images.clone(at::MemoryFormat::Contiguous);
  const int64_t* ids = batch.ids.data_ptr<int64_t>();
  const std::string stream = absl::StrCat("augment:", epoch);
  std::vector<float> scratch;
  for (int64_t i = 0; i < batch.size(); ++i) {
    const Rng rng(seed, stream, ids[i]);
    const Planes image{images.data_ptr<float>() + i * images.stride(0), images.size(1),
                       images.size(2), images.size(3)};
    for (uint32_t step = 0; step < specs_.size(); ++step) {
      if (specs_[step].name() == "random_crop") {
        RandomCrop(image, static_cast<int64_t>(Number(specs_[step], "pad")), rng, step, scratch);
      } else {
        float draw = 0;
        rng.Uniform({.step = step, .purpose = Purpose::kTransform}, absl::MakeSpan(&draw, 1));
        if (draw < Number(specs_[step], "p")) Mirror(image);
      }
    }
  }
  return images;
}

}  // namespace adamant
