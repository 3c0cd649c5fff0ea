// SPDX-License-Identifier: Apache-2.0
#include "core/data/preprocess.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr int64_t kMaxResizedPixels = 32 << 20;

absl::StatusOr<at::Tensor> WithChannels(const at::Tensor& image, bool convert, int64_t channels) {
  if (image.size(0) == channels) return image;
  if (!convert) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the image has ", image.size(0), " channels and the model takes ", channels,
        ": set preprocess.convert_channels to repeat grey or to take the luma of colour"));
  }
  if (image.size(0) == 1) return image.expand({channels, -1, -1}).contiguous();
  if (image.size(0) == 3 && channels == 1) {
    return (0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]).clamp(0, 1).unsqueeze(0);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("no conversion from ", image.size(0), " to ", channels, " channels"));
}

int64_t Scaled(int64_t side, double factor) {
  return std::max<int64_t>(1, std::llround(static_cast<double>(side) * factor));
}

absl::StatusOr<at::Tensor> ShorterSideCrop(const at::Tensor& image, int64_t resize_to,
                                           int64_t height, int64_t width) {
  if (resize_to == 0) resize_to = std::max(height, width);
  if (resize_to < std::max(height, width)) {
    return absl::InvalidArgumentError(absl::StrCat("preprocess.resize_to: ", resize_to,
                                                   " is smaller than the model's input ", height,
                                                   "x", width));
  }
  const double factor =
      static_cast<double>(resize_to) / static_cast<double>(std::min(image.size(1), image.size(2)));
  const int64_t h = Scaled(image.size(1), factor);
  const int64_t w = Scaled(image.size(2), factor);
  if (h > kMaxResizedPixels / w) {
    return absl::InvalidArgumentError(
        absl::StrCat("IMAGE_TOO_LARGE: ", h, "x", w, " after resizing; use stretch or letterbox"));
  }
  return ResizeImage(image, h, w)
      .narrow(1, (h - height) / 2, height)
      .narrow(2, (w - width) / 2, width)
      .contiguous();
}

at::Tensor Letterbox(const at::Tensor& image, double pad_value, int64_t height, int64_t width) {
  const double factor = std::min(static_cast<double>(height) / static_cast<double>(image.size(1)),
                                 static_cast<double>(width) / static_cast<double>(image.size(2)));
  const int64_t h = std::min(height, Scaled(image.size(1), factor));
  const int64_t w = std::min(width, Scaled(image.size(2), factor));
  at::Tensor out = torch::full({image.size(0), height, width}, pad_value);
  out.narrow(1, (height - h) / 2, h).narrow(2, (width - w) / 2, w).copy_(ResizeImage(image, h, w));
  return out;
}

}  // namespace

at::Tensor ToTensor(const PixelImage& image) {
  at::Tensor pixels = torch::empty({image.height, image.width, image.channels}, at::kByte);
  std::memcpy(pixels.mutable_data_ptr(), image.pixels.data(), image.pixels.size());
  return pixels.permute({2, 0, 1}).to(at::kFloat).contiguous().div_(255);
}

PixelImage ToPixels(const at::Tensor& image) {
  TORCH_CHECK(image.dim() == 3 && (image.size(0) == 1 || image.size(0) == 3),
              "a picture has 1 or 3 channels, got ", image.sizes());
  const at::Tensor bytes = (image.detach().cpu() * 255 + 0.5)
                               .floor()
                               .clamp(0, 255)
                               .to(at::kByte)
                               .permute({1, 2, 0})
                               .contiguous();
  const auto* data = bytes.const_data_ptr<uint8_t>();
  return {image.size(2), image.size(1), image.size(0), {data, data + bytes.numel()}};
}

at::Tensor ResizeImage(const at::Tensor& image, int64_t height, int64_t width) {
  if (image.size(1) == height && image.size(2) == width) return image;
  // Rounding may leave [0,1] by an ulp.
  return at::_upsample_bilinear2d_aa(image.unsqueeze(0), {height, width}, /*align_corners=*/false)
      .squeeze(0)
      .clamp_(0, 1);
}

absl::StatusOr<at::Tensor> Preprocess(const at::Tensor& image, const v1::Preprocess& how,
                                      int64_t channels, int64_t height, int64_t width) {
  if (!(how.pad_value() >= 0 && how.pad_value() <= 1)) {
    return absl::InvalidArgumentError("preprocess.pad_value must be in [0,1]");
  }
  if (how.resize_to() < 0 || how.resize_to() > 8192) {
    return absl::InvalidArgumentError("preprocess.resize_to must be in [0, 8192]");
  }
  ASSIGN_OR_RETURN(const at::Tensor x, WithChannels(image, how.convert_channels(), channels));
  switch (how.resize()) {
    case v1::Preprocess::STRETCH:
      return ResizeImage(x, height, width);
    case v1::Preprocess::SHORTER_SIDE_CROP:
      return ShorterSideCrop(x, how.resize_to(), height, width);
    case v1::Preprocess::LETTERBOX:
      return Letterbox(x, how.pad_value(), height, width);
    default:
      if (x.size(1) == height && x.size(2) == width) return x;
      return absl::InvalidArgumentError(
          absl::StrCat("expected an image of [", channels, ",", height, ",", width, "], got [",
                       image.size(0), ",", x.size(1), ",", x.size(2),
                       "]: choose a resize policy, one of stretch, shorter_side_crop, letterbox"));
  }
}

}  // namespace adamant
