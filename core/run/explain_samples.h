// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "adamant/v1/explain.pb.h"
#include "core/run/run_context.h"

namespace adamant {

struct SampleChunk {
  Batch batch;                     // CPU; label -1: unknown
  at::Tensor regions;              // bool [N,H,W]: masks, or the inside of boxes; undefined: none
  std::vector<std::string> names;  // of inline images, else empty texts
};

// What an ExplainSpec explains: a slice of a dataset, or the images inside the request, as a model
// of a given shape sees them. Immutable, one reader at a time.
class ExplainSamples {
 public:
  // INVALID_ARGUMENT for images that cannot be decoded or do not fit the model (with the index of
  // the image and the resize policies); RESOURCE_EXHAUSTED above 64 inline images or 1 MiB.
  static absl::StatusOr<ExplainSamples> Open(const v1::ExplainSpec& spec, const ModelShape& shape,
                                             RunContext& context);
  // The inline images alone, together at most `max_bytes`.
  static absl::StatusOr<ExplainSamples> OpenInline(const v1::ExplainSpec& spec,
                                                   const ModelShape& shape, size_t max_bytes);

  int64_t size() const;
  // Positions begin..end. INVALID_ARGUMENT names a sample with a value outside [0,1].
  absl::StatusOr<SampleChunk> Read(int64_t begin, int64_t end) const;

  const std::string& data_name() const { return data_name_; }
  const std::string& data_digest() const { return data_digest_; }  // "" for inline images
  const std::vector<std::string>& class_names() const { return class_names_; }

 private:
  absl::Status DecodeInline(const v1::ExplainSpec& spec, size_t max_bytes);
  absl::StatusOr<SampleChunk> ReadSlice(int64_t begin, int64_t end) const;
  absl::StatusOr<SampleChunk> ReadResized(int64_t begin, int64_t end) const;

  ModelShape shape_;
  v1::Preprocess preprocess_;
  std::optional<DataSlice> slice_;
  SampleChunk inline_;  // all inline images
  std::string data_name_;
  std::string data_digest_;
  std::vector<std::string> class_names_;
};

}  // namespace adamant
