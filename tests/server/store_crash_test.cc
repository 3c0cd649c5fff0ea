// SPDX-License-Identifier: Apache-2.0
// Kills and breaks a process at the failpoints of the store, and opens what it left.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/failpoint.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "server/store/sqlite_store.h"
#include "tests/server/job_store_conformance.h"
#include "tests/support/temporary_folder.h"

namespace adamant {
namespace {

using testing::BlobOf;
using testing::SomeJob;
using testing::StoreClient;
using testing::TemporaryFolder;

constexpr char kFolder[] = "ADAMANT_STORE_CRASH_FOLDER";
constexpr int kJobs = 3;

absl::StatusOr<std::unique_ptr<JobStore>> OpenIn(const std::string& folder, int* fatal = nullptr) {
  return OpenSqliteStore({.path = folder + "/store.db", .on_fatal = [fatal](absl::Status) {
                            if (fatal != nullptr) ++*fatal;
                          }});
}

// The life of one job, an acknowledgement after each step. The child ends with the status of the
// first step that failed.
class Child {
 public:
  explicit Child(const std::string& folder)
      : acks_(open((folder + "/acks").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600)) {
    auto opened = OpenIn(folder, &fatal_);
    EXPECT_TRUE(opened.ok()) << opened.status();
    store_ = *std::move(opened);
  }

  absl::Status Live(int number) {
    StoreClient client(*store_);
    const absl::StatusOr<SubmittedJob> job =
        client.Submit(SomeJob(number, absl::StrCat("r", number)));
    RETURN_IF_ERROR(job.status());
    const std::string name = job->job.name();
    Ack("submit", name);
    RETURN_IF_ERROR(client.Claim(name).status());
    Ack("claim", name);
    RETURN_IF_ERROR(client
                        .Edit(name,
                              [](JobDraft& draft) {
                                AddEvent(draft, v1::WARNING, absl::Now()).mutable_warning();
                                return absl::OkStatus();
                              })
                        .status());
    Ack("event", name);
    RETURN_IF_ERROR(client.PutBlobs({BlobOf('a')}));
    RETURN_IF_ERROR(client
                        .Edit(name,
                              [](JobDraft& draft) {
                                *AddEvent(draft, v1::CHECKPOINT, absl::Now())
                                     .mutable_checkpoint()
                                     ->mutable_blob() = BlobOf('a');
                                *draft.job.add_artifacts()->mutable_blob() = BlobOf('a');
                                return absl::OkStatus();
                              })
                        .status());
    Ack("checkpoint", name);
    RETURN_IF_ERROR(client.Succeed(name).status());
    Ack("result", name);
    if (number == 0) return absl::OkStatus();
    RETURN_IF_ERROR(client.Delete(name));
    Ack("delete", name);
    return absl::OkStatus();
  }

  JobStore& store() { return *store_; }
  int fatal() const { return fatal_; }

 private:
  void Ack(const std::string& step, const std::string& name) {
    EXPECT_TRUE(WriteAll(acks_.get(), absl::StrCat(step, " ", name, "\n")).ok());
  }

  Descriptor acks_;
  int fatal_ = 0;
  std::unique_ptr<JobStore> store_;
};

// Disabled: they run only as children of the tests below.
TEST(StoreCrashChild, DISABLED_LivesThroughItsJobs) {
  Child child(std::getenv(kFolder));
  for (int i = 0; i < kJobs; ++i) ASSERT_TRUE(child.Live(i).ok());
}

TEST(StoreCrashChild, DISABLED_NeverWritesAgainAfterAnError) {
  Child child(std::getenv(kFolder));
  absl::Status failed;
  for (int i = 0; i < kJobs && failed.ok(); ++i) failed = child.Live(i);
  EXPECT_EQ(failed.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(failed), "STORE_UNAVAILABLE");
  StoreClient client(child.store());
  EXPECT_EQ(ReasonOf(client.Submit(SomeJob(9)).status()), "STORE_UNAVAILABLE");
  EXPECT_EQ(ReasonOf(client.Get("jobs/any").status()), "STORE_UNAVAILABLE");
  EXPECT_EQ(ReasonOf(client.List({"local", 50}).status()), "STORE_UNAVAILABLE");
  EXPECT_EQ(child.fatal(), 1);
}

TEST(StoreCrashChild, DISABLED_GoesOnAfterAFullDisk) {
  Child child(std::getenv(kFolder));
  StoreClient client(child.store());
  const absl::Status refused = client.Submit(SomeJob(7, "r7")).status();
  EXPECT_EQ(ReasonOf(refused), "STORAGE_FULL");
  EXPECT_EQ(client.Count(), 0);
  EXPECT_FALSE(client.Submit(SomeJob(7, "r7"))->deduplicated);
  EXPECT_EQ(child.fatal(), 0);
}

// Runs one test of this binary with the failpoints; returns its wait status.
int RunChild(const std::string& test, const std::string& folder, const std::string& failpoints) {
  const std::string filter = "--gtest_filter=StoreCrashChild.DISABLED_" + test;
  const std::string in_folder = absl::StrCat(kFolder, "=", folder);
  const std::string rules = "ADAMANT_FAILPOINTS=" + failpoints;
  const std::string log = absl::StrCat("ADAMANT_FAILPOINT_LOG=", folder, "/fired");
  char program[] = "/proc/self/exe";
  char also_disabled[] = "--gtest_also_run_disabled_tests";
  char* const args[] = {program, const_cast<char*>(filter.c_str()), also_disabled, nullptr};
  char* const environment[] = {const_cast<char*>(in_folder.c_str()),
                               const_cast<char*>(rules.c_str()), const_cast<char*>(log.c_str()),
                               nullptr};
  pid_t pid = 0;
  EXPECT_EQ(posix_spawn(&pid, program, nullptr, nullptr, args, environment), 0);
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return status;
}

// What the steps of a job must have left, from its last acknowledged one on.
void ExpectAtLeast(StoreClient& client, const std::string& name,
                   const std::set<std::string>& acks) {
  SCOPED_TRACE(name);
  const absl::StatusOr<v1::Job> job = client.Get(name);
  if (acks.count("delete") > 0) {
    EXPECT_EQ(ReasonOf(job.status()), "JOB_NOT_FOUND");
    return;
  }
  // A delete that was stored but not acknowledged.
  if (!job.ok() && acks.count("result") > 0) return;
  ASSERT_TRUE(job.ok()) << job.status();
  const std::vector<v1::JobEvent> events = client.Events(name);
  ASSERT_EQ(static_cast<int64_t>(events.size()), job->last_event_seq());
  for (size_t i = 0; i < events.size(); ++i)
    EXPECT_EQ(events[i].seq(), static_cast<int64_t>(i) + 1);
  EXPECT_GE(job->attempts_size(), static_cast<int>(acks.count("claim")));
  EXPECT_GE(events.size(), 1 + acks.count("claim") + acks.count("event"));
  EXPECT_GE(job->artifacts_size(), static_cast<int>(acks.count("checkpoint")));
  EXPECT_TRUE(acks.count("result") == 0 || job->state() == v1::SUCCEEDED);
  EXPECT_EQ(job->state() == v1::SUCCEEDED, job->has_result());
}

std::map<std::string, std::set<std::string>> ReadAcks(const std::string& folder) {
  std::map<std::string, std::set<std::string>> acks;
  const absl::StatusOr<std::string> text = ReadFile(folder + "/acks");
  if (!text.ok()) return acks;
  for (absl::string_view line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(line, ' ');
    acks[parts.second].insert(parts.first);
  }
  return acks;
}

class StoreCrash : public ::testing::TestWithParam<std::string> {};

TEST_P(StoreCrash, WhatWasAcknowledgedIsThere) {
  for (int hit = 1; hit <= 2; ++hit) {
    SCOPED_TRACE(hit);
    const TemporaryFolder folder;
    const int status =
        RunChild("LivesThroughItsJobs", folder.path(), absl::StrCat(GetParam(), "=kill@", hit));
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "the failpoint never fired";
    const auto acks = ReadAcks(folder.path());
    auto store = OpenIn(folder.path());
    ASSERT_TRUE(store.ok()) << store.status();
    StoreClient client(**store);
    for (const auto& [name, steps] : acks) ExpectAtLeast(client, name, steps);
    // At most the one job whose submit was under way is there without an acknowledgement.
    EXPECT_LE(client.ListAll({"local", 50}).size(), acks.size() + 1);
    client.Add();
  }
}

INSTANTIATE_TEST_SUITE_P(Failpoints, StoreCrash,
                         ::testing::Values("submit.before_commit", "submit.after_commit",
                                           "claim.before_commit", "claim.after_commit",
                                           "checkpoint.before_commit", "checkpoint.after_commit",
                                           "result.before_commit", "result.after_commit",
                                           "event.before_commit", "event.after_commit",
                                           "delete.before_commit"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = std::isalnum(c) != 0 ? c : '_';
                           return name;
                         });

TEST(StoreErrors, AFailedWriteIsNeverRetriedAndEndsTheStore) {
  for (const char* point :
       {"submit.before_commit", "claim.before_commit", "result.before_commit"}) {
    SCOPED_TRACE(point);
    const TemporaryFolder folder;
    EXPECT_EQ(RunChild("NeverWritesAgainAfterAnError", folder.path(), absl::StrCat(point, "=eio")),
              0);
    auto store = OpenIn(folder.path());
    ASSERT_TRUE(store.ok()) << store.status();
    StoreClient client(**store);
    for (const auto& [name, steps] : ReadAcks(folder.path())) ExpectAtLeast(client, name, steps);
  }
}

TEST(StoreErrors, AFullDiskBeforeTheCommitIsARefusal) {
  const TemporaryFolder folder;
  EXPECT_EQ(RunChild("GoesOnAfterAFullDisk", folder.path(), "submit.before_commit=enospc"), 0);
  auto store = OpenIn(folder.path());
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ(StoreClient(**store).Count(), 1);
}

}  // namespace
}  // namespace adamant
