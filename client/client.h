// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "adamant/v1/blob.grpc.pb.h"
#include "adamant/v1/dataset.grpc.pb.h"
#include "adamant/v1/model.grpc.pb.h"
#include "adamant/v1/robustness_service.grpc.pb.h"
#include "adamant/v1/system.grpc.pb.h"
#include "client/cancel.h"
#include "common/blob_name.h"

namespace adamant {

struct ClientOptions {
  absl::Duration unary_deadline = absl::Seconds(10);
  absl::Duration submit_deadline = absl::Seconds(30);
  // How long a watch, wait or transfer tries to reach a server that answers nothing.
  absl::Duration reconnect_limit = absl::Seconds(120);
  absl::Duration first_backoff = absl::Milliseconds(200);  // doubled up to 5 s
  std::function<void(const std::string&)> debug;  // called by any thread with one line, or unset
};

// Bytes done of bytes to do.
using TransferProgress = std::function<void(int64_t done, int64_t total)>;

// A connection to adamantd. Errors carry the server's details: see client/error.h. Unary calls
// are retried on UNAVAILABLE; watches, waits and transfers resume by themselves. Owns its channels.
// Thread-safe; a call blocks its thread.
class Client {
 public:
  // `host:port` or `unix:path`. Does not connect yet; INVALID_ARGUMENT for another form.
  static absl::StatusOr<std::unique_ptr<Client>> Create(const std::string& server,
                                                        ClientOptions options = {});

  // Submits; fills options.request_id (UUID4) when it is empty.
  absl::StatusOr<v1::Job> Submit(const v1::JobSpec& spec, v1::SubmitOptions options);
  absl::StatusOr<v1::Job> GetJob(const std::string& name);
  absl::StatusOr<v1::ListJobsResponse> ListJobs(const v1::ListJobsRequest& request);
  absl::StatusOr<v1::Job> CancelJob(const std::string& name);

  // Explains images that are inside the request, at once; nothing is stored. `deadline` is at most
  // 60 s. RESOURCE_EXHAUSTED / NO_INTERACTIVE_SLOT while every slot is busy.
  absl::StatusOr<v1::ExplainResponse> Explain(const v1::ExplainRequest& request,
                                              absl::Duration deadline = absl::Seconds(10));

  // Returns the terminal job. DEADLINE_EXCEEDED after `timeout`, CANCELLED through `cancel`.
  absl::StatusOr<v1::Job> Wait(const std::string& name, absl::Duration timeout,
                               CancelToken* cancel = nullptr);

  // Delivers every event after `from_seq` (0 = a snapshot, then live; 1 = from the first) once and
  // in order, across broken streams; a snapshot is delivered again after each reconnect. OK only
  // after the event with terminal = true; DATA_LOSS when the server ends the stream without it.
  absl::Status Watch(const std::string& job, int64_t from_seq,
                     const std::function<void(const v1::JobEvent&)>& on_event,
                     CancelToken* cancel = nullptr);

  // Delivers log bytes from request.offset, once and in order, across broken streams.
  absl::Status ReadLog(v1::ReadLogRequest request,
                       const std::function<void(absl::string_view)>& on_bytes,
                       CancelToken* cancel = nullptr);

  // Hashes the file and sends it unless the server has it.
  absl::StatusOr<v1::BlobRef> Upload(const std::string& path, const TransferProgress& progress = {},
                                     CancelToken* cancel = nullptr);
  // Whether the server has all bytes of `blob`.
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

 private:
  Client(const std::string& target, ClientOptions options);

  class Reconnect;
  // One stream of a watch; `cursor` and `delivered` go with it from stream to stream.
  struct WatchState;
  grpc::Status WatchOnce(const std::string& job, WatchState& state,
                         const std::function<void(const v1::JobEvent&)>& on_event,
                         CancelToken* cancel);
  grpc::Status WriteOnce(const v1::BlobRef& blob, const std::string& resource, int64_t offset,
                         int fd, const TransferProgress& progress, CancelToken* cancel,
                         int64_t* committed);
  absl::StatusOr<int64_t> CommittedSize(const std::string& resource);
  absl::Status Fetch(const v1::BlobRef& blob, const std::string& part,
                     const TransferProgress& progress, CancelToken* cancel);
  void Debug(const std::string& line) const;

  const ClientOptions options_;
  std::unique_ptr<v1::RobustnessService::Stub> jobs_;
  std::unique_ptr<v1::ModelService::Stub> models_;
  std::unique_ptr<v1::DatasetService::Stub> datasets_;
  std::unique_ptr<v1::SystemService::Stub> system_;
  std::unique_ptr<v1::BlobService::Stub> blobs_;       // on the control channel
  std::unique_ptr<v1::BlobService::Stub> bulk_blobs_;  // on the bulk channel
};

// A random UUID (version 4), 36 characters.
std::string NewUuid();

}  // namespace adamant
