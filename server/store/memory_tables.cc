// SPDX-License-Identifier: Apache-2.0
#include "server/store/memory_tables.h"

#include <algorithm>

#include "absl/strings/match.h"

namespace adamant {
namespace {

constexpr size_t kMaxEventBytes = 1 << 20;  // of one ReadEvents

}  // namespace

std::optional<JobRow> MemoryTables::FindJob(absl::string_view uid) {
  const auto found = jobs_.find(uid);
  return found == jobs_.end() ? std::nullopt : std::optional<JobRow>(found->second);
}

void MemoryTables::InsertJob(const JobRow& row, absl::string_view /*request_id*/) {
  jobs_[UidOf(row.job)] = row;
}

bool MemoryTables::UpdateJob(const JobRow& before, const JobRow& after) {
  const auto found = jobs_.find(UidOf(before.job));
  if (found == jobs_.end() || FenceOf(found->second.job) != FenceOf(before.job) ||
      found->second.job.state() != before.job.state())
    return false;
  found->second = after;
  return true;
}

void MemoryTables::RemoveJob(absl::string_view uid) {
  const std::string key(uid);
  jobs_.erase(key);
  events_.erase(key);
  references_.erase(key);
}

std::vector<v1::Job> MemoryTables::LiveJobs() {
  std::vector<v1::Job> live;
  for (const auto& [uid, row] : jobs_) {
    if (IsLive(row.job)) live.push_back(row.job);
  }
  return live;
}

// A store in memory begins empty.
void MemoryTables::VisitHeaders(const std::function<void(JobHeader)>& /*visit*/) {}

std::optional<JobRow> MemoryTables::FindResult(absl::string_view tenant, absl::string_view digest) {
  const JobRow* newest = nullptr;
  for (const auto& [uid, row] : jobs_) {
    const v1::Job& job = row.job;
    const bool usable = job.state() == v1::SUCCEEDED && job.reproducible() &&
                        job.tenant() == tenant && job.spec_digest() == digest;
    if (usable &&
        (newest == nullptr || NanosOf(job.create_time()) > NanosOf(newest->job.create_time())))
      newest = &row;
  }
  return newest == nullptr ? std::nullopt : std::optional<JobRow>(*newest);
}

std::vector<std::string> MemoryTables::ExpiredJobs(int64_t now, int limit) {
  std::vector<std::pair<int64_t, std::string>> due;
  for (const auto& [uid, row] : jobs_) {
    if (!IsLive(row.job) && row.job.has_expire_time() && NanosOf(row.job.expire_time()) <= now)
      due.emplace_back(NanosOf(row.job.expire_time()), uid);
  }
  std::sort(due.begin(), due.end());
  std::vector<std::string> uids;
  for (auto& [time, uid] : due) {
    if (static_cast<int>(uids.size()) < limit) uids.push_back(std::move(uid));
  }
  return uids;
}

std::vector<std::string> MemoryTables::BulkyJobs(int64_t ended_before, int64_t points, int limit) {
  std::vector<std::string> uids;
  for (const auto& [uid, row] : jobs_) {
    if (static_cast<int>(uids.size()) == limit) break;
    if (!IsLive(row.job) && NanosOf(row.job.end_time()) < ended_before &&
        row.metric_points > points && row.compacted_through_seq == 0)
      uids.push_back(uid);
  }
  return uids;
}

void MemoryTables::AppendEvent(absl::string_view uid, const v1::JobEvent& event) {
  events_[std::string(uid)][event.seq()] = event;
}

std::vector<v1::JobEvent> MemoryTables::ReadEvents(const EventQuery& query) {
  std::vector<v1::JobEvent> events;
  const auto stored = events_.find(query.uid);
  if (stored == events_.end()) return events;
  size_t bytes = 0;
  for (auto at = stored->second.upper_bound(query.after); at != stored->second.end(); ++at) {
    if (static_cast<int>(events.size()) >= query.limit || bytes >= kMaxEventBytes) break;
    const v1::JobEvent& event = at->second;
    if (!query.types.empty() &&
        std::count(query.types.begin(), query.types.end(), event.type()) == 0)
      continue;
    bytes += event.ByteSizeLong();
    events.push_back(event);
  }
  return events;
}

void MemoryTables::RewriteEvent(absl::string_view uid, const v1::JobEvent& event) {
  std::map<int64_t, v1::JobEvent>& events = events_[std::string(uid)];
  if (event.body_case() == v1::JobEvent::BODY_NOT_SET) {
    events.erase(event.seq());
  } else {
    events[event.seq()] = event;
  }
}

int64_t MemoryTables::CompactedThrough(absl::string_view uid) {
  const auto found = jobs_.find(uid);
  return found == jobs_.end() ? 0 : found->second.compacted_through_seq;
}

std::optional<RequestRow> MemoryTables::FindRequest(absl::string_view tenant,
                                                    absl::string_view request_id) {
  const auto found = requests_.find(Pair(tenant, request_id));
  return found == requests_.end() ? std::nullopt : std::optional<RequestRow>(found->second);
}

void MemoryTables::AddRequest(absl::string_view tenant, absl::string_view request_id,
                              const RequestRow& row) {
  requests_[Pair(tenant, request_id)] = row;
}

void MemoryTables::EntombRequests(absl::string_view uid, int64_t delete_nanos) {
  for (auto& [key, row] : requests_) {
    if (row.uid == uid) row.delete_nanos = delete_nanos;
  }
}

void MemoryTables::RemoveTombstones(int64_t deleted_before) {
  for (auto at = requests_.begin(); at != requests_.end();) {
    const bool over = at->second.delete_nanos != 0 && at->second.delete_nanos < deleted_before;
    at = over ? requests_.erase(at) : std::next(at);
  }
}

void MemoryTables::AddReference(absl::string_view uid, absl::string_view name) {
  references_[std::string(uid)].insert(std::string(name));
}

std::vector<std::string> MemoryTables::References(absl::string_view uid) {
  const auto found = references_.find(std::string(uid));
  if (found == references_.end()) return {};
  return {found->second.begin(), found->second.end()};
}

std::optional<std::string> MemoryTables::LiveUser(absl::string_view tenant,
                                                  absl::string_view name) {
  for (const auto& [uid, names] : references_) {
    if (names.count(std::string(name)) == 0) continue;
    const auto job = jobs_.find(uid);
    if (job != jobs_.end() && job->second.job.tenant() == tenant && IsLive(job->second.job))
      return uid;
  }
  return std::nullopt;
}

std::optional<std::string> MemoryTables::FindResource(absl::string_view tenant,
                                                      absl::string_view name) {
  const auto found = resources_.find(Pair(tenant, name));
  return found == resources_.end() ? std::nullopt : std::optional<std::string>(found->second);
}

void MemoryTables::PutResource(absl::string_view tenant, absl::string_view name,
                               absl::string_view bytes) {
  resources_[Pair(tenant, name)] = std::string(bytes);
}

void MemoryTables::RemoveResource(absl::string_view tenant, absl::string_view name) {
  resources_.erase(Pair(tenant, name));
}

std::vector<std::string> MemoryTables::ListResources(absl::string_view tenant,
                                                     absl::string_view prefix,
                                                     absl::string_view after, int limit) {
  std::vector<std::string> found;
  auto at = resources_.upper_bound(Pair(tenant, after.empty() ? prefix : after));
  for (; at != resources_.end() && at->first.first == tenant; ++at) {
    if (static_cast<int>(found.size()) >= limit) break;
    if (absl::StartsWith(at->first.second, prefix)) found.push_back(at->second);
  }
  return found;
}

std::vector<ResourceRow> MemoryTables::AllResources(absl::string_view prefix) {
  std::vector<ResourceRow> all;
  for (const auto& [key, bytes] : resources_) {
    if (absl::StartsWith(key.second, prefix)) all.push_back({key.first, bytes});
  }
  return all;
}

std::optional<BlobRow> MemoryTables::FindBlob(absl::string_view tenant, absl::string_view sha256) {
  const auto found = blobs_.find(Pair(sha256, tenant));
  return found == blobs_.end() ? std::nullopt : std::optional<BlobRow>(found->second);
}

void MemoryTables::PutBlob(const BlobRow& row) { blobs_[{row.blob.sha256(), row.tenant}] = row; }

void MemoryTables::RemoveBlob(absl::string_view tenant, absl::string_view sha256) {
  blobs_.erase(Pair(sha256, tenant));
}

int64_t MemoryTables::CountBlobBytes(absl::string_view tenant) {
  int64_t bytes = 0;
  for (const auto& [key, row] : blobs_) {
    if (row.tenant == tenant) bytes += row.blob.size_bytes();
  }
  return bytes;
}

std::vector<BlobRow> MemoryTables::OwnersOf(absl::string_view sha256) {
  std::vector<BlobRow> rows;
  for (auto at = blobs_.lower_bound(Pair(sha256, "")); at != blobs_.end(); ++at) {
    if (at->first.first != sha256) break;
    rows.push_back(at->second);
  }
  return rows;
}

std::vector<BlobRow> MemoryTables::UnpinnedBlobs(absl::string_view tenant, int64_t used_until,
                                                 int64_t leased_until, int limit) {
  std::vector<BlobRow> rows;
  for (const auto& [key, row] : blobs_) {
    if ((tenant.empty() || row.tenant == tenant) && row.use_nanos <= used_until &&
        row.lease_nanos <= leased_until && !IsPinned(row.tenant, row.blob.sha256()))
      rows.push_back(row);
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const BlobRow& a, const BlobRow& b) { return a.use_nanos < b.use_nanos; });
  if (static_cast<int>(rows.size()) > limit) rows.resize(static_cast<size_t>(limit));
  return rows;
}

void MemoryTables::AddPin(absl::string_view tenant, absl::string_view owner,
                          absl::string_view sha256) {
  pins_.emplace(tenant, sha256, owner);
}

void MemoryTables::RemovePin(absl::string_view tenant, absl::string_view owner,
                             absl::string_view sha256) {
  pins_.erase({std::string(tenant), std::string(sha256), std::string(owner)});
}

void MemoryTables::RemovePins(absl::string_view tenant, absl::string_view owner) {
  for (auto at = pins_.begin(); at != pins_.end();) {
    const bool its = std::get<0>(*at) == tenant && std::get<2>(*at) == owner;
    at = its ? pins_.erase(at) : std::next(at);
  }
}

bool MemoryTables::IsPinned(absl::string_view tenant, absl::string_view sha256) {
  const auto at = pins_.lower_bound({std::string(tenant), std::string(sha256), ""});
  return at != pins_.end() && std::get<0>(*at) == tenant && std::get<1>(*at) == sha256;
}

}  // namespace adamant
