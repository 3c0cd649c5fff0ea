// SPDX-License-Identifier: Apache-2.0
#include "core/run/train_data.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "core/base/rng.h"

namespace adamant {
namespace {

constexpr int64_t kChunk = 2048;  // samples decoded at a time

at::Tensor ToFloat(const at::Tensor& bytes) { return bytes.to(at::kFloat).div_(255.0); }

// The images as bytes, when that loses nothing.
std::optional<at::Tensor> AsBytes(const at::Tensor& images) {
  const at::Tensor bytes = images.mul(255.0).round_().clamp_(0, 255).to(at::kByte);
  if (!ToFloat(bytes).equal(images)) return std::nullopt;
  return bytes;
}

// Copies a chunk of images into rows begin.. of `store`, which becomes float32 when it must.
void Keep(const at::Tensor& images, int64_t begin, int64_t total, at::Tensor& store) {
  if (!store.defined()) {
    std::vector<int64_t> shape = images.sizes().vec();
    shape[0] = total;
    store = at::empty(shape, at::kByte);
  }
  at::Tensor rows = images;
  if (store.scalar_type() == at::kByte) {
    const std::optional<at::Tensor> bytes = AsBytes(images);
    if (bytes.has_value()) {
      rows = *bytes;
    } else {
      at::Tensor floats = at::empty(store.sizes(), at::kFloat);
      floats.narrow(0, 0, begin).copy_(ToFloat(store.narrow(0, 0, begin)));
      store = floats;
    }
  }
  store.narrow(0, begin, rows.size(0)).copy_(rows);
}

}  // namespace

absl::StatusOr<TrainData> TrainData::Load(const DataSlice& slice, const RunControl& control) {
  if (slice.size() == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the selection of ", slice.name, " split ", slice.split, " is empty"));
  }
  TrainData data;
  std::vector<at::Tensor> labels;
  std::vector<at::Tensor> ids;
  for (int64_t begin = 0; begin < slice.size(); begin += kChunk) {
    control.Check();
    ASSIGN_OR_RETURN(const Batch batch, slice.Read(begin, std::min(begin + kChunk, slice.size())));
    Keep(batch.images, begin, slice.size(), data.images_);
    labels.push_back(batch.labels);
    ids.push_back(batch.ids);
  }
  data.labels_ = at::cat(labels);
  data.ids_ = at::cat(ids);
  return data;
}

Batch TrainData::Gather(absl::Span<const int64_t> positions) const {
  const at::Tensor index = at::empty({static_cast<int64_t>(positions.size())}, at::kLong);
  std::copy(positions.begin(), positions.end(), index.data_ptr<int64_t>());
  at::Tensor images = images_.index_select(0, index);
  if (images.scalar_type() == at::kByte) images = ToFloat(images);
  return {images, labels_.index_select(0, index), ids_.index_select(0, index)};
}

std::pair<DataSlice, DataSlice> SplitForValidation(const DataSlice& slice, double ratio,
                                                   uint64_t seed) {
  std::vector<int64_t> order(slice.ids.size());
  Rng(seed, "split", 0).Permutation({}, absl::MakeSpan(order));
  const auto held_out = static_cast<int64_t>(std::floor(ratio * static_cast<double>(slice.size())));
  std::sort(order.begin(), order.end() - held_out);
  DataSlice train = slice;
  DataSlice validation = slice;
  train.ids.clear();
  validation.ids.clear();
  for (int64_t i = 0; i < slice.size(); ++i) {
    (i < slice.size() - held_out ? train : validation).ids.push_back(slice.ids[order[i]]);
  }
  return {std::move(train), std::move(validation)};
}

std::vector<int64_t> EpochOrder(uint64_t seed, int64_t epoch, int64_t size) {
  std::vector<int64_t> order(size);
  Rng(seed, absl::StrCat("order:", epoch), 0).Permutation({}, absl::MakeSpan(order));
  return order;
}

}  // namespace adamant
