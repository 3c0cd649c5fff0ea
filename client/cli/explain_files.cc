// SPDX-License-Identifier: Apache-2.0
#include "client/cli/explain_files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "client/cli/exit_code.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

namespace fs = std::filesystem;

bool IsFileName(const std::string& path) {
  const std::string extension = fs::path(path).extension().string();
  return extension == ".png" || extension == ".npy";
}

// What files of each image are called: its name without extension, told apart when two are alike.
std::vector<std::string> Stems(const v1::ExplainSpec& spec) {
  std::vector<std::string> stems;
  std::set<std::string> taken;
  for (int i = 0; i < spec.images_size(); ++i) {
    std::string stem = fs::path(spec.images(i).name()).stem().string();
    if (stem.empty()) stem = "image";
    std::string name = stem;
    for (int n = 2; !taken.insert(name).second; ++n) name = absl::StrCat(stem, "-", n);
    stems.push_back(name);
  }
  return stems;
}

std::string FileStem(const v1::ExplainSpec& spec, const v1::ExplainedImage& image, int map,
                     const std::string& stem) {
  const bool one_layer = std::all_of(
      image.maps().begin(), image.maps().end(),
      [&](const v1::ExplainMap& other) { return other.layer() == image.maps(0).layer(); });
  return absl::StrCat(
      stem,
      one_layer ? ""
                : absl::StrCat(".", absl::StrReplaceAll(image.maps(map).layer(), {{"/", "_"}})),
      VariantOf(spec, map) == "adv" ? ".adv" : "");
}

// A single file may be named by the user.
absl::Status Rename(const std::string& out, std::vector<MapFile>& files) {
  if (files.size() != 1) {
    return UsageError(absl::StrCat("the answer has ", files.size(), " files and --out ", out,
                                   " names one; give a folder"));
  }
  if (fs::path(out).extension() != fs::path(files[0].path).extension()) {
    return UsageError(absl::StrCat("--out ", out, " should end in ",
                                   fs::path(files[0].path).extension().string()));
  }
  files[0].path = out;
  return absl::OkStatus();
}

}  // namespace

absl::string_view VariantOf(const v1::ExplainSpec& spec, int map) {
  return spec.has_attack() && map % 2 == 1 ? "adv" : "clean";
}

absl::StatusOr<std::vector<MapFile>> TakeFiles(const v1::ExplainSpec& spec, const std::string& out,
                                               v1::ExplainResponse& response) {
  const bool one_file = IsFileName(out);
  const std::string folder = one_file ? "" : out;
  std::vector<MapFile> files;
  const std::vector<std::string> stems = Stems(spec);
  for (int i = 0; i < response.images_size(); ++i) {
    v1::ExplainedImage& image = *response.mutable_images(i);
    for (int m = 0; m < image.maps_size(); ++m) {
      v1::ExplainMap& map = *image.mutable_maps(m);
      const std::string stem = FileStem(spec, image, m, stems[static_cast<size_t>(i)]);
      const auto add = [&](const char* kind, const char* ending, std::string bytes) {
        if (bytes.empty() || out.empty()) return;
        files.push_back({i, m, kind, (fs::path(folder) / absl::StrCat(stem, ending)).string(),
                         std::move(bytes)});
      };
      add("overlay", ".overlay.png", std::move(*map.mutable_overlay_png()));
      add("heatmap", ".heatmap.png", std::move(*map.mutable_heatmap_png()));
      if (!map.raw().empty()) add("map", ".npy", NpyBytes(map.height(), map.width(), map.raw()));
      map.clear_overlay_png();
      map.clear_heatmap_png();
      map.clear_raw();
    }
  }
  if (one_file) RETURN_IF_ERROR(Rename(out, files));
  return files;
}

absl::Status WriteFiles(const std::vector<MapFile>& files, bool overwrite) {
  for (const MapFile& file : files) {
    if (!overwrite && fs::exists(file.path)) {
      return absl::AlreadyExistsError(absl::StrCat(file.path, " exists; nothing was written"));
    }
  }
  for (const MapFile& file : files) {
    std::error_code ignored;  // the file cannot be opened then
    const fs::path folder = fs::path(file.path).parent_path();
    if (!folder.empty()) fs::create_directories(folder, ignored);
    std::ofstream stream(file.path, std::ios::binary | std::ios::trunc);
    stream << file.bytes << std::flush;
    if (!stream) return absl::UnknownError(absl::StrCat("cannot write ", file.path));
  }
  return absl::OkStatus();
}

// Version 1.0: magic, length of the header, a Python dictionary padded so that the values start at
// a multiple of 64.
std::string NpyBytes(int height, int width, absl::string_view raw) {
  std::string header = absl::StrCat("{'descr': '<f4', 'fortran_order': False, 'shape': (", height,
                                    ", ", width, "), }");
  constexpr size_t kPrefix = 10;
  header.append(63 - (kPrefix + header.size()) % 64, ' ');
  header += '\n';
  std::string bytes = absl::StrCat("\x93NUMPY", absl::string_view("\1\0", 2));
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  return absl::StrCat(bytes, header, raw);
}

}  // namespace adamant
