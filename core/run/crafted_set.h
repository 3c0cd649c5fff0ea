// SPDX-License-Identifier: Apache-2.0
// Adversarial images that were made before, against this model or another: a file of schema
// adamant.adv_set/1.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/files.h"

namespace adamant {

// Immutable, thread-safe.
class CraftedSet {
 public:
  // INVALID_ARGUMENT when the file is no such set, names a sample twice, or holds values outside
  // [0,1].
  static absl::StatusOr<CraftedSet> Read(std::shared_ptr<const FileView> file);

  // INVALID_ARGUMENT names the first of these samples that the set does not hold.
  absl::Status Holds(absl::Span<const int64_t> ids) const;
  // Images of these samples, under the same condition.
  absl::StatusOr<at::Tensor> ImagesOf(const at::Tensor& ids) const;

  int64_t size() const { return images_.size(0); }
  // What the file says about itself, e.g. "source_model_digest"; "" where it says nothing.
  std::string About(const std::string& key) const;

 private:
  at::Tensor images_;  // float [N,C,H,W]
  at::Tensor ids_;     // int64 [N]
  std::unordered_map<int64_t, int64_t> row_of_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace adamant
