// SPDX-License-Identifier: Apache-2.0
// Every step of the file protocol under every fault that it can meet.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "common/error_reason.h"
#include "common/failpoint.h"
#include "common/sha256.h"
#include "server/blobs/local_blob_store.h"
#include "tests/support/temporary_folder.h"

namespace adamant {
namespace {

constexpr char kId[] = "01234567-89ab-4cde-8f01-23456789abcd";
constexpr char kBytes[] = "twelve bytes";

enum class After { kStored, kNothingLeft, kStagedWhole, kStoreFailed };

struct Fault {
  const char* rule;
  const char* reason;  // of the error; empty = none is stated, or OK
  After after;
};

std::string NameOf(const ::testing::TestParamInfo<Fault>& info) {
  std::string name = info.param.rule;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}

class BlobFaultTest : public ::testing::TestWithParam<Fault> {
 protected:
  void SetUp() override {
    LocalBlobOptions options;
    options.on_fatal = [this](const absl::Status&) { ++fatal_; };
    store_ = LocalBlobStore::Open(folder_.path(), options).value();
    blob_.set_sha256(Sha256Hex(kBytes));
    blob_.set_size_bytes(static_cast<int64_t>(sizeof(kBytes) - 1));
  }
  void TearDown() override { ArmFailpoints(""); }

  size_t Files(const std::string& folder) const {
    size_t count = 0;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(folder_.path() + "/" + folder))
      count += entry.is_regular_file() ? 1 : 0;
    return count;
  }

  UploadKey Key() const { return {"local", kId, blob_}; }

  absl::Status Upload() {
    auto upload = store_->Begin(Key());
    if (!upload.ok()) return upload.status();
    absl::Status status;
    if ((*upload)->size() == 0) status = (*upload)->Append(kBytes);
    return status.ok() ? (*upload)->Finish() : status;
  }

  void Check(const absl::Status& status, const Fault& fault) {
    EXPECT_EQ(status.ok(), fault.after == After::kStored) << status;
    EXPECT_EQ(ReasonOf(status), fault.reason) << status;
    EXPECT_EQ(fatal_, fault.after == After::kStoreFailed ? 1 : 0);
    if (fault.after == After::kStoreFailed) {
      EXPECT_EQ(ReasonOf(store_->PutBytes("later").status()), "STORE_UNAVAILABLE");
      return;
    }
    EXPECT_EQ(Files("objects"), fault.after == After::kStored ? 1u : 0u);
    EXPECT_EQ(Files("staging"), fault.after == After::kStagedWhole ? 1u : 0u);
    EXPECT_EQ(store_->totals().count, fault.after == After::kStored ? 1 : 0);
  }

  testing::TemporaryFolder folder_;
  int fatal_ = 0;
  std::unique_ptr<LocalBlobStore> store_;
  v1::BlobRef blob_;
};

class UploadFaultTest : public BlobFaultTest {};
class OutputFaultTest : public BlobFaultTest {};

TEST_P(UploadFaultTest, EndsCleanAndTheUploadCanBeMadeAgain) {
  ArmFailpoints(GetParam().rule);
  Check(Upload(), GetParam());
  ArmFailpoints("");
  EXPECT_EQ(Upload().ok(), GetParam().after != After::kStoreFailed);
}

INSTANTIATE_TEST_SUITE_P(
    Blob, UploadFaultTest,
    ::testing::Values(Fault{"upload.write=eio", "", After::kNothingLeft},
                      Fault{"upload.write=enospc", "STORAGE_FULL", After::kNothingLeft},
                      Fault{"upload.write=short_write", "", After::kStored},
                      Fault{"upload.write=short_write@*", "", After::kStored},
                      Fault{"upload.write=eintr", "", After::kStored},
                      Fault{"upload.fsync=eio", "STORE_UNAVAILABLE", After::kStoreFailed},
                      Fault{"upload.fsync=enospc", "STORAGE_FULL", After::kNothingLeft},
                      Fault{"upload.fsync=eintr", "", After::kStored},
                      Fault{"upload.rename=eio", "", After::kStagedWhole},
                      Fault{"upload.rename=enospc", "STORAGE_FULL", After::kStagedWhole},
                      Fault{"upload.rename=eintr", "", After::kStored},
                      Fault{"upload.dirsync=eio", "STORE_UNAVAILABLE", After::kStoreFailed},
                      Fault{"upload.dirsync=enospc", "STORAGE_FULL", After::kStagedWhole},
                      Fault{"upload.dirsync=eintr", "", After::kStored}),
    NameOf);

TEST_P(OutputFaultTest, EndsCleanAndTheOutputCanBeStoredAgain) {
  ArmFailpoints(GetParam().rule);
  const std::string path = folder_.path() + "/scratch";
  std::ofstream(path) << kBytes;
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  Check(store_->Put(file.get(), blob_), GetParam());
  ArmFailpoints("");
  EXPECT_EQ(store_->Put(file.get(), blob_).ok(), GetParam().after != After::kStoreFailed);
}

INSTANTIATE_TEST_SUITE_P(
    Blob, OutputFaultTest,
    ::testing::Values(Fault{"output.open=eio", "", After::kNothingLeft},
                      Fault{"output.open=enospc", "STORAGE_FULL", After::kNothingLeft},
                      Fault{"output.open=eintr", "", After::kStored},
                      Fault{"output.fallocate=eio", "", After::kNothingLeft},
                      Fault{"output.fallocate=enospc", "STORAGE_FULL", After::kNothingLeft},
                      Fault{"output.fallocate=eintr", "", After::kStored},
                      Fault{"output.write=eio", "", After::kNothingLeft},
                      Fault{"output.write=enospc", "STORAGE_FULL", After::kNothingLeft},
                      Fault{"output.write=short_write@*", "", After::kStored},
                      Fault{"output.write=eintr", "", After::kStored},
                      Fault{"output.fsync=eio", "STORE_UNAVAILABLE", After::kStoreFailed},
                      Fault{"output.fsync=enospc", "STORAGE_FULL", After::kNothingLeft},
                      Fault{"output.fsync=eintr", "", After::kStored},
                      Fault{"output.rename=eio", "", After::kNothingLeft},
                      Fault{"output.rename=enospc", "STORAGE_FULL", After::kNothingLeft},
                      Fault{"output.rename=eintr", "", After::kStored},
                      Fault{"output.dirsync=eio", "STORE_UNAVAILABLE", After::kStoreFailed},
                      Fault{"output.dirsync=enospc", "STORAGE_FULL", After::kNothingLeft},
                      Fault{"output.dirsync=eintr", "", After::kStored}),
    NameOf);

TEST_F(BlobFaultTest, ADiskThatIsFullLateLeavesTheDurablePrefix) {
  auto upload = store_->Begin(Key()).value();
  ASSERT_TRUE(upload->Append("twelve").ok());
  ASSERT_TRUE(upload->Sync().ok());
  ArmFailpoints("upload.write=enospc");
  EXPECT_EQ(ReasonOf(upload->Append(" bytes")), "STORAGE_FULL");
  EXPECT_EQ(upload->committed_size(), 6);
  EXPECT_FALSE(upload->Append(" bytes").ok());  // over until it is begun again
  upload.reset();
  EXPECT_EQ(store_->StagedSize(Key()).value(), 6);
  upload = store_->Begin(Key()).value();
  EXPECT_EQ(upload->size(), 6);
  EXPECT_TRUE(upload->Append(" bytes").ok());
  EXPECT_TRUE(upload->Finish().ok());
}

TEST_F(BlobFaultTest, ResultsOfJobsGetTheReserveWhenTheDiskIsFull) {
  DiskLedger ledger({.folder = folder_.path(), .reserve_bytes = 4096, .space = [] {
                       return DiskSpace{1 << 30, 1 << 30};
                     }});
  ASSERT_TRUE(ledger.Tend().ok());
  store_ = LocalBlobStore::Open(folder_.path(), {.ledger = &ledger}).value();
  ArmFailpoints("output.write=enospc");
  EXPECT_TRUE(store_->PutBytes(kBytes).ok());
  EXPECT_FALSE(ledger.has_reserve());
  EXPECT_EQ(Files("staging"), 0u);
  ArmFailpoints("output.write=enospc@*");
  EXPECT_EQ(ReasonOf(store_->PutBytes("more").status()), "STORAGE_FULL");
  EXPECT_EQ(Files("staging"), 0u);
}

TEST_F(BlobFaultTest, AnUploadThatDoesNotFitIsRefusedBeforeTheFirstByte) {
  DiskSpace space{1000, 100};
  DiskLedger ledger({.folder = folder_.path(), .reserve_bytes = 0, .space = [&] { return space; }});
  store_ = LocalBlobStore::Open(folder_.path(), {.ledger = &ledger}).value();
  blob_.set_size_bytes(51);  // the floor is 50
  EXPECT_EQ(ReasonOf(store_->Begin(Key()).status()), "STORAGE_FULL");
  EXPECT_EQ(Files("staging"), 0u);
  space.free_bytes = 101;
  EXPECT_TRUE(store_->Begin(Key()).ok());
}

TEST_F(BlobFaultTest, ADeclaredSizeIsPreallocatedAndGivenBackWhenTheCallEnds) {
  blob_.set_size_bytes(8 << 20);
  const auto blocks = [this]() -> int64_t {
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path() + "/staging")) {
      struct stat info{};
      if (stat(entry.path().c_str(), &info) == 0) return int64_t{info.st_blocks} * 512;
    }
    return -1;
  };
  auto upload = store_->Begin(Key()).value();
  ASSERT_TRUE(upload->Append("begun").ok());
  ASSERT_TRUE(upload->Sync().ok());
  if (blocks() < (8 << 20)) GTEST_SKIP() << "the file system does not preallocate";
  EXPECT_EQ(store_->StagedBytes("local").value(), 8 << 20);
  upload.reset();
  EXPECT_LT(blocks(), 1 << 20);
  EXPECT_EQ(store_->StagedBytes("local").value(), 5);
  EXPECT_EQ(store_->StagedBytes("other").value(), 0);
}

}  // namespace
}  // namespace adamant
