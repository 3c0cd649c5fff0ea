// SPDX-License-Identifier: Apache-2.0
#include "server/store/store_errors.h"

#include <algorithm>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/blob_name.h"
#include "common/error_reason.h"
#include "google/rpc/error_details.pb.h"

namespace adamant {
namespace {

constexpr size_t kMaxViolations = 20;

absl::Status NotFound(absl::string_view noun, absl::string_view reason, const std::string& name) {
  return WithReason(absl::NotFoundError(absl::StrCat("no ", noun, " ", name)), reason,
                    {{"name", name}});
}

}  // namespace

absl::Status JobNotFound(absl::string_view uid) {
  return NotFound("job", "JOB_NOT_FOUND", absl::StrCat("jobs/", uid));
}

absl::Status ResourceNotFound(absl::string_view name) {
  return absl::StartsWith(name, "models/")
             ? NotFound("model", "MODEL_NOT_FOUND", std::string(name))
             : NotFound("dataset", "DATASET_NOT_FOUND", std::string(name));
}

absl::Status WrongState(const v1::Job& job) {
  const std::string state = v1::JobState_Name(job.state());
  return WithReason(
      absl::FailedPreconditionError(absl::StrCat("not possible while the job is ", state)),
      "WRONG_STATE", {{"state", state}});
}

absl::Status Fenced() {
  return WithReason(absl::AbortedError("this attempt no longer owns the job"), "FENCED");
}

absl::Status BlobsMissing(const std::vector<v1::BlobRef>& blobs) {
  google::rpc::PreconditionFailure detail;
  const std::string first = BlobName(blobs.front());
  for (size_t i = 0; i < std::min(blobs.size(), kMaxViolations); ++i) {
    google::rpc::PreconditionFailure::Violation& violation = *detail.add_violations();
    violation.set_type("MISSING");
    violation.set_subject(BlobName(blobs[i]));
    violation.set_description("not stored; upload it first");
  }
  const std::string more =
      blobs.size() > 1 ? absl::StrCat(" (", blobs.size(), " blobs are missing)") : "";
  return WithDetail(WithReason(absl::FailedPreconditionError(
                                   absl::StrCat(first, " is not stored; upload it first", more)),
                               "BLOB_MISSING", {{"subject", first}}),
                    detail);
}

}  // namespace adamant
