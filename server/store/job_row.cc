// SPDX-License-Identifier: Apache-2.0
#include "server/store/job_row.h"

#include "common/serialize.h"

namespace adamant {

JobHeader HeaderOf(const v1::Job& job, absl::string_view request_id) {
  v1::Job fixed;
  fixed.set_owner(job.owner());
  fixed.set_retry_of(job.retry_of());
  v1::SubmitOptions& options = *fixed.mutable_options();
  options.set_display_name(job.options().display_name());
  *options.mutable_labels() = job.options().labels();
  options.set_request_id(std::string(request_id));
  return {UidOf(job), job.tenant(), NanosOf(job.create_time()), NanosOf(job.end_time()),
          job.kind(), job.state(),  job.state_reason(),         SerializeStably(fixed)};
}

std::string UidOf(const v1::Job& job) { return job.name().substr(job.name().find('/') + 1); }

int64_t FenceOf(const v1::Job& job) {
  return job.attempts().empty() ? 0 : job.attempts().rbegin()->fence();
}

bool IsLive(const v1::Job& job) {
  return job.state() != v1::SUCCEEDED && job.state() != v1::FAILED && job.state() != v1::CANCELLED;
}

int64_t NanosOf(const google::protobuf::Timestamp& time) {
  return time.seconds() * 1'000'000'000 + time.nanos();
}

int64_t NanosOf(absl::Time time) { return absl::ToUnixNanos(time); }

int64_t PointsIn(const v1::JobEvent& event) { return event.metric().points_size(); }

}  // namespace adamant
