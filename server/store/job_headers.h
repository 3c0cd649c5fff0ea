// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "server/store/job_row.h"
#include "server/store/job_store.h"

namespace adamant {

// A header of every stored job in the order of lists: finds a page without reading the jobs. About
// 260 bytes per job with a request id and two labels, 150 without. Thread-safe.
class JobHeaders {
 public:
  struct Place {
    int64_t create_nanos = 0;
    std::string uid;
    // create_time descending, then uid.
    friend bool operator<(const Place& a, const Place& b) {
      return a.create_nanos != b.create_nanos ? a.create_nanos > b.create_nanos : a.uid < b.uid;
    }
  };
  struct Found {
    std::vector<Place> places;  // of the matching jobs, at most page_size
    Place next;                 // after the last one looked at; create_nanos 0 = that was the end
  };

  void Add(JobHeader header);
  // What has changed since it was added.
  void Update(const v1::Job& job);
  void Remove(const v1::Job& job);
  // Looks at 2000 headers at most. In small steps, so that a change never waits long.
  Found Find(const JobListQuery& query) const;

 private:
  struct Entry {
    int64_t end_nanos;
    uint8_t kind;
    uint8_t state;
    uint8_t reason;
    std::string fixed;
  };
  using OfTenant = absl::btree_map<Place, Entry>;

  // Looks at up to `limit` headers after `found.next`; false at the end.
  bool Step(const JobListQuery& query, int limit, v1::Job& scratch, Found& found) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, OfTenant> tenants_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace adamant
