// SPDX-License-Identifier: Apache-2.0
#include "common/files.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "common/nearest.h"
#include "common/sha256.h"

namespace adamant {
namespace {

TEST(Sha256, MatchesThePublishedTestVectors) {
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  Sha256 hash;
  hash.Update("a");
  hash.Update("bc");
  EXPECT_EQ(hash.FinishHex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Files, WritesDurablyAndReadsBack) {
  const std::string path = ::testing::TempDir() + "/files_test";
  ASSERT_TRUE(WriteFileDurably(path, "one").ok());
  ASSERT_TRUE(WriteFileDurably(path, "two").ok());
  EXPECT_EQ(ReadFile(path).value(), "two");
  EXPECT_FALSE(std::filesystem::exists(path + ".tmp"));
  std::filesystem::remove(path);
  EXPECT_TRUE(absl::IsNotFound(ReadFile(path).status()));
}

TEST(Files, AnEmptyFileIsAnEmptyView) {
  const std::string path = ::testing::TempDir() + "/empty_test";
  ASSERT_TRUE(WriteFileDurably(path, "").ok());
  EXPECT_EQ((*FileView::Open(path))->bytes(), "");
  std::filesystem::remove(path);
}

TEST(NearestName, CountsSwapsAsOneEditAndGivesUpWhenFar) {
  const std::vector<std::string> known = {"fgsm", "pgd", "apgd_ce"};
  EXPECT_EQ(NearestName("pdg", known), "pgd");
  EXPECT_EQ(NearestName("apgdce", known), "apgd_ce");
  EXPECT_EQ(NearestName("square", known), "");
  EXPECT_EQ(UnknownNameMessage("attack", "square", known),
            "unknown attack \"square\"; known: fgsm, pgd, apgd_ce");
}

}  // namespace
}  // namespace adamant
