// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "adamant/v1/job.pb.h"

namespace adamant {

// A condition on jobs: terms joined by AND, OR, NOT and parentheses; AND binds tighter than OR.
//   state = RUNNING AND (kind = TRAIN OR label.team = "vision") AND NOT has(label.draft)
// Fields: state, kind, reason, owner, retry_of, request_id, label.KEY with = and !=; create_time
// and end_time with = != < > <= >= and an RFC 3339 time. A value with other characters than
// letters, digits and ._:/+- stands in double quotes, where \" and \\ are escaped. A job without
// end_time meets no condition on it but !=; a missing label equals nothing. Immutable; copies are
// cheap.
class JobFilter {
 public:
  // Empty text gives a filter that every job matches. INVALID_ARGUMENT / BAD_FILTER with the
  // position otherwise.
  static absl::StatusOr<JobFilter> Parse(absl::string_view text);

  bool empty() const { return root_ == nullptr; }
  // `job` is a header with options.request_id, as in JobListQuery.
  bool Matches(const v1::Job& job) const;

  struct Node;

 private:
  std::shared_ptr<const Node> root_;
};

}  // namespace adamant
