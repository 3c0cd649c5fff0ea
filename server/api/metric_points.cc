// SPDX-License-Identifier: Apache-2.0
#include "server/api/metric_points.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "server/api/page_token.h"
#include "server/api/status.h"
#include "server/jobs/job.h"
#include "server/store/await.h"
#include "server/store/metric_thinning.h"

namespace adamant {
namespace {

constexpr int kMaxReads = 64;              // of the event log, for one page without thinning
constexpr size_t kMaxCollected = 1000000;  // points held to be thinned
constexpr size_t kMaxPageBytes = 2 << 20;

// Where a page begins: behind the first `index` points of the event `seq`, or of the thinned list
// of all events up to `seq`.
struct Position {
  int64_t seq = 0;
  int64_t index = 0;
};

class MetricHistory {
 public:
  MetricHistory(ServiceParts& parts, const v1::ListMetricPointsRequest& request)
      : parts_(parts), request_(request), names_(request.names().begin(), request.names().end()) {}

  absl::StatusOr<v1::ListMetricPointsResponse> List() {
    RETURN_IF_ERROR(Check());
    ASSIGN_OR_RETURN(uid_, JobUid(request_.job()));
    ASSIGN_OR_RETURN(page_size_, PageSize(request_.page_size()));
    ASSIGN_OR_RETURN(const v1::Job job, Await<v1::Job>([this](Reply<v1::Job> reply) {
                       parts_.store.GetJob(kLocalTenant, uid_, std::move(reply));
                     }));
    scope_ =
        absl::StrCat("ListMetricPoints ", kLocalTenant, " ", uid_, " ",
                     absl::StrJoin(names_, "\x01"), " ", request_.attempt(), " ",
                     request_.step_begin(), " ", request_.step_end(), " ", request_.max_points());
    ASSIGN_OR_RETURN(const Position position, Begin(job));
    return request_.max_points() > 0 ? ListThinned(position) : ListAll(position);
  }

 private:
  absl::Status Check() const {
    std::vector<Violation> violations;
    const auto not_negative = [&](const char* field, int64_t value) {
      if (value < 0) violations.push_back({field, "INVALID_SPEC", "must not be negative"});
    };
    not_negative("attempt", request_.attempt());
    not_negative("step_begin", request_.step_begin());
    not_negative("step_end", request_.step_end());
    not_negative("max_points", request_.max_points());
    if (request_.step_end() > 0 && request_.step_end() <= request_.step_begin()) {
      violations.push_back(
          {"step_end", "INVALID_SPEC", "must be larger than step_begin; leave it out for no end"});
    }
    return ViolationStatus(violations);
  }

  absl::StatusOr<Position> Begin(const v1::Job& job) const {
    Position position{request_.max_points() > 0 ? job.last_event_seq() : 0, 0};
    if (request_.page_token().empty()) return position;
    ASSIGN_OR_RETURN(const std::string text,
                     parts_.tokens.Open(request_.page_token(), scope_, absl::Now()));
    const std::pair<absl::string_view, absl::string_view> numbers = absl::StrSplit(text, ' ');
    if (!absl::SimpleAtoi(numbers.first, &position.seq) ||
        !absl::SimpleAtoi(numbers.second, &position.index)) {
      return absl::InternalError("a sealed page token holds no position");
    }
    return position;
  }

  std::string Token(Position position) const {
    return parts_.tokens.Seal(absl::StrCat(position.seq, " ", position.index), scope_, absl::Now());
  }

  bool Wanted(const v1::MetricPoint& point) const {
    return (names_.empty() || names_.count(point.name()) > 0) &&
           point.step() >= request_.step_begin() &&
           (request_.step_end() == 0 || point.step() < request_.step_end());
  }

  bool Wanted(const v1::JobEvent& event) const {
    return event.has_metric() && (request_.attempt() == 0 || event.attempt() == request_.attempt());
  }

  absl::StatusOr<EventPage> Read(int64_t after) const {
    return Await<EventPage>([&](Reply<EventPage> reply) {
      parts_.hub.Read({uid_, after, 1000, {v1::METRIC}}, std::move(reply));
    });
  }

  absl::StatusOr<v1::ListMetricPointsResponse> ListAll(Position from) {
    v1::ListMetricPointsResponse response;
    int64_t after = from.index > 0 ? from.seq - 1 : from.seq;
    for (int i = 0; i < kMaxReads; ++i) {
      ASSIGN_OR_RETURN(const EventPage page, Read(after));
      if (page.events.empty()) return response;
      for (const v1::JobEvent& event : page.events) {
        after = event.seq();
        if (!Wanted(event)) continue;
        const int begin = event.seq() == from.seq ? static_cast<int>(from.index) : 0;
        for (int p = begin; p < event.metric().points_size(); ++p) {
          if (!Wanted(event.metric().points(p))) continue;
          if (response.points_size() >= page_size_ || Full(response)) {
            response.set_next_page_token(Token({p == 0 ? event.seq() - 1 : event.seq(), p}));
            return response;
          }
          Add(event.metric().points(p), event.attempt(), response);
        }
      }
    }
    response.set_next_page_token(Token({after, 0}));
    return response;
  }

  bool Full(const v1::ListMetricPointsResponse& response) const {
    return response.points_size() % 100 == 0 && response.ByteSizeLong() > kMaxPageBytes;
  }

  static void Add(const v1::MetricPoint& point, int attempt,
                  v1::ListMetricPointsResponse& response) {
    v1::MetricPoint& added = *response.add_points();
    added = point;
    added.set_attempt(attempt);
  }

  using Series = std::map<std::pair<int, std::string>, std::vector<v1::MetricPoint>>;

  // Keeps the memory bounded: thins what there is to half of the bound.
  static void ThinAll(Series& series) {
    const size_t each = std::max<size_t>(kMaxCollected / 2 / series.size(), 2);
    for (auto& [key, points] : series)
      points = ThinSeries(std::move(points), static_cast<int>(each));
  }

  absl::StatusOr<Series> Collect(int64_t through) {
    Series series;
    size_t added = 0;
    for (int64_t after = 0; after < through;) {
      ASSIGN_OR_RETURN(const EventPage page, Read(after));
      if (page.events.empty()) break;
      for (const v1::JobEvent& event : page.events) {
        after = event.seq();
        if (after > through) break;
        if (!Wanted(event)) continue;
        for (const v1::MetricPoint& point : event.metric().points()) {
          if (!Wanted(point)) continue;
          series[{event.attempt(), point.name()}].push_back(point);
          if (++added % (kMaxCollected / 2) == 0) ThinAll(series);
        }
      }
    }
    return series;
  }

  absl::StatusOr<v1::ListMetricPointsResponse> ListThinned(Position from) {
    ASSIGN_OR_RETURN(Series series, Collect(from.seq));
    std::vector<v1::MetricPoint> all;
    for (auto& [key, points] : series) {
      for (v1::MetricPoint& point : ThinSeries(std::move(points), request_.max_points())) {
        point.set_attempt(key.first);
        all.push_back(std::move(point));
      }
    }
    std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
      return std::forward_as_tuple(a.attempt(), a.step(), a.name()) <
             std::forward_as_tuple(b.attempt(), b.step(), b.name());
    });
    v1::ListMetricPointsResponse response;
    for (size_t i = static_cast<size_t>(from.index); i < all.size(); ++i) {
      if (response.points_size() >= page_size_ || Full(response)) {
        response.set_next_page_token(Token({from.seq, static_cast<int64_t>(i)}));
        break;
      }
      *response.add_points() = std::move(all[i]);
    }
    return response;
  }

  ServiceParts& parts_;
  const v1::ListMetricPointsRequest& request_;
  const std::set<std::string> names_;
  std::string uid_;
  std::string scope_;  // what must stay the same between pages
  int page_size_ = 0;
};

}  // namespace

absl::StatusOr<v1::ListMetricPointsResponse> ListMetricPoints(
    ServiceParts& parts, const v1::ListMetricPointsRequest& request) {
  return MetricHistory(parts, request).List();
}

}  // namespace adamant
