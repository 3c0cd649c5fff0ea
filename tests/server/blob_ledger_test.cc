// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <filesystem>

#include "common/error_reason.h"
#include "server/blobs/disk_ledger.h"
#include "tests/support/temporary_folder.h"

namespace adamant {
namespace {

constexpr int64_t kMiB = 1 << 20;

class DiskLedgerTest : public ::testing::Test {
 protected:
  // A volume of 1000 MiB with a reserve of 8: the floor is 5 %, 50 MiB.
  DiskLedgerOptions Options() {
    return {.folder = folder_.path(), .reserve_bytes = 8 * kMiB, .space = [this] {
              return DiskSpace{1000 * kMiB, free_};
            }};
  }
  bool ReserveExists() const { return std::filesystem::exists(folder_.path() + "/reserve"); }

  testing::TemporaryFolder folder_;
  int64_t free_ = 200 * kMiB;
};

TEST_F(DiskLedgerTest, RefusesNewWorkBelowTheFloorAndRecoversWithoutARestart) {
  DiskLedger ledger(Options());
  EXPECT_TRUE(ledger.Admit().ok());
  free_ = 50 * kMiB - 1;
  EXPECT_EQ(ReasonOf(ledger.Admit()), "STORAGE_FULL");
  free_ = 50 * kMiB;
  EXPECT_TRUE(ledger.Admit().ok());
}

TEST_F(DiskLedgerTest, TakesTheReserveAsTheFloorOfASmallVolume) {
  DiskLedgerOptions options = Options();
  options.reserve_bytes = 60 * kMiB;
  DiskLedger ledger(options);
  free_ = 60 * kMiB - 1;
  EXPECT_EQ(ReasonOf(ledger.Admit()), "STORAGE_FULL");
  free_ = 60 * kMiB;
  EXPECT_TRUE(ledger.Admit().ok());
}

TEST_F(DiskLedgerTest, CountsWhatIsReservedUntilItIsSpentOrGivenBack) {
  DiskLedger ledger(Options());
  auto first = ledger.Reserve(100 * kMiB);  // 200 - 100 - 50 leaves 50
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(ReasonOf(ledger.Reserve(51 * kMiB).status()), "STORAGE_FULL");
  EXPECT_TRUE(ledger.Reserve(50 * kMiB).ok());  // given back at once
  EXPECT_TRUE(ledger.Reserve(50 * kMiB).ok());
  first->Spend(60 * kMiB);
  free_ -= 60 * kMiB;  // the disk shows them now
  EXPECT_EQ(ReasonOf(ledger.Reserve(51 * kMiB).status()), "STORAGE_FULL");
  EXPECT_TRUE(ledger.Reserve(50 * kMiB).ok());
  *first = DiskReservation();
  EXPECT_TRUE(ledger.Reserve(90 * kMiB).ok());
}

TEST_F(DiskLedgerTest, GivesResultsTheLastBytesAndTheReserve) {
  DiskLedger ledger(Options());
  ASSERT_TRUE(ledger.Tend().ok());
  ASSERT_TRUE(ReserveExists());
  EXPECT_EQ(std::filesystem::file_size(folder_.path() + "/reserve"), 8u * kMiB);
  free_ = 10 * kMiB;
  EXPECT_TRUE(ledger.ReserveForResults(10 * kMiB).ok());
  EXPECT_TRUE(ReserveExists());
  EXPECT_EQ(ReasonOf(ledger.ReserveForResults(11 * kMiB).status()), "STORAGE_FULL");
  EXPECT_FALSE(ReserveExists());  // it was tried
}

TEST_F(DiskLedgerTest, ReleasesTheReserveWhenTheDiskIsNearlyFullAndMakesItAgain) {
  DiskLedger ledger(Options());
  ASSERT_TRUE(ledger.Tend().ok());
  free_ = 2 * kMiB;
  ASSERT_TRUE(ledger.Tend().ok());
  EXPECT_TRUE(ReserveExists());
  free_ = 2 * kMiB - 1;
  ASSERT_TRUE(ledger.Tend().ok());
  EXPECT_FALSE(ReserveExists());
  free_ = 58 * kMiB - 1;  // floor and reserve do not fit
  ASSERT_TRUE(ledger.Tend().ok());
  EXPECT_FALSE(ReserveExists());
  free_ = 58 * kMiB;
  ASSERT_TRUE(ledger.Tend().ok());
  EXPECT_TRUE(ReserveExists());
}

TEST_F(DiskLedgerTest, LimitsATenantToHalfOfTheVolume) {
  DiskLedger ledger(Options());
  EXPECT_TRUE(ledger.AdmitTenant(500 * kMiB).ok());
  EXPECT_EQ(ReasonOf(ledger.AdmitTenant(500 * kMiB + 1)), "QUOTA_BYTES");
}

TEST_F(DiskLedgerTest, AsksTheRealDiskByDefault) {
  DiskLedger ledger({.folder = folder_.path(), .reserve_bytes = 0});
  const DiskSpace space = ledger.space();
  EXPECT_GT(space.capacity_bytes, 0);
  EXPECT_LE(space.free_bytes, space.capacity_bytes);
  EXPECT_EQ(ReasonOf(ledger.Reserve(space.capacity_bytes).status()), "STORAGE_FULL");
}

}  // namespace
}  // namespace adamant
