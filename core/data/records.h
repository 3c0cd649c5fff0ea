// SPDX-License-Identifier: Apache-2.0
// Data sets of fixed-size uint8 records in mapped files (IDX, CIFAR binary), and the errors that
// all file readers share.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/data/dataset.h"

namespace adamant {

// `IDX_INVALID: t10k-labels: label out of range (offset 17): ...`
template <class... Text>
absl::Status DataError(absl::string_view reason, absl::string_view file, int64_t offset,
                       const Text&... what) {
  return absl::InvalidArgumentError(
      absl::StrCat(reason, ": ", file, ": ", what..., " (offset ", offset, ")"));
}

// SHA-256 over the bytes of all files in name order, then `decoder`.
std::string DigestOf(const DataFiles& files, absl::string_view decoder = "");

// INVALID_ARGUMENT when two files have one name.
absl::Status CheckDistinctNames(const DataFiles& files);

// Consecutive records: image i is at images + i * image_stride (CHW bytes), its label likewise.
struct RecordBlock {
  const uint8_t* images;
  int64_t image_stride;
  const uint8_t* labels;
  int64_t label_stride;
  int64_t count;
};

// Splits made of blocks that the constructor's caller has checked; `files` keeps them mapped.
class RecordDataset : public Dataset {
 public:
  RecordDataset(DatasetInfo info, std::map<std::string, std::vector<RecordBlock>> splits,
                DataFiles files)
      : info_(std::move(info)), splits_(std::move(splits)), files_(std::move(files)) {}

  const DatasetInfo& info() const override { return info_; }
  absl::StatusOr<Batch> Read(const std::string& split,
                             absl::Span<const int64_t> ids) const override;

 private:
  DatasetInfo info_;
  std::map<std::string, std::vector<RecordBlock>> splits_;
  DataFiles files_;
};

}  // namespace adamant
