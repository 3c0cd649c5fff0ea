// SPDX-License-Identifier: Apache-2.0
#include "client/cli/pack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>

#include "client/cli/exit_code.h"
#include "client/client.h"
#include "common/files.h"

namespace adamant {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

class Pack : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }
  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  std::string Write(const std::string& name, const std::string& bytes) const {
    fs::create_directories(fs::path(Path(name)).parent_path());
    std::ofstream(Path(name), std::ios::binary) << bytes;
    return Path(name);
  }
  std::string WriteGzip(const std::string& name, const std::string& bytes) const {
    gzFile out = gzopen(Path(name).c_str(), "wb");
    gzwrite(out, bytes.data(), static_cast<unsigned>(bytes.size()));
    gzclose(out);
    return Path(name);
  }

 private:
  const fs::path folder_ = fs::path(::testing::TempDir()) / NewUuid();
};

// Names of the entries of a tar file, in order: each header block holds the name and an octal size.
std::vector<std::string> EntriesOf(const std::string& tar) {
  std::vector<std::string> names;
  for (size_t at = 0; at + 512 <= tar.size() && tar[at] != '\0';) {
    names.emplace_back(tar.c_str() + at);
    const size_t size = std::stoul(tar.substr(at + 124, 12), nullptr, 8);
    at += 512 + (size + 511) / 512 * 512;
  }
  return names;
}

TEST_F(Pack, SortsTheEntriesOfATarByTheirBytes) {
  Write("data/train/b/2.png", "two");
  Write("data/train/b/1.png", "one");
  Write("data/train/a/9.png", "nine");
  Write("data/test/a/1.png", "");
  Write("data/.hidden/x.png", "x");
  ASSERT_TRUE(PackFolder(Path("data"), Path("out.tar")).ok());
  EXPECT_THAT(EntriesOf(*ReadFile(Path("out.tar"))),
              ElementsAre("test/a/1.png", "train/a/9.png", "train/b/1.png", "train/b/2.png"));
}

TEST_F(Pack, GivesEqualBytesForEqualFolders) {
  Write("x/a/1.png", "one");
  Write("y/a/1.png", "one");
  fs::last_write_time(Path("x/a/1.png"), fs::file_time_type::clock::now() - std::chrono::hours(9));
  ASSERT_TRUE(PackFolder(Path("x"), Path("x.tar")).ok());
  ASSERT_TRUE(PackFolder(Path("y"), Path("y.tar")).ok());
  EXPECT_EQ(*ReadFile(Path("x.tar")), *ReadFile(Path("y.tar")));
}

TEST_F(Pack, RefusesLinksAndEmptyFolders) {
  fs::create_directories(Path("empty"));
  EXPECT_TRUE(absl::IsInvalidArgument(PackFolder(Path("empty"), Path("out.tar"))));
  Write("linked/1.png", "one");
  fs::create_symlink("/etc/hostname", Path("linked/2.png"));
  EXPECT_TRUE(absl::IsInvalidArgument(PackFolder(Path("linked"), Path("out.tar"))));
}

TEST_F(Pack, DecompressesGzip) {
  const std::string bytes(700000, 'x');
  const auto packed = PackDataset("mnist", {WriteGzip("t10k-images-idx3-ubyte.gz", bytes)});
  ASSERT_TRUE(packed.ok()) << packed.status();
  EXPECT_EQ((*packed)[0].name, "t10k-images-idx3-ubyte");
  EXPECT_EQ(*ReadFile((*packed)[0].path), bytes);
}

TEST_F(Pack, RemovesItsTemporaryFiles) {
  std::string path;
  {
    const auto packed = PackDataset("mnist", {WriteGzip("a.gz", "bytes")});
    ASSERT_TRUE(packed.ok()) << packed.status();
    path = (*packed)[0].path;
    EXPECT_TRUE(fs::exists(path));
  }
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(Pack, RefusesTruncatedDamagedAndPlainGzip) {
  std::string random(100000, '\0');
  for (size_t i = 0; i < random.size(); ++i) random[i] = static_cast<char>(i * i * 31 >> 3);
  const std::string whole = *ReadFile(WriteGzip("whole.gz", random));
  const std::string cut = Write("cut.gz", whole.substr(0, whole.size() / 2));
  EXPECT_TRUE(absl::IsDataLoss(Gunzip(cut, Path("out")))) << Gunzip(cut, Path("out"));
  std::string damaged = whole;
  damaged[damaged.size() - 6] ^= 1;  // in the check sum
  EXPECT_TRUE(absl::IsDataLoss(Gunzip(Write("bad.gz", damaged), Path("out"))));
  EXPECT_TRUE(absl::IsInvalidArgument(Gunzip(Write("plain.gz", "not gzip"), Path("out"))));
}

TEST_F(Pack, TakesTheFilesOfAFolderThatTheReaderKnows) {
  Write("cifar/data_batch_1.bin", "1");
  Write("cifar/test_batch.bin", "2");
  Write("cifar/batches.meta.txt", "cat");
  Write("cifar/readme.html", "no");
  const auto packed = PackDataset("cifar10", {Path("cifar")});
  ASSERT_TRUE(packed.ok()) << packed.status();
  std::vector<std::string> names;
  for (const PackedFile& file : *packed) names.push_back(file.name);
  EXPECT_THAT(names, ElementsAre("batches.meta.txt", "data_batch_1.bin", "test_batch.bin"));
}

TEST_F(Pack, MakesOneTarOfAClassFolder) {
  Write("flowers/train/rose/1.jpg", "x");
  const auto packed = PackDataset("image_folder", {Path("flowers")});
  ASSERT_TRUE(packed.ok()) << packed.status();
  ASSERT_EQ(packed->size(), 1u);
  EXPECT_EQ((*packed)[0].name, "data.tar");
  EXPECT_THAT(EntriesOf(*ReadFile((*packed)[0].path)), ElementsAre("train/rose/1.jpg"));
}

TEST_F(Pack, RefusesTwoFilesOfOneName) {
  EXPECT_TRUE(
      IsUsageError(PackDataset("mnist", {WriteGzip("a.gz", "1"), Write("a", "2")}).status()));
}

}  // namespace
}  // namespace adamant
