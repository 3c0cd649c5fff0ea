// SPDX-License-Identifier: Apache-2.0
// Bytes on disk that are no longer what was written: refused, set aside, and nothing else suffers.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "tests/fault/rig.h"
#include "tests/fault/settings.h"

namespace adamant::testing {
namespace {

namespace fs = std::filesystem;

std::string ObjectPath(const Rig& rig, const v1::BlobRef& blob) {
  return absl::StrCat(rig.data_dir(), "/objects/", blob.sha256().substr(0, 2), "/", blob.sha256());
}

void FlipByte(const std::string& path, int64_t offset) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(offset);
  const int byte = file.get();
  file.seekp(offset);
  file.put(static_cast<char>(byte ^ 0x40));
  EXPECT_TRUE(file.good()) << path << " at " << offset;
}

v1::BlobRef Upload(Rig& rig, const std::string& bytes) {
  const v1::BlobRef blob = RefOf(bytes);
  const auto written = rig.api().Write(NewUpload(blob), bytes, 0);
  EXPECT_TRUE(written.ok()) << written.status();
  return blob;
}

class DamagedBlob : public ::testing::Test {
 protected:
  DamagedBlob() {
    rig.Start();
    for (int i = 0; i < 3; ++i) {
      bytes.push_back(std::string(100000, static_cast<char>('a' + i)));
      blobs.push_back(Upload(rig, bytes.back()));
    }
    rig.Kill();
  }

  // It is refused, never served, and can be uploaded again.
  void ExpectRefused(int i) {
    const auto read = rig.api().Read(blobs[static_cast<size_t>(i)]);
    EXPECT_TRUE(absl::IsDataLoss(read.status()) || absl::IsNotFound(read.status()))
        << read.status();
    EXPECT_FALSE(fs::exists(ObjectPath(rig, blobs[static_cast<size_t>(i)])));
    Upload(rig, bytes[static_cast<size_t>(i)]);
    ExpectWhole(i);
  }

  void ExpectWhole(int i) {
    const auto read = rig.api().Read(blobs[static_cast<size_t>(i)]);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(*read, bytes[static_cast<size_t>(i)]);
  }

  Rig rig;
  std::vector<std::string> bytes;
  std::vector<v1::BlobRef> blobs;
};

TEST_F(DamagedBlob, IsSetAsideWhenABitFlipped) {
  FlipByte(ObjectPath(rig, blobs[0]), 50000);
  rig.Start();
  ExpectRefused(0);
  EXPECT_FALSE(fs::is_empty(rig.data_dir() + "/quarantine"));
  ExpectWhole(1);
  ExpectWhole(2);
}

TEST_F(DamagedBlob, IsSetAsideWhenItWasCutShort) {
  fs::resize_file(ObjectPath(rig, blobs[0]), 99999);
  rig.Start();
  ExpectRefused(0);
  ExpectWhole(1);
}

TEST_F(DamagedBlob, IsSetAsideWhenTwoChangedPlaces) {
  const std::string aside = rig.folder() + "/aside";
  fs::rename(ObjectPath(rig, blobs[0]), aside);
  fs::rename(ObjectPath(rig, blobs[1]), ObjectPath(rig, blobs[0]));
  fs::rename(aside, ObjectPath(rig, blobs[1]));
  rig.Start();
  ExpectRefused(0);
  ExpectRefused(1);
  ExpectWhole(2);
}

TEST_F(DamagedBlob, OfACheckpointIsNeverResumedFrom) {
  rig.Start();
  const std::string id = NewUuid();
  rig.history().Add({.op = "asked", .request_id = id});
  const auto job = rig.api().Submit(
      {.request_id = id, .seed = 1099, .steps = 40, .step_milliseconds = 50, .every_steps = 5});
  ASSERT_TRUE(job.ok()) << job.status();
  rig.history().Add({.op = "submit", .request_id = id, .job = job->name()});
  v1::BlobRef last;
  int checkpoints = 0;
  rig.api()
      .Watch(job->name(), 1,
             [&](const v1::JobEvent& event) {
               if (event.has_checkpoint()) last = event.checkpoint().blob();
               return !event.has_checkpoint() || ++checkpoints < 2;
             })
      .IgnoreError();
  rig.Kill();
  FlipByte(ObjectPath(rig, last), 3);
  rig.Start();
  rig.CheckOracle();  // the golden result, from an older checkpoint or from the start
}

class DamagedStore : public ::testing::Test {
 protected:
  DamagedStore() {
    rig.Start();
    for (int i = 0; i < 20; ++i) {
      const std::string id = NewUuid();
      rig.history().Add({.op = "asked", .request_id = id});
      const auto job = rig.api().Submit({.request_id = id, .seed = 2000 + uint64_t(i)});
      EXPECT_TRUE(job.ok()) << job.status();
      if (job.ok()) rig.history().Add({.op = "submit", .request_id = id, .job = job->name()});
    }
    rig.ComeToRest();
    rig.server().Terminate();  // the log of SQLite is folded into the file
    EXPECT_GT(fs::file_size(Path()), 8192u);
  }

  std::string Path() const { return rig.data_dir() + "/store.db"; }

  Rig rig;
};

TEST_F(DamagedStore, IsRefusedByNameWhenItsHeaderIsDamaged) {
  FlipByte(Path(), 3);
  rig.Start({.may_end = true});
  EXPECT_FALSE(rig.server().ready());
  EXPECT_EQ(rig.server().Wait(), 1);
  EXPECT_TRUE(absl::StrContains(rig.server().log(), "store")) << rig.server().log();
  FlipByte(Path(), 3);
  rig.Start();
  rig.CheckOracle();  // the refusal changed nothing
}

TEST_F(DamagedStore, IsRefusedWhenAPageIsDamaged) {
  FlipByte(Path(), 4096);  // the type of the second page
  rig.Start({.may_end = true});
  EXPECT_FALSE(rig.server().ready());
  EXPECT_EQ(rig.server().Wait(), 1);
  EXPECT_TRUE(absl::StrContains(rig.server().log(), "damaged") ||
              absl::StrContains(rig.server().log(), "SQLite"))
      << rig.server().log();
}

// SQLite has no checksum over its content, so a flipped bit may go unseen; it must never end the
// server by a signal or hang it.
TEST_F(DamagedStore, NeverCrashesTheServerWhereverAByteIsDamaged) {
  std::mt19937_64 random(TheSettings().seed);
  const std::string whole = rig.folder() + "/store.copy";
  fs::copy_file(Path(), whole, fs::copy_options::overwrite_existing);
  for (int i = 0; i < RoundsOr(4); ++i) {
    const auto offset = static_cast<int64_t>(random() % fs::file_size(whole));
    fs::copy_file(whole, Path(), fs::copy_options::overwrite_existing);
    FlipByte(Path(), offset);
    rig.Start({.may_end = true});
    if (rig.server().ready()) {
      rig.api().List().status().IgnoreError();
      const int code = rig.server().Terminate();
      EXPECT_TRUE(code == 0 || code == 75) << code << ", byte " << offset;
    } else {
      const int code = rig.server().Wait();
      EXPECT_TRUE(code == 1 || code == 75) << code << ", byte " << offset;
    }
    for (const char* rest : {"-wal", "-shm"}) fs::remove(Path() + rest);
  }
}

}  // namespace
}  // namespace adamant::testing
