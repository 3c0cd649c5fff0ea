// SPDX-License-Identifier: Apache-2.0
#include "core/data/idx.h"

#include <algorithm>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/status_macros.h"
#include "core/data/records.h"

namespace adamant {
namespace {

constexpr char kReason[] = "IDX_INVALID";

struct Idx {
  std::string file;
  std::vector<int64_t> sizes;
  absl::string_view data;
};

int64_t BigEndian(absl::string_view s, size_t at) {
  int64_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(s[at + i]);
  return value;
}

absl::StatusOr<Idx> ParseIdx(const NamedFile& file, size_t rank) {
  const absl::string_view bytes = file.view->bytes();
  const size_t header = 4 + 4 * rank;
  if (absl::StartsWith(bytes, "\x1f\x8b")) {
    return DataError(kReason, file.name, 0,
                     "bad magic: this is gzip, upload the decompressed bytes");
  }
  if (bytes.size() < header) {
    return DataError(kReason, file.name, 0, "size mismatch (expected at least ", header, ", got ",
                     bytes.size(), ")");
  }
  const int64_t magic = 0x800 + static_cast<int64_t>(rank);
  if (BigEndian(bytes, 0) != magic) {
    return DataError(kReason, file.name, 0,
                     absl::StrFormat("bad magic %08x, expected %08x", BigEndian(bytes, 0), magic));
  }
  Idx idx{file.name, {}, bytes.substr(header)};
  uint64_t expected = 1;
  bool overflow = false;
  for (size_t i = 0; i < rank; ++i) {
    idx.sizes.push_back(BigEndian(bytes, 4 + 4 * i));
    if (idx.sizes[i] == 0) return DataError(kReason, file.name, 4 + 4 * i, "a dimension is 0");
    overflow |= __builtin_mul_overflow(expected, static_cast<uint64_t>(idx.sizes[i]), &expected);
  }
  if (overflow || expected != idx.data.size()) {
    const bool longer = !overflow && expected < idx.data.size();
    return DataError(
        kReason, file.name, header, longer ? "trailing bytes: " : "", "size mismatch (expected ",
        overflow ? "more than 2^64" : absl::StrCat(header + expected), ", got ", bytes.size(), ")");
  }
  return idx;
}

const NamedFile* Find(const DataFiles& files, const std::string& name) {
  for (const NamedFile& file : files) {
    if (absl::StrReplaceAll(file.name, {{".idx", "-idx"}}) == name) return &file;
  }
  return nullptr;
}

absl::Status CheckNames(const DataFiles& files) {
  static const std::vector<std::string> kNames = {
      "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
      "t10k-labels-idx1-ubyte"};
  for (const NamedFile& file : files) {
    const std::string name = absl::StrReplaceAll(file.name, {{".idx", "-idx"}});
    if (std::find(kNames.begin(), kNames.end(), name) == kNames.end()) {
      return absl::InvalidArgumentError(absl::StrCat(kReason, ": unknown file ", file.name,
                                                     "; known: ", absl::StrJoin(kNames, ", ")));
    }
  }
  return CheckDistinctNames(files);
}

// The block of one split, or nullopt when neither of its files is there.
absl::StatusOr<std::optional<RecordBlock>> OpenPair(const DataFiles& files,
                                                    const std::string& prefix, DatasetInfo& info) {
  const NamedFile* image_file = Find(files, prefix + "-images-idx3-ubyte");
  const NamedFile* label_file = Find(files, prefix + "-labels-idx1-ubyte");
  if (image_file == nullptr && label_file == nullptr) return std::nullopt;
  if (image_file == nullptr || label_file == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(kReason, ": ", prefix, " needs both files; missing ", prefix,
                     image_file == nullptr ? "-images-idx3-ubyte" : "-labels-idx1-ubyte"));
  }
  ASSIGN_OR_RETURN(const Idx images, ParseIdx(*image_file, 3));
  ASSIGN_OR_RETURN(const Idx labels, ParseIdx(*label_file, 1));
  const int64_t count = images.sizes[0];
  if (labels.sizes[0] != count) {
    return DataError(kReason, labels.file, 4, "size mismatch (expected ", count, " labels, got ",
                     labels.sizes[0], ")");
  }
  if (info.height != 0 && (info.height != images.sizes[1] || info.width != images.sizes[2])) {
    return DataError(kReason, images.file, 8, "images are ", images.sizes[1], "x", images.sizes[2],
                     ", those of the other split ", info.height, "x", info.width);
  }
  for (size_t i = 0; i < labels.data.size(); ++i) {
    const auto label = static_cast<unsigned char>(labels.data[i]);
    if (label >= info.num_classes) {
      return DataError(kReason, labels.file, 8 + static_cast<int64_t>(i),
                       "label out of range: ", static_cast<int>(label), " of ", info.num_classes,
                       " classes");
    }
  }
  info.height = images.sizes[1];
  info.width = images.sizes[2];
  return RecordBlock{reinterpret_cast<const uint8_t*>(images.data.data()), info.height * info.width,
                     reinterpret_cast<const uint8_t*>(labels.data.data()), 1, count};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Dataset>> OpenIdx(const DataFiles& files,
                                                 std::vector<std::string> class_names) {
  RETURN_IF_ERROR(CheckNames(files));
  DatasetInfo info;
  info.num_classes = static_cast<int64_t>(class_names.size());
  info.class_names = std::move(class_names);
  info.channels = 1;
  std::map<std::string, std::vector<RecordBlock>> splits;
  for (const auto& [prefix, split] : {std::pair("train", "train"), std::pair("t10k", "test")}) {
    ASSIGN_OR_RETURN(const std::optional<RecordBlock> block, OpenPair(files, prefix, info));
    if (!block.has_value()) continue;
    splits[split] = {*block};
    info.splits.emplace_back(split, block->count);
    absl::StrAppend(&info.summary, info.summary.empty() ? "" : ", ", block->count, " ", split);
  }
  if (splits.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(kReason,
                                                   ": no files; give train-images-idx3-ubyte and "
                                                   "train-labels-idx1-ubyte, or the t10k pair"));
  }
  info.digest = DigestOf(files);
  return std::make_unique<RecordDataset>(std::move(info), std::move(splits), files);
}

}  // namespace adamant
