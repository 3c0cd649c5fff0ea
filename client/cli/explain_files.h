// SPDX-License-Identifier: Apache-2.0
// The pictures and maps of an interactive explanation as files.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "adamant/v1/explain.pb.h"

namespace adamant {

// `kind` is "overlay", "heatmap" or "map"; `image` and `map` are indices into the answer.
struct MapFile {
  int image = 0;
  int map = 0;
  const char* kind = "";
  std::string path;
  std::string bytes;
};

// Takes the bytes out of `response`, the answer to `spec`. `out` is a folder, where files are named
// after their image, layer and variant, or the name of the only file, which ends in .png or .npy: a
// usage error when there are more. "" makes no file.
absl::StatusOr<std::vector<MapFile>> TakeFiles(const v1::ExplainSpec& spec, const std::string& out,
                                               v1::ExplainResponse& response);

// ALREADY_EXISTS before anything is written, unless `overwrite`.
absl::Status WriteFiles(const std::vector<MapFile>& files, bool overwrite);

// "clean" or "adv": with an attack the maps of every layer come in pairs.
absl::string_view VariantOf(const v1::ExplainSpec& spec, int map);

// The bytes of a .npy file that holds the `height` x `width` float32 values in `raw`.
std::string NpyBytes(int height, int width, absl::string_view raw);

}  // namespace adamant
