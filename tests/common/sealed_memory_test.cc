// SPDX-License-Identifier: Apache-2.0
#include "common/sealed_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

namespace adamant {
namespace {

TEST(SealedMemory, HandsOverBytesThatNobodyCanChange) {
  const auto file = SealedMemory("hello");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(write(file->get(), "x", 1), -1);
  EXPECT_EQ(ftruncate(file->get(), 1), -1);
  const auto view = OpenSealedMemory(file->get(), 5);
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ((*view)->bytes(), "hello");
}

TEST(SealedMemory, RefusesWhatIsTooLongOrNotSealed) {
  const auto file = SealedMemory("hello");
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(OpenSealedMemory(file->get(), 4).status().code(), absl::StatusCode::kInvalidArgument);
  const Descriptor open(memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_TRUE(WriteAll(open.get(), "hello").ok());
  EXPECT_EQ(OpenSealedMemory(open.get(), 5).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace adamant
