// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/start_forecast.h"

#include <functional>
#include <numeric>
#include <queue>

namespace adamant {
namespace {

constexpr size_t kRuns = 32;

}  // namespace

void StartForecast::OnRun(v1::JobKind kind, absl::Duration took) {
  std::deque<absl::Duration>& runs = runs_[kind];
  runs.push_back(took);
  if (runs.size() > kRuns) runs.pop_front();
}

std::optional<absl::Duration> StartForecast::Expected(v1::JobKind kind) const {
  const auto runs = runs_.find(kind);
  if (runs == runs_.end()) return std::nullopt;
  return std::accumulate(runs->second.begin(), runs->second.end(), absl::ZeroDuration()) /
         static_cast<int64_t>(runs->second.size());
}

std::vector<absl::Time> StartForecast::Starts(const std::vector<Busy>& busy, int free,
                                              const std::vector<v1::JobKind>& queue,
                                              absl::Time now) const {
  std::priority_queue<absl::Time, std::vector<absl::Time>, std::greater<>> slots;
  for (int i = 0; i < free; ++i) slots.push(now);
  for (const Busy& job : busy) {
    const auto expected = Expected(job.kind);
    if (expected.has_value() && job.since + *expected > now) slots.push(job.since + *expected);
  }
  std::vector<absl::Time> starts(queue.size(), absl::InfiniteFuture());
  for (size_t i = 0; i < queue.size() && !slots.empty(); ++i) {
    starts[i] = slots.top();
    slots.pop();
    if (const auto expected = Expected(queue[i]); expected.has_value())
      slots.push(starts[i] + *expected);
  }
  return starts;
}

}  // namespace adamant
