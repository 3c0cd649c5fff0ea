// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "absl/time/clock.h"
#include "common/error_reason.h"
#include "server/telemetry/metrics.h"
#include "tests/support/exposition.h"
#include "tests/support/metrics_table.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;
using namespace ::adamant::testing;  // NOLINT: helpers of the tests

constexpr char kGetJob[] = "/adamant.v1.RobustnessService/GetJob";
constexpr char kWatchJob[] = "/adamant.v1.RobustnessService/WatchJob";
constexpr char kWaitJob[] = "/adamant.v1.RobustnessService/WaitJob";

std::string Handled(const std::string& code) {
  return "grpc_server_handled_total{grpc_code=\"" + code +
         "\",grpc_method=\"GetJob\",grpc_service=\"adamant.v1.RobustnessService\","
         "grpc_type=\"unary\"}";
}

std::string WatchLabels() {
  return "{grpc_method=\"WatchJob\",grpc_service=\"adamant.v1.RobustnessService\","
         "grpc_type=\"server_stream\"}";
}

TEST(Metrics, HaveEveryFamilyOfTheTableFromTheStart) {
  Metrics metrics(LargestOptions());
  AddLargestMachine(metrics);
  const Exposition shown(metrics.Text());
  for (const Budget& budget : MetricsTable()) {
    for (const std::string& name : budget.names) EXPECT_GT(shown.CountFamily(name), 0) << name;
  }
}

TEST(Metrics, ExposeNothingBesideTheTable) {
  Metrics metrics(LargestOptions());
  AddLargestMachine(metrics);
  const Exposition shown(metrics.Text());
  int listed = 0;
  for (const Budget& budget : MetricsTable()) {
    for (const std::string& name : budget.names) listed += shown.CountFamily(name);
  }
  EXPECT_EQ(listed, shown.size());
}

TEST(Metrics, KnowTheirLabelsFromTheStart) {
  Metrics metrics({.slots = 1, .attacks = {"pgd"}, .explainers = {"grad_cam"}});
  const Exposition shown(metrics.Text());
  for (const char* series : {
           "adamant_jobs{kind=\"train\",state=\"queued\"}",
           "adamant_jobs_submitted_total{kind=\"explain\",outcome=\"rejected\"}",
           "adamant_jobs_finished_total{kind=\"attack\",reason=\"poison\",state=\"failed\"}",
           "adamant_job_attempts_total{kind=\"train\",outcome=\"worker_lost\"}",
           "adamant_attack_gradient_queries_total{attack=\"pgd\"}",
           "adamant_explain_maps_total{explainer=\"grad_cam\"}",
           "adamant_train_step_seconds_count{phase=\"attack\"}",
           "adamant_store_transaction_seconds_count{op=\"claim\"}",
           "adamant_worker_exits_total{cause=\"oom\"}",
           "adamant_workers{state=\"service\"}",
           "adamant_quota_rejections_total{quota=\"rate\"}",
           "adamant_auth_failures_total{reason=\"bad_credential\"}",
           "adamant_watch_dropped_total{reason=\"slow_consumer\"}",
           "adamant_collector_errors_total{collector=\"gpu\"}",
           "grpc_server_in_flight{grpc_method=\"WatchJob\"}",
           "adamant_draining",
       })
    EXPECT_EQ(shown[series], 0) << series;
}

TEST(Metrics, CountCallsByMethodAndCode) {
  Metrics metrics({});
  metrics.RpcStarted(kGetJob);
  metrics.RpcStarted(kGetJob);
  metrics.RpcHandled(kGetJob, 0, 0.003);
  const Exposition during(metrics.Text());
  EXPECT_EQ(during["grpc_server_in_flight{grpc_method=\"unary\"}"], 1);
  metrics.RpcHandled(kGetJob, 5, 0.003);
  const Exposition after(metrics.Text());
  EXPECT_EQ(after["grpc_server_in_flight{grpc_method=\"unary\"}"], 0);
  EXPECT_EQ(after[Handled("OK")], 1);
  EXPECT_EQ(after[Handled("NotFound")], 1);
  const std::string labels =
      "grpc_method=\"GetJob\",grpc_service=\"adamant.v1.RobustnessService\",grpc_type=\"unary\"";
  EXPECT_EQ(after["grpc_server_handling_seconds_bucket{" + labels + ",le=\"0.0025\"}"], 0);
  EXPECT_EQ(after["grpc_server_handling_seconds_bucket{" + labels + ",le=\"0.005\"}"], 2);
  EXPECT_EQ(after["grpc_server_started_total{" + labels + "}"], 2);
}

TEST(Metrics, TimeTransfersOfBlobs) {
  Metrics metrics({});
  metrics.RpcHandled("/adamant.v1.BlobService/Write", 0, 3);
  metrics.RpcHandled("/adamant.v1.BlobService/Read", 0, 5);
  metrics.RpcHandled("/adamant.v1.BlobService/Read", 1, 100);  // broken off
  const Exposition shown(metrics.Text());
  EXPECT_EQ(shown["adamant_blob_transfer_seconds_sum{direction=\"upload\"}"], 3);
  EXPECT_EQ(shown["adamant_blob_transfer_seconds_sum{direction=\"download\"}"], 5);
}

TEST(Metrics, CountMessagesOfStreamsAndTimeNoLongPolls) {
  Metrics metrics({});
  metrics.RpcReceived(kWatchJob);
  metrics.RpcSent(kWatchJob);
  metrics.RpcSent(kWatchJob);
  metrics.RpcSent(kGetJob);
  metrics.RpcStarted(kWaitJob);
  metrics.RpcHandled(kWaitJob, 0, 30);
  metrics.RpcStarted("/adamant.v1.Other/Method");
  const Exposition shown(metrics.Text());
  EXPECT_EQ(shown["grpc_server_msg_received_total" + WatchLabels()], 1);
  EXPECT_EQ(shown["grpc_server_msg_sent_total" + WatchLabels()], 2);
  for (const auto& [series, value] : shown.values()) {
    const bool timed = series.rfind("grpc_server_handling_seconds", 0) == 0;
    EXPECT_FALSE(timed && series.find("WaitJob") != std::string::npos) << series;
  }
}

TEST(Metrics, SortFailedCallsByTheirReason) {
  Metrics metrics({});
  metrics.RpcFailed(kGetJob, "BAD_CREDENTIAL");
  metrics.RpcFailed(kGetJob, "RATE_LIMITED");
  metrics.RpcFailed(kGetJob, "QUOTA_SOMETHING_NEW");
  metrics.RpcFailed(kGetJob, "JOB_NOT_FOUND");
  metrics.RpcFailed(kGetJob, "DRAINING");
  metrics.RpcFailed(kWatchJob, "SLOW_CONSUMER");
  metrics.RpcFailed(kWatchJob, "DRAINING");
  const Exposition shown(metrics.Text());
  EXPECT_EQ(shown["adamant_auth_failures_total{reason=\"bad_credential\"}"], 1);
  EXPECT_EQ(shown["adamant_auth_failures_total{reason=\"other\"}"], 0);
  EXPECT_EQ(shown["adamant_quota_rejections_total{quota=\"rate\"}"], 1);
  EXPECT_EQ(shown["adamant_quota_rejections_total{quota=\"other\"}"], 1);
  EXPECT_EQ(shown["adamant_watch_dropped_total{reason=\"slow_consumer\"}"], 1);
  EXPECT_EQ(shown["adamant_watch_dropped_total{reason=\"draining\"}"], 1);
}

TEST(Metrics, CountAStoreFailureOnceHoweverManyCallsItFails) {
  Metrics metrics({});
  metrics.StoreError("commit");
  metrics.RpcFailed(kGetJob, "STORE_UNAVAILABLE");
  metrics.RpcFailed(kGetJob, "STORE_UNAVAILABLE");
  metrics.StoreError("something new");
  const Exposition shown(metrics.Text());
  EXPECT_EQ(shown["adamant_store_errors_total{op=\"commit\"}"], 1);
  EXPECT_EQ(shown["adamant_store_errors_total{op=\"other\"}"], 1);
}

TEST(Metrics, CountUnknownAttacksAsOther) {
  Metrics metrics({.slots = 1, .attacks = {"pgd"}});
  metrics.AttackSamples("pgd", 10, 4);
  metrics.AttackSamples("mine", 3, 0);
  const Exposition shown(metrics.Text());
  EXPECT_EQ(shown["adamant_attack_samples_total{attack=\"pgd\"}"], 10);
  EXPECT_EQ(shown["adamant_attack_successes_total{attack=\"pgd\"}"], 4);
  EXPECT_EQ(shown["adamant_attack_samples_total{attack=\"other\"}"], 3);
}

TEST(Metrics, ShowWhatTheCollectorsSay) {
  Metrics metrics({.slots = 2});
  metrics.AddCollector("jobs", [](MetricsSample& sample) {
    sample.jobs[{v1::ATTACK, v1::RUNNING}] = 3;
    sample.oldest_queued[v1::TRAIN] = 1000;
    sample.last_success[v1::TRAIN] = 2000;
    sample.workers["busy"] = 1;
    sample.draining = true;
    sample.slots = {{.device = "cpu", .kind = "train", .metrics = {{"loss", 0.5}, {"unlisted", 1}}},
                    {.device = "cpu"}};
    return absl::OkStatus();
  });
  metrics.AddCollector("blobs", [](MetricsSample& sample) {
    sample.cas_bytes = 77;
    sample.cas_capacity_bytes = 100;
    sample.cas_corruptions = 2;
    return absl::UnavailableError("half of it");
  });
  const std::string text = metrics.Text();
  const Exposition shown(text);
  EXPECT_EQ(shown["adamant_jobs{kind=\"attack\",state=\"running\"}"], 3);
  EXPECT_EQ(shown["adamant_oldest_queued_job_timestamp_seconds{kind=\"train\"}"], 1000);
  EXPECT_TRUE(std::isnan(shown["adamant_oldest_queued_job_timestamp_seconds{kind=\"attack\"}"]));
  EXPECT_EQ(shown["adamant_last_job_success_timestamp_seconds{kind=\"train\"}"], 2000);
  EXPECT_EQ(shown["adamant_workers{state=\"busy\"}"], 1);
  EXPECT_EQ(shown["adamant_cas_bytes"], 77);
  EXPECT_EQ(shown["adamant_cas_corruptions_total"], 2);
  EXPECT_EQ(shown["adamant_draining"], 1);
  EXPECT_EQ(shown["adamant_active_job_metric{name=\"loss\",slot=\"0\"}"], 0.5);
  EXPECT_TRUE(std::isnan(shown["adamant_active_job_metric{name=\"loss\",slot=\"1\"}"]));
  EXPECT_EQ(shown["adamant_slot_job_info{device=\"cpu\",kind=\"train\",slot=\"0\"}"], 1);
  EXPECT_EQ(shown["adamant_slot_job_info{device=\"cpu\",kind=\"idle\",slot=\"1\"}"], 1);
  EXPECT_EQ(shown["adamant_collector_errors_total{collector=\"blobs\"}"], 1);
  EXPECT_EQ(shown["adamant_collector_errors_total{collector=\"jobs\"}"], 0);
  EXPECT_EQ(text.find("unlisted"), std::string::npos);
}

TEST(Metrics, DoNotAskTheCollectorsTwiceWithinASecond) {
  Metrics metrics({});
  int asked = 0;
  metrics.AddCollector("jobs", [&asked](MetricsSample&) {
    ++asked;
    return absl::OkStatus();
  });
  const absl::Time start = absl::Now();
  metrics.Text();
  metrics.Text();
  // On a machine that took longer the second answer may be a new one.
  EXPECT_TRUE(asked == 1 || absl::Now() - start >= absl::Seconds(1)) << asked;
}

TEST(Metrics, ShowASlotOnceWhenItsJobChanges) {
  Metrics metrics({.slots = 1});
  std::string kind = "train";
  const SampleCollector collector = [&kind](MetricsSample& sample) {
    sample.slots = {{.device = "cpu", .kind = kind}};
    return absl::OkStatus();
  };
  metrics.AddCollector("jobs", collector);
  EXPECT_EQ(Exposition(metrics.Text()).CountFamily("adamant_slot_job_info"), 1);
  kind = "";
  metrics.AddCollector("jobs", collector);  // asks again at once
  const Exposition shown(metrics.Text());
  EXPECT_EQ(shown.CountFamily("adamant_slot_job_info"), 1);
  EXPECT_EQ(shown["adamant_slot_job_info{device=\"cpu\",kind=\"idle\",slot=\"0\"}"], 1);
}

TEST(Metrics, ShowGpusAndTheSlotsOnThem) {
  Metrics metrics({.slots = 2});
  metrics.AddCollector("gpu", [](MetricsSample& sample) {
    sample.gpus = {{.index = 0, .memory_used_bytes = 5, .memory_total_bytes = 10, .xid_errors = 2},
                   {.index = 1, .readable = false}};
    sample.slots = {{.device = "cuda:0", .kind = "train"}, {.device = "cuda:1"}};
    return absl::OkStatus();
  });
  const Exposition shown(metrics.Text());
  EXPECT_EQ(shown["adamant_gpu_memory_used_bytes{gpu=\"0\"}"], 5);
  EXPECT_EQ(shown["adamant_gpu_xid_errors_total{gpu=\"0\"}"], 2);
  EXPECT_EQ(shown["adamant_gpu_healthy{gpu=\"0\"}"], 1);
  EXPECT_EQ(shown["adamant_gpu_healthy{gpu=\"1\"}"], 0);
  EXPECT_TRUE(std::isnan(shown["adamant_gpu_memory_used_bytes{gpu=\"1\"}"]));
  EXPECT_EQ(shown["adamant_gpu_slots{gpu=\"0\",state=\"busy\"}"], 1);
  EXPECT_EQ(shown["adamant_gpu_slots{gpu=\"1\",state=\"free\"}"], 1);
}

TEST(Metrics, AreServedOnAFreePort) {
  Metrics metrics({.slots = 1});
  const auto address = metrics.Serve("127.0.0.1:0");
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_NE(*address, "127.0.0.1:0");
  const Exposition shown(Scrape(*address));
  EXPECT_GT(shown["process_resident_memory_bytes"], 0);
  EXPECT_GT(shown["process_start_time_seconds"], 1e9);
}

TEST(Metrics, SayThatTheAddressIsTaken) {
  Metrics first({.slots = 1});
  const auto address = first.Serve("127.0.0.1:0");
  ASSERT_TRUE(address.ok());
  Metrics second({.slots = 1});
  EXPECT_EQ(ReasonOf(second.Serve(*address).status()), "ADDRESS_IN_USE");
}

TEST(Metrics, AreCountedByManyThreadsWhileTheyAreScraped) {
  Metrics metrics({.slots = 1, .attacks = {"pgd"}});
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&metrics, i] {
      for (int n = 0; n < 500; ++n) {
        metrics.RpcStarted(kGetJob);
        metrics.RpcHandled(kGetJob, (n + i) % 17, 0.001);
        metrics.AttackSamples("pgd", 1, 0);
      }
    });
  }
  for (int i = 0; i < 5; ++i) metrics.Text();
  for (std::thread& thread : threads) thread.join();
  const Exposition shown(metrics.Text());
  EXPECT_EQ(shown["adamant_attack_samples_total{attack=\"pgd\"}"], 2000);
  EXPECT_EQ(shown["grpc_server_in_flight{grpc_method=\"unary\"}"], 0);
}

}  // namespace
}  // namespace adamant
