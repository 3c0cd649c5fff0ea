// SPDX-License-Identifier: Apache-2.0
// The interactive explanation: an answer at once, no job.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/session.h"

namespace adamant {

inline constexpr absl::Duration kLongestExplain = absl::Seconds(60);

struct NowOptions {
  // Where pictures and maps go: a folder, or for a single one a file that ends in .png or .npy.
  std::string out;
  bool overwrite = false;
  absl::Duration deadline = absl::Seconds(10);
};

// Asks for the explanation, writes its pictures (.png) and maps (.npy, float32) and prints classes,
// probabilities and times as -o says. Without outputs in `spec` it asks for the classes, and with
// `options.out` for overlays. A usage error for outputs that have no place; ALREADY_EXISTS before
// anything is written; CANCELLED after Ctrl-C.
absl::StatusOr<int> ExplainNow(Session& session, v1::ExplainSpec spec, const NowOptions& options);

}  // namespace adamant
