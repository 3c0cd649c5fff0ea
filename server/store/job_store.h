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
#include "absl/time/time.h"
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
  bool may_linger = false;  // only appends METRIC events: may wait up to 20 ms for company
  absl::Duration lease_ttl = absl::Seconds(30);  // of the lease that comes with a new fence
};

// Which durable events of a job to read.
struct EventQuery {
  std::string uid;
  int64_t after = 0;                 // events with a larger seq
  int limit = 1000;                  // and about 1 MiB
  std::vector<v1::EventType> types;  // empty = all
};

struct EventPage {
  std::vector<v1::JobEvent> events;   // in the order of seq
  int64_t compacted_through_seq = 0;  // METRIC events up to here were thinned
};

// Blobs that nobody needs any more.
struct GarbageQuery {
  std::string tenant;  // empty = all
  absl::Time now;
  absl::Duration unused_for;  // since the last use
  int64_t max_bytes = 0;      // stop when at least this much is found; 0 = no limit
  int limit = 1000;           // blobs
};

struct JobListQuery {
  std::string tenant;
  int page_size = 50;
  int64_t max_bytes = 2 << 20;  // of the jobs together
  // Unset = all. Sees a header of the job: name, tenant, owner, kind, state, state_reason,
  // create_time, end_time, retry_of, options {display_name, labels, request_id}. Pure and quick.
  std::function<bool(const v1::Job&)> matches;
  int64_t after_create_nanos = 0;  // keyset position; 0 = the first page
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
  // The job was deleted or expired; as it was.
  virtual void OnJobGone(const v1::Job& /*job*/) {}
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
  // REQUEST_ID_CONFLICT; that of a deleted job FAILED_PRECONDITION / REQUEST_ID_JOB_DELETED. Blobs
  // that the job names are pinned from here on; one that the tenant does not have is
  // FAILED_PRECONDITION / BLOB_MISSING.
  virtual void Submit(NewJob job, Reply<SubmittedJob> reply) = 0;
  // A live job is answered from memory, on the calling thread, before the call returns.
  virtual void GetJob(std::string tenant, std::string uid, Reply<v1::Job> reply) = 0;
  virtual void ListJobs(JobListQuery query, Reply<JobPage> reply) = 0;
  virtual void ChangeJob(JobChange change, Reply<v1::Job> reply) = 0;
  // Every job that is not terminal, of all tenants.
  virtual void LoadLiveJobs(Reply<std::vector<JobHead>> reply) = 0;
  // Jobs stored, of all tenants.
  virtual void CountJobs(Reply<int64_t> reply) = 0;
  virtual void ReadEvents(EventQuery query, Reply<EventPage> reply) = 0;
  // The name of the job that a submit with this request_id made. NOT_FOUND for an unknown one and
  // for that of a deleted job.
  virtual void FindRequest(std::string tenant, std::string request_id,
                           Reply<std::string> reply) = 0;
  // Newest SUCCEEDED and reproducible job of the tenant with this spec_digest. NOT_FOUND.
  virtual void FindResult(std::string tenant, std::string spec_digest, Reply<v1::Job> reply) = 0;

  // Removes a terminal job with its events and pins; its request_id stays taken for 30 days.
  // FAILED_PRECONDITION / WRONG_STATE for a live job, ABORTED / ETAG_MISMATCH for a non-empty
  // `etag` that is not the job's.
  virtual void DeleteJob(std::string tenant, std::string uid, std::string etag, absl::Time now,
                         Reply<Done> reply) = 0;
  // Deletes at most `limit` terminal jobs whose expire_time has passed, and tombstones older than
  // 30 days. Returns the uids of the jobs.
  virtual void DeleteExpired(absl::Time now, int limit, Reply<std::vector<std::string>> reply) = 0;
  // Thins the METRIC events of jobs that ended before `ended_before` to 10 000 points per series.
  // Returns how many jobs that changed, at most `limit`.
  virtual void CompactMetrics(absl::Time ended_before, int limit, Reply<int64_t> reply) = 0;

  // Extends the lease of an attempt to `ttl` from now on the store's clock and returns the state of
  // its job. ABORTED / FENCED when another attempt owns the job or it has left its worker.
  virtual void RenewLease(std::string uid, int64_t fence, absl::Duration ttl,
                          Reply<v1::JobState> reply) = 0;

  virtual ResourceTable<v1::Model>& models() = 0;
  virtual ResourceTable<v1::Dataset>& datasets() = 0;

  // Which digests a tenant uploaded or produced. PutBlobs after the bytes are durable; it counts as
  // a use at `now`.
  virtual void PutBlobs(std::string tenant, std::vector<v1::BlobRef> blobs, absl::Time now,
                        Reply<Done> reply) = 0;
  // Those of `blobs` that the tenant does not have. The others are leased until `now` + 24 h.
  virtual void FindMissingBlobs(std::string tenant, std::vector<v1::BlobRef> blobs, absl::Time now,
                                Reply<std::vector<v1::BlobRef>> reply) = 0;
  // Bytes that a tenant owns.
  virtual void CountBlobBytes(std::string tenant, Reply<int64_t> reply) = 0;
  // Candidates of garbage collection: no job, model or dataset names them, the lease is over; least
  // recently used first. Removes nothing.
  virtual void FindGarbage(GarbageQuery query, Reply<std::vector<v1::BlobRef>> reply) = 0;
  // Removes the rows of those of `blobs` that are still garbage, checked in the same transaction,
  // and returns them: nobody has them any more.
  virtual void DropBlobs(std::vector<v1::BlobRef> blobs, GarbageQuery query,
                         Reply<std::vector<v1::BlobRef>> reply) = 0;

  // The blobs of these digests that some tenant has.
  virtual void FindOwned(std::vector<std::string> digests,
                         Reply<std::vector<v1::BlobRef>> reply) = 0;

  // Writes a copy of the store to `path`, which must not exist, while it stays in use. Slow:
  // minutes for a large store, in steps between commits.
  virtual void Backup(std::string path, Reply<Done> reply) = 0;
};

}  // namespace adamant
