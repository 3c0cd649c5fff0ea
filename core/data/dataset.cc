// SPDX-License-Identifier: Apache-2.0
#include "core/data/dataset.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"

namespace adamant {

absl::StatusOr<int64_t> Dataset::SplitSize(const std::string& split) const {
  std::vector<std::string> known;
  for (const auto& [name, size] : info().splits) {
    if (name == split) return size;
    known.push_back(name);
  }
  return absl::NotFoundError(absl::StrCat("unknown split \"", split,
                                          "\"; this data set has: ", absl::StrJoin(known, ", ")));
}

absl::Status Dataset::CheckSamples() const {
  constexpr int64_t kChunk = 64;
  for (const auto& [split, size] : info().splits) {
    for (int64_t begin = 0; begin < size; begin += kChunk) {
      std::vector<int64_t> ids(static_cast<size_t>(std::min(kChunk, size - begin)));
      std::iota(ids.begin(), ids.end(), begin);
      RETURN_IF_ERROR(Read(split, ids).status());
    }
  }
  return absl::OkStatus();
}

std::optional<at::Tensor> Dataset::Masks(const std::string& /*split*/,
                                         absl::Span<const int64_t> /*ids*/) const {
  return std::nullopt;
}

std::optional<std::vector<Box>> Dataset::Boxes(const std::string& /*split*/,
                                               absl::Span<const int64_t> /*ids*/) const {
  return std::nullopt;
}

absl::StatusOr<std::vector<int64_t>> SelectIds(const v1::DataSource& source, int64_t size) {
  if (source.sample_ids_size() > 0) {
    if (source.begin() != 0 || source.end() != 0) {
      return absl::InvalidArgumentError("give either sample_ids or begin and end, not both");
    }
    for (int64_t id : source.sample_ids()) {
      if (id < 0 || id >= size) {
        return absl::InvalidArgumentError(
            absl::StrCat("sample id ", id, " is outside the split of ", size, " samples"));
      }
    }
    return std::vector<int64_t>(source.sample_ids().begin(), source.sample_ids().end());
  }
  const int64_t end = source.end() == 0 ? size : source.end();
  if (source.begin() < 0 || source.begin() >= end || end > size) {
    return absl::InvalidArgumentError(absl::StrCat("samples ", source.begin(), " to ", end,
                                                   " do not lie in the split of ", size,
                                                   " samples; end is one past the last"));
  }
  std::vector<int64_t> ids(end - source.begin());
  std::iota(ids.begin(), ids.end(), source.begin());
  return ids;
}

absl::StatusOr<Batch> DataSlice::Read(int64_t begin, int64_t end) const {
  return dataset->Read(split, absl::MakeConstSpan(ids).subspan(begin, end - begin));
}

}  // namespace adamant
