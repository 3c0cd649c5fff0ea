// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "adamant/v1/blob.pb.h"
#include "adamant/v1/dataset.pb.h"
#include "adamant/v1/model.pb.h"
#include "adamant/v1/robustness_service.pb.h"
#include "adamant/v1/system.pb.h"
#include "client/cancel.h"
#include "client/channel.h"
#include "common/blob_name.h"

namespace grpc {
class Status;
}

namespace adamant {

// Bytes done of bytes to do.
using TransferProgress = std::function<void(int64_t done, int64_t total)>;

// A connection to adamantd. Errors carry the server's details: see client/error.h. Unary calls
// are retried on UNAVAILABLE; watches, waits and transfers resume by themselves. Owns its channels.
// Thread-safe; a call blocks its thread.
class Client {
 public:
  ~Client();
  // `host:port` or `unix:path`. Does not connect yet. INVALID_ARGUMENT for another form, and the
  // errors of reading the credentials.
  static absl::StatusOr<std::unique_ptr<Client>> Create(const std::string& server,
                                                        ClientOptions options = {});

  // Submits; fills options.request_id (UUID4) when it is empty.
  absl::StatusOr<v1::Job> Submit(const v1::JobSpec& spec, v1::SubmitOptions options);
  absl::StatusOr<v1::Job> GetJob(const std::string& name);
  absl::StatusOr<v1::ListJobsResponse> ListJobs(const v1::ListJobsRequest& request);
  // The verbs of a job, with `etag` only if the job is still the one seen. All are idempotent.
  absl::StatusOr<v1::Job> CancelJob(const std::string& name, const std::string& etag = "");
  absl::StatusOr<v1::Job> PauseJob(const std::string& name, const std::string& etag = "");
  absl::StatusOr<v1::Job> ResumeJob(const std::string& name, const std::string& etag = "");
  absl::Status DeleteJob(const std::string& name, const std::string& etag = "");
  // A new job with the spec of `name`; unset options are those of the old job.
  absl::StatusOr<v1::Job> RetryJob(const std::string& name, v1::SubmitOptions options);
  // Explains images that are inside the request, at once; nothing is stored, and it is not tried
  // again. `deadline` is at most 60 s. RESOURCE_EXHAUSTED / NO_INTERACTIVE_SLOT while every slot is
  // busy.
  absl::StatusOr<v1::ExplainResponse> Explain(const v1::ExplainRequest& request,
                                              absl::Duration deadline = absl::Seconds(10),
                                              CancelToken* cancel = nullptr);
  // All pages together, in the order of the server.
  absl::StatusOr<std::vector<v1::MetricPoint>> ListMetricPoints(
      v1::ListMetricPointsRequest request);

  // Returns the terminal job. DEADLINE_EXCEEDED after `timeout`, CANCELLED through `cancel`.
  absl::StatusOr<v1::Job> Wait(const std::string& name, absl::Duration timeout,
                               CancelToken* cancel = nullptr);

  // Delivers every event after `from_seq` (0 = a snapshot, then live; 1 = from the first) once and
  // in order, across broken streams; a snapshot is delivered again after each reconnect. OK only
  // after the event with terminal = true; DATA_LOSS when the server ends the stream without it.
  // When the events asked for were compacted, it goes on from a snapshot.
  absl::Status Watch(const std::string& job, int64_t from_seq,
                     const std::function<void(const v1::JobEvent&)>& on_event,
                     CancelToken* cancel = nullptr);

  // Delivers log bytes with their offset, once and in order, across broken streams. With `follow`
  // OK only when the job has ended; DATA_LOSS when the server ends the stream before that.
  using LogSink = std::function<void(int64_t offset, absl::string_view bytes)>;
  absl::Status ReadLog(v1::ReadLogRequest request, const LogSink& on_bytes,
                       CancelToken* cancel = nullptr);

  // Hashes the file and sends it unless the server has it. The upload is named after digest, size
  // and user, so that a later process goes on where one was killed.
  absl::StatusOr<v1::BlobRef> Upload(const std::string& path, const TransferProgress& progress = {},
                                     CancelToken* cancel = nullptr);
  // Which of `blobs` the server does not have; any number of them.
  absl::StatusOr<std::vector<v1::BlobRef>> FindMissingBlobs(const std::vector<v1::BlobRef>& blobs);
  absl::StatusOr<bool> HasBlob(const v1::BlobRef& blob);
  // Writes path.part (and goes on where an earlier one ended), checks the digest, syncs, renames.
  // ALREADY_EXISTS when `path` exists and `overwrite` is false; DATA_LOSS on a wrong digest.
  absl::Status Download(const v1::BlobRef& blob, const std::string& path, bool overwrite = false,
                        const TransferProgress& progress = {}, CancelToken* cancel = nullptr);

  absl::StatusOr<v1::Model> RegisterModel(const v1::RegisterModelRequest& request);
  absl::StatusOr<v1::Model> GetModel(const std::string& name);
  absl::StatusOr<v1::ListModelsResponse> ListModels(const v1::ListModelsRequest& request);
  absl::Status DeleteModel(const std::string& name);

  absl::StatusOr<v1::Dataset> RegisterDataset(const v1::RegisterDatasetRequest& request);
  absl::StatusOr<v1::Dataset> GetDataset(const std::string& name);
  absl::StatusOr<v1::ListDatasetsResponse> ListDatasets(const v1::ListDatasetsRequest& request);
  absl::Status DeleteDataset(const std::string& name);

  absl::StatusOr<v1::Capabilities> GetCapabilities();
  absl::StatusOr<v1::ServerStatus> GetServerStatus();
  absl::StatusOr<v1::ServerStatus> DrainServer(v1::DrainServerRequest::Mode mode);
  absl::StatusOr<v1::ServerStatus> UndrainServer();

  const std::string& trace_id() const { return headers_.trace_id(); }

 private:
  Client(std::shared_ptr<grpc::Channel> control, const std::shared_ptr<grpc::Channel>& bulk,
         CallHeaders headers, ClientOptions options);

  class Reconnect;
  struct Stubs;
  // One stream of a watch; `cursor` and `delivered` go with it from stream to stream.
  struct WatchState;
  grpc::Status WatchOnce(const std::string& job, WatchState& state,
                         const std::function<void(const v1::JobEvent&)>& on_event,
                         CancelToken* cancel);
  absl::Status CheckEnded(const std::string& job);
  grpc::Status WriteOnce(const v1::BlobRef& blob, const std::string& resource, int64_t offset,
                         int fd, const TransferProgress& progress, CancelToken* cancel,
                         int64_t* committed);
  absl::StatusOr<int64_t> CommittedSize(const std::string& resource);
  absl::Status Fetch(const v1::BlobRef& blob, const std::string& part,
                     const TransferProgress& progress, CancelToken* cancel);
  void Debug(const std::string& line) const;

  const ClientOptions options_;
  const CallHeaders headers_;
  const std::unique_ptr<Stubs> stubs_;
};

// SUCCEEDED, FAILED or CANCELLED.
bool HasEnded(v1::JobState state);

// A random UUID (version 4), 36 characters.
std::string NewUuid();

// The UUID (version 8) of an upload: the same for the same blob and user.
std::string UploadUuid(const v1::BlobRef& blob, absl::string_view user);

}  // namespace adamant
