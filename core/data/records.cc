// SPDX-License-Identifier: Apache-2.0
#include "core/data/records.h"

#include <algorithm>
#include <cstring>

#include "common/sha256.h"
#include "common/status_macros.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

DataFiles ByName(const DataFiles& files) {
  DataFiles sorted = files;
  std::sort(sorted.begin(), sorted.end(),
            [](const NamedFile& a, const NamedFile& b) { return a.name < b.name; });
  return sorted;
}

}  // namespace

std::string DigestOf(const DataFiles& files, absl::string_view decoder) {
  Sha256 sha;
  for (const NamedFile& file : ByName(files)) sha.Update(file.view->bytes());
  sha.Update(decoder);
  return sha.FinishHex();
}

absl::Status CheckDistinctNames(const DataFiles& files) {
  const DataFiles sorted = ByName(files);
  for (size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i].name == sorted[i - 1].name) {
      return absl::InvalidArgumentError(absl::StrCat("file ", sorted[i].name, " is given twice"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Batch> RecordDataset::Read(const std::string& split,
                                          absl::Span<const int64_t> ids) const {
  RETURN_IF_ERROR(SplitSize(split).status());
  const auto n = static_cast<int64_t>(ids.size());
  at::Tensor bytes = torch::empty({n, info_.channels, info_.height, info_.width}, at::kByte);
  Batch batch;
  batch.labels = torch::empty({n}, at::kLong);
  batch.ids = torch::tensor(at::ArrayRef<int64_t>(ids.data(), ids.size()), at::kLong);
  const int64_t size = info_.channels * info_.height * info_.width;
  for (int64_t i = 0; i < n; ++i) {
    auto block = splits_.at(split).begin();
    int64_t at = ids[i];
    for (; at >= block->count; ++block) at -= block->count;
    std::memcpy(bytes.mutable_data_ptr<uint8_t>() + i * size,
                block->images + at * block->image_stride, static_cast<size_t>(size));
    batch.labels.mutable_data_ptr<int64_t>()[i] = block->labels[at * block->label_stride];
  }
  batch.images = bytes.to(at::kFloat).div_(255);
  return batch;
}

}  // namespace adamant
