// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "common/error_reason.h"
#include "server/store/commit_queue.h"

namespace adamant {
namespace {

using ::testing::ElementsAre;

// A database that counts what happens to it; its calls come from the writer thread.
struct FakeDatabase {
  TransactionHooks Hooks() {
    return {.begin =
                [this] {
                  in_transaction = 0;
                  return absl::OkStatus();
                },
            .commit =
                [this] {
                  if (commit_result.ok()) commits.push_back(in_transaction);
                  return commit_result;
                },
            .rollback =
                [this] {
                  ++rollbacks;
                  return absl::OkStatus();
                },
            .status = [this] { return status; },
            .on_fatal = [this](absl::Status) { ++fatal; },
            .on_error = [this](absl::string_view op) { errors.emplace_back(op); }};
  }

  StoreCommand Write(absl::BlockingCounter& done, int event_rows = 0) {
    return {.writes = true,
            .run =
                [this, event_rows](StoreEffect& effect) {
                  ++in_transaction;
                  effect.event_rows = event_rows;
                },
            .finish = [&done](const absl::Status&) { done.DecrementCount(); }};
  }

  absl::Status commit_result;
  absl::Status status;
  int in_transaction = 0;
  std::vector<int> commits;
  int rollbacks = 0;
  int fatal = 0;
  std::vector<std::string> errors;
};

// Keeps the writer busy, so that what is added meanwhile waits together.
class Blocker {
 public:
  explicit Blocker(CommitQueue& queue) {
    queue.Add({.writes = true,
               .run =
                   [this](StoreEffect&) {
                     running_.Notify();
                     release_.WaitForNotification();
                   },
               .finish = [](const absl::Status&) {}});
    running_.WaitForNotification();
  }
  void Release() { release_.Notify(); }

 private:
  absl::Notification running_;
  absl::Notification release_;
};

absl::Status RunOne(CommitQueue& queue, std::function<void()> run = [] {}) {
  absl::Notification done;
  absl::Status result;
  queue.Add({.writes = true,
             .run = [&](StoreEffect&) { run(); },
             .finish =
                 [&](const absl::Status& status) {
                   result = status;
                   done.Notify();
                 }});
  done.WaitForNotification();
  return result;
}

TEST(CommitQueue, TakesUpTo64CommandsIntoOneTransaction) {
  FakeDatabase database;
  absl::BlockingCounter done(150);
  CommitQueue queue(database.Hooks());
  Blocker blocker(queue);
  for (int i = 0; i < 150; ++i) queue.Add(database.Write(done));
  blocker.Release();
  done.Wait();
  EXPECT_THAT(database.commits, ElementsAre(0, 64, 64, 22));
}

TEST(CommitQueue, EndsATransactionAt500EventRows) {
  FakeDatabase database;
  absl::BlockingCounter done(5);
  CommitQueue queue(database.Hooks());
  Blocker blocker(queue);
  for (int i = 0; i < 5; ++i) queue.Add(database.Write(done, 250));
  blocker.Release();
  done.Wait();
  EXPECT_THAT(database.commits, ElementsAre(0, 2, 2, 1));
}

TEST(CommitQueue, RunsReadsBetweenCommitsBeforeWaitingWrites) {
  FakeDatabase database;
  CommitQueue queue(database.Hooks());
  absl::BlockingCounter done(2);
  int seen = -1;
  Blocker blocker(queue);
  queue.Add(database.Write(done));
  queue.Add({.run = [&](StoreEffect&) { seen = static_cast<int>(database.commits.size()); },
             .finish = [&](const absl::Status&) { done.DecrementCount(); }});
  blocker.Release();
  done.Wait();
  EXPECT_EQ(seen, 1);  // after the commit that was under way
}

TEST(CommitQueue, ALingeringCommandSharesTheTransactionOfTheNext) {
  FakeDatabase database;
  CommitQueue queue(database.Hooks());
  bool shared = false;
  // Another try when this thread slept for 20 ms between the two.
  for (int round = 0; round < 200 && !shared; ++round) {
    absl::BlockingCounter done(2);
    StoreCommand patient = database.Write(done);
    patient.may_linger = true;
    queue.Add(std::move(patient));
    queue.Add(database.Write(done));
    done.Wait();
    shared = database.commits.back() == 2;
  }
  EXPECT_TRUE(shared);
  absl::BlockingCounter alone(1);
  StoreCommand patient = database.Write(alone);
  patient.may_linger = true;
  queue.Add(std::move(patient));
  alone.Wait();  // nobody comes: it goes by itself
}

TEST(CommitQueue, RefusesEverythingAfterAFailedCommit) {
  FakeDatabase database;
  database.commit_result = absl::InternalError("disk I/O error");
  CommitQueue queue(database.Hooks());
  int ran = 0;
  EXPECT_EQ(ReasonOf(RunOne(queue, [&] { ++ran; })), "STORE_UNAVAILABLE");
  EXPECT_EQ(ReasonOf(RunOne(queue, [&] { ++ran; })), "STORE_UNAVAILABLE");
  EXPECT_EQ(ReasonOf(queue.failure()), "STORE_UNAVAILABLE");
  EXPECT_EQ(ran, 1);  // the second command never touched the database
  EXPECT_EQ(database.fatal, 1);
  EXPECT_EQ(database.rollbacks, 0);
}

TEST(CommitQueue, ACommandThatBreaksTheDatabaseIsFatalToo) {
  FakeDatabase database;
  CommitQueue queue(database.Hooks());
  const absl::Status status =
      RunOne(queue, [&] { database.status = absl::DataLossError("malformed"); });
  EXPECT_EQ(ReasonOf(status), "STORE_UNAVAILABLE");
  EXPECT_THAT(database.commits, ElementsAre());
  EXPECT_EQ(database.fatal, 1);
}

TEST(CommitQueue, AFullDiskRefusesTheBatchAndGoesOn) {
  FakeDatabase database;
  CommitQueue queue(database.Hooks());
  const absl::Status refused =
      RunOne(queue, [&] { database.commit_result = absl::ResourceExhaustedError("full"); });
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(refused), "STORAGE_FULL");
  EXPECT_EQ(database.rollbacks, 1);
  EXPECT_TRUE(RunOne(queue, [&] { database.commit_result = absl::OkStatus(); }).ok());
  EXPECT_EQ(database.fatal, 0);
  EXPECT_THAT(database.errors, ElementsAre("commit"));
}

TEST(CommitQueue, TellsWhetherACommitOrAReadFailed) {
  FakeDatabase database;
  CommitQueue queue(database.Hooks());
  EXPECT_TRUE(RunOne(queue, [] {}).ok());
  EXPECT_THAT(database.errors, ElementsAre());
  absl::BlockingCounter done(1);
  queue.Add({.writes = false,
             .run = [&](StoreEffect&) { database.status = absl::DataLossError("malformed"); },
             .finish = [&done](const absl::Status&) { done.DecrementCount(); }});
  done.Wait();
  EXPECT_FALSE(RunOne(queue, [] {}).ok());  // refused, not tried
  EXPECT_THAT(database.errors, ElementsAre("read"));
}

TEST(CommitQueue, RunsWhatIsQueuedBeforeItEnds) {
  FakeDatabase database;
  absl::BlockingCounter done(100);
  {
    CommitQueue queue(database.Hooks());
    for (int i = 0; i < 100; ++i) queue.Add(database.Write(done));
  }
  done.Wait();
}

}  // namespace
}  // namespace adamant
