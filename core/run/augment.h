// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "adamant/v1/plugin.pb.h"
#include "core/data/dataset.h"

namespace adamant {

// Random changes of training images, in the order given:
//   random_crop{pad}  pads each side with zeros, then cuts a window of the old size (pad 0..64)
//   hflip{p}          mirrors left and right with probability p
// The draws of a sample are fixed by (seed, epoch, sample id): stream `augment:<epoch>`, step =
// position in the list. Immutable, thread-safe.
class Augmentations {
 public:
  // INVALID_ARGUMENT for an unknown name or a bad parameter.
  static absl::StatusOr<Augmentations> Make(
      const google::protobuf::RepeatedPtrField<v1::PluginSpec>& specs);

  bool empty() const { return specs_.empty(); }

  // images float32 [N,C,H,W] on the CPU; returns a new tensor of the same shape.
  at::Tensor Apply(const Batch& batch, uint64_t seed, int64_t epoch) const;

 private:
  std::vector<v1::PluginSpec> specs_;  // complete
};

// The augmentations and their parameters, as a plug-in family.
v1::PluginFamily AugmentationFamily();

}  // namespace adamant
