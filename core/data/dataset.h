// SPDX-License-Identifier: Apache-2.0
// The Dataset contract: (split, sample id) -> image in [0,1], label, and where known the region
// that holds the object.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "adamant/v1/dataset.pb.h"
#include "common/files.h"
#include "core/base/registry.h"

namespace adamant {

// One source file of a dataset, found by its name.
struct NamedFile {
  std::string name;
  std::shared_ptr<const FileView> view;
};
using DataFiles = std::vector<NamedFile>;

struct DatasetInfo {
  std::vector<std::pair<std::string, int64_t>> splits;  // name, number of samples
  int64_t num_classes = 0;
  int64_t channels = 0;
  int64_t height = 0;  // 0: images differ in size (image_folder without resize)
  int64_t width = 0;
  std::vector<std::string> class_names;
  bool has_masks = false;
  bool has_boxes = false;
  std::string digest;   // SHA-256 over all source bytes and what decodes them, hex
  std::string summary;  // one line, e.g. "records 20000 of 50000"
};

// Samples in the order asked for. images float32 [N,C,H,W] in [0,1]; labels, ids int64 [N].
struct Batch {
  at::Tensor images;
  at::Tensor labels;
  at::Tensor ids;

  int64_t size() const { return ids.defined() ? ids.size(0) : 0; }
};

// A half-open rectangle in pixels.
struct Box {
  int64_t top = 0;
  int64_t left = 0;
  int64_t bottom = 0;
  int64_t right = 0;
};

// A data set, opened and checked. sample_id = position in the whole split. Immutable after
// construction; one reader thread at a time.
class Dataset {
 public:
  static constexpr char kFamily[] = "dataset";
  // Checks all files: INVALID_ARGUMENT names the file, the offset and what was expected
  // (models_and_datasets.md 4).
  using Factory = absl::StatusOr<std::unique_ptr<Dataset>>(const Params&, const DataFiles&);

  virtual ~Dataset() = default;
  virtual const DatasetInfo& info() const = 0;

  // NOT_FOUND "unknown split" with the splits that exist.
  absl::StatusOr<int64_t> SplitSize(const std::string& split) const;

  // Ids must lie in the split. DATA_LOSS when a sample cannot be decoded.
  virtual absl::StatusOr<Batch> Read(const std::string& split,
                                     absl::Span<const int64_t> ids) const = 0;

  // Reads every sample once and returns the first error: what a registration checks beyond opening.
  absl::Status CheckSamples() const;

  // Region of each sample's object: bool [N,H,W]; nullopt when the data has none.
  virtual std::optional<at::Tensor> Masks(const std::string& split,
                                          absl::Span<const int64_t> ids) const;
  virtual std::optional<std::vector<Box>> Boxes(const std::string& split,
                                                absl::Span<const int64_t> ids) const;
};

// The ids that a DataSource selects from a split of `size` samples: begin..end, or sample_ids.
// INVALID_ARGUMENT when an id is outside the split.
absl::StatusOr<std::vector<int64_t>> SelectIds(const v1::DataSource& source, int64_t size);

// What a DataSource resolved to: an open dataset, the split and the ids.
struct DataSlice {
  std::shared_ptr<const Dataset> dataset;
  std::string name;  // `datasets/{id}` or the reader's name, for reports
  std::string split;
  std::vector<int64_t> ids;

  int64_t size() const { return static_cast<int64_t>(ids.size()); }
  absl::StatusOr<Batch> Read(int64_t begin, int64_t end) const;  // positions within `ids`
};

}  // namespace adamant
