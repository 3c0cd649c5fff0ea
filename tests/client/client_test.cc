// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "client/error.h"
#include "tests/support/fake_server.h"

namespace adamant {
namespace {

using testing::ErrorWith;
using testing::FakeServer;
using ::testing::MatchesRegex;

TEST(Metrics, AreCollectedFromAllPages) {
  FakeServer server;
  for (int i = 0; i < 2500; ++i) {
    server.jobs.points.emplace_back().set_step(i);
  }
  v1::ListMetricPointsRequest request;
  request.set_job("jobs/a");
  const auto points = server.MakeClient()->ListMetricPoints(request);
  ASSERT_TRUE(points.ok()) << points.status();
  ASSERT_EQ(points->size(), 2500u);
  EXPECT_EQ(points->back().step(), 2499);
  EXPECT_EQ(server.jobs.metric_pages.size(), 3u);
}

TEST(Headers, CarryOneTraceAndTheTokenOfTheFile) {
  FakeServer server;
  const std::string path = ::testing::TempDir() + NewUuid();
  std::ofstream(path) << "adm_key_secret\n";
  ClientOptions options;
  options.token_file = path;
  const auto client = server.MakeClient(options);
  ASSERT_TRUE(client->GetJob("jobs/a").ok());
  const std::string first = server.jobs.traceparent;
  EXPECT_THAT(first, MatchesRegex("00-[0-9a-f]{32}-[0-9a-f]{16}-01"));
  EXPECT_EQ(first.substr(3, 32), client->trace_id());
  EXPECT_EQ(server.jobs.authorization, "Bearer adm_key_secret");
  ASSERT_TRUE(client->GetJob("jobs/a").ok());
  EXPECT_EQ(server.jobs.traceparent.substr(3, 32), client->trace_id());
  EXPECT_NE(server.jobs.traceparent, first);
  EXPECT_TRUE(absl::IsPermissionDenied(Client::Create("example.org:1", options).status()));
  const std::string authority = path + ".pem";
  std::ofstream(authority) << "-----BEGIN CERTIFICATE-----\n";
  options.tls_ca = authority;
  EXPECT_TRUE(Client::Create("example.org:1", options).ok());
  options.token_file = path + ".absent";
  EXPECT_TRUE(absl::IsNotFound(Client::Create("example.org:1", options).status()));
  std::filesystem::remove(path);
  std::filesystem::remove(authority);
}

TEST(Submit, AlwaysSendsARequestId) {
  FakeServer server;
  v1::JobSpec spec;
  spec.mutable_train();
  ASSERT_TRUE(server.MakeClient()->Submit(spec, {}).ok());
  EXPECT_THAT(server.jobs.train.options().request_id(),
              MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
}

TEST(Submit, KeepsTheReasonAndEveryViolation) {
  FakeServer server;
  server.jobs.submit_status = ErrorWith(grpc::INVALID_ARGUMENT, "2 violations", "BAD_PARAMETER",
                                        {{"a.b", "too large"}, {"c", "unknown"}});
  v1::JobSpec spec;
  spec.mutable_attack();
  const ClientError error = DecodeError(server.MakeClient()->Submit(spec, {}).status());
  EXPECT_EQ(error.reason, "BAD_PARAMETER");
  ASSERT_EQ(error.violations.size(), 2u);
  EXPECT_EQ(error.violations[1].field, "c");
}

TEST(Create, RefusesWhatIsNoAddress) {
  for (const char* text : {"", "localhost", ":50061", "host:0", "host:99999", "unix:"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Client::Create(text).status())) << text;
  }
  EXPECT_TRUE(Client::Create("127.0.0.1:50061").ok());
  EXPECT_TRUE(Client::Create("unix:/run/adamant.sock").ok());
}

}  // namespace
}  // namespace adamant
