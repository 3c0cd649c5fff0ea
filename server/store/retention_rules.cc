// SPDX-License-Identifier: Apache-2.0
// The rules about what goes: jobs, and points of their metrics.
#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/error_reason.h"
#include "server/store/blob_refs.h"
#include "server/store/metric_thinning.h"
#include "server/store/store_errors.h"
#include "server/store/store_rules.h"

namespace adamant {
namespace {

constexpr absl::Duration kTombstone = absl::Hours(24 * 30);
constexpr int kMaxSeriesPoints = 10'000;

// Where one point stands: which event, which of its points.
struct PointAt {
  size_t event;
  int point;
};

struct Series {
  std::vector<double> values;
  std::vector<PointAt> places;
};

std::map<std::string, Series> SeriesOf(const std::vector<v1::JobEvent>& events) {
  std::map<std::string, Series> all;
  for (size_t i = 0; i < events.size(); ++i) {
    const v1::MetricEvent& metric = events[i].metric();
    for (int k = 0; k < metric.points_size(); ++k) {
      Series& series = all[metric.points(k).name()];
      series.values.push_back(metric.points(k).value());
      series.places.push_back({i, k});
    }
  }
  return all;
}

}  // namespace

// Its blobs count as used until now.
void StoreRules::Remove(const v1::Job& job, absl::Time now) {
  const std::string uid = UidOf(job);
  for (const v1::BlobRef& blob : BlobRefsIn(job)) {
    std::optional<BlobRow> row = tables_.FindBlob(job.tenant(), blob.sha256());
    if (!row.has_value()) continue;
    row->use_nanos = std::max(row->use_nanos, NanosOf(now));
    tables_.PutBlob(*row);
  }
  tables_.RemovePins(job.tenant(), job.name());
  tables_.RemoveJob(uid);
  tables_.EntombRequests(uid, NanosOf(now));
  leases_.erase(uid);
}

absl::StatusOr<v1::Job> StoreRules::Delete(const std::string& tenant, const std::string& uid,
                                           const std::string& etag, absl::Time now,
                                           StoreEffect& effect) {
  std::optional<JobRow> row = tables_.FindJob(uid);
  if (!row.has_value() || row->job.tenant() != tenant) return JobNotFound(uid);
  if (IsLive(row->job)) return WrongState(row->job);
  if (!etag.empty() && etag != row->job.etag()) {
    return WithReason(absl::AbortedError("the job changed; read it again"), "ETAG_MISMATCH",
                      {{"etag", row->job.etag()}});
  }
  Remove(row->job, now);
  effect.step = StoreStep::kDelete;
  return std::move(row->job);
}

std::vector<v1::Job> StoreRules::DeleteExpired(absl::Time now, int limit, StoreEffect& effect) {
  std::vector<v1::Job> gone;
  for (const std::string& uid : tables_.ExpiredJobs(NanosOf(now), limit)) {
    std::optional<JobRow> row = tables_.FindJob(uid);
    if (!row.has_value()) continue;
    Remove(row->job, now);
    gone.push_back(std::move(row->job));
  }
  tables_.RemoveTombstones(NanosOf(now - kTombstone));
  effect.step = gone.empty() ? StoreStep::kOther : StoreStep::kDelete;
  return gone;
}

// Each point that stays keeps its event, so that seq, time and attempt stay true. False when every
// series is short enough.
bool StoreRules::Thin(JobRow row) {
  const std::string uid = UidOf(row.job);
  std::vector<v1::JobEvent> events;
  EventQuery query{uid, 0, std::numeric_limits<int>::max(), {v1::METRIC}};
  for (std::vector<v1::JobEvent> page; !(page = tables_.ReadEvents(query)).empty();) {
    query.after = page.back().seq();
    std::move(page.begin(), page.end(), std::back_inserter(events));
  }
  std::vector<v1::JobEvent> kept = events;
  for (v1::JobEvent& event : kept) event.clear_body();
  bool thinned = false;
  std::vector<std::vector<int>> points(events.size());
  for (const auto& [name, series] : SeriesOf(events)) {
    const std::vector<size_t> positions = ThinnedPositions(series.values, kMaxSeriesPoints);
    thinned = thinned || positions.size() < series.values.size();
    for (const size_t position : positions)
      points[series.places[position].event].push_back(series.places[position].point);
  }
  const JobRow before = row;
  row.compacted_through_seq = thinned ? events.back().seq() : -1;
  tables_.UpdateJob(before, row);
  for (size_t i = 0; thinned && i < events.size(); ++i) {
    if (static_cast<int>(points[i].size()) == events[i].metric().points_size()) continue;
    std::sort(points[i].begin(), points[i].end());
    for (const int k : points[i])
      *kept[i].mutable_metric()->add_points() =
          std::move(*events[i].mutable_metric()->mutable_points(k));
    tables_.RewriteEvent(uid, kept[i]);
  }
  return thinned;
}

int64_t StoreRules::CompactMetrics(absl::Time ended_before, int limit, StoreEffect& effect) {
  effect.step = StoreStep::kOther;
  int64_t thinned = 0;
  while (thinned < limit) {
    const std::vector<std::string> found =
        tables_.BulkyJobs(NanosOf(ended_before), kMaxSeriesPoints, 1);
    if (found.empty()) break;
    std::optional<JobRow> row = tables_.FindJob(found.front());
    if (!row.has_value()) break;
    if (Thin(*std::move(row))) ++thinned;
  }
  return thinned;
}

}  // namespace adamant
