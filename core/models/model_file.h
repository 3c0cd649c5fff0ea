// SPDX-License-Identifier: Apache-2.0
// Model files in and out: safetensors of the zoo, TorchScript uploads.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "adamant/v1/model.pb.h"
#include "common/files.h"
#include "core/models/model.h"

namespace adamant {

// What is known about a model before its file is opened.
struct ModelInput {
  std::string name;             // for reports: `models/{id}`, or the architecture
  std::string sha256;           // of the file; "" for fresh weights
  v1::PluginSpec architecture;  // empty name: from the file's metadata
  ModelShape shape;  // TorchScript, and fresh weights: required; else zeros or to be confirmed
  std::shared_ptr<const FileView> file;  // null: fresh weights
  bool allow_nonfinite = false;
};

// Recognises a format by its first bytes. INVALID_ARGUMENT names pickle, zip without TorchScript
// content, empty files and whatever else is refused, and says what is accepted.
absl::StatusOr<v1::ModelFormat> RecogniseModelFormat(absl::string_view bytes);

// Opens a model: fresh weights (from `seed`), safetensors, or TorchScript. INVALID_ARGUMENT with
// the rule that the file breaks (reliability.md 3.1), or the first 20 tensors that do not fit the
// architecture (ARCH_MISMATCH).
absl::StatusOr<std::unique_ptr<Model>> OpenModel(const ModelInput& input, uint64_t seed = 0);

// The model as safetensors with complete `adamant.*` metadata, plus `extra` (e.g.
// "adamant.objective").
std::string SerializeModel(const Model& model,
                           const std::map<std::string, std::string>& extra = {});

}  // namespace adamant
