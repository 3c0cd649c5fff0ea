// SPDX-License-Identifier: Apache-2.0
// Training checkpoints: one safetensors byte string; the serialised header is one of its tensors.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adamant/v1/train.pb.h"
#include "common/files.h"
#include "core/models/model.h"
#include "core/models/safetensors.h"

namespace adamant {

// Same header and tensors: same bytes. Tensor names must be distinct.
std::string WriteTrainCheckpoint(const v1::TrainCheckpoint& header, const NamedTensors& tensors);

struct LoadedTrainCheckpoint {
  v1::TrainCheckpoint header;
  Safetensors tensors;
};

// DATA_LOSS when the bytes are not a whole checkpoint of this version.
absl::StatusOr<LoadedTrainCheckpoint> ReadTrainCheckpoint(std::shared_ptr<const FileView> file);

// Copies the tensors of these names into the live ones. DATA_LOSS names the first that is missing
// or has another shape.
absl::Status RestoreTensors(const Safetensors& from, const NamedTensors& live);

// {prefix + name, tensor} for each.
NamedTensors WithPrefix(const std::string& prefix, const NamedTensors& tensors);

// Copies of the values.
NamedTensors CloneTensors(const NamedTensors& tensors);

// Copies values into live tensors; both lists have the same order.
void CopyTensors(const NamedTensors& from, const NamedTensors& to);

}  // namespace adamant
