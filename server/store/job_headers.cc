// SPDX-License-Identifier: Apache-2.0
#include "server/store/job_headers.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace adamant {
namespace {

constexpr int kMaxScanned = 2000;  // by one Find
constexpr int kStep = 250;         // under one lock

void SetTime(int64_t nanos, google::protobuf::Timestamp& time) {
  time.set_seconds(nanos / 1'000'000'000);
  time.set_nanos(static_cast<int32_t>(nanos % 1'000'000'000));
}

JobHeaders::Place PlaceOf(const v1::Job& job) { return {NanosOf(job.create_time()), UidOf(job)}; }

}  // namespace

void JobHeaders::Add(JobHeader header) {
  Entry entry{header.end_nanos, static_cast<uint8_t>(header.kind),
              static_cast<uint8_t>(header.state), static_cast<uint8_t>(header.reason),
              std::move(header.fixed)};
  entry.fixed.shrink_to_fit();
  absl::MutexLock lock(&mutex_);
  tenants_[header.tenant].insert_or_assign(Place{header.create_nanos, std::move(header.uid)},
                                           std::move(entry));
}

void JobHeaders::Update(const v1::Job& job) {
  absl::MutexLock lock(&mutex_);
  OfTenant& jobs = tenants_[job.tenant()];
  const auto found = jobs.find(PlaceOf(job));
  if (found == jobs.end()) return;
  found->second.end_nanos = NanosOf(job.end_time());
  found->second.state = static_cast<uint8_t>(job.state());
  found->second.reason = static_cast<uint8_t>(job.state_reason());
}

void JobHeaders::Remove(const v1::Job& job) {
  absl::MutexLock lock(&mutex_);
  const auto tenant = tenants_.find(job.tenant());
  if (tenant == tenants_.end()) return;
  tenant->second.erase(PlaceOf(job));
  if (tenant->second.empty()) tenants_.erase(tenant);
}

bool JobHeaders::Step(const JobListQuery& query, int limit, v1::Job& scratch, Found& found) const {
  const auto tenant = tenants_.find(query.tenant);
  if (tenant == tenants_.end()) return false;
  const OfTenant& jobs = tenant->second;
  auto at = jobs.upper_bound(found.next);
  for (; at != jobs.end() && limit > 0; ++at, --limit) {
    if (static_cast<int>(found.places.size()) >= query.page_size) return true;
    found.next = at->first;
    if (query.matches) {
      const Entry& entry = at->second;
      scratch.Clear();
      scratch.ParseFromString(entry.fixed);
      scratch.set_name(absl::StrCat("jobs/", at->first.uid));
      scratch.set_tenant(query.tenant);
      scratch.set_kind(static_cast<v1::JobKind>(entry.kind));
      scratch.set_state(static_cast<v1::JobState>(entry.state));
      scratch.set_state_reason(static_cast<v1::StateReason>(entry.reason));
      SetTime(at->first.create_nanos, *scratch.mutable_create_time());
      if (entry.end_nanos != 0) SetTime(entry.end_nanos, *scratch.mutable_end_time());
      if (!query.matches(scratch)) continue;
    }
    found.places.push_back(at->first);
  }
  return at != jobs.end();
}

JobHeaders::Found JobHeaders::Find(const JobListQuery& query) const {
  Found found;
  found.next.create_nanos =
      query.after_create_nanos > 0 ? query.after_create_nanos : std::numeric_limits<int64_t>::max();
  found.next.uid = query.after_uid;
  v1::Job scratch;
  for (int scanned = 0; scanned < kMaxScanned; scanned += kStep) {
    if (static_cast<int>(found.places.size()) >= query.page_size) break;
    absl::ReaderMutexLock lock(&mutex_);
    if (!Step(query, kStep, scratch, found)) {
      found.next = Place();
      break;
    }
  }
  return found;
}

}  // namespace adamant
