// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "common/blob_name.h"
#include "common/error_reason.h"
#include "common/sha256.h"
#include "server/blobs/local_blob_store.h"
#include "server/blobs/scrubber.h"
#include "tests/support/temporary_folder.h"

namespace adamant {
namespace {

constexpr char kId[] = "01234567-89ab-4cde-8f01-23456789abcd";
constexpr char kOtherId[] = "11234567-89ab-4cde-8f01-23456789abcd";

v1::BlobRef RefOf(absl::string_view bytes) {
  v1::BlobRef blob;
  blob.set_sha256(Sha256Hex(bytes));
  blob.set_size_bytes(static_cast<int64_t>(bytes.size()));
  return blob;
}

UploadKey Key(const std::string& id, const v1::BlobRef& blob) { return {"local", id, blob}; }

std::string Content(const Descriptor& file) {
  return std::string(FileView::Map(file.get()).value()->bytes());
}

size_t FilesBelow(const std::string& folder) {
  size_t count = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    count += entry.is_regular_file() ? 1 : 0;
  return count;
}

class LocalBlobStoreTest : public ::testing::Test {
 protected:
  void SetUp() override { Reopen(); }

  void Reopen() {
    store_.reset();
    auto opened = LocalBlobStore::Open(folder_.path());
    ASSERT_TRUE(opened.ok()) << opened.status();
    store_ = *std::move(opened);
  }

  std::string ObjectPath(const v1::BlobRef& blob) const {
    return folder_.path() + "/objects/" + blob.sha256().substr(0, 2) + "/" + blob.sha256();
  }

  // A file with these bytes, open for reading.
  Descriptor FileWith(const std::string& bytes) const {
    const std::string path = folder_.path() + "/input";
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    return Descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  }

  testing::TemporaryFolder folder_;
  std::unique_ptr<LocalBlobStore> store_;
};

TEST_F(LocalBlobStoreTest, PublishesAnUploadOfSeveralChunks) {
  const v1::BlobRef blob = RefOf("hello world");
  auto upload = store_->Begin(Key(kId, blob));
  ASSERT_TRUE(upload.ok()) << upload.status();
  EXPECT_TRUE((*upload)->Append("hello ").ok());
  EXPECT_TRUE(absl::IsNotFound(store_->Stat(blob)));
  EXPECT_TRUE((*upload)->Append("world").ok());
  EXPECT_TRUE((*upload)->Finish().ok());
  EXPECT_EQ(Content(store_->Open(blob).value()), "hello world");
  EXPECT_EQ(store_->totals().count, 1);
  EXPECT_EQ(store_->totals().bytes, 11);
  EXPECT_EQ(FilesBelow(folder_.path() + "/staging"), 0u);
}

TEST_F(LocalBlobStoreTest, ResumesAnUploadAfterARestart) {
  const v1::BlobRef blob = RefOf("hello world");
  {
    auto upload = store_->Begin(Key(kId, blob));
    ASSERT_TRUE((*upload)->Append("hello ").ok());
    ASSERT_TRUE((*upload)->Sync().ok());
  }
  Reopen();
  EXPECT_EQ(store_->StagedSize(Key(kId, blob)).value(), 6);
  auto upload = store_->Begin(Key(kId, blob));
  ASSERT_TRUE(upload.ok()) << upload.status();
  EXPECT_EQ((*upload)->size(), 6);
  EXPECT_EQ((*upload)->committed_size(), 6);
  EXPECT_TRUE((*upload)->Append("world").ok());
  EXPECT_TRUE((*upload)->Finish().ok());
  EXPECT_EQ(Content(store_->Open(blob).value()), "hello world");
}

TEST_F(LocalBlobStoreTest, DropsAnUploadWithAnotherDigest) {
  const v1::BlobRef blob = RefOf("hello");
  auto upload = store_->Begin(Key(kId, blob));
  ASSERT_TRUE((*upload)->Append("jello").ok());
  EXPECT_EQ(ReasonOf((*upload)->Finish()), "DIGEST_MISMATCH");
  EXPECT_EQ(ReasonOf(store_->StagedSize(Key(kId, blob)).status()), "UPLOAD_NOT_FOUND");
  EXPECT_TRUE(absl::IsNotFound(store_->Stat(blob)));
}

TEST_F(LocalBlobStoreTest, RefusesMoreThanTheDeclaredBytesAndFewer) {
  const v1::BlobRef blob = RefOf("hello");
  auto upload = store_->Begin(Key(kId, blob));
  EXPECT_EQ((*upload)->Append("hello!").code(), absl::StatusCode::kOutOfRange);
  EXPECT_TRUE((*upload)->Append("hell").ok());
  EXPECT_EQ(ReasonOf((*upload)->Finish()), "DIGEST_MISMATCH");
}

TEST_F(LocalBlobStoreTest, LetsOneWriterPerUpload) {
  const v1::BlobRef blob = RefOf("hello");
  auto first = store_->Begin(Key(kId, blob));
  EXPECT_EQ(store_->Begin(Key(kId, blob)).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(store_->Begin(Key(kOtherId, blob)).ok());
  first->reset();
  EXPECT_TRUE(store_->Begin(Key(kId, blob)).ok());
}

TEST_F(LocalBlobStoreTest, KeepsOneCopyOfEqualBlobs) {
  const v1::BlobRef blob = RefOf("hello");
  auto first = store_->Begin(Key(kId, blob));
  auto second = store_->Begin(Key(kOtherId, blob));
  ASSERT_TRUE((*first)->Append("hello").ok());
  ASSERT_TRUE((*second)->Append("hello").ok());
  EXPECT_TRUE((*first)->Finish().ok());
  EXPECT_TRUE((*second)->Finish().ok());
  EXPECT_EQ(store_->totals().count, 1);
  EXPECT_EQ(FilesBelow(folder_.path() + "/objects"), 1u);
  EXPECT_EQ(FilesBelow(folder_.path() + "/staging"), 0u);
}

TEST_F(LocalBlobStoreTest, CopiesADescriptorAndChecksIt) {
  const Descriptor file = FileWith("hello");
  EXPECT_TRUE(store_->Put(file.get(), RefOf("hello")).ok());
  EXPECT_EQ(Content(store_->Open(RefOf("hello")).value()), "hello");
  EXPECT_EQ(ReasonOf(store_->Put(file.get(), RefOf("other"))), "DIGEST_MISMATCH");
  EXPECT_EQ(ReasonOf(store_->Put(file.get(), RefOf("hell"))), "DIGEST_MISMATCH");
  EXPECT_EQ(ReasonOf(store_->Put(file.get(), RefOf("hello!"))), "DIGEST_MISMATCH");
  EXPECT_EQ(FilesBelow(folder_.path() + "/staging"), 0u);
}

TEST_F(LocalBlobStoreTest, SetsADamagedBlobAsideAtItsFirstUse) {
  const v1::BlobRef blob = store_->PutBytes("hello").value();
  Reopen();
  std::filesystem::permissions(ObjectPath(blob), std::filesystem::perms::owner_all);
  std::ofstream(ObjectPath(blob), std::ios::trunc) << "jello";
  const auto opened = store_->Open(blob);
  EXPECT_EQ(opened.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ReasonOf(opened.status()), "BLOB_CORRUPT");
  EXPECT_EQ(ReasonOf(store_->Open(blob).status()), "BLOB_NOT_FOUND");
  EXPECT_TRUE(std::filesystem::exists(folder_.path() + "/quarantine/" + blob.sha256()));
  EXPECT_EQ(store_->totals().count, 0);
  EXPECT_TRUE(store_->PutBytes("hello").ok());
  EXPECT_TRUE(store_->Open(blob).ok());
}

TEST_F(LocalBlobStoreTest, TreatsAnotherSizeAsAnotherBlob) {
  v1::BlobRef blob = store_->PutBytes("hello").value();
  blob.set_size_bytes(4);
  EXPECT_EQ(ReasonOf(store_->Stat(blob)), "BLOB_NOT_FOUND");
  EXPECT_EQ(ReasonOf(store_->Open(blob).status()), "BLOB_NOT_FOUND");
}

TEST_F(LocalBlobStoreTest, ListsRemovesAndCountsAfterARestart) {
  const v1::BlobRef a = store_->PutBytes("a").value();
  store_->PutBytes("bb").value();
  store_->PutBytes("").value();
  Reopen();
  EXPECT_EQ(store_->List(absl::InfiniteFuture()).value().size(), 3u);
  EXPECT_EQ(store_->totals().bytes, 3);
  store_->Condemn({a});
  EXPECT_TRUE(store_->Remove(a).value());
  EXPECT_EQ(store_->totals().count, 2);
}

TEST_F(LocalBlobStoreTest, RemovesUnfinishedCopiesAtTheStart) {
  std::ofstream(folder_.path() + "/staging/copy-7") << "rest";
  Reopen();
  EXPECT_EQ(FilesBelow(folder_.path() + "/staging"), 0u);
}

TEST_F(LocalBlobStoreTest, TellsOnlyDurableBytesOfAnUpload) {
  const v1::BlobRef blob = RefOf("hello world");
  auto upload = store_->Begin(Key(kId, blob)).value();
  ASSERT_TRUE(upload->Append("hello ").ok());
  EXPECT_EQ(store_->StagedSize(Key(kId, blob)).value(), 0);
  ASSERT_TRUE(upload->Sync().ok());
  ASSERT_TRUE(upload->Append("wor").ok());
  EXPECT_EQ(store_->StagedSize(Key(kId, blob)).value(), 6);
}

TEST_F(LocalBlobStoreTest, SyncsAnUploadEvery48Mebibytes) {
  const std::string piece(1 << 20, 'p');
  v1::BlobRef blob = RefOf(piece);
  blob.set_size_bytes(49 << 20);
  auto upload = store_->Begin(Key(kId, blob)).value();
  for (int i = 0; i < 47; ++i) ASSERT_TRUE(upload->Append(piece).ok());
  EXPECT_EQ(upload->committed_size(), 0);
  ASSERT_TRUE(upload->Append(piece).ok());
  EXPECT_EQ(upload->committed_size(), 48 << 20);
}

TEST_F(LocalBlobStoreTest, WritesPiecesInTheirOrder) {
  const v1::BlobRef blob = RefOf("hello world");
  auto upload = store_->Begin(Key(kId, blob)).value();
  const absl::string_view pieces[] = {"", "he", "llo", "", " wor", "ld", ""};
  ASSERT_TRUE(upload->Append(pieces).ok());
  EXPECT_TRUE(upload->Finish().ok());
  EXPECT_EQ(Content(store_->Open(blob).value()), "hello world");
}

TEST_F(LocalBlobStoreTest, KeepsTheUploadsOfTenantsApart) {
  const v1::BlobRef blob = RefOf("hello");
  {
    auto upload = store_->Begin({"a", kId, blob}).value();
    ASSERT_TRUE(upload->Append("hel").ok());
    ASSERT_TRUE(upload->Sync().ok());
  }
  EXPECT_EQ(ReasonOf(store_->StagedSize({"b", kId, blob}).status()), "UPLOAD_NOT_FOUND");
  EXPECT_EQ(store_->Begin({"b", kId, blob}).value()->size(), 0);
  EXPECT_EQ(store_->Begin({"../b", kId, blob}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(LocalBlobStoreTest, DropsAnUploadADayAfterItsLastByte) {
  const v1::BlobRef blob = RefOf("hello");
  {
    auto upload = store_->Begin(Key(kId, blob)).value();
    ASSERT_TRUE(upload->Append("hel").ok());
    ASSERT_TRUE(upload->Sync().ok());
    ASSERT_TRUE(store_->CleanStaging(absl::Now() + absl::Hours(25)).ok());  // it is alive
    EXPECT_EQ(store_->StagedSize(Key(kId, blob)).value(), 3);
  }
  ASSERT_TRUE(store_->CleanStaging(absl::Now() + absl::Hours(23)).ok());
  EXPECT_EQ(store_->StagedSize(Key(kId, blob)).value(), 3);
  ASSERT_TRUE(store_->CleanStaging(absl::Now() + absl::Hours(25)).ok());
  EXPECT_EQ(ReasonOf(store_->StagedSize(Key(kId, blob)).status()), "UPLOAD_NOT_FOUND");
}

TEST_F(LocalBlobStoreTest, RemovesOnlyWhatIsCondemnedAndNotHeld) {
  const v1::BlobRef blob = store_->PutBytes("hello").value();
  EXPECT_FALSE(store_->Remove(blob).value());
  store_->Condemn({blob});
  const BlobHold hold = store_->Hold(blob);
  EXPECT_FALSE(store_->Remove(blob).value());
  store_->Condemn({blob});  // in vain while it is held
  EXPECT_FALSE(store_->Remove(blob).value());
  EXPECT_TRUE(store_->Stat(blob).ok());
}

TEST_F(LocalBlobStoreTest, ScrubFindsWhatRottedAfterItsFirstUse) {
  int told = 0;
  auto opened =
      LocalBlobStore::Open(folder_.path(), {.on_corrupt = [&](const v1::BlobRef&) { ++told; }});
  store_ = *std::move(opened);
  const v1::BlobRef good = store_->PutBytes("good").value();
  const v1::BlobRef bad = store_->PutBytes("hello").value();
  std::ofstream(ObjectPath(bad), std::ios::trunc) << "jello";
  std::vector<double> seconds;
  ScrubOptions options;
  options.min_bytes_per_second = 2;
  options.wait = [&](absl::Duration wait) {
    seconds.push_back(absl::ToDoubleSeconds(wait));
    return true;
  };
  const ScrubResult result = Scrub(*store_, options).value();
  EXPECT_EQ(result.objects, 2);
  EXPECT_EQ(result.bytes, 9);
  EXPECT_EQ(result.corrupt, 1);
  EXPECT_EQ(told, 1);
  EXPECT_THAT(seconds, ::testing::UnorderedElementsAre(2.0, 2.5));
  EXPECT_TRUE(store_->Stat(good).ok());
  EXPECT_TRUE(std::filesystem::exists(folder_.path() + "/quarantine/" + bad.sha256()));
}

TEST_F(LocalBlobStoreTest, KeepsEveryDamagedFile) {
  for (int i = 0; i < 3; ++i) {
    const v1::BlobRef blob = store_->PutBytes("hello").value();
    std::ofstream(ObjectPath(blob), std::ios::trunc) << "jello";
    Reopen();
    EXPECT_EQ(ReasonOf(store_->Open(blob).status()), "BLOB_CORRUPT");
  }
  EXPECT_EQ(FilesBelow(folder_.path() + "/quarantine"), 3u);
}

TEST_F(LocalBlobStoreTest, RefusesNamesThatAreNotDigests) {
  v1::BlobRef blob = RefOf("x");
  blob.set_sha256(std::string("../") + std::string(61, 'a'));
  EXPECT_EQ(store_->Open(blob).status().code(), absl::StatusCode::kInvalidArgument);
  blob.set_sha256(std::string(64, 'A'));
  EXPECT_EQ(store_->Stat(blob).code(), absl::StatusCode::kInvalidArgument);
  blob = RefOf("x");
  blob.set_size_bytes(kMaxBlobBytes + 1);
  EXPECT_EQ(ReasonOf(store_->Stat(blob)), "BLOB_TOO_LARGE");
  EXPECT_EQ(store_->Begin(Key("../../etc", RefOf("x"))).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace adamant
