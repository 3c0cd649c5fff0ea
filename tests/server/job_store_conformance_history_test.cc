// SPDX-License-Identifier: Apache-2.0
// What every backend of the store has to do: lists, results, deletion, thinning, leases,
// announcements.
#include <gmock/gmock.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/server/job_store_conformance_fixture.h"

namespace adamant {
namespace {

using testing::AddMetrics;
using ::testing::ElementsAre;
using testing::InfoOf;
using ::testing::IsEmpty;
using testing::SomeJob;

class HistoryConformance : public testing::JobStoreConformance {};

INSTANTIATE_TEST_SUITE_P(Backends, HistoryConformance, testing::AllBackends(),
                         testing::BackendName);

TEST_P(HistoryConformance, KeepsTheRequestIdOfADeletedJobFor30Days) {
  const absl::Time deleted = absl::FromUnixSeconds(1'800'000'000);
  const std::string name = client_.Add(SomeJob(1, "r1"));
  ASSERT_TRUE(client_.Cancel(name).ok());
  ASSERT_TRUE(client_.Delete(name, "", deleted).ok());
  const absl::Status status = client_.Submit(SomeJob(1, "r1")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(status), "REQUEST_ID_JOB_DELETED");
  EXPECT_EQ(InfoOf(status).metadata().at("job"), name);
  EXPECT_EQ(InfoOf(status).metadata().at("delete_time"), "2027-01-15T08:00:00+00:00");
  const absl::Duration month = absl::Hours(24 * 30);
  ASSERT_TRUE(client_.DeleteExpired(deleted + month).ok());
  EXPECT_EQ(ReasonOf(client_.Submit(SomeJob(1, "r1")).status()), "REQUEST_ID_JOB_DELETED");
  ASSERT_TRUE(client_.DeleteExpired(deleted + month + absl::Seconds(1)).ok());
  EXPECT_TRUE(client_.Submit(SomeJob(1, "r1")).ok());
}

TEST_P(HistoryConformance, LoadsLiveJobsWithTheirReferences) {
  v1::Model model;
  model.set_name("models/m");
  ASSERT_TRUE(client_.PutModel(model).ok());
  NewJob job = SomeJob();
  job.references = {"models/m"};
  const std::string name = client_.Add(job);
  ASSERT_TRUE(client_.Cancel(client_.Add()).ok());
  const std::vector<JobHead> live = client_.Live();
  ASSERT_EQ(live.size(), 1u);
  EXPECT_EQ(live[0].uid, name.substr(5));
  EXPECT_EQ(live[0].job.name(), name);
  EXPECT_THAT(live[0].references, ElementsAre("models/m"));
}

TEST_P(HistoryConformance, ListsNewestFirstInPagesWithoutRepeats) {
  std::vector<std::string> names;
  for (int i = 0; i < 5; ++i) {
    NewJob job = SomeJob();
    *job.job.mutable_create_time() = ToProto(absl::FromUnixSeconds(1000 + i / 2));
    names.push_back(client_.Add(std::move(job)));
  }
  ASSERT_TRUE(client_.Cancel(names[3]).ok());
  std::sort(names.begin(), names.begin() + 2);
  std::sort(names.begin() + 2, names.begin() + 4);
  const std::vector<std::string> expected{names[4], names[2], names[3], names[0], names[1]};
  for (const int page_size : {1, 2, 5, 50})
    EXPECT_EQ(client_.ListAll({"local", page_size}), expected) << page_size;
}

TEST_P(HistoryConformance, ListsAPageOfTwoMegabytes) {
  std::vector<std::string> names;
  for (int i = 0; i < 3; ++i) {
    NewJob job = SomeJob();
    job.job.set_state_message(std::string(1000, 'x'));
    *job.job.mutable_create_time() = ToProto(absl::FromUnixSeconds(1000 - i));
    names.push_back(client_.Add(std::move(job)));
  }
  JobListQuery query{"local", 50, 1500};
  const auto page = client_.List(query);
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(page->jobs.size(), 2u);
  EXPECT_NE(page->next_create_nanos, 0);
  EXPECT_EQ(client_.ListAll(query), names);
}

TEST_P(HistoryConformance, AListFilterSeesTheHeaderOfAJob) {
  NewJob asked = SomeJob(1, "r1");
  (*asked.job.mutable_options()->mutable_labels())["team"] = "red";
  asked.job.mutable_options()->set_display_name("first");
  asked.job.set_retry_of("jobs/earlier");
  asked.job.set_owner("someone");
  const std::string name = client_.Add(asked);
  client_.Add();
  const absl::Time end = absl::FromUnixSeconds(1'900'000'000);
  ASSERT_TRUE(client_.Cancel(name, end).ok());
  JobListQuery query{"local", 50};
  v1::Job seen;
  query.matches = [&](const v1::Job& job) {
    if (job.owner() == "someone") seen = job;
    return job.owner() == "someone";
  };
  EXPECT_THAT(client_.ListAll(query), ElementsAre(name));
  EXPECT_EQ(seen.name(), name);
  EXPECT_EQ(seen.tenant(), "local");
  EXPECT_EQ(seen.kind(), v1::TRAIN);
  EXPECT_EQ(seen.state(), v1::CANCELLED);
  EXPECT_EQ(seen.state_reason(), v1::USER_REQUEST);
  EXPECT_EQ(NanosOf(seen.create_time()), NanosOf(asked.job.create_time()));
  EXPECT_EQ(FromProto(seen.end_time()), end);
  EXPECT_EQ(seen.retry_of(), "jobs/earlier");
  EXPECT_EQ(seen.options().labels().at("team"), "red");
  EXPECT_EQ(seen.options().display_name(), "first");
  EXPECT_EQ(seen.options().request_id(), "r1");
}

TEST_P(HistoryConformance, FindsTheNewestReproducibleResult) {
  const auto finish = [&](uint64_t seed, int64_t created, bool reproducible) {
    NewJob job = SomeJob(seed);
    *job.job.mutable_create_time() = ToProto(absl::FromUnixSeconds(created));
    job.job.set_reproducible(reproducible);
    const std::string name = client_.Add(job);
    EXPECT_TRUE(client_.Claim(name).ok());
    EXPECT_TRUE(client_.Succeed(name).ok());
    return name;
  };
  const std::string digest = SomeJob(1).job.spec_digest();
  EXPECT_EQ(client_.FindResult(digest).status().code(), absl::StatusCode::kNotFound);
  finish(1, 100, true);
  const std::string newest = finish(1, 200, true);
  finish(1, 300, false);
  finish(2, 400, true);
  ASSERT_TRUE(client_.FindResult(digest).ok());
  EXPECT_EQ(client_.FindResult(digest)->name(), newest);
  EXPECT_EQ(client_.FindResult(digest)->spec().train().seed(), 1u);
  EXPECT_TRUE(absl::IsNotFound(client_.FindResult(digest, "other").status()));
  ASSERT_TRUE(client_.Delete(newest).ok());
  EXPECT_NE(client_.FindResult(digest)->name(), newest);
}

TEST_P(HistoryConformance, DeletesOnlyTerminalJobsWithTheirEtag) {
  const std::string name = client_.Add();
  const absl::Status live = client_.Delete(name);
  EXPECT_EQ(live.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(live), "WRONG_STATE");
  EXPECT_EQ(InfoOf(live).metadata().at("state"), "QUEUED");
  const auto job = client_.Cancel(name);
  const absl::Status stale = client_.Delete(name, "1");
  EXPECT_EQ(stale.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(ReasonOf(stale), "ETAG_MISMATCH");
  EXPECT_EQ(InfoOf(stale).metadata().at("etag"), job->etag());
  EXPECT_TRUE(client_.Delete(name, job->etag()).ok());
  EXPECT_EQ(ReasonOf(client_.Delete(name)), "JOB_NOT_FOUND");
  EXPECT_EQ(ReasonOf(client_.Get(name).status()), "JOB_NOT_FOUND");
  EXPECT_THAT(client_.Events(name), IsEmpty());
  EXPECT_THAT(client_.ListAll({"local", 50}), IsEmpty());
  EXPECT_EQ(client_.Count(), 0);
}

TEST_P(HistoryConformance, DeletesWhatHasExpired) {
  const absl::Time end = absl::FromUnixSeconds(1'800'000'000);
  std::vector<std::string> uids;
  for (int i = 0; i < 3; ++i) {
    const std::string name = client_.Add(SomeJob(1, absl::StrCat("r", i)));
    uids.push_back(name.substr(5));
    ASSERT_TRUE(client_.Cancel(name, end + absl::Seconds(i)).ok());
  }
  const std::string live = client_.Add();
  const absl::Time due = end + absl::Hours(24 * 30);
  EXPECT_THAT(*client_.DeleteExpired(due - absl::Seconds(1)), IsEmpty());
  EXPECT_THAT(*client_.DeleteExpired(due + absl::Seconds(1), 1), ElementsAre(uids[0]));
  EXPECT_THAT(*client_.DeleteExpired(due + absl::Seconds(1)), ElementsAre(uids[1]));
  EXPECT_THAT(*client_.DeleteExpired(due + absl::Hours(1)), ElementsAre(uids[2]));
  EXPECT_TRUE(client_.Get(live).ok());
  EXPECT_EQ(ReasonOf(client_.Submit(SomeJob(1, "r2")).status()), "REQUEST_ID_JOB_DELETED");
}

TEST_P(HistoryConformance, ThinsTheMetricsOfEndedJobs) {
  const std::string name = client_.Add();
  ASSERT_TRUE(client_.Claim(name).ok());
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(
        client_.Edit(name, [](JobDraft& draft) { return AddMetrics(draft, "loss", 500); }).ok());
  }
  ASSERT_TRUE(client_.Edit(name, [](JobDraft& draft) { return AddMetrics(draft, "lr", 3); }).ok());
  const absl::Time end = absl::Now();
  EXPECT_EQ(client_.Compact(end + absl::Hours(1)), 0) << "it is live";
  ASSERT_TRUE(client_.Succeed(name, end).ok());
  EXPECT_EQ(client_.Compact(end), 0) << "it ended just now";
  EXPECT_EQ(client_.ReadEvents({name.substr(5)}).compacted_through_seq, 0);
  EXPECT_EQ(client_.Compact(end + absl::Hours(1)), 1);
  EXPECT_EQ(client_.Compact(end + absl::Hours(1)), 0);
  const EventPage page = client_.ReadEvents({name.substr(5)});
  EXPECT_EQ(page.compacted_through_seq, 33);  // QUEUED, STARTING, 30 x loss, lr
  std::vector<v1::MetricPoint> loss;
  int64_t lr = 0;
  int64_t last_seq = 0;
  for (const v1::JobEvent& event : page.events) {
    EXPECT_GT(event.seq(), last_seq);
    last_seq = event.seq();
    for (const v1::MetricPoint& point : event.metric().points()) {
      if (point.name() == "lr") ++lr;
      if (point.name() != "loss") continue;
      loss.push_back(point);
      EXPECT_EQ(event.seq(), 3 + point.step() / 500) << "its event is still that of its step";
    }
  }
  EXPECT_EQ(last_seq, 34);
  EXPECT_EQ(lr, 3);
  EXPECT_LE(loss.size(), 10'000u);
  EXPECT_GT(loss.size(), 9'000u);
  EXPECT_EQ(loss.front().step(), 0);
  EXPECT_EQ(loss.back().step(), 14'999);
  EXPECT_EQ(client_.Events(name, 0, 1000, {v1::STATE}).size(), 3u);
}

TEST_P(HistoryConformance, LeavesShortSeriesAloneAndLooksAtThemOnce) {
  const std::string name = client_.Add();
  ASSERT_TRUE(client_.Claim(name).ok());
  for (const char* series : {"a", "b", "c"}) {
    ASSERT_TRUE(
        client_.Edit(name, [series](JobDraft& draft) { return AddMetrics(draft, series, 4000); })
            .ok());
  }
  ASSERT_TRUE(client_.Succeed(name).ok());
  EXPECT_EQ(client_.Compact(absl::Now() + absl::Hours(1)), 0);
  const EventPage page = client_.ReadEvents({name.substr(5)});
  EXPECT_EQ(page.compacted_through_seq, 0);
  EXPECT_EQ(page.events.size(), 6u);
}

TEST_P(HistoryConformance, ALeaseLivesUntilItsTime) {
  const std::string name = client_.Add();
  EXPECT_EQ(ReasonOf(client_.Renew(name, 0).status()), "FENCED") << "nobody holds it";
  ASSERT_TRUE(client_.Claim(name, absl::Seconds(30)).ok());
  clock_seconds_ += 29;
  ASSERT_TRUE(client_.Renew(name, 1, absl::Seconds(30)).ok());
  EXPECT_EQ(*client_.Renew(name, 1, absl::Seconds(30)), v1::STARTING);
  clock_seconds_ += 30;
  const absl::Status over = client_.Renew(name, 1).status();
  EXPECT_EQ(over.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(ReasonOf(over), "FENCED");
}

TEST_P(HistoryConformance, RenewalTellsTheStateAndRefusesOthers) {
  const std::string name = client_.Add();
  ASSERT_TRUE(client_.Claim(name).ok());
  EXPECT_EQ(ReasonOf(client_.Renew(name, 2).status()), "FENCED");
  EXPECT_EQ(ReasonOf(client_.Renew(JobName(NewJobUid()), 1).status()), "FENCED");
  ASSERT_TRUE(client_.Cancel(name).ok());
  EXPECT_EQ(*client_.Renew(name, 1), v1::CANCELLING);
  const auto move = [](v1::JobState to) {
    return [to](JobDraft& draft) { return MoveJob(draft, to, {}, "", absl::Now()); };
  };
  ASSERT_TRUE(client_.Edit(name, move(v1::CANCELLED)).ok());
  EXPECT_EQ(ReasonOf(client_.Renew(name, 1).status()), "FENCED");
  const std::string again = client_.Add();
  ASSERT_TRUE(client_.Claim(again).ok());
  ASSERT_TRUE(client_.Edit(again, move(v1::RECOVERING)).ok());
  EXPECT_EQ(ReasonOf(client_.Renew(again, 1).status()), "FENCED");
  ASSERT_TRUE(client_.Edit(again, move(v1::QUEUED)).ok());
  ASSERT_TRUE(client_.Claim(again).ok());
  EXPECT_EQ(ReasonOf(client_.Renew(again, 1).status()), "FENCED") << "a newer attempt has it";
  EXPECT_EQ(*client_.Renew(again, 2), v1::STARTING);
}

TEST_P(HistoryConformance, AnnouncesCommitsInOrderBeforeTheReply) {
  struct Recorder : StoreObserver {
    void OnJob(const v1::Job&, const std::vector<v1::JobEvent>& events) override {
      for (const v1::JobEvent& event : events) seen.push_back(absl::StrCat(event.seq()));
    }
    void OnJobGone(const v1::Job& job) override {
      seen.push_back(absl::StrCat("gone ", v1::JobState_Name(job.state())));
    }
    void OnModel(const std::string&, const v1::Model& model) override {
      seen.push_back(model.name());
    }
    std::vector<std::string> seen;
  } recorder;
  store_->AddObserver(&recorder);
  const std::string name = client_.Add(SomeJob(1, "r"));
  client_.Add(SomeJob(1, "r"));
  ASSERT_TRUE(client_.Claim(name).ok());
  ASSERT_TRUE(client_.Edit(name, [](JobDraft&) { return absl::OkStatus(); }).ok());
  v1::Model model;
  model.set_name("models/m");
  ASSERT_TRUE(client_.PutModel(model).ok());
  ASSERT_TRUE(client_.PutModel(model, /*same=*/true).ok());
  ASSERT_TRUE(client_.Succeed(name).ok());
  ASSERT_TRUE(client_.Delete(name).ok());
  EXPECT_THAT(recorder.seen, ElementsAre("1", "2", "models/m", "3", "gone SUCCEEDED"));
}

TEST_P(HistoryConformance, AReplyMayCallTheStore) {
  const std::string name = client_.Add();
  const auto counted = Await<int64_t>([&](Reply<int64_t> reply) {
    store_->GetJob("local", name.substr(5), [&, reply](const absl::StatusOr<v1::Job>&) {
      JobChange change{name.substr(5), "", {}, {}, [](JobDraft& draft) {
                         return CancelJob(draft, absl::Now());
                       }};
      store_->ChangeJob(std::move(change),
                        [&, reply](const absl::StatusOr<v1::Job>&) { store_->CountJobs(reply); });
    });
  });
  EXPECT_EQ(counted.value_or(0), 1);
  EXPECT_EQ(client_.Get(name)->state(), v1::CANCELLED);
}

TEST(MemoryJobStore, RepliesBeforeTheCallReturns) {
  const std::unique_ptr<JobStore> store = NewMemoryStore();
  bool replied = false;
  store->Submit(SomeJob(), [&](const absl::StatusOr<SubmittedJob>& job) { replied = job.ok(); });
  EXPECT_TRUE(replied);
}

}  // namespace
}  // namespace adamant
