// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "adamant/v1/robustness_service.pb.h"
#include "server/api/call_gate.h"
#include "server/api/service_parts.h"

namespace adamant {

// Takes a submit from its checks to the store. Thread-safe.
class Submitter {
 public:
  // Both are borrowed.
  Submitter(ServiceParts& parts, CallGate& gate) : parts_(parts), gate_(gate) {}

  // Blocks on the store while it checks; `reply` comes after the commit. With cache USE it may be
  // an earlier job.
  void Submit(v1::JobSpec spec, v1::SubmitOptions options, Reply<v1::Job> reply);
  // The same for a new job with the spec of a terminal one.
  void Retry(const v1::RetryJobRequest& request, Reply<v1::Job> reply);

 private:
  absl::Status Check(v1::JobSpec& spec, v1::SubmitOptions& options);
  void Store(v1::JobSpec spec, v1::SubmitOptions options, const std::string& retry_of,
             Reply<v1::Job> reply);
  absl::StatusOr<v1::Job> FindCached(const v1::JobSpec& spec, const v1::SubmitOptions& options);

  ServiceParts& parts_;
  CallGate& gate_;
};

// The options of a retry: those of the old job, replaced by what is set in `wanted`. request_id,
// validate_only, start_paused and cache are those of `wanted` alone.
v1::SubmitOptions RetryOptions(const v1::SubmitOptions& old, const v1::SubmitOptions& wanted);

}  // namespace adamant
