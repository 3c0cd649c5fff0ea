// SPDX-License-Identifier: Apache-2.0
// Uploads and downloads, and how they resume.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "client/client.h"
#include "common/files.h"
#include "tests/support/fake_server.h"

namespace adamant {
namespace {

using ::testing::ElementsAre;
using testing::FakeBlobs;
using testing::FakeServer;

class TempFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) / NewUuid();
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  std::string Write(const std::string& name, const std::string& bytes) const {
    std::ofstream(Path(name), std::ios::binary) << bytes;
    return Path(name);
  }

 private:
  std::filesystem::path folder_;
};
class Upload : public TempFolder {};
class Download : public TempFolder {};

// Different at every offset of a chunk boundary, so that a shift shows in the digest.
std::string Bytes(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>((i * 2654435761u) >> 13);
  return bytes;
}

TEST_F(Upload, GoesOnAtTheCommittedByteAfterABreak) {
  FakeServer server;
  server.blobs.write_break = 512 << 10;
  const std::string bytes = Bytes((1 << 20) + 17);
  const auto blob = server.MakeClient()->Upload(Write("weights", bytes));
  ASSERT_TRUE(blob.ok()) << blob.status();
  EXPECT_EQ(server.blobs.blobs.at(BlobName(FakeBlobs::RefOf(bytes))), bytes);
  EXPECT_THAT(server.blobs.write_offsets, ElementsAre(0, 512 << 10));
}

TEST_F(Upload, GoesOnWhereAnotherProcessWasStopped) {
  FakeServer server;
  server.blobs.write_break = 512 << 10;
  const std::string bytes = Bytes((1 << 20) + 17);
  ClientOptions options;
  options.reconnect_limit = -absl::Seconds(1);  // a process that dies with its first stream
  EXPECT_FALSE(server.MakeClient(options)->Upload(Write("weights", bytes)).ok());
  ASSERT_TRUE(server.MakeClient()->Upload(Write("a copy", bytes)).ok());
  EXPECT_EQ(server.blobs.blobs.at(BlobName(FakeBlobs::RefOf(bytes))), bytes);
  EXPECT_THAT(server.blobs.write_offsets, ElementsAre(0, 512 << 10));
  EXPECT_EQ(server.blobs.staged.size(), 1u);
}

TEST(UploadUuid, BelongsToOneBlobAndOneUser) {
  const v1::BlobRef blob = FakeBlobs::RefOf("bytes");
  const std::string uuid = UploadUuid(blob, "7@host");
  EXPECT_TRUE(IsUuid(uuid)) << uuid;
  EXPECT_EQ(uuid, UploadUuid(blob, "7@host"));
  EXPECT_NE(uuid, UploadUuid(blob, "8@host"));
  EXPECT_NE(uuid, UploadUuid(FakeBlobs::RefOf("others"), "7@host"));
}

TEST(FindMissingBlobs, AsksInPiecesThatTheServerAccepts) {
  FakeServer server;
  server.blobs.Add("known");
  std::vector<v1::BlobRef> blobs(10000, FakeBlobs::RefOf("absent"));
  blobs.push_back(FakeBlobs::RefOf("known"));
  blobs.push_back(FakeBlobs::RefOf("absent too"));
  const auto missing = server.MakeClient()->FindMissingBlobs(blobs);
  ASSERT_TRUE(missing.ok()) << missing.status();
  EXPECT_EQ(missing->size(), 10001u);
  EXPECT_THAT(server.blobs.asked, ElementsAre(10000, 2));
}

TEST_F(Upload, SendsNothingThatTheServerHas) {
  FakeServer server;
  server.blobs.Add("known");
  ASSERT_TRUE(server.MakeClient()->Upload(Write("file", "known")).ok());
  EXPECT_TRUE(server.blobs.write_offsets.empty());
}

TEST_F(Upload, SendsAnEmptyFile) {
  FakeServer server;
  const auto blob = server.MakeClient()->Upload(Write("empty", ""));
  ASSERT_TRUE(blob.ok()) << blob.status();
  EXPECT_EQ(blob->size_bytes(), 0);
}

TEST_F(Download, ResumesAfterABreakAndKeepsNoPart) {
  FakeServer server;
  const std::string bytes = Bytes(300000);
  server.blobs.Add(bytes);
  server.blobs.read_break = 100000;
  const absl::Status status = server.MakeClient()->Download(FakeBlobs::RefOf(bytes), Path("file"));
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(*ReadFile(Path("file")), bytes);
  EXPECT_THAT(server.blobs.read_offsets, ElementsAre(0, 100000));
  EXPECT_FALSE(std::filesystem::exists(Path("file.part")));
}

TEST_F(Download, GoesOnWhereAnEarlierProcessStopped) {
  FakeServer server;
  const std::string bytes = Bytes(1000);
  server.blobs.Add(bytes);
  Write("file.part", bytes.substr(0, 600));
  ASSERT_TRUE(server.MakeClient()->Download(FakeBlobs::RefOf(bytes), Path("file")).ok());
  EXPECT_EQ(*ReadFile(Path("file")), bytes);
  EXPECT_THAT(server.blobs.read_offsets, ElementsAre(600));
}

TEST_F(Download, StartsAnewWhenThePartWasOfSomethingElse) {
  FakeServer server;
  const std::string bytes = Bytes(1000);
  server.blobs.Add(bytes);
  Write("file.part", "another file");
  ASSERT_TRUE(server.MakeClient()->Download(FakeBlobs::RefOf(bytes), Path("file")).ok());
  EXPECT_EQ(*ReadFile(Path("file")), bytes);
}

TEST_F(Download, DiscardsBytesWithAnotherDigest) {
  FakeServer server;
  server.blobs.Add("right");
  server.blobs.corrupt_reads = true;
  const absl::Status status =
      server.MakeClient()->Download(FakeBlobs::RefOf("right"), Path("file"));
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_FALSE(std::filesystem::exists(Path("file")));
  EXPECT_FALSE(std::filesystem::exists(Path("file.part")));
}

TEST_F(Download, RefusesToOverwriteUnlessTold) {
  FakeServer server;
  server.blobs.Add("new");
  Write("file", "old");
  const auto client = server.MakeClient();
  EXPECT_TRUE(absl::IsAlreadyExists(client->Download(FakeBlobs::RefOf("new"), Path("file"))));
  EXPECT_EQ(*ReadFile(Path("file")), "old");
  EXPECT_TRUE(client->Download(FakeBlobs::RefOf("new"), Path("file"), true).ok());
  EXPECT_EQ(*ReadFile(Path("file")), "new");
}

}  // namespace
}  // namespace adamant
