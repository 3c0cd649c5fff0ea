// SPDX-License-Identifier: Apache-2.0
// What every backend of the store has to do: models, datasets, blobs and what pins them.
#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "tests/server/job_store_conformance_fixture.h"

namespace adamant {
namespace {

using testing::BlobOf;
using ::testing::ElementsAre;
using testing::InfoOf;
using testing::JobWithWeights;
using testing::SomeJob;

class BlobConformance : public testing::JobStoreConformance {};

INSTANTIATE_TEST_SUITE_P(Backends, BlobConformance, testing::AllBackends(), testing::BackendName);

TEST_P(BlobConformance, RefusesASubmitWhoseBlobsAreAbsent) {
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

TEST_P(BlobConformance, RegistersTheModelsOfAChange) {
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

TEST_P(BlobConformance, LeavesATakenModelIdAloneAndWarns) {
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

TEST_P(BlobConformance, KeepsResourcesByTenantAndName) {
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

TEST_P(BlobConformance, RefusesToDeleteAModelThatALiveJobUses) {
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

TEST_P(BlobConformance, KnowsWhichBlobsATenantHas) {
  EXPECT_EQ(client_.CountMissing({BlobOf('a')}), 1u);
  ASSERT_TRUE(client_.PutBlobs({BlobOf('a'), BlobOf('b', 10)}).ok());
  ASSERT_TRUE(client_.PutBlobs({BlobOf('a')}).ok());
  EXPECT_EQ(client_.CountMissing({BlobOf('a'), BlobOf('b', 10), BlobOf('c')}), 1u);
  EXPECT_EQ(client_.CountMissing({BlobOf('a', 4)}), 1u);
  EXPECT_EQ(client_.CountMissing({BlobOf('a')}, absl::Now(), "other"), 1u);
  EXPECT_EQ(client_.CountBytes(), 13);
  EXPECT_EQ(client_.CountBytes("other"), 0);
}

TEST_P(BlobConformance, TellsWhichDigestsSomebodyHas) {
  ASSERT_TRUE(client_.PutBlobs({BlobOf('a', 7)}, absl::Now(), "other").ok());
  const auto owned = Await<std::vector<v1::BlobRef>>(
      [&](auto reply) { store_->FindOwned({std::string(64, 'b'), std::string(64, 'a')}, reply); });
  ASSERT_TRUE(owned.ok()) << owned.status();
  ASSERT_EQ(owned->size(), 1u);
  EXPECT_EQ(owned->front().SerializeAsString(), BlobOf('a', 7).SerializeAsString());
}

constexpr absl::Duration kWeek = absl::Hours(24 * 7);

TEST_P(BlobConformance, FindsUnusedBlobsLeastRecentlyUsedFirst) {
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

TEST_P(BlobConformance, ALeaseKeepsABlobForADay) {
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

TEST_P(BlobConformance, JobsModelsAndDatasetsPinTheirBlobs) {
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

TEST_P(BlobConformance, ABlobOfTwoTenantsGoesWithItsLastOwner) {
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

}  // namespace
}  // namespace adamant
