// SPDX-License-Identifier: Apache-2.0
// What every backend of the store has to do: submits, changes, events.
#include <gmock/gmock.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/server/job_store_conformance_fixture.h"

namespace adamant {
namespace {

using testing::AddMetrics;
using testing::InfoOf;
using ::testing::IsEmpty;
using testing::SomeJob;

class JobConformance : public testing::JobStoreConformance {};

INSTANTIATE_TEST_SUITE_P(Backends, JobConformance, testing::AllBackends(), testing::BackendName);

TEST_P(JobConformance, ReturnsASubmittedJob) {
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

TEST_P(JobConformance, AnswersALiveJobBeforeTheCallReturns) {
  const std::string name = client_.Add();
  bool answered = false;
  store_->GetJob("local", name.substr(5),
                 [&](const absl::StatusOr<v1::Job>& job) { answered = job.ok(); });
  EXPECT_TRUE(answered);
}

TEST_P(JobConformance, HidesAJobFromOtherTenants) {
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

TEST_P(JobConformance, SameRequestIdWithSameContentReturnsTheSameJob) {
  const auto first = client_.Submit(SomeJob(1, "r1"));
  ASSERT_TRUE(client_.Claim(first->job.name()).ok());
  const auto second = client_.Submit(SomeJob(1, "r1"));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_TRUE(second->deduplicated);
  EXPECT_EQ(second->job.name(), first->job.name());
  EXPECT_EQ(second->job.state(), v1::STARTING);  // its present state
  EXPECT_EQ(client_.Count(), 1);
}

TEST_P(JobConformance, SameRequestIdWithOtherContentIsAConflict) {
  const std::string name = client_.Add(SomeJob(1, "r1"));
  const absl::Status status = client_.Submit(SomeJob(2, "r1")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ReasonOf(status), "REQUEST_ID_CONFLICT");
  EXPECT_EQ(InfoOf(status).metadata().at("job"), name);
}

TEST_P(JobConformance, RequestIdsBelongToATenant) {
  client_.Add(SomeJob(1, "r1"));
  NewJob other = SomeJob(2, "r1");
  other.job.set_tenant("other");
  EXPECT_TRUE(client_.Submit(other).ok());
}

TEST_P(JobConformance, WithoutARequestIdEverySubmitIsANewJob) {
  EXPECT_NE(client_.Add(), client_.Add());
}

TEST_P(JobConformance, RefusesASubmitWhoseReferencesAreAbsent) {
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

TEST_P(JobConformance, RefusesAnAttemptWriteWithAnOldFence) {
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

TEST_P(JobConformance, AChangeInTheWrongStateNamesTheState) {
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

TEST_P(JobConformance, NumbersTheEventsOfAJobWithoutAGap) {
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

TEST_P(JobConformance, ReadsTheEventsOfTheAskedTypes) {
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

TEST_P(JobConformance, EndsAPageOfEventsAtAboutAMegabyte) {
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

TEST_P(JobConformance, AFailedChangeLeavesNothingBehind) {
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

TEST_P(JobConformance, AChangeThatChangesNothingKeepsTheEtag) {
  const std::string name = client_.Add();
  const std::string etag = client_.Get(name)->etag();
  EXPECT_EQ(client_.Edit(name, [](JobDraft&) { return absl::OkStatus(); })->etag(), etag);
  EXPECT_NE(client_.Claim(name)->etag(), etag);
}

TEST_P(JobConformance, KeepsAJobWithoutEventsOfTheChangeToo) {
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

TEST_P(JobConformance, AnEndedJobStaysReadable) {
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

}  // namespace
}  // namespace adamant
