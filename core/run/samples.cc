// SPDX-License-Identifier: Apache-2.0
#include "core/run/samples.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/torch.h"

namespace adamant {

at::Tensor ToTensor(absl::Span<const int64_t> values) {
  const at::Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), out.data_ptr<int64_t>());
  return out;
}

std::vector<int64_t> Labels(const Batch& batch) {
  const at::Tensor labels = batch.labels.to(at::kLong).contiguous();
  return {labels.data_ptr<int64_t>(), labels.data_ptr<int64_t>() + labels.numel()};
}

absl::Status CheckSamples(const Batch& batch, int64_t num_classes) {
  const std::vector<int64_t> labels = Labels(batch);
  const at::Tensor rows = batch.images.flatten(1);
  const at::Tensor good = (rows >= 0).logical_and(rows <= 1).all(1);  // false for NaN
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto id = batch.ids[static_cast<int64_t>(i)].item<int64_t>();
    if (labels[i] < 0 || labels[i] >= num_classes) {
      return absl::InvalidArgumentError(
          absl::StrCat("sample ", id, " has label ", labels[i], ", outside 0..", num_classes - 1,
                       " of the model; check the data or the model's number of classes"));
    }
    if (!good[static_cast<int64_t>(i)].item<bool>()) {
      return absl::InvalidArgumentError(
          absl::StrCat("sample ", id,
                       " has a value outside [0,1]; images are in [0,1] before any normalisation"));
    }
  }
  return absl::OkStatus();
}

Samples SamplesOf(const DataSlice& slice) {
  return {slice.size(), [&slice](absl::Span<const int64_t> positions) {
            std::vector<int64_t> ids;
            for (const int64_t p : positions) ids.push_back(slice.ids[p]);
            return slice.dataset->Read(slice.split, ids);
          }};
}

Samples SamplesOf(const Batch& batch) {
  return {batch.size(), [batch](absl::Span<const int64_t> positions) -> absl::StatusOr<Batch> {
            const at::Tensor index = ToTensor(positions);
            return Batch{batch.images.cpu().index_select(0, index),
                         batch.labels.cpu().index_select(0, index),
                         batch.ids.cpu().index_select(0, index)};
          }};
}

}  // namespace adamant
