// SPDX-License-Identifier: Apache-2.0
// What the service costs a training: overhead.
#include <cstdio>
#include <fstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/bench/service/bench.h"

namespace adamant::bench {
namespace {

constexpr int kSteps = 200;

// The training of the job in a process of its own.
double SecondsAlone(const v1::TrainSpec& spec, const std::string& folder) {
  const std::string file = folder + "/spec";
  std::ofstream(file) << spec.SerializeAsString();
  FILE* const pipe = popen(absl::StrCat(ADAMANT_TRAIN_ALONE, " ", file, " 1").c_str(), "r");
  char line[64] = "";
  const bool read = pipe != nullptr && std::fgets(line, sizeof(line), pipe) != nullptr;
  double seconds = 0;
  if (pipe == nullptr || pclose(pipe) != 0 || !read || !absl::SimpleAtod(line, &seconds))
    Die("train_alone failed; is it built?");
  return seconds;
}

BenchResult RunOverhead(const BenchOptions& options) {
  const int64_t runs = options.n > 0 ? options.n : 5;
  BenchServer server(BenchServer::Worker::kReal, {"--threads-per-slot", "1"},
                     BenchServer::Cores::kAny);
  Stubs stubs(server.address());
  const testing::TemporaryFolder folder;
  std::vector<double> alone;
  std::vector<double> served;
  for (int64_t i = 0; i < runs; ++i) {
    v1::TrainJobRequest request = RealTraining(kSteps);
    request.mutable_spec()->set_seed(i);
    const v1::Job job = WaitEnd(stubs, Submit(stubs, request).name());
    if (job.state() != v1::SUCCEEDED) Die(absl::StrCat("the training: ", job.state_message()));
    served.push_back(job.result().train().train_seconds());
    alone.push_back(SecondsAlone(job.spec().train(), folder.path()));
  }
  BenchResult result;
  result.n = runs;
  result.p50 = Percentile(served, 0.5);
  result.p99 = Percentile(served, 1);
  result.value = 100 * Percentile(alone, 0.5) / result.p50;
  result.unit = "% of the throughput alone";
  result.note = absl::StrFormat(
      "median seconds of 200 steps: %.3f in the service (p50, p99), %.3f in one process; least "
      "%.3f and %.3f",
      result.p50, Percentile(alone, 0.5), served.front(), alone.front());
  return result;
}

}  // namespace

std::vector<BenchRow> OverheadRows() {
  return {{"overhead", ">= 99 % of the throughput of one process", RunOverhead}};
}

}  // namespace adamant::bench
