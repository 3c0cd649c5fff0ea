// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "tests/support/exposition.h"
#include "tests/support/metrics_table.h"
#include "tests/support/programs/program.h"

namespace adamant::testing {
namespace {

// Every label value that a client, a worker or a device could invent, many times over.
void Stress(Metrics& metrics) {
  const std::vector<std::string> methods = {
      "/adamant.v1.RobustnessService/GetJob",   "/adamant.v1.RobustnessService/WatchJob",
      "/adamant.v1.RobustnessService/TrainJob", "/adamant.v1.RobustnessService/ListJobs",
      "/adamant.v1.BlobService/Write",          "/adamant.v1.BlobService/Read",
      "/adamant.v1.ModelService/GetModel",      "/adamant.v1.ModelService/ListModels",
      "/adamant.v1.DatasetService/GetDataset",  "/adamant.v1.DatasetService/ListDatasets",
      "/adamant.v1.SystemService/DrainServer",  "/grpc.health.v1.Health/Check",
      "/grpc.health.v1.Health/Watch",           "/invented.Service/Method"};
  for (const std::string& method : methods) {
    for (int code = -1; code < 30; ++code) {
      metrics.RpcStarted(method);
      metrics.RpcReceived(method);
      metrics.RpcSent(method);
      metrics.RpcHandled(method, code, 0.1);
    }
  }
  for (int i = 0; i < 1000; ++i) {
    const std::string invented = absl::StrCat("invented", i);
    metrics.RpcFailed(methods[0], invented);
    metrics.RpcFailed(methods[0], "QUOTA_" + invented);
    metrics.AttackSamples(invented, 1, 1);
    metrics.AttackGradientQueries(invented, 1);
    metrics.ExplainMaps(invented, 1);
    metrics.TrainSteps(invented, 1, 1);
    metrics.TrainStepSeconds(invented, 1, 1);
    metrics.BlobBytes(invented, 1);
    metrics.BlobTransfer("upload", invented);
    metrics.StoreTransaction(invented, 1);
    metrics.StoreError(invented);
    metrics.WorkerExited(invented);
    metrics.JobSubmitted(v1::TRAIN, invented);
    metrics.JobRecovered(invented);
  }
  for (int kind = 0; kind < 4; ++kind) {
    for (int state = 0; state < 11; ++state) {
      for (int reason = 0; reason < 18; ++reason) {
        metrics.JobFinished(static_cast<v1::JobKind>(kind), static_cast<v1::JobState>(state),
                            static_cast<v1::StateReason>(reason));
      }
    }
    for (int outcome = 0; outcome < 15; ++outcome) {
      metrics.AttemptEnded(static_cast<v1::JobKind>(kind),
                           static_cast<v1::AttemptOutcome>(outcome));
    }
    metrics.JobWaited(static_cast<v1::JobKind>(kind), 1);
    metrics.NonfiniteLoss(static_cast<v1::JobKind>(kind));
  }
}

TEST(T30, TheSeriesCapHolds) {
  Metrics metrics(LargestOptions());
  AddLargestMachine(metrics);
  const auto address = metrics.Serve("127.0.0.1:0");
  ASSERT_TRUE(address.ok()) << address.status();
  Stress(metrics);
  const Exposition shown(Scrape(*address));
  EXPECT_LE(shown.size(), kMaxSeries);
  for (const Budget& budget : MetricsTable()) {
    int series = 0;
    for (const std::string& name : budget.names) series += shown.CountFamily(name);
    EXPECT_LE(series, budget.series) << budget.names[0];
  }
}

TEST(T30, PromtoolAcceptsWhatALiveServerExposes) {
  const TemporaryFolder folder;
  const ServerProcess server(folder.path() + "/data",
                             {"--worker", absl::StrCat(ADAMANT_TEST_PROGRAMS, "/fake_worker")});
  EXPECT_EQ(server.Cli({"server", "status"}).exit_code, 0);
  const std::string text = Scrape(server.metrics_address());
  const Exposition shown(text);
  EXPECT_LE(shown.size(), kMaxSeries);
  EXPECT_GE(shown["grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"GetServerStatus\","
                  "grpc_service=\"adamant.v1.SystemService\",grpc_type=\"unary\"}"],
            1);
  EXPECT_EQ(shown["adamant_slot_job_info{device=\"cpu\",kind=\"idle\",slot=\"0\"}"], 1);
  EXPECT_GT(shown["adamant_store_transaction_seconds_count{op=\"other\"}"] +
                shown["adamant_store_transaction_seconds_count{op=\"read\"}"],
            0);
  const std::string promtool = absl::StrCat(ADAMANT_SOURCE, "/.deps/promtool/promtool");
  if (!std::filesystem::exists(promtool)) GTEST_SKIP() << "scripts/setup unpacks promtool";
  std::ofstream(folder.path() + "/metrics") << text;
  EXPECT_EQ(std::system((promtool + " check metrics < " + folder.path() + "/metrics").c_str()), 0);
}

}  // namespace
}  // namespace adamant::testing
