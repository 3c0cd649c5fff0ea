// SPDX-License-Identifier: Apache-2.0
// What the server weighs: metrics, idle_rss, shared_library_count.
#include <fstream>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "tests/bench/service/bench.h"
#include "tests/support/programs/http.h"

namespace adamant::bench {
namespace {

BenchResult RunMetrics(const BenchOptions& options) {
  const int64_t scrapes = options.n > 0 ? options.n : 200;
  BenchServer server(BenchServer::Worker::kReal);
  Stubs stubs(server.address());
  for (int i = 0; i < 20; ++i) WaitEnd(stubs, Submit(stubs, RealTraining(2)).name());
  std::vector<double> seconds;
  int64_t series = 0;
  for (int64_t i = 0; i < scrapes; ++i) {
    const double start = Now();
    const std::string text = testing::HttpGet(server.metrics_address(), "/metrics");
    seconds.push_back(Now() - start);
    series = 0;
    for (absl::string_view line : absl::StrSplit(text, '\n'))
      if (!line.empty() && line[0] != '#') ++series;
    if (series == 0) Die("the scrape is empty");
  }
  BenchResult result = Milliseconds(std::move(seconds));
  result.note = absl::StrFormat("%d series after 20 trainings", series);
  return result;
}

BenchResult RunIdleRss(const BenchOptions& options) {
  BenchServer server(BenchServer::Worker::kReal);
  absl::SleepFor(absl::Seconds(options.n > 0 ? options.n : 60));
  BenchResult result;
  result.n = 1;
  result.value = 1e-6 * static_cast<double>(ResidentBytes(server.pid()));
  result.unit = "MB";
  result.note = "60 s after the start, with one warm worker beside it";
  return result;
}

BenchResult RunLibraries(const BenchOptions& /*options*/) {
  BenchServer server;
  std::ifstream maps(absl::StrCat("/proc/", server.pid(), "/maps"));
  std::set<std::string> libraries;
  for (std::string line; std::getline(maps, line);) {
    const size_t path = line.find('/');
    if (path != std::string::npos && absl::StrContains(line, ".so"))
      libraries.insert(line.substr(path));
  }
  BenchResult result;
  result.n = 1;
  result.value = static_cast<double>(libraries.size());
  result.unit = "shared objects";
  for (const std::string& library : libraries) {
    if (absl::StrContains(library, "torch") || absl::StrContains(library, "libc10"))
      Die(absl::StrCat("adamantd loads ", library));
  }
  result.note = "none of LibTorch";
  return result;
}

}  // namespace

std::vector<BenchRow> FootprintRows() {
  return {{"metrics", "p99 < 10 ms, < 1500 series", RunMetrics},
          {"idle_rss", "< 60 MB", RunIdleRss},
          {"shared_library_count", "<= 80, none of LibTorch", RunLibraries}};
}

}  // namespace adamant::bench
