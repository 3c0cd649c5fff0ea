// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/blobs/blob_store.h"

namespace adamant {

struct ScrubOptions {
  absl::Duration pass = absl::Hours(72);  // one look at every object
  int64_t min_bytes_per_second = 64 << 10;
  int64_t max_bytes_per_second = 16 << 20;
  std::string begin_after;  // a digest; the pass begins behind it and comes around
  // Lets the time pass; false ends the scrub.
  std::function<bool(absl::Duration)> wait;
};

struct ScrubResult {
  int64_t objects = 0;
  int64_t bytes = 0;
  int64_t corrupt = 0;
};

// Reads every object once, slowly, and compares it with its name: rot is found before a job needs
// the bytes. Damaged objects are set aside by the store. Blocks for as long as the pass takes.
absl::StatusOr<ScrubResult> Scrub(BlobStore& blobs, const ScrubOptions& options);

}  // namespace adamant
