// SPDX-License-Identifier: Apache-2.0
// The durable state of the server: jobs, their events, models, datasets, and who owns which blob.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adamant/v1/blob.pb.h"
#include "adamant/v1/dataset.pb.h"
#include "adamant/v1/job.pb.h"
#include "adamant/v1/model.pb.h"

namespace adamant {

// Receives the outcome of an operation once it is durable, on the store's reply thread: it must not
// block there.
template <typename T>
using Reply = std::function<void(absl::StatusOr<T>)>;

// For operations without a value.
struct Done {};

struct NewJob {
  v1::Job job;                          // state QUEUED or PAUSED
  v1::JobEvent event;                   // how it came to be; seq 1
  std::string request_id;               // empty = not idempotent
  std::string content_digest;           // of the normalised request
  std::vector<std::string> references;  // `models/{id}`, `datasets/{id}` that must exist
};

struct SubmittedJob {
  v1::Job job;
  bool deduplicated = false;  // an earlier request with this request_id made it
};

// What one transaction changes about a job.
struct JobDraft {
  v1::Job job;
  std::vector<v1::JobEvent> events;  // appended in order; the store gives each its seq
  // Registered with the job. An id that is taken is left alone and reported in a WARNING event
  // MODEL_ID_TAKEN.
  std::vector<v1::Model> models;
};

struct JobChange {
  std::string uid;
  std::string tenant;            // empty = any; another tenant's job is NOT_FOUND
  std::optional<int64_t> fence;  // set: a write on behalf of this attempt
  // Only in these states; empty = any. Violated: ABORTED / FENCED with a fence, else
  // FAILED_PRECONDITION / WRONG_STATE.
  std::vector<v1::JobState> states;
  // Edits the draft inside the transaction, on the store's thread: pure and quick. An error rolls
  // this change back and becomes the reply. A draft left as it was writes nothing.
  std::function<absl::Status(JobDraft&)> apply;
};

struct JobListQuery {
  std::string tenant;
  int page_size = 50;
  int64_t max_bytes = 2 << 20;                  // of the jobs together
  std::function<bool(const v1::Job&)> matches;  // unset = all
  int64_t after_create_nanos = 0;               // keyset position; 0 = the first page
  std::string after_uid;
};

struct JobPage {
  std::vector<v1::Job> jobs;  // create_time descending, then uid
  // Where the next page begins, as in the query; 0 = this was the last. A page may be short, even
  // empty, and still have a next one.
  int64_t next_create_nanos = 0;
  std::string next_uid;
};

struct JobHead {
  std::string uid;
  v1::Job job;
  std::vector<std::string> references;
};

template <typename Resource>
struct Owned {
  std::string tenant;
  Resource resource;
};

// Told of every commit, in commit order, on the reply thread and before the reply of the operation
// itself. Must not block.
class StoreObserver {
 public:
  virtual ~StoreObserver() = default;
  virtual void OnJob(const v1::Job& /*job*/, const std::vector<v1::JobEvent>& /*new_events*/) {}
  virtual void OnModel(const std::string& /*tenant*/, const v1::Model& /*model*/) {}
  virtual void OnDataset(const std::string& /*tenant*/, const v1::Dataset& /*dataset*/) {}
};

// The models or the datasets. Errors and threads as in JobStore.
template <typename Resource>
class ResourceTable {
 public:
  virtual ~ResourceTable() = default;

  // Stores an absent name. A present one is returned when `same` holds for it, else ALREADY_EXISTS
  // / ID_TAKEN.
  virtual void Put(std::string tenant, Resource resource, std::function<bool(const Resource&)> same,
                   Reply<Resource> reply) = 0;
  virtual void Get(std::string tenant, std::string name, Reply<Resource> reply) = 0;
  // `apply` runs inside the transaction, on the store's thread.
  virtual void Change(std::string tenant, std::string name, std::function<void(Resource&)> apply,
                      Reply<Resource> reply) = 0;
  // By name, after `after_name` (empty = from the first).
  virtual void List(std::string tenant, std::string after_name, int limit,
                    Reply<std::vector<Resource>> reply) = 0;
  // FAILED_PRECONDITION / RESOURCE_IN_USE while a live job refers to it.
  virtual void Delete(std::string tenant, std::string name, Reply<Done> reply) = 0;
  // Of all tenants.
  virtual void LoadAll(Reply<std::vector<Owned<Resource>>> reply) = 0;
};

// Each operation is one transaction; its reply comes after the commit. After a failed commit every
// operation answers UNAVAILABLE / STORE_UNAVAILABLE. Absent objects and those of another tenant are
// NOT_FOUND / JOB_NOT_FOUND, MODEL_NOT_FOUND, DATASET_NOT_FOUND. Thread-safe.
class JobStore {
 public:
  virtual ~JobStore() = default;

  // Before the first operation. The observer must outlive the store's use.
  virtual void AddObserver(StoreObserver* observer) = 0;

  // Stores the job and its first event; a reference that does not exist is NOT_FOUND. The same
  // request_id with the same content returns the stored job; with other content ALREADY_EXISTS /
  // REQUEST_ID_CONFLICT.
  virtual void Submit(NewJob job, Reply<SubmittedJob> reply) = 0;
  virtual void GetJob(std::string tenant, std::string uid, Reply<v1::Job> reply) = 0;
  virtual void ListJobs(JobListQuery query, Reply<JobPage> reply) = 0;
  virtual void ChangeJob(JobChange change, Reply<v1::Job> reply) = 0;
  // Every job that is not terminal, of all tenants.
  virtual void LoadLiveJobs(Reply<std::vector<JobHead>> reply) = 0;
  // Jobs stored, of all tenants.
  virtual void CountJobs(Reply<int64_t> reply) = 0;
  // Durable events with seq > after, in order; at most `limit` and about 1 MiB.
  virtual void ReadEvents(std::string uid, int64_t after, int limit,
                          Reply<std::vector<v1::JobEvent>> reply) = 0;

  virtual ResourceTable<v1::Model>& models() = 0;
  virtual ResourceTable<v1::Dataset>& datasets() = 0;

  // Which digests a tenant uploaded or produced. PutBlobs after the bytes are durable.
  virtual void PutBlobs(std::string tenant, std::vector<v1::BlobRef> blobs, Reply<Done> reply) = 0;
  // Those of `blobs` that the tenant does not have.
  virtual void FindMissingBlobs(std::string tenant, std::vector<v1::BlobRef> blobs,
                                Reply<std::vector<v1::BlobRef>> reply) = 0;
};

}  // namespace adamant
