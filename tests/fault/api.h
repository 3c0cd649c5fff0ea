// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "adamant/v1/blob.pb.h"
#include "adamant/v1/job.pb.h"
#include "adamant/v1/system.pb.h"

namespace adamant::testing {

// What a chain job (hash_chain.h) is asked to do.
struct ChainRequest {
  std::string request_id;
  uint64_t seed = 0;
  int64_t steps = 5;
  int step_milliseconds = 0;
  int64_t every_steps = 2;  // metric, log line, checkpoint
  bool start_paused = false;
};

enum class Verb { kCancel, kPause, kResume };

// The calls of the service, each tried once: no retry blurs what was acknowledged. Errors carry
// code and message only. Thread-safe.
class Api {
 public:
  explicit Api(const std::string& address);
  ~Api();

  absl::StatusOr<v1::Job> Submit(const ChainRequest& request);
  absl::StatusOr<v1::Job> Ask(Verb verb, const std::string& job);
  absl::Status Delete(const std::string& job);
  absl::StatusOr<v1::Job> Get(const std::string& job);
  // The whole list, of jobs whose name GetJob knows.
  absl::StatusOr<std::vector<v1::Job>> List();
  absl::StatusOr<v1::ServerStatus> Status();

  // One stream of events after `from_seq` (as in WatchJob); ends when `on_event` returns false.
  // OK only when the server ended it with OK.
  absl::Status Watch(const std::string& job, int64_t from_seq,
                     const std::function<bool(const v1::JobEvent&)>& on_event);
  // A stream that never reads, until the object goes.
  std::shared_ptr<void> OpenIdleWatch(const std::string& job);
  absl::StatusOr<std::string> ReadLog(const std::string& job, int64_t offset);

  // Sends `bytes` from `offset` in pieces; committed_size of an acknowledged finish.
  absl::StatusOr<int64_t> Write(const std::string& upload, absl::string_view bytes, int64_t offset);
  // Durable size; NOT_FOUND when nothing is stored.
  absl::StatusOr<int64_t> Committed(const std::string& upload);
  absl::StatusOr<std::string> Read(const v1::BlobRef& blob);

 private:
  struct Stubs;
  const std::unique_ptr<Stubs> stubs_;
};

v1::BlobRef RefOf(absl::string_view bytes);
// `uploads/{uuid}/blobs/{sha256}/{size}` with a new id.
std::string NewUpload(const v1::BlobRef& blob);

}  // namespace adamant::testing
