// SPDX-License-Identifier: Apache-2.0
// What users of other systems complained about, of GPUs (service.md 17).
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "tests/support/blobs/write_call.h"
#include "tests/support/exposition.h"
#include "tests/support/programs/program.h"

namespace adamant::testing {
namespace {

constexpr double kSlack = 64 << 20;

double UsedBytes(const ServerProcess& server) {
  return Exposition(Scrape(server.metrics_address()))["adamant_gpu_memory_used_bytes{gpu=\"0\"}"];
}

TEST(T06, LeavesNoMemoryOfAJobBehindOnCuda) {
  if (!std::filesystem::exists("/dev/nvidiactl")) GTEST_SKIP() << "needs a CUDA device";
  const TemporaryFolder folder;
  const ServerProcess server(folder.path(), {"--warm-spares", "0"});
  const double before = UsedBytes(server);
  for (const char* name : {"first", "second"}) {
    const ProgramResult trained = server.Cli(
        {"train", "--model", "mini_gap", "--dataset", "shapes", "--param", "train=512", "--param",
         "test=128", "--steps", "50", "--batch-size", "64", "--register-as", name, "--wait"});
    ASSERT_EQ(trained.exit_code, 0) << trained.out << trained.err;
    // The driver takes a moment to give back what an ended process had.
    EXPECT_TRUE(Eventually([&] { return UsedBytes(server) <= before + kSlack; }))
        << "from " << before << " to " << UsedBytes(server);
  }
}

}  // namespace
}  // namespace adamant::testing
