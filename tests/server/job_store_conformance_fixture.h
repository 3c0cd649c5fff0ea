// SPDX-License-Identifier: Apache-2.0
// The fixture of the tests that every backend of the store has to pass.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "server/store/memory_store.h"
#include "server/store/sqlite_store.h"
#include "tests/server/job_store_conformance.h"
#include "tests/support/temporary_folder.h"

namespace adamant::testing {

struct Backend {
  std::string name;
  std::function<std::unique_ptr<JobStore>(const std::string& folder, LeaseClock clock)> open;
};

inline std::unique_ptr<JobStore> OpenSqlite(const std::string& folder, LeaseClock clock) {
  SqliteStoreOptions options;
  options.path = folder + "/store.db";
  options.clock = std::move(clock);
  auto store = OpenSqliteStore(std::move(options));
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

inline std::unique_ptr<JobStore> OpenMemory(const std::string& /*folder*/, LeaseClock clock) {
  return NewMemoryStore({std::move(clock)});
}

class JobStoreConformance : public ::testing::TestWithParam<Backend> {
 protected:
  TemporaryFolder folder_;
  std::atomic<int64_t> clock_seconds_{1000};
  std::unique_ptr<JobStore> store_ =
      GetParam().open(folder_.path(), [this] { return absl::Seconds(clock_seconds_.load()); });
  StoreClient client_{*store_};
};

// Appends a METRIC event whose steps go on where those of the last one ended.
inline absl::Status AddMetrics(JobDraft& draft, const std::string& name, int count) {
  const int64_t first = draft.job.log_bytes();  // counts the points of this helper
  v1::MetricEvent& metric = *AddEvent(draft, v1::METRIC, absl::Now()).mutable_metric();
  for (int i = 0; i < count; ++i) {
    v1::MetricPoint& point = *metric.add_points();
    point.set_name(name);
    point.set_step(first + i);
    point.set_value(static_cast<double>((first + i) % 97));
  }
  draft.job.set_log_bytes(first + count);
  return absl::OkStatus();
}

inline auto AllBackends() {
  return ::testing::Values(Backend{"Sqlite", OpenSqlite}, Backend{"Memory", OpenMemory});
}

inline std::string BackendName(const ::testing::TestParamInfo<Backend>& info) {
  return info.param.name;
}

}  // namespace adamant::testing
