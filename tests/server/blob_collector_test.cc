// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "common/error_reason.h"
#include "common/failpoint.h"
#include "common/sha256.h"
#include "server/blobs/local_blob_store.h"
#include "server/jobs/collector.h"
#include "tests/support/blobs/blob_rows.h"
#include "tests/support/temporary_folder.h"

namespace adamant {
namespace {

constexpr int64_t kMiB = 1 << 20;

class CollectorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = LocalBlobStore::Open(folder_.path());
    ASSERT_TRUE(opened.ok()) << opened.status();
    blobs_ = *std::move(opened);
    Restart();
  }
  void TearDown() override { ArmFailpoints(""); }

  void Restart() {
    CollectorOptions options;
    options.now = [this] { return now_; };
    options.log_folder = folder_.path() + "/logs";
    options.backup_folder = folder_.path() + "/backups";
    collector_ = std::make_unique<Collector>(rows_, *blobs_, &ledger_, options);
  }

  v1::BlobRef Put(const std::string& bytes, absl::Duration unused_for) {
    const v1::BlobRef blob = blobs_->PutBytes(bytes).value();
    rows_.Add(blob, now_ - unused_for);
    return blob;
  }
  // What a writer of the blob does, as the API does it.
  void Upload(const std::string& bytes) {
    v1::BlobRef blob;
    blob.set_sha256(Sha256Hex(bytes));
    blob.set_size_bytes(static_cast<int64_t>(bytes.size()));
    const BlobHold hold = blobs_->Hold(blob);
    ASSERT_TRUE(blobs_->PutBytes(bytes).ok());
    rows_.Add(blob, now_);
  }
  bool HasObject(const v1::BlobRef& blob) { return blobs_->Stat(blob).ok(); }
  bool HasRow(const v1::BlobRef& blob) { return rows_.rows.count({"local", blob.sha256()}) > 0; }
  void MakeOld(const v1::BlobRef& blob) {
    std::filesystem::last_write_time(
        folder_.path() + "/objects/" + blob.sha256().substr(0, 2) + "/" + blob.sha256(),
        std::filesystem::file_time_type::clock::now() - std::chrono::hours(48));
  }

  testing::TemporaryFolder folder_;
  absl::Time now_ = absl::Now();
  DiskSpace space_{1000 * kMiB, 500 * kMiB};
  DiskLedger ledger_{
      {.folder = folder_.path(), .reserve_bytes = 0, .space = [this] { return space_; }}};
  testing::BlobRows rows_;
  std::unique_ptr<LocalBlobStore> blobs_;
  std::unique_ptr<Collector> collector_;
};

TEST_F(CollectorTest, RemovesBlobsAfterSevenDaysWithoutUse) {
  const v1::BlobRef old = Put("old", absl::Hours(7 * 24));
  const v1::BlobRef young = Put("young", absl::Hours(7 * 24 - 1));
  EXPECT_EQ(collector_->Collect().value(), 1);
  EXPECT_FALSE(HasObject(old));
  EXPECT_FALSE(HasRow(old));
  EXPECT_TRUE(HasObject(young));
  EXPECT_EQ(blobs_->totals().count, 1);
  EXPECT_EQ(blobs_->totals().evictions, 1);
}

TEST_F(CollectorTest, LeavesPinnedAndLeasedBlobsAlone) {
  const v1::BlobRef pinned = Put("pinned", absl::Hours(1000));
  rows_.rows[{"local", pinned.sha256()}].pinned = true;
  const v1::BlobRef leased = Put("leased", absl::Hours(1000));
  rows_.rows[{"local", leased.sha256()}].leased_until = now_ + absl::Hours(1);
  space_.free_bytes = 0;  // not even then
  EXPECT_EQ(collector_->Collect().value(), 0);
  EXPECT_TRUE(HasObject(pinned));
  EXPECT_TRUE(HasObject(leased));
}

TEST_F(CollectorTest, AboveTheHighWaterMarkRemovesTheLeastRecentlyUsedFirst) {
  const v1::BlobRef two_days = Put(std::string(kMiB, '2'), absl::Hours(48));
  const v1::BlobRef three_days = Put(std::string(kMiB, '3'), absl::Hours(72));
  const v1::BlobRef fresh = Put(std::string(kMiB, '0'), absl::Hours(23));
  space_.free_bytes = 100 * kMiB;  // at the mark
  EXPECT_EQ(collector_->Collect().value(), 0);
  space_.free_bytes = 100 * kMiB - 1;  // one byte above it: one blob is enough
  EXPECT_EQ(collector_->Collect().value(), 1);
  EXPECT_FALSE(HasObject(three_days));
  EXPECT_TRUE(HasObject(two_days));
  space_.free_bytes = 0;
  EXPECT_EQ(collector_->Collect().value(), 1);
  EXPECT_FALSE(HasObject(two_days));
  EXPECT_TRUE(HasObject(fresh));
}

TEST_F(CollectorTest, KeepsTheObjectWhileAnotherTenantHasTheDigest) {
  const v1::BlobRef blob = Put("shared", absl::Hours(1000));
  rows_.Add(blob, now_, "other");
  EXPECT_EQ(collector_->Collect().value(), 0);
  EXPECT_FALSE(HasRow(blob));
  EXPECT_TRUE(HasObject(blob));
}

TEST_F(CollectorTest, SparesTheObjectOfAnUploadBetweenRowAndUnlink) {
  const v1::BlobRef blob = Put("wanted again", absl::Hours(1000));
  rows_.after_drop = [this] { Upload("wanted again"); };
  EXPECT_EQ(collector_->Collect().value(), 0);
  EXPECT_TRUE(HasRow(blob));
  EXPECT_TRUE(HasObject(blob));
}

TEST_F(CollectorTest, SparesTheObjectOfAnUploadThatFoundItBeforeTheRowWent) {
  const v1::BlobRef blob = Put("wanted again", absl::Hours(1000));
  // The writer saw the object, its row comes after the unlink would have.
  BlobHold hold = blobs_->Hold(blob);
  ASSERT_TRUE(blobs_->PutBytes("wanted again").ok());
  EXPECT_EQ(collector_->Collect().value(), 0);
  EXPECT_FALSE(HasRow(blob));
  rows_.Add(blob, now_);
  hold.reset();
  EXPECT_TRUE(HasObject(blob));
}

TEST_F(CollectorTest, SparesABlobThatIsUsedAgainBeforeItsRowGoes) {
  const v1::BlobRef blob = Put("wanted again", absl::Hours(1000));
  rows_.before_drop = [&] { rows_.FindMissingBlobs("local", {blob}, now_, [](const auto&) {}); };
  EXPECT_EQ(collector_->Collect().value(), 0);
  EXPECT_TRUE(HasRow(blob));
  EXPECT_TRUE(HasObject(blob));
}

// Writers and the collector at once, on the same digests: a row never names an absent object.
TEST_F(CollectorTest, NeverLeavesARowWithoutAnObject) {
  absl::Mutex rows_mutex;  // the store's transactions
  rows_.before_drop = [&] { rows_mutex.Lock(); };
  rows_.after_drop = [&] { rows_mutex.Unlock(); };
  std::atomic<bool> stop{false};
  std::vector<std::thread> writers;
  for (int w = 0; w < 2; ++w) {
    writers.emplace_back([&, w] {
      for (int i = 0; i < 300; ++i) {
        const std::string bytes = "content " + std::to_string((i + w) % 3);
        v1::BlobRef blob;
        blob.set_sha256(Sha256Hex(bytes));
        blob.set_size_bytes(static_cast<int64_t>(bytes.size()));
        const BlobHold hold = blobs_->Hold(blob);
        ASSERT_TRUE(blobs_->PutBytes(bytes).ok());
        absl::MutexLock lock(&rows_mutex);
        rows_.Add(blob, now_ - absl::Hours(1000));  // garbage at once
        EXPECT_TRUE(HasObject(blob));
      }
      stop = true;
    });
  }
  while (!stop) {
    std::vector<v1::BlobRef> all;
    for (int i = 0; i < 3; ++i) {
      const std::string bytes = "content " + std::to_string(i);
      v1::BlobRef blob;
      blob.set_sha256(Sha256Hex(bytes));
      blob.set_size_bytes(static_cast<int64_t>(bytes.size()));
      all.push_back(blob);
    }
    GarbageQuery query;
    query.now = now_;
    query.unused_for = absl::Hours(24);
    blobs_->Condemn(all);
    rows_.DropBlobs(all, query, [&](absl::StatusOr<std::vector<v1::BlobRef>> dropped) {
      for (const v1::BlobRef& blob : *dropped) ASSERT_TRUE(blobs_->Remove(blob).ok());
    });
  }
  for (std::thread& writer : writers) writer.join();
  for (const auto& [key, row] : rows_.rows) EXPECT_TRUE(HasObject(row.blob)) << key.second;
}

TEST_F(CollectorTest, SweepsTheObjectThatACrashBeforeTheUnlinkLeft) {
  const v1::BlobRef blob = Put("stray", absl::Hours(1000));
  ArmFailpoints("gc.before_unlink=fail");
  EXPECT_EQ(collector_->Collect().value(), 0);
  EXPECT_FALSE(HasRow(blob));
  EXPECT_TRUE(HasObject(blob));
  EXPECT_EQ(collector_->Sweep().value(), 0);  // young: its row may be on the way
  MakeOld(blob);
  EXPECT_EQ(collector_->Sweep().value(), 1);
  EXPECT_FALSE(HasObject(blob));
}

TEST_F(CollectorTest, ChangesNothingWhenItFailsBeforeTheRow) {
  const v1::BlobRef blob = Put("kept", absl::Hours(1000));
  ArmFailpoints("gc.before_row=fail");
  EXPECT_FALSE(collector_->Collect().ok());
  EXPECT_TRUE(HasRow(blob));
  EXPECT_TRUE(HasObject(blob));
  EXPECT_EQ(collector_->Collect().value(), 1);
}

TEST_F(CollectorTest, SweepKeepsOldObjectsThatHaveARow) {
  const v1::BlobRef blob = Put("owned", absl::ZeroDuration());
  MakeOld(blob);
  EXPECT_EQ(collector_->Sweep().value(), 0);
  EXPECT_TRUE(HasObject(blob));
}

TEST_F(CollectorTest, SetsObjectsOfAWrongSizeAside) {
  const v1::BlobRef blob = Put("whole", absl::ZeroDuration());
  std::filesystem::resize_file(
      folder_.path() + "/objects/" + blob.sha256().substr(0, 2) + "/" + blob.sha256(), 3);
  EXPECT_EQ(collector_->Sweep().value(), 1);
  EXPECT_TRUE(std::filesystem::exists(folder_.path() + "/quarantine/" + blob.sha256()));
  EXPECT_EQ(blobs_->totals().corruptions, 1);
}

TEST_F(CollectorTest, SweepsTheLogsThatACrashBehindADeleteLeft) {
  EXPECT_EQ(collector_->SweepLogs().value(), 0);  // there is no folder yet
  const std::string logs = folder_.path() + "/logs";
  for (const char* uid : {"kept", "gone"}) {
    std::filesystem::create_directories(logs + "/" + uid);
    std::ofstream(logs + "/" + uid + "/1.head") << "text";
  }
  rows_.jobs = {"kept"};
  rows_.jobs_fail = true;  // then nothing is known, and nothing goes
  EXPECT_FALSE(collector_->SweepLogs().ok());
  EXPECT_TRUE(std::filesystem::exists(logs + "/gone"));
  rows_.jobs_fail = false;
  EXPECT_EQ(collector_->SweepLogs().value(), 1);
  EXPECT_FALSE(std::filesystem::exists(logs + "/gone"));
  EXPECT_TRUE(std::filesystem::exists(logs + "/kept/1.head"));
}

TEST_F(CollectorTest, BacksTheStoreUpEveryDayAndKeepsThree) {
  EXPECT_FALSE(collector_->BackUpIfDue().value());
  now_ += absl::Minutes(10);
  EXPECT_TRUE(collector_->BackUpIfDue().value());
  EXPECT_FALSE(collector_->BackUpIfDue().value());
  for (int day = 0; day < 4; ++day) {
    now_ += absl::Hours(24) - absl::Seconds(1);
    Restart();  // what counts is the age of the newest file
    EXPECT_FALSE(collector_->BackUpIfDue().value());
    now_ += absl::Seconds(1);
    EXPECT_TRUE(collector_->BackUpIfDue().value());
  }
  EXPECT_EQ(rows_.backups, 5);
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path() + "/backups"))
    names.push_back(entry.path().filename().string());
  EXPECT_EQ(names.size(), 3u);
  EXPECT_THAT(
      names, ::testing::Contains(
                 "store-" + absl::FormatTime("%Y%m%dT%H%M%SZ", now_, absl::UTCTimeZone()) + ".db"));
}

}  // namespace
}  // namespace adamant
