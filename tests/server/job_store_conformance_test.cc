// SPDX-License-Identifier: Apache-2.0
// What every backend of the store has to do.
#include "tests/server/job_store_conformance.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <limits>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/store/memory_store.h"
#include "server/store/sqlite_store.h"
#include "tests/support/temporary_folder.h"

namespace adamant {
namespace {

using testing::BlobOf;
using ::testing::ElementsAre;
using testing::InfoOf;
using ::testing::IsEmpty;
using testing::JobWithWeights;
using testing::SomeJob;
using testing::StoreClient;
using testing::TemporaryFolder;

struct Backend {
  std::string name;
  std::function<std::unique_ptr<JobStore>(const std::string& folder, LeaseClock clock)> open;
};

std::unique_ptr<JobStore> OpenSqlite(const std::string& folder, LeaseClock clock) {
  SqliteStoreOptions options;
  options.path = folder + "/store.db";
  options.clock = std::move(clock);
  auto store = OpenSqliteStore(std::move(options));
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

std::unique_ptr<JobStore> OpenMemory(const std::string& /*folder*/, LeaseClock clock) {
  return NewMemoryStore({std::move(clock)});
}

class JobStoreConformance : public ::testing::TestWithParam<Backend> {
 protected:
  TemporaryFolder folder_;
  std::atomic<int64_t> clock_seconds_{1000};
  std::unique_ptr<JobStore> store_ =
      GetParam().open(folder_.path(), [this] { return absl::Seconds(clock_seconds_.load()); });
  StoreClient client_{*store_};
};

INSTANTIATE_TEST_SUITE_P(Backends, JobStoreConformance,
                         ::testing::Values(Backend{"Sqlite", OpenSqlite},
                                           Backend{"Memory", OpenMemory}),
                         [](const auto& info) { return info.param.name; });

absl::Status AddMetrics(JobDraft& draft, const std::string& name, int count) {
  const int64_t first = draft.job.log_bytes();  // counts the points of this helper
  v1::MetricEvent& metric = *AddEvent(draft, v1::METRIC, absl::Now()).mutable_metric();
  for (int i = 0; i < count; ++i) {
    v1::MetricPoint& point = *metric.add_points();
    point.set_name(name);
    point.set_step(first + i);
    point.set_value(static_cast<double>((first + i) % 97));
  }
  draft.job.set_log_bytes(first + count);
  return absl::OkStatus();
}

TEST_P(JobStoreConformance, ReturnsASubmittedJob) {
  const auto submitted = client_.Submit(SomeJob(7));
  ASSERT_TRUE(submitted.ok()) << submitted.status();
  EXPECT_FALSE(submitted->deduplicated);
  const auto found = client_.Get(submitted->job.name());
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->SerializeAsString(), submitted->job.SerializeAsString());
  EXPECT_EQ(found->spec().train().seed(), 7u);
  EXPECT_EQ(found->last_event_seq(), 1);
  EXPECT_EQ(client_.Events(found->name()).at(0).state().to(), v1::QUEUED);
  EXPECT_EQ(client_.Count(), 1);
}

TEST_P(JobStoreConformance, AnswersALiveJobBeforeTheCallReturns) {
  const std::string name = client_.Add();
  bool answered = false;
  store_->GetJob("local", name.substr(5),
                 [&](const absl::StatusOr<v1::Job>& job) { answered = job.ok(); });
  EXPECT_TRUE(answered);
}

TEST_P(JobStoreConformance, HidesAJobFromOtherTenants) {
  const std::string name = client_.Add();
  const absl::Status foreign = client_.Get(name, "other").status();
  const absl::Status absent = client_.Get(JobName(NewJobUid()), "other").status();
  EXPECT_EQ(foreign.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReasonOf(foreign), "JOB_NOT_FOUND");
  EXPECT_EQ(foreign.code(), absent.code());
  EXPECT_EQ(ReasonOf(absent), ReasonOf(foreign));
  const auto nothing = [](JobDraft&) { return absl::OkStatus(); };
  EXPECT_EQ(ReasonOf(client_.Change({name.substr(5), "other", {}, {}, nothing}).status()),
            "JOB_NOT_FOUND");
  ASSERT_TRUE(client_.Cancel(name).ok());
  EXPECT_EQ(ReasonOf(client_.Delete(name, "", absl::Now(), "other")), "JOB_NOT_FOUND");
  EXPECT_EQ(ReasonOf(client_.Get(name, "other").status()), "JOB_NOT_FOUND");
  JobListQuery query;
  query.tenant = "other";
  EXPECT_THAT(client_.ListAll(query), IsEmpty());
}

TEST_P(JobStoreConformance, SameRequestIdWithSameContentReturnsTheSameJob) {
  const auto first = client_.Submit(SomeJob(1, "r1"));
  ASSERT_TRUE(client_.Claim(first->job.name()).ok());
  const auto second = client_.Submit(SomeJob(1, "r1"));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_TRUE(second->deduplicated);
  EXPECT_EQ(second->job.name(), first->job.name());
  EXPECT_EQ(second->job.state(), v1::STARTING);  // its present state
  EXPECT_EQ(client_.Count(), 1);
}

TEST_P(JobStoreConformance, SameRequestIdWithOtherContentIsAConflict) {
  const std::string name = client_.Add(SomeJob(1, "r1"));
  const absl::Status status = client_.Submit(SomeJob(2, "r1")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ReasonOf(status), "REQUEST_ID_CONFLICT");
  EXPECT_EQ(InfoOf(status).metadata().at("job"), name);
}

TEST_P(JobStoreConformance, RequestIdsBelongToATenant) {
  client_.Add(SomeJob(1, "r1"));
  NewJob other = SomeJob(2, "r1");
  other.job.set_tenant("other");
  EXPECT_TRUE(client_.Submit(other).ok());
}

TEST_P(JobStoreConformance, WithoutARequestIdEverySubmitIsANewJob) {
  EXPECT_NE(client_.Add(), client_.Add());
}

TEST_P(JobStoreConformance, KeepsTheRequestIdOfADeletedJobFor30Days) {
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

TEST_P(JobStoreConformance, RefusesASubmitWhoseReferencesAreAbsent) {
  for (const auto& [name, reason] : std::vector<std::pair<std::string, std::string>>{
           {"models/m", "MODEL_NOT_FOUND"}, {"datasets/d", "DATASET_NOT_FOUND"}}) {
    NewJob job = SomeJob();
    job.references = {name};
    const absl::Status status = client_.Submit(job).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(ReasonOf(status), reason);
    EXPECT_EQ(InfoOf(status).metadata().at("name"), name);
  }
  EXPECT_EQ(client_.Count(), 0);
}

TEST_P(JobStoreConformance, RefusesASubmitWhoseBlobsAreAbsent) {
  ASSERT_TRUE(client_.PutBlobs({BlobOf('a', 4)}).ok());                     // another size
  ASSERT_TRUE(client_.PutBlobs({BlobOf('a')}, absl::Now(), "other").ok());  // another tenant
  const absl::Status status = client_.Submit(JobWithWeights(BlobOf('a'))).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(status), "BLOB_MISSING");
  google::rpc::PreconditionFailure detail;
  const auto payload = status.GetPayload("type.googleapis.com/google.rpc.PreconditionFailure");
  ASSERT_TRUE(payload.has_value());
  ASSERT_TRUE(detail.ParseFromString(std::string(*payload)));
  ASSERT_EQ(detail.violations_size(), 1);
  EXPECT_EQ(detail.violations(0).type(), "MISSING");
  EXPECT_EQ(detail.violations(0).subject(), absl::StrCat("blobs/", std::string(64, 'a'), "/3"));
  EXPECT_EQ(client_.Count(), 0);
  ASSERT_TRUE(client_.PutBlobs({BlobOf('a')}).ok());
  EXPECT_TRUE(client_.Submit(JobWithWeights(BlobOf('a'))).ok());
}

TEST_P(JobStoreConformance, RefusesAnAttemptWriteWithAnOldFence) {
  const std::string name = client_.Add();
  ASSERT_TRUE(client_.Claim(name).ok());
  const auto write = [](JobDraft& draft) {
    AddEvent(draft, v1::WARNING, absl::Now());
    return absl::OkStatus();
  };
  EXPECT_TRUE(client_.Change({name.substr(5), "", 1, {v1::STARTING}, write}).ok());
  const absl::Status stale =
      client_.Change({name.substr(5), "", 0, {v1::STARTING}, write}).status();
  EXPECT_EQ(stale.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(ReasonOf(stale), "FENCED");
  const absl::Status left = client_.Change({name.substr(5), "", 1, {v1::RUNNING}, write}).status();
  EXPECT_EQ(left.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(ReasonOf(left), "FENCED");
  EXPECT_EQ(client_.Events(name).size(), 3u);  // QUEUED, STARTING, one warning
}

TEST_P(JobStoreConformance, AChangeInTheWrongStateNamesTheState) {
  const std::string name = client_.Add();
  const absl::Status status =
      client_
          .Change(
              {name.substr(5), "", {}, {v1::RUNNING}, [](JobDraft&) { return absl::OkStatus(); }})
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(status), "WRONG_STATE");
  EXPECT_EQ(InfoOf(status).metadata().at("state"), "QUEUED");
}

TEST_P(JobStoreConformance, NumbersTheEventsOfAJobWithoutAGap) {
  const std::string name = client_.Add();
  const std::string other = client_.Add();
  const auto append_two = [](JobDraft& draft) {
    AddEvent(draft, v1::METRIC, absl::Now()).mutable_metric();
    AddEvent(draft, v1::METRIC, absl::Now()).mutable_metric();
    return absl::OkStatus();
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 5; ++round) {
        EXPECT_TRUE(client_.Edit(i % 2 == 0 ? name : other, append_two).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::vector<v1::JobEvent> events = client_.Events(name);
  ASSERT_EQ(events.size(), 21u);
  for (size_t i = 0; i < events.size(); ++i)
    EXPECT_EQ(events[i].seq(), static_cast<int64_t>(i) + 1);
  EXPECT_EQ(client_.Events(name, 18).at(0).seq(), 19);
  EXPECT_EQ(client_.Events(name, 0, 2).size(), 2u);
  EXPECT_EQ(client_.Get(name)->last_event_seq(), 21);
}

TEST_P(JobStoreConformance, ReadsTheEventsOfTheAskedTypes) {
  const std::string name = client_.Add();
  ASSERT_TRUE(client_.Claim(name).ok());
  ASSERT_TRUE(
      client_.Edit(name, [](JobDraft& draft) { return AddMetrics(draft, "loss", 2); }).ok());
  ASSERT_TRUE(client_
                  .Edit(name,
                        [](JobDraft& draft) {
                          AddEvent(draft, v1::WARNING, absl::Now()).mutable_warning();
                          return absl::OkStatus();
                        })
                  .ok());
  const auto seqs = [&](std::vector<v1::EventType> types, int64_t after, int limit) {
    std::vector<std::string> found;
    for (const v1::JobEvent& event : client_.Events(name, after, limit, types))
      found.push_back(absl::StrCat(event.seq()));
    return absl::StrJoin(found, " ");
  };
  EXPECT_EQ(seqs({}, 0, 100), "1 2 3 4");
  EXPECT_EQ(seqs({v1::STATE}, 0, 100), "1 2");
  EXPECT_EQ(seqs({v1::STATE}, 1, 100), "2");
  EXPECT_EQ(seqs({v1::WARNING, v1::STATE}, 0, 2), "1 2");
  EXPECT_EQ(seqs({v1::METRIC, v1::WARNING}, 0, 100), "3 4");
  EXPECT_EQ(seqs({v1::CHECKPOINT}, 0, 100), "");
  EXPECT_THAT(client_.Events(JobName(NewJobUid())), IsEmpty());
}

TEST_P(JobStoreConformance, EndsAPageOfEventsAtAboutAMegabyte) {
  const std::string name = client_.Add();
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(client_
                    .Edit(name,
                          [](JobDraft& draft) {
                            AddEvent(draft, v1::WARNING, absl::Now())
                                .mutable_warning()
                                ->set_text(std::string(300'000, 'x'));
                            return absl::OkStatus();
                          })
                    .ok());
  }
  EXPECT_EQ(client_.Events(name).size(), 5u);  // the small first event and 4 x 300 kB
  EXPECT_EQ(client_.Events(name, 5).size(), 1u);
}

TEST_P(JobStoreConformance, AFailedChangeLeavesNothingBehind) {
  const std::string name = client_.Add();
  const absl::Status status = client_
                                  .Edit(name,
                                        [](JobDraft& draft) {
                                          draft.job.set_owner("changed");
                                          AddEvent(draft, v1::WARNING, absl::Now());
                                          return absl::InvalidArgumentError("no");
                                        })
                                  .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(client_.Get(name)->owner(), "me");
  EXPECT_EQ(client_.Events(name).size(), 1u);
  EXPECT_EQ(
      ReasonOf(
          client_.Edit(JobName(NewJobUid()), [](JobDraft&) { return absl::OkStatus(); }).status()),
      "JOB_NOT_FOUND");
}

TEST_P(JobStoreConformance, AChangeThatChangesNothingKeepsTheEtag) {
  const std::string name = client_.Add();
  const std::string etag = client_.Get(name)->etag();
  EXPECT_EQ(client_.Edit(name, [](JobDraft&) { return absl::OkStatus(); })->etag(), etag);
  EXPECT_NE(client_.Claim(name)->etag(), etag);
}

TEST_P(JobStoreConformance, KeepsAJobWithoutEventsOfTheChangeToo) {
  const std::string name = client_.Add();
  ASSERT_TRUE(client_
                  .Edit(name,
                        [](JobDraft& draft) {
                          draft.job.set_log_bytes(5);
                          return absl::OkStatus();
                        })
                  .ok());
  EXPECT_EQ(client_.Get(name)->log_bytes(), 5);
  EXPECT_EQ(client_.Get(name)->etag(), "2");
}

TEST_P(JobStoreConformance, AnEndedJobStaysReadable) {
  const std::string name = client_.Add(SomeJob(9));
  ASSERT_TRUE(client_.Claim(name).ok());
  ASSERT_TRUE(client_.Succeed(name).ok());
  const auto job = client_.Get(name);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_TRUE(job->has_result());
  EXPECT_EQ(job->spec().train().seed(), 9u);
  EXPECT_EQ(client_.Events(name).size(), 3u);
  EXPECT_THAT(client_.Live(), IsEmpty());
  EXPECT_EQ(client_.Count(), 1);
  ASSERT_TRUE(client_
                  .Edit(name,
                        [](JobDraft& draft) {
                          draft.job.set_log_bytes(7);
                          return absl::OkStatus();
                        })
                  .ok());
  EXPECT_EQ(client_.Get(name)->log_bytes(), 7);
}

TEST_P(JobStoreConformance, LoadsLiveJobsWithTheirReferences) {
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

TEST_P(JobStoreConformance, ListsNewestFirstInPagesWithoutRepeats) {
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

TEST_P(JobStoreConformance, ListsAPageOfTwoMegabytes) {
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

TEST_P(JobStoreConformance, AListFilterSeesTheHeaderOfAJob) {
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

TEST_P(JobStoreConformance, FindsTheNewestReproducibleResult) {
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

TEST_P(JobStoreConformance, DeletesOnlyTerminalJobsWithTheirEtag) {
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

TEST_P(JobStoreConformance, DeletesWhatHasExpired) {
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

TEST_P(JobStoreConformance, ThinsTheMetricsOfEndedJobs) {
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

TEST_P(JobStoreConformance, LeavesShortSeriesAloneAndLooksAtThemOnce) {
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

TEST_P(JobStoreConformance, ALeaseLivesUntilItsTime) {
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

TEST_P(JobStoreConformance, RenewalTellsTheStateAndRefusesOthers) {
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

TEST_P(JobStoreConformance, RegistersTheModelsOfAChange) {
  v1::Model model;
  model.set_name("models/m");
  const std::string name = client_.Add();
  struct Recorder : StoreObserver {
    void OnModel(const std::string& tenant, const v1::Model& added) override {
      seen.push_back(absl::StrCat(tenant, " ", added.name()));
    }
    void OnJob(const v1::Job&, const std::vector<v1::JobEvent>&) override { seen.push_back("job"); }
    std::vector<std::string> seen;
  } recorder;
  store_->AddObserver(&recorder);
  ASSERT_TRUE(client_
                  .Edit(name,
                        [&](JobDraft& draft) {
                          draft.models = {model};
                          return absl::OkStatus();
                        })
                  .ok());
  EXPECT_THAT(recorder.seen, ElementsAre("local models/m", "job"));
  const auto kept =
      Await<v1::Model>([&](auto reply) { store_->models().Get("local", "models/m", reply); });
  EXPECT_TRUE(kept.ok());
}

TEST_P(JobStoreConformance, LeavesATakenModelIdAloneAndWarns) {
  v1::Model model;
  model.set_name("models/m");
  model.set_display_name("first");
  ASSERT_TRUE(client_.PutModel(model).ok());
  const std::string name = client_.Add();
  ASSERT_TRUE(client_
                  .Edit(name,
                        [&](JobDraft& draft) {
                          model.set_display_name("second");
                          draft.models = {model};
                          AddEvent(draft, v1::METRIC, absl::Now());
                          return absl::OkStatus();
                        })
                  .ok());
  EXPECT_EQ(client_.Events(name).at(1).warning().code(), "MODEL_ID_TAKEN");
  const auto kept =
      Await<v1::Model>([&](auto reply) { store_->models().Get("local", "models/m", reply); });
  EXPECT_EQ(kept->display_name(), "first");
}

TEST_P(JobStoreConformance, KeepsResourcesByTenantAndName) {
  const auto dataset = [](const std::string& name) {
    v1::Dataset made;
    made.set_name(name);
    return made;
  };
  ResourceTable<v1::Dataset>& table = store_->datasets();
  const auto put = [&](const std::string& tenant, const std::string& name, bool same = false) {
    return Await<v1::Dataset>([&](auto reply) {
             table.Put(tenant, dataset(name), [same](const v1::Dataset&) { return same; }, reply);
           })
        .status();
  };
  for (const char* name : {"datasets/b", "datasets/a", "datasets/c"})
    ASSERT_TRUE(put("local", name).ok());
  ASSERT_TRUE(put("other", "datasets/a").ok());
  EXPECT_EQ(ReasonOf(put("local", "datasets/a")), "ID_TAKEN");
  EXPECT_EQ(put("local", "datasets/a").code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(put("local", "datasets/a", /*same=*/true).ok());
  const auto list = [&](const std::string& after, int limit) {
    std::string names;
    const auto page = Await<std::vector<v1::Dataset>>(
        [&](auto reply) { table.List("local", after, limit, reply); });
    for (const v1::Dataset& found : *page) names += found.name().back();
    return names;
  };
  EXPECT_EQ(list("", 10), "abc");
  EXPECT_EQ(list("", 2), "ab");
  EXPECT_EQ(list("datasets/b", 10), "c");
  const auto changed = Await<v1::Dataset>([&](auto reply) {
    table.Change(
        "local", "datasets/a", [](v1::Dataset& found) { found.set_num_classes(4); }, reply);
  });
  EXPECT_EQ(changed->num_classes(), 4);
  const auto get = [&](const std::string& tenant, const std::string& name) {
    return Await<v1::Dataset>([&](auto reply) { table.Get(tenant, name, reply); });
  };
  EXPECT_EQ(get("local", "datasets/a")->num_classes(), 4);
  EXPECT_EQ(get("other", "datasets/a")->num_classes(), 0);
  EXPECT_EQ(ReasonOf(get("other", "datasets/b").status()), "DATASET_NOT_FOUND");
  EXPECT_EQ(ReasonOf(Await<v1::Dataset>([&](auto reply) {
                       table.Change("local", "datasets/x", [](v1::Dataset&) {}, reply);
                     }).status()),
            "DATASET_NOT_FOUND");
  EXPECT_EQ(ReasonOf(Await<Done>([&](auto reply) {
                       table.Delete("local", "datasets/x", reply);
                     }).status()),
            "DATASET_NOT_FOUND");
  const auto all =
      Await<std::vector<Owned<v1::Dataset>>>([&](auto reply) { table.LoadAll(reply); });
  EXPECT_EQ(all->size(), 4u);
  EXPECT_TRUE(Await<std::vector<Owned<v1::Model>>>([&](auto reply) {
                store_->models().LoadAll(reply);
              })->empty());
}

TEST_P(JobStoreConformance, RefusesToDeleteAModelThatALiveJobUses) {
  v1::Model model;
  model.set_name("models/m");
  ASSERT_TRUE(client_.PutModel(model).ok());
  NewJob job = SomeJob();
  job.references = {"models/m"};
  const std::string name = client_.Add(job);
  const absl::Status status = client_.DeleteModel("models/m");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(status), "RESOURCE_IN_USE");
  EXPECT_EQ(InfoOf(status).metadata().at("job"), name);
  ASSERT_TRUE(client_.Cancel(name).ok());
  EXPECT_TRUE(client_.DeleteModel("models/m").ok());
  EXPECT_EQ(ReasonOf(client_.DeleteModel("models/m")), "MODEL_NOT_FOUND");
}

TEST_P(JobStoreConformance, KnowsWhichBlobsATenantHas) {
  EXPECT_EQ(client_.CountMissing({BlobOf('a')}), 1u);
  ASSERT_TRUE(client_.PutBlobs({BlobOf('a'), BlobOf('b', 10)}).ok());
  ASSERT_TRUE(client_.PutBlobs({BlobOf('a')}).ok());
  EXPECT_EQ(client_.CountMissing({BlobOf('a'), BlobOf('b', 10), BlobOf('c')}), 1u);
  EXPECT_EQ(client_.CountMissing({BlobOf('a', 4)}), 1u);
  EXPECT_EQ(client_.CountMissing({BlobOf('a')}, absl::Now(), "other"), 1u);
  EXPECT_EQ(client_.CountBytes(), 13);
  EXPECT_EQ(client_.CountBytes("other"), 0);
}

constexpr absl::Duration kWeek = absl::Hours(24 * 7);

TEST_P(JobStoreConformance, FindsUnusedBlobsLeastRecentlyUsedFirst) {
  const absl::Time start = absl::FromUnixSeconds(1'800'000'000);
  ASSERT_TRUE(client_.PutBlobs({BlobOf('a', 5)}, start + absl::Hours(2)).ok());
  ASSERT_TRUE(client_.PutBlobs({BlobOf('b', 5)}, start + absl::Hours(1)).ok());
  ASSERT_TRUE(client_.PutBlobs({BlobOf('c', 5)}, start + absl::Hours(3)).ok());
  ASSERT_TRUE(client_.PutBlobs({BlobOf('d', 5)}, start, "other").ok());
  GarbageQuery query{"local", start + kWeek, kWeek};
  EXPECT_EQ(client_.Garbage(query), "");
  query.now = start + kWeek + absl::Hours(2);
  EXPECT_EQ(client_.Garbage(query), "ba");
  query.now = start + 2 * kWeek;
  EXPECT_EQ(client_.Garbage(query), "bac");
  query.max_bytes = 6;
  EXPECT_EQ(client_.Garbage(query), "ba");
  query.max_bytes = 0;
  query.limit = 1;
  EXPECT_EQ(client_.Garbage(query), "b");
  query.limit = 1000;
  query.tenant = "";
  EXPECT_EQ(client_.Garbage(query), "dbac");
  ASSERT_TRUE(client_.PutBlobs({BlobOf('b', 5)}, query.now).ok());  // used again
  EXPECT_EQ(client_.Garbage(query), "dac");
}

TEST_P(JobStoreConformance, ALeaseKeepsABlobForADay) {
  const absl::Time start = absl::FromUnixSeconds(1'800'000'000);
  ASSERT_TRUE(client_.PutBlobs({BlobOf('a')}, start).ok());
  const absl::Time asked = start + kWeek;
  ASSERT_EQ(client_.CountMissing({BlobOf('a')}, asked), 0u);
  GarbageQuery query{"", asked + absl::Hours(24) - absl::Seconds(1), kWeek};
  EXPECT_EQ(client_.Garbage(query), "");
  EXPECT_EQ(client_.Drop({BlobOf('a')}, query), "");
  query.now = asked + absl::Hours(24);
  EXPECT_EQ(client_.Garbage(query), "a");
  EXPECT_EQ(client_.Drop({BlobOf('a')}, query), "a");
  EXPECT_EQ(client_.Drop({BlobOf('a')}, query), "") << "it is gone";
  EXPECT_EQ(client_.CountMissing({BlobOf('a')}), 1u);
}

TEST_P(JobStoreConformance, JobsModelsAndDatasetsPinTheirBlobs) {
  const absl::Time start = absl::Now();
  for (const char digit : {'a', 'b', 'c', 'd', 'e'})
    ASSERT_TRUE(client_.PutBlobs({BlobOf(digit)}, start).ok());
  const std::string name = client_.Add(JobWithWeights(BlobOf('a')));
  ASSERT_TRUE(client_.Claim(name).ok());
  ASSERT_TRUE(client_
                  .Edit(name,
                        [](JobDraft& draft) {
                          *draft.job.add_artifacts()->mutable_blob() = BlobOf('b');
                          *draft.job.add_artifacts()->mutable_blob() = BlobOf('c');
                          return absl::OkStatus();
                        })
                  .ok());
  v1::Model model;
  model.set_name("models/m");
  *model.mutable_blob() = BlobOf('d');
  ASSERT_TRUE(client_.PutModel(model).ok());
  v1::Dataset dataset;
  dataset.set_name("datasets/d");
  *dataset.add_files()->mutable_blob() = BlobOf('e');
  ASSERT_TRUE(Await<v1::Dataset>([&](auto reply) {
                store_->datasets().Put("local", dataset, nullptr, reply);
              }).ok());
  GarbageQuery query{"", start + kWeek, absl::Hours(1)};
  EXPECT_EQ(client_.Garbage(query), "");
  EXPECT_EQ(client_.Drop({BlobOf('a'), BlobOf('b'), BlobOf('d'), BlobOf('e')}, query), "");
  ASSERT_TRUE(client_
                  .Edit(name,
                        [](JobDraft& draft) {  // an old checkpoint is forgotten
                          draft.job.mutable_artifacts()->DeleteSubrange(0, 1);
                          return absl::OkStatus();
                        })
                  .ok());
  EXPECT_EQ(client_.Garbage(query), "b");
  ASSERT_TRUE(client_.DeleteModel("models/m").ok());
  EXPECT_EQ(client_.Drop({BlobOf('d'), BlobOf('e')}, query), "d");
  ASSERT_TRUE(Await<Done>([&](auto reply) {
                store_->datasets().Delete("local", "datasets/d", reply);
              }).ok());
  ASSERT_TRUE(client_.Succeed(name).ok());
  EXPECT_EQ(client_.Drop({BlobOf('a'), BlobOf('b'), BlobOf('c'), BlobOf('e')}, query), "be");
  const absl::Time deleted = start + kWeek;
  ASSERT_TRUE(client_.Delete(name, "", deleted).ok());
  EXPECT_EQ(client_.Garbage(query), "") << "deleting its job counts as a use";
  query.now = deleted + absl::Hours(1);
  EXPECT_EQ(client_.Drop({BlobOf('a'), BlobOf('c')}, query), "ac");
}

TEST_P(JobStoreConformance, ABlobOfTwoTenantsGoesWithItsLastOwner) {
  const absl::Time start = absl::FromUnixSeconds(1'700'000'000);
  ASSERT_TRUE(client_.PutBlobs({BlobOf('a')}, start).ok());
  ASSERT_TRUE(client_.PutBlobs({BlobOf('a')}, start, "other").ok());
  GarbageQuery query{"local", start + kWeek, absl::Hours(1)};
  EXPECT_EQ(client_.Drop({BlobOf('a')}, query), "");
  EXPECT_EQ(client_.CountBytes("local"), 0);
  EXPECT_EQ(client_.CountBytes("other"), 3);
  query.tenant = "";
  EXPECT_EQ(client_.Drop({BlobOf('a')}, query), "a");
}

TEST_P(JobStoreConformance, AnnouncesCommitsInOrderBeforeTheReply) {
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

TEST_P(JobStoreConformance, AReplyMayCallTheStore) {
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
