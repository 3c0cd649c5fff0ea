// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "client/client.h"
#include "tests/support/fake_server.h"

namespace adamant {
namespace {

using testing::FakeServer;

TEST(Verbs, AreTriedAgainWhileTheServerIsUnavailable) {
  FakeServer server;
  const auto client = server.MakeClient();
  for (auto verb : {&Client::CancelJob, &Client::PauseJob, &Client::ResumeJob}) {
    server.jobs.unavailable = 1;  // more failures than successes would stop the retries
    EXPECT_TRUE(((*client).*verb)("jobs/a", "").ok());
  }
  server.jobs.unavailable = 1;
  EXPECT_TRUE(client->DeleteJob("jobs/a").ok());
  EXPECT_EQ(server.jobs.verbs.size(), 8u);
  EXPECT_EQ(server.jobs.verbs.back(), "delete jobs/a");
}

TEST(Verbs, GiveUpAfterFiveAttempts) {
  FakeServer server;
  server.jobs.unavailable = 100;
  EXPECT_TRUE(absl::IsUnavailable(server.MakeClient()->PauseJob("jobs/a").status()));
  EXPECT_EQ(server.jobs.verbs.size(), 5u);
}

TEST(Verbs, RetryAlwaysSendsARequestId) {
  FakeServer server;
  ASSERT_TRUE(server.MakeClient()->RetryJob("jobs/a", {}).ok());
  EXPECT_EQ(server.jobs.retry.name(), "jobs/a");
  EXPECT_EQ(server.jobs.retry.options().request_id().size(), 36u);
}

TEST(Explain, IsNotTriedAgain) {
  FakeServer server;
  server.jobs.unavailable = 1;
  EXPECT_TRUE(absl::IsUnavailable(server.MakeClient()->Explain({}).status()));
  EXPECT_EQ(server.jobs.explains, 1);
}

// A server that closes its connections cancels the calls that meet it.
TEST(Verbs, AreTriedAgainWhenTheServerCancelsThem) {
  FakeServer server;
  server.jobs.refusal = grpc::StatusCode::CANCELLED;
  server.jobs.unavailable = 1;
  EXPECT_TRUE(server.MakeClient()->PauseJob("jobs/a").ok());
  EXPECT_EQ(server.jobs.verbs.size(), 2u);
}

TEST(Verbs, AreUnavailableWhenTheServerGoesOnCancellingThem) {
  FakeServer server;
  server.jobs.refusal = grpc::StatusCode::CANCELLED;
  server.jobs.unavailable = 100;
  EXPECT_TRUE(absl::IsUnavailable(server.MakeClient()->PauseJob("jobs/a").status()));
  EXPECT_EQ(server.jobs.verbs.size(), 5u);
}

TEST(Explain, IsUnavailableWhenTheServerCancelsItAndCancelledWhenTheCallerDoes) {
  FakeServer server;
  server.jobs.refusal = grpc::StatusCode::CANCELLED;
  server.jobs.unavailable = 1;
  const auto client = server.MakeClient();
  EXPECT_TRUE(absl::IsUnavailable(client->Explain({}).status()));
  EXPECT_EQ(server.jobs.explains, 1);
  CancelToken cancel;
  cancel.Cancel();
  EXPECT_TRUE(absl::IsCancelled(client->Explain({}, absl::Seconds(60), &cancel).status()));
}

}  // namespace
}  // namespace adamant
