// SPDX-License-Identifier: Apache-2.0
// Photographs in folders, uploaded as one tar `data.tar`:
//   {train,test,val}/<class>/*.{jpg,jpeg,png}, all of it optionally inside one leading folder.
// Classes and files are sorted by the bytes of their names; sample_id is the position in that
// order. Grey images become RGB. Each image is resized as `resize` says and rounded to 8 bits.
// Images are decoded when they are first read.
#include <jpeglib.h>
#include <png.h>

#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "common/status_macros.h"
#include "core/base/torch.h"
#include "core/data/preprocess.h"
#include "core/data/records.h"
#include "core/data/tar_file.h"

namespace adamant {
namespace {

constexpr char kFileName[] = "data.tar";
constexpr int64_t kChannels = 3;

#define ADAMANT_TEXT_(x) #x
#define ADAMANT_TEXT(x) ADAMANT_TEXT_(x)
constexpr char kDecoder[] =
    "libjpeg-turbo " ADAMANT_TEXT(LIBJPEG_TURBO_VERSION) ", libpng " PNG_LIBPNG_VER_STRING;

struct Picture {
  std::string file;
  absl::string_view bytes;
  int64_t label = 0;
};

using Classes = std::map<std::string, std::vector<Picture>>;

bool IsPicture(const std::string& name) {
  const std::string lower = absl::AsciiStrToLower(name);
  return absl::EndsWith(lower, ".jpg") || absl::EndsWith(lower, ".jpeg") ||
         absl::EndsWith(lower, ".png");
}

bool IsSplit(absl::string_view name) { return name == "train" || name == "test" || name == "val"; }

// The files of an archive by split and class.
struct Folders {
  std::map<std::string, Classes> splits;
  std::set<std::string> roots;  // leading folders, "" for none
  int64_t ignored = 0;          // files that are no pictures
};

void Sort(const TarEntry& entry, Folders& folders) {
  std::vector<std::string> parts = absl::StrSplit(entry.name, '/');
  std::string root;
  if (!IsSplit(parts[0]) && parts.size() > 1) {
    root = parts[0];
    parts.erase(parts.begin());
  }
  if (!IsSplit(parts[0]) || parts.size() > 3) {
    folders.ignored += entry.folder ? 0 : 1;
    return;
  }
  if (entry.folder) {
    if (parts.size() == 2) folders.splits[parts[0]][parts[1]];
    return;
  }
  if (parts.size() != 3 || !IsPicture(parts[2])) {
    ++folders.ignored;
    return;
  }
  folders.roots.insert(root);
  folders.splits[parts[0]][parts[1]].push_back({entry.name, entry.data});
}

absl::StatusOr<v1::Preprocess> PolicyOf(const Params& params) {
  v1::Preprocess how;
  how.set_convert_channels(true);
  const std::string& resize = params.Text("resize");
  if (resize == "stretch") how.set_resize(v1::Preprocess::STRETCH);
  if (resize == "shorter_side_crop") how.set_resize(v1::Preprocess::SHORTER_SIDE_CROP);
  how.set_resize_to(static_cast<int32_t>(params.Int("resize_to")));
  const bool sized = params.Int("height") > 0 && params.Int("width") > 0;
  if (resize != "none" && !sized) {
    return absl::InvalidArgumentError(
        absl::StrCat("image_folder with resize = ", resize, " needs height and width"));
  }
  return how;
}

class ImageFolder : public Dataset {
 public:
  ImageFolder(const Params& params, v1::Preprocess how, const NamedFile& file)
      : how_(std::move(how)), keep_(params.Text("cache") == "decoded"), file_(file) {
    info_.channels = kChannels;
    info_.height = params.Int("height");
    info_.width = params.Int("width");
  }

  // Fills splits and classes; takes the size of the first image where none was chosen.
  absl::Status Open(Folders folders) {
    std::set<std::string> classes;
    for (const auto& [split, by_class] : folders.splits) {
      for (const auto& [name, pictures] : by_class) {
        if (pictures.empty()) {
          return DataError("IMAGE_INVALID", split + "/" + name, 0, "empty class folder");
        }
        classes.insert(name);
      }
    }
    info_.class_names.assign(classes.begin(), classes.end());
    info_.num_classes = static_cast<int64_t>(classes.size());
    for (auto& [split, by_class] : folders.splits) AddSplit(split, by_class);
    info_.digest = DigestOf({file_}, kDecoder);
    absl::StrAppend(&info_.summary, "; ", info_.num_classes, " classes");
    if (folders.ignored > 0) {
      absl::StrAppend(&info_.summary, "; ", folders.ignored, " other files ignored");
    }
    return info_.height == 0 ? TakeSizeOfFirst() : absl::OkStatus();
  }

  const DatasetInfo& info() const override { return info_; }

  absl::StatusOr<Batch> Read(const std::string& split,
                             absl::Span<const int64_t> ids) const override {
    RETURN_IF_ERROR(SplitSize(split).status());
    Batch batch;
    batch.ids = torch::tensor(at::ArrayRef<int64_t>(ids.data(), ids.size()), at::kLong);
    batch.labels = torch::empty_like(batch.ids);
    std::vector<at::Tensor> images;
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto id = static_cast<size_t>(ids[i]);
      batch.labels.mutable_data_ptr<int64_t>()[i] = pictures_.at(split)[id].label;
      ASSIGN_OR_RETURN(at::Tensor image, Image(split, id));
      images.push_back(std::move(image));
    }
    batch.images = images.empty() ? torch::empty({0, kChannels, info_.height, info_.width})
                                  : torch::stack(images).to(at::kFloat).div_(255);
    return batch;
  }

 private:
  void AddSplit(const std::string& split, Classes& by_class) {
    std::vector<Picture>& all = pictures_[split];
    for (auto& [name, pictures] : by_class) {
      const auto at = std::lower_bound(info_.class_names.begin(), info_.class_names.end(), name);
      std::sort(pictures.begin(), pictures.end(),
                [](const Picture& a, const Picture& b) { return a.file < b.file; });
      for (Picture& picture : pictures) {
        picture.label = at - info_.class_names.begin();
        all.push_back(std::move(picture));
      }
    }
    cache_[split].resize(all.size());
    info_.splits.emplace_back(split, all.size());
    absl::StrAppend(&info_.summary, info_.summary.empty() ? "" : ", ", all.size(), " ", split);
  }

  static absl::StatusOr<PixelImage> Decode(const Picture& picture) {
    absl::StatusOr<PixelImage> pixels = DecodeImage(picture.bytes);
    if (pixels.ok()) return pixels;
    return absl::Status(pixels.status().code(),
                        absl::StrCat(picture.file, ": ", pixels.status().message()));
  }

  absl::Status TakeSizeOfFirst() {
    ASSIGN_OR_RETURN(const PixelImage first, Decode(pictures_.begin()->second[0]));
    info_.height = first.height;
    info_.width = first.width;
    return absl::OkStatus();
  }

  // uint8 [3,H,W]
  absl::StatusOr<at::Tensor> Image(const std::string& split, size_t id) const {
    at::Tensor& kept = cache_.at(split)[id];
    if (kept.defined()) return kept;
    const Picture& picture = pictures_.at(split)[id];
    ASSIGN_OR_RETURN(const PixelImage pixels, Decode(picture));
    const auto image = Preprocess(ToTensor(pixels), how_, kChannels, info_.height, info_.width);
    if (!image.ok()) {
      return DataError("IMAGE_INVALID", picture.file, 0, "image ", pixels.width, "x", pixels.height,
                       " differs from the first one, ", info_.width, "x", info_.height,
                       ": give the data set resize, height and width; ", image.status().message());
    }
    const at::Tensor bytes = image->mul(255).add(0.5).floor().clamp(0, 255).to(at::kByte);
    if (keep_) kept = bytes;
    return bytes;
  }

  v1::Preprocess how_;
  bool keep_;
  NamedFile file_;
  DatasetInfo info_;
  std::map<std::string, std::vector<Picture>> pictures_;
  mutable std::map<std::string, std::vector<at::Tensor>> cache_;
};

absl::StatusOr<std::unique_ptr<Dataset>> Make(const Params& params, const DataFiles& files) {
  if (files.size() != 1 || files[0].name != kFileName) {
    return absl::InvalidArgumentError(
        absl::StrCat("image_folder takes exactly one file, ", kFileName,
                     ": an uncompressed tar of {train,test,val}/<class>/*.{jpg,jpeg,png}"));
  }
  ASSIGN_OR_RETURN(v1::Preprocess how, PolicyOf(params));
  ASSIGN_OR_RETURN(const std::vector<TarEntry> entries, ReadTar(files[0]));
  Folders folders;
  for (const TarEntry& entry : entries) Sort(entry, folders);
  if (folders.roots.size() > 1) {
    return DataError("TAR_INVALID", kFileName, 0,
                     "images lie under several leading folders: ", *folders.roots.begin(), " and ",
                     *folders.roots.rbegin());
  }
  if (folders.roots.empty()) {
    return DataError("TAR_INVALID", kFileName, 0,
                     "no images found; expected {train,test,val}/<class>/*.{jpg,jpeg,png}");
  }
  auto dataset = std::make_unique<ImageFolder>(params, std::move(how), files[0]);
  RETURN_IF_ERROR(dataset->Open(std::move(folders)));
  return dataset;
}

const Registration<Dataset> kImageFolder{
    {.name = "image_folder",
     .summary = "JPEG and PNG images in class folders, uploaded as one tar",
     .params = {Choice("resize", "none", {"none", "stretch", "shorter_side_crop"})
                    .Doc("none: all images have the size of the first; stretch: to height x width; "
                         "shorter_side_crop: shorter side to resize_to, then centre crop"),
                Int("height", 0).Range(0, 4096).Doc("pixels; 0 with resize = none: as the files"),
                Int("width", 0).Range(0, 4096).Doc("pixels; 0 with resize = none: as the files"),
                Int("resize_to", 0)
                    .Range(0, 8192)
                    .Doc("shorter side before the crop, pixels; 0: the larger of height and width"),
                Choice("cache", "decoded", {"decoded", "none"})
                    .Doc("decoded: keep what was decoded in memory, 3 * height * width bytes an "
                         "image; none: decode at each read")}},
    Make};

}  // namespace
}  // namespace adamant
