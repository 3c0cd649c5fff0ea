// SPDX-License-Identifier: Apache-2.0
// What both backends keep of a job, beside its events.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "adamant/v1/job.pb.h"
#include "google/protobuf/timestamp.pb.h"

namespace adamant {

struct JobRow {
  v1::Job job;
  int64_t metric_points = 0;  // in its METRIC events, before thinning
  // METRIC events up to here were thinned; -1 = they are few enough.
  int64_t compacted_through_seq = 0;
};

// What lists are made from: the job without spec, result and progress.
struct JobHeader {
  std::string uid;
  std::string tenant;
  int64_t create_nanos = 0;
  int64_t end_nanos = 0;  // 0 while it lives
  int kind = 0;
  int state = 0;
  int reason = 0;
  // A serialised v1::Job with what never changes: owner, retry_of, options {display_name, labels,
  // request_id}.
  std::string fixed;
};

JobHeader HeaderOf(const v1::Job& job, absl::string_view request_id);

std::string UidOf(const v1::Job& job);
int64_t FenceOf(const v1::Job& job);  // of the last attempt; 0 = it never started
bool IsLive(const v1::Job& job);
int64_t NanosOf(const google::protobuf::Timestamp& time);
int64_t NanosOf(absl::Time time);
int64_t PointsIn(const v1::JobEvent& event);

}  // namespace adamant
