// SPDX-License-Identifier: Apache-2.0
// CIFAR-10 (Krizhevsky 2009) in its binary form: data_batch_1.bin to data_batch_5.bin and
// test_batch.bin of records {label, 1024 R, 1024 G, 1024 B}; any number of records a file, any
// subset of the files. Class names from batches.meta.txt when it is there.
#include <algorithm>

#include "absl/strings/str_split.h"
#include "common/status_macros.h"
#include "core/data/records.h"

namespace adamant {
namespace {

constexpr char kReason[] = "CIFAR_INVALID";
constexpr int64_t kRecord = 3073;
constexpr int64_t kMaxRecords = 1000000;
constexpr int64_t kClasses = 10;
constexpr char kMetaName[] = "batches.meta.txt";
constexpr char kTestName[] = "test_batch.bin";

bool IsTrainBatch(const std::string& name) {
  return name.size() == 16 && name.rfind("data_batch_", 0) == 0 && name[11] >= '1' &&
         name[11] <= '5' && name.substr(12) == ".bin";
}

absl::StatusOr<RecordBlock> OpenBatch(const NamedFile& file) {
  const absl::string_view bytes = file.view->bytes();
  const auto size = static_cast<int64_t>(bytes.size());
  if (size == 0 || size % kRecord != 0 || size / kRecord > kMaxRecords) {
    return DataError(kReason, file.name, size / kRecord * kRecord, "size mismatch (expected 1 to ",
                     kMaxRecords, " records of ", kRecord, " bytes, got ", size, ")");
  }
  for (int64_t at = 0; at < size; at += kRecord) {
    const auto label = static_cast<unsigned char>(bytes[static_cast<size_t>(at)]);
    if (label >= kClasses) {
      return DataError(kReason, file.name, at, "label out of range: ", static_cast<int>(label),
                       " of ", kClasses, " classes");
    }
  }
  const auto* first = reinterpret_cast<const uint8_t*>(bytes.data());
  return RecordBlock{first + 1, kRecord, first, kRecord, size / kRecord};
}

absl::StatusOr<std::vector<std::string>> ReadNames(const NamedFile& file) {
  std::vector<std::string> names = absl::StrSplit(file.view->bytes(), '\n', absl::SkipWhitespace());
  for (std::string& name : names) {
    if (!name.empty() && name.back() == '\r') name.pop_back();
  }
  if (static_cast<int64_t>(names.size()) != kClasses) {
    return DataError(kReason, file.name, 0, "expected ", kClasses, " class names, got ",
                     names.size());
  }
  return names;
}

absl::StatusOr<std::unique_ptr<Dataset>> Make(const Params&, const DataFiles& files) {
  RETURN_IF_ERROR(CheckDistinctNames(files));
  DataFiles sorted = files;
  std::sort(sorted.begin(), sorted.end(),
            [](const NamedFile& a, const NamedFile& b) { return a.name < b.name; });
  DatasetInfo info;
  info.num_classes = kClasses;
  info.channels = 3;
  info.height = info.width = 32;
  info.class_names = {"airplane", "automobile", "bird",  "cat",  "deer",
                      "dog",      "frog",       "horse", "ship", "truck"};
  std::map<std::string, std::vector<RecordBlock>> splits;
  std::map<std::string, int64_t> counts;
  for (const NamedFile& file : sorted) {
    if (file.name == kMetaName) {
      ASSIGN_OR_RETURN(info.class_names, ReadNames(file));
      continue;
    }
    if (!IsTrainBatch(file.name) && file.name != kTestName) {
      return absl::InvalidArgumentError(absl::StrCat(
          kReason, ": unknown file ", file.name, "; known: data_batch_1.bin to data_batch_5.bin, ",
          kTestName, ", ", kMetaName, " (the binary version, not the Python one)"));
    }
    ASSIGN_OR_RETURN(const RecordBlock block, OpenBatch(file));
    const std::string split = file.name == kTestName ? "test" : "train";
    splits[split].push_back(block);
    counts[split] += block.count;
  }
  if (splits.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        kReason, ": give at least one of data_batch_1.bin to data_batch_5.bin or ", kTestName));
  }
  info.summary = absl::StrCat("records ", counts["train"], " of 50000 train, ", counts["test"],
                              " of 10000 test");
  for (const char* split : {"train", "test"}) {
    if (splits.count(split) > 0) info.splits.emplace_back(split, counts[split]);
  }
  info.digest = DigestOf(files);
  return std::make_unique<RecordDataset>(std::move(info), std::move(splits), files);
}

const Registration<Dataset> kCifar10{
    {.name = "cifar10",
     .summary = "small colour photographs of ten classes, binary batches",
     .paper = "Krizhevsky 2009, Learning multiple layers of features from tiny images"},
    Make};

}  // namespace
}  // namespace adamant
