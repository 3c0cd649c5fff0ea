// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "common/error_reason.h"
#include "common/files.h"
#include "server/telemetry/log.h"
#include "server/telemetry/metrics.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;

MetricsOptions FullOptions() {
  MetricsOptions options{.version = "1", .commit = "c", .libtorch = "2", .grpc = "g", .slots = 16};
  for (int i = 0; i < 32; ++i) options.attacks.push_back("attack" + std::to_string(i));
  for (int i = 0; i < 12; ++i) options.explainers.push_back("explainer" + std::to_string(i));
  return options;
}

int CountSeries(const std::string& text) {
  int series = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty()))
    series += line[0] == '#' ? 0 : 1;
  return series;
}

// The answer to GET /metrics.
std::string Scrape(const std::string& address) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(address, ':');
  int port = 0;
  EXPECT_TRUE(absl::SimpleAtoi(parts.second, &port));
  const Descriptor socket_fd(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in peer{};
  peer.sin_family = AF_INET;
  peer.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, parts.first.c_str(), &peer.sin_addr);
  EXPECT_EQ(connect(socket_fd.get(), reinterpret_cast<sockaddr*>(&peer), sizeof(peer)), 0);
  EXPECT_TRUE(WriteAll(socket_fd.get(), "GET /metrics HTTP/1.0\r\n\r\n").ok());
  std::string answer;
  char buffer[65536];
  ssize_t got;
  while ((got = read(socket_fd.get(), buffer, sizeof(buffer))) > 0)
    answer.append(buffer, static_cast<size_t>(got));
  return answer;
}

TEST(Metrics, StayBelowTheSeriesBudgetAtWorst) {
  Metrics metrics(FullOptions());
  const int at_start = CountSeries(metrics.Text());
  for (int i = 0; i < 1000; ++i) {
    metrics.RpcHandled("/adamant.v1.RobustnessService/GetJob", i % 20, 0.1);
    metrics.RpcHandled("/adamant.v1.BlobService/Read", i % 17, 0.1);
    metrics.AttackSamples("new" + std::to_string(i), 1, 1);
    metrics.ExplainMaps("new" + std::to_string(i), 1);
    metrics.TrainSteps("new" + std::to_string(i), 1, 1);
  }
  const int after = CountSeries(metrics.Text());
  EXPECT_LT(after, 1500);
  EXPECT_LE(after - at_start, 40);
}

TEST(Metrics, HaveTheirKnownLabelSetsFromTheStart) {
  Metrics metrics(FullOptions());
  const std::string text = metrics.Text();
  for (const char* line : {
           "adamant_jobs{kind=\"train\",state=\"queued\"} 0",
           "adamant_jobs_submitted_total{kind=\"explain\",outcome=\"rejected\"} 0",
           "adamant_attack_samples_total{attack=\"attack30\"} 0",
           "adamant_worker_exits_total{cause=\"oom\"} 0",
           "adamant_draining 0",
           "grpc_method=\"WatchJob\"",
       })
    EXPECT_THAT(text, HasSubstr(line));
}

TEST(Metrics, CountUnknownAttacksAsOther) {
  Metrics metrics({.slots = 1, .attacks = {"pgd"}});
  metrics.AttackSamples("pgd", 10, 4);
  metrics.AttackSamples("mine", 3, 0);
  const std::string text = metrics.Text();
  EXPECT_THAT(text, HasSubstr("adamant_attack_samples_total{attack=\"pgd\"} 10"));
  EXPECT_THAT(text, HasSubstr("adamant_attack_successes_total{attack=\"pgd\"} 4"));
  EXPECT_THAT(text, HasSubstr("adamant_attack_samples_total{attack=\"other\"} 3"));
}

TEST(Metrics, AskTheCollectorsWhenTheyAreScraped) {
  Metrics metrics({.slots = 2});
  metrics.AddCollector("jobs", [](MetricsSample& sample) {
    sample.jobs[{v1::ATTACK, v1::RUNNING}] = 3;
    sample.cas_bytes = 77;
    sample.draining = true;
    sample.slots = {{.metrics = {{"loss", 0.5}, {"unlisted", 1}}}, {}};
    return absl::OkStatus();
  });
  const std::string text = metrics.Text();
  EXPECT_THAT(text, HasSubstr("adamant_jobs{kind=\"attack\",state=\"running\"} 3"));
  EXPECT_THAT(text, HasSubstr("adamant_cas_bytes 77"));
  EXPECT_THAT(text, HasSubstr("adamant_draining 1"));
  EXPECT_THAT(text, HasSubstr("adamant_active_job_metric{name=\"loss\",slot=\"0\"} 0.5"));
  EXPECT_THAT(text, HasSubstr("adamant_active_job_metric{name=\"loss\",slot=\"1\"} Nan"));
  EXPECT_EQ(text.find("unlisted"), std::string::npos);
}

TEST(Metrics, AreServedOnAFreePort) {
  Metrics metrics({.slots = 1});
  const auto address = metrics.Serve("127.0.0.1:0");
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_NE(*address, "127.0.0.1:0");
  const std::string answer = Scrape(*address);
  EXPECT_THAT(answer, HasSubstr("adamant_build_info"));
  EXPECT_THAT(answer, HasSubstr("process_resident_memory_bytes"));
  EXPECT_LT(CountSeries(answer), 1500);
}

TEST(Metrics, SayThatTheAddressIsTaken) {
  Metrics first({.slots = 1});
  const auto address = first.Serve("127.0.0.1:0");
  ASSERT_TRUE(address.ok());
  Metrics second({.slots = 1});
  EXPECT_EQ(ReasonOf(second.Serve(*address).status()), "ADDRESS_IN_USE");
}

TEST(JsonLine, EscapesWhatAClientSent) {
  const std::string line = JsonLine("2026-01-01T00:00:00Z", LogLevel::kInfo, "rpc", "o\"k\\\n",
                                    {{"name", "a\xff\tb"}, {"count", 3}, {"seconds", 0.5}});
  EXPECT_EQ(line,
            "{\"ts\":\"2026-01-01T00:00:00Z\",\"level\":\"info\",\"event\":\"rpc\","
            "\"message\":\"o\\\"k\\\\\\\\\\\\n\",\"name\":\"a\\\\xff\\\\tb\",\"count\":3,"
            "\"seconds\":0.5}");
}

TEST(LogField, CutsLongTexts) {
  EXPECT_EQ(LogField("name", std::string(5000, 'a')).value().size(), 200u);
}

TEST(SetUpLog, RefusesUnknownLevelsAndFormats) {
  EXPECT_FALSE(SetUpLog("loud", "text").ok());
  EXPECT_FALSE(SetUpLog("info", "xml").ok());
}

}  // namespace
}  // namespace adamant
