// SPDX-License-Identifier: Apache-2.0
// The safetensors container: 8-byte little-endian header length, JSON header, raw data. Strict
// reader (rules ST-01 to ST-10 and ST-12), deterministic writer (tensors in name order, no holes).
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/files.h"

namespace adamant {

struct Safetensors {
  std::map<std::string, at::Tensor>
      tensors;  // CPU; views into `file` where alignment allows, else copies
  std::map<std::string, std::string> metadata;
  std::shared_ptr<const FileView> file;  // keeps the views alive
};

// INVALID_ARGUMENT with the rule id, e.g. `ST-10 LAYOUT: tensors fc.bias and fc.weight overlap
// (offset 20)`.
absl::StatusOr<Safetensors> ParseSafetensors(std::shared_ptr<const FileView> file);

// Same tensors and metadata: same bytes. Tensors are copied to the CPU.
std::string WriteSafetensors(const std::map<std::string, at::Tensor>& tensors,
                             const std::map<std::string, std::string>& metadata);

}  // namespace adamant
