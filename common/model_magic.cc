// SPDX-License-Identifier: Apache-2.0
#include "common/model_magic.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace adamant {
namespace {

struct Magic {
  absl::string_view bytes;
  const char* what;
};

constexpr Magic kRefused[] = {
    {absl::string_view("\x89HDF", 4), "HDF5 files are not accepted"},
    {absl::string_view("\x1f\x8b", 2), "gzip files are not accepted"},
    {absl::string_view("7z\xbc\xaf", 4), "7z archives are not accepted"},
    {absl::string_view("GGUF", 4), "GGUF files are not accepted"},
    {absl::string_view("\x7f"
                       "ELF",
                       4),
     "programs are not accepted"},
    {absl::string_view("#!", 2), "scripts are not accepted"},
};

}  // namespace

absl::Status RefusedModelFormat(absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("FORMAT_REFUSED: ", why, "; upload TorchScript or safetensors"));
}

absl::StatusOr<v1::ModelFormat> ModelFormatByMagic(absl::string_view bytes) {
  if (bytes.empty()) return RefusedModelFormat("the file is empty");
  const auto second = bytes.size() > 1 ? static_cast<unsigned char>(bytes[1]) : 0;
  if (bytes[0] == '\x80' && second >= 2 && second <= 5) {
    return RefusedModelFormat("pickle files are not accepted");
  }
  if (absl::StartsWith(bytes, "PK")) return v1::TORCHSCRIPT;
  for (const Magic& magic : kRefused) {
    if (absl::StartsWith(bytes, magic.bytes)) return RefusedModelFormat(magic.what);
  }
  if (bytes.size() >= kModelMagicBytes && bytes[8] == '{') return v1::SAFETENSORS;
  return RefusedModelFormat("not a readable model file");
}

}  // namespace adamant
