// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/error_reason.h"
#include "server/jobs/job.h"
#include "server/store/await.h"
#include "server/store/commit_queue.h"
#include "server/store/sqlite_store.h"
#include "tests/support/temporary_folder.h"

namespace adamant {
namespace {

using testing::TemporaryFolder;

class StoreTest : public ::testing::Test {
 protected:
  StoreTest() { Open(); }

  void Open() {
    store_.reset();
    auto opened = OpenSqliteStore({folder_.path() + "/store.db", nullptr});
    ASSERT_TRUE(opened.ok()) << opened.status();
    store_ = *std::move(opened);
  }

  NewJob SomeJob(uint64_t seed = 1, const std::string& request_id = "") {
    v1::JobSpec spec;
    spec.mutable_train()->set_seed(seed);
    spec.mutable_train()->mutable_model()->mutable_architecture()->set_name("mini_gap");
    v1::SubmitOptions options;
    options.set_request_id(request_id);
    return MakeJob(spec, options, "local", "me", absl::Now());
  }

  absl::StatusOr<SubmittedJob> Submit(NewJob job) {
    return Await<SubmittedJob>([&](auto reply) { store_->Submit(std::move(job), reply); });
  }
  absl::StatusOr<v1::Job> Get(const std::string& name, const std::string& tenant = "local") {
    return Await<v1::Job>([&](auto reply) { store_->GetJob(tenant, name.substr(5), reply); });
  }
  absl::StatusOr<v1::Job> Change(JobChange change) {
    return Await<v1::Job>([&](auto reply) { store_->ChangeJob(std::move(change), reply); });
  }
  absl::StatusOr<v1::Job> Claim(const std::string& name) {
    return Change({name.substr(5), "", std::nullopt, {v1::QUEUED}, [](JobDraft& draft) {
                     v1::Job& job = draft.job;
                     job.set_attempt(job.attempt() + 1);
                     job.add_attempts()->set_fence(job.attempt());
                     return MoveJob(draft, v1::STARTING, {}, "", absl::Now());
                   }});
  }
  std::vector<v1::JobEvent> Events(const std::string& name, int64_t after = 0, int limit = 1000) {
    auto page = Await<EventPage>(
        [&](auto reply) { store_->ReadEvents({name.substr(5), after, limit, {}}, reply); });
    EXPECT_TRUE(page.ok()) << page.status();
    return page.ok() ? page->events : std::vector<v1::JobEvent>();
  }

  TemporaryFolder folder_;
  std::unique_ptr<JobStore> store_;
};

TEST_F(StoreTest, ReturnsASubmittedJobAlsoAfterReopening) {
  const auto submitted = Submit(SomeJob(7));
  ASSERT_TRUE(submitted.ok()) << submitted.status();
  Open();
  const auto found = Get(submitted->job.name());
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->SerializeAsString(), submitted->job.SerializeAsString());
  EXPECT_EQ(found->spec().train().seed(), 7u);
  EXPECT_EQ(found->last_event_seq(), 1);
  EXPECT_EQ(Events(found->name()).at(0).state().to(), v1::QUEUED);
}

TEST_F(StoreTest, OpensAgainWhileAJobRefersToAModel) {
  v1::Model model;
  model.set_name("models/m");
  const auto same = [](const v1::Model&) { return false; };
  ASSERT_TRUE(Await<v1::Model>([&](auto reply) {
                store_->models().Put("local", model, same, reply);
              }).ok());
  NewJob job = SomeJob();
  job.references = {"models/m"};
  const auto submitted = Submit(job);
  ASSERT_TRUE(submitted.ok()) << submitted.status();
  Open();
  EXPECT_TRUE(Get(submitted->job.name()).ok());
}

TEST_F(StoreTest, HidesAJobFromOtherTenants) {
  const auto submitted = Submit(SomeJob());
  const absl::Status foreign = Get(submitted->job.name(), "other").status();
  const absl::Status absent = Get(JobName(NewJobUid()), "other").status();
  EXPECT_EQ(ReasonOf(foreign), "JOB_NOT_FOUND");
  EXPECT_EQ(foreign.code(), absent.code());
}

TEST_F(StoreTest, SameRequestIdWithSameContentReturnsTheSameJob) {
  const auto first = Submit(SomeJob(1, "r1"));
  ASSERT_TRUE(Claim(first->job.name()).ok());
  Open();
  const auto second = Submit(SomeJob(1, "r1"));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_TRUE(second->deduplicated);
  EXPECT_EQ(second->job.name(), first->job.name());
  EXPECT_EQ(second->job.state(), v1::STARTING);  // its present state
}

TEST_F(StoreTest, SameRequestIdWithOtherContentIsAConflict) {
  ASSERT_TRUE(Submit(SomeJob(1, "r1")).ok());
  const absl::Status status = Submit(SomeJob(2, "r1")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ReasonOf(status), "REQUEST_ID_CONFLICT");
}

TEST_F(StoreTest, WithoutARequestIdEverySubmitIsANewJob) {
  EXPECT_NE(Submit(SomeJob())->job.name(), Submit(SomeJob())->job.name());
}

TEST_F(StoreTest, RefusesAnAttemptWriteWithAnOldFence) {
  const std::string name = Submit(SomeJob())->job.name();
  ASSERT_TRUE(Claim(name).ok());
  const auto write = [](JobDraft& draft) {
    AddEvent(draft, v1::WARNING, absl::Now());
    return absl::OkStatus();
  };
  EXPECT_TRUE(Change({name.substr(5), "", 1, {v1::STARTING}, write}).ok());
  const absl::Status stale = Change({name.substr(5), "", 0, {v1::STARTING}, write}).status();
  EXPECT_EQ(stale.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(ReasonOf(stale), "FENCED");
  const absl::Status wrong_state = Change({name.substr(5), "", 1, {v1::RUNNING}, write}).status();
  EXPECT_EQ(wrong_state.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Events(name).size(), 3u);  // QUEUED, STARTING, one warning
}

TEST_F(StoreTest, NumbersTheEventsOfAJobWithoutAGap) {
  const std::string name = Submit(SomeJob())->job.name();
  const std::string other = Submit(SomeJob())->job.name();
  const auto append_two = [](JobDraft& draft) {
    AddEvent(draft, v1::METRIC, absl::Now());
    AddEvent(draft, v1::METRIC, absl::Now());
    return absl::OkStatus();
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 5; ++round) {
        EXPECT_TRUE(
            Change({(i % 2 == 0 ? name : other).substr(5), "", std::nullopt, {}, append_two}).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::vector<v1::JobEvent> events = Events(name);
  ASSERT_EQ(events.size(), 21u);
  for (size_t i = 0; i < events.size(); ++i)
    EXPECT_EQ(events[i].seq(), static_cast<int64_t>(i) + 1);
  EXPECT_EQ(Events(name, 18).at(0).seq(), 19);
  EXPECT_EQ(Events(name, 0, 2).size(), 2u);
  EXPECT_EQ(Get(name)->last_event_seq(), 21);
}

TEST_F(StoreTest, AFailedChangeLeavesNothingBehind) {
  const std::string name = Submit(SomeJob())->job.name();
  const absl::Status status = Change({name.substr(5),
                                      "",
                                      std::nullopt,
                                      {},
                                      [](JobDraft& draft) {
                                        draft.job.set_owner("changed");
                                        AddEvent(draft, v1::WARNING, absl::Now());
                                        return absl::InvalidArgumentError("no");
                                      }})
                                  .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Get(name)->owner(), "me");
  EXPECT_EQ(Events(name).size(), 1u);
}

TEST_F(StoreTest, AChangeThatChangesNothingKeepsTheEtag) {
  const v1::Job job = Submit(SomeJob())->job;
  const auto nothing = [](JobDraft&) { return absl::OkStatus(); };
  EXPECT_EQ(Change({job.name().substr(5), "", std::nullopt, {}, nothing})->etag(), job.etag());
  EXPECT_NE(Claim(job.name())->etag(), job.etag());
}

TEST_F(StoreTest, ListsNewestFirstInPagesWithoutRepeats) {
  std::vector<std::string> names;
  for (int i = 0; i < 5; ++i) {
    NewJob job = SomeJob();
    *job.job.mutable_create_time() = ToProto(absl::FromUnixSeconds(1000 + i / 2));
    names.push_back(Submit(std::move(job))->job.name());
  }
  JobListQuery query{"local", 2};
  std::vector<std::string> listed;
  do {
    const auto page = Await<JobPage>([&](auto reply) { store_->ListJobs(query, reply); });
    ASSERT_TRUE(page.ok()) << page.status();
    for (const v1::Job& job : page->jobs) listed.push_back(job.name());
    query.after_create_nanos = page->next_create_nanos;
    query.after_uid = page->next_uid;
  } while (query.after_create_nanos != 0);
  ASSERT_EQ(listed.size(), 5u);
  EXPECT_EQ(listed[0], names[4]);
  std::sort(names.begin(), names.begin() + 2);
  std::sort(names.begin() + 2, names.begin() + 4);
  EXPECT_EQ(listed, (std::vector<std::string>{names[4], names[2], names[3], names[0], names[1]}));
}

TEST_F(StoreTest, RefusesToDeleteAModelThatALiveJobUses) {
  v1::Model model;
  model.set_name("models/m");
  const auto same = [](const v1::Model&) { return false; };
  const auto put = [&] {
    return Await<v1::Model>([&](auto reply) { store_->models().Put("local", model, same, reply); });
  };
  const auto remove = [&] {
    return Await<Done>([&](auto reply) { store_->models().Delete("local", "models/m", reply); })
        .status();
  };
  NewJob job = SomeJob();
  job.references = {"models/m"};
  EXPECT_EQ(ReasonOf(Submit(job).status()), "MODEL_NOT_FOUND");
  ASSERT_TRUE(put().ok());
  EXPECT_EQ(ReasonOf(put().status()), "ID_TAKEN");
  const std::string name = Submit(job)->job.name();
  EXPECT_EQ(ReasonOf(remove()), "RESOURCE_IN_USE");
  ASSERT_TRUE(Change({name.substr(5),
                      "",
                      std::nullopt,
                      {},
                      [](JobDraft& draft) { return CancelJob(draft, absl::Now()); }})
                  .ok());
  EXPECT_TRUE(remove().ok());
  EXPECT_EQ(ReasonOf(remove()), "MODEL_NOT_FOUND");
}

TEST_F(StoreTest, LeavesATakenModelIdAloneAndWarns) {
  v1::Model model;
  model.set_name("models/m");
  model.set_display_name("first");
  ASSERT_TRUE(Await<v1::Model>([&](auto reply) {
                store_->models().Put("local", model, [](const v1::Model&) { return false; }, reply);
              }).ok());
  const std::string name = Submit(SomeJob())->job.name();
  ASSERT_TRUE(Change({name.substr(5),
                      "",
                      std::nullopt,
                      {},
                      [&](JobDraft& draft) {
                        model.set_display_name("second");
                        draft.models = {model};
                        AddEvent(draft, v1::METRIC, absl::Now());
                        return absl::OkStatus();
                      }})
                  .ok());
  EXPECT_EQ(Events(name).at(1).warning().code(), "MODEL_ID_TAKEN");
  const auto kept =
      Await<v1::Model>([&](auto reply) { store_->models().Get("local", "models/m", reply); });
  EXPECT_EQ(kept->display_name(), "first");
}

TEST_F(StoreTest, KnowsWhichBlobsATenantHas) {
  v1::BlobRef blob;
  blob.set_sha256(std::string(64, 'a'));
  blob.set_size_bytes(3);
  const auto missing = [&](const std::string& tenant) {
    return Await<std::vector<v1::BlobRef>>(
               [&](auto reply) { store_->FindMissingBlobs(tenant, {blob}, absl::Now(), reply); })
        ->size();
  };
  EXPECT_EQ(missing("local"), 1u);
  ASSERT_TRUE(
      Await<Done>([&](auto reply) { store_->PutBlobs("local", {blob}, absl::Now(), reply); }).ok());
  EXPECT_EQ(missing("local"), 0u);
  EXPECT_EQ(missing("other"), 1u);
}

TEST_F(StoreTest, RefusesASecondOpener) {
  const auto second = OpenSqliteStore({folder_.path() + "/store.db", nullptr});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition) << second.status();
}

TEST_F(StoreTest, AnnouncesCommitsInOrderBeforeTheReply) {
  struct Recorder : StoreObserver {
    void OnJob(const v1::Job&, const std::vector<v1::JobEvent>& events) override {
      for (const v1::JobEvent& event : events) seen.push_back(event.seq());
    }
    std::vector<int64_t> seen;
  } recorder;
  store_->AddObserver(&recorder);
  const std::string name = Submit(SomeJob())->job.name();
  ASSERT_TRUE(Claim(name).ok());
  EXPECT_EQ(recorder.seen, (std::vector<int64_t>{1, 2}));
}

TEST(StoreDurability, KeepsAcknowledgedJobsOfAKilledProcess) {
  const TemporaryFolder folder;
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    auto store = OpenSqliteStore({folder.path() + "/store.db", nullptr});
    if (!store.ok()) _exit(1);
    v1::JobSpec spec;
    spec.mutable_train();
    for (int i = 0; i < 20; ++i) {
      const auto job = Await<SubmittedJob>([&](auto reply) {
        (*store)->Submit(MakeJob(spec, {}, "local", "me", absl::Now()), reply);
      });
      if (!job.ok() || write(ends[1], job->job.name().data() + 5, 26) != 26) _exit(1);
    }
    kill(getpid(), SIGKILL);
  }
  close(ends[1]);
  std::string uids(20 * 26, '\0');
  size_t got = 0;
  for (ssize_t n; (n = read(ends[0], uids.data() + got, uids.size() - got)) > 0;) {
    got += static_cast<size_t>(n);
  }
  close(ends[0]);
  int status;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  ASSERT_EQ(got, uids.size());
  auto store = OpenSqliteStore({folder.path() + "/store.db", nullptr});
  ASSERT_TRUE(store.ok()) << store.status();
  for (size_t i = 0; i < uids.size(); i += 26) {
    EXPECT_TRUE(Await<v1::Job>([&](auto reply) {
                  (*store)->GetJob("local", uids.substr(i, 26), reply);
                }).ok());
  }
}

TEST(CommitQueue, RefusesEverythingAfterAFailedCommit) {
  int fatal = 0;
  CommitQueue queue({[] { return absl::OkStatus(); },
                     [] { return absl::InternalError("disk I/O error"); },
                     [&](absl::Status) { ++fatal; }});
  std::vector<absl::Status> replies;
  int ran = 0;
  for (int i = 0; i < 2; ++i) {
    absl::Notification done;
    queue.Add({true,
               [&] {
                 ++ran;
                 return absl::OkStatus();
               },
               [&](const absl::Status& status) {
                 replies.push_back(status);
                 done.Notify();
               }});
    done.WaitForNotification();
  }
  EXPECT_EQ(fatal, 1);
  EXPECT_EQ(ran, 1);  // the second command never touched the database
  EXPECT_EQ(ReasonOf(replies[0]), "STORE_UNAVAILABLE");
  EXPECT_EQ(ReasonOf(replies[1]), "STORE_UNAVAILABLE");
}

}  // namespace
}  // namespace adamant
