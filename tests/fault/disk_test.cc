// SPDX-License-Identifier: Apache-2.0
// A disk that is really full: R8 of reliability.md 12. Needs the right to mount a memory file
// system.
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/client.h"
#include "tests/fault/load.h"
#include "tests/fault/rig.h"
#include "tests/fault/settings.h"

namespace adamant::testing {
namespace {

constexpr char kSize[] = "size=96m";

class FullDisk : public ::testing::Test {
 protected:
  FullDisk() {
    mkdir(path().c_str(), 0700);
    mounted = mount("tmpfs", path().c_str(), "tmpfs", 0, kSize) == 0;
    if (!mounted) error = std::strerror(errno);
  }
  ~FullDisk() override {
    if (mounted) umount2(path().c_str(), MNT_DETACH);
  }

  std::string path() const { return folder.path() + "/disk"; }

  // Leaves no room at all.
  void Fill() const {
    std::ofstream filler(path() + "/filler", std::ios::binary | std::ios::app);
    const std::string megabyte(1 << 20, 'x');
    while (filler.write(megabyte.data(), static_cast<std::streamsize>(megabyte.size()))) {
    }
    filler.clear();
    while (filler.put('x').flush()) {
    }
  }
  void Free() const { unlink((path() + "/filler").c_str()); }

  TemporaryFolder folder;
  bool mounted = false;
  std::string error;
};

TEST_F(FullDisk, IsAnErrorAndNotADamage) {
  if (!mounted) GTEST_SKIP() << "cannot mount a memory file system: " << error;
  Rig rig(path() + "/data");
  rig.Start({.arguments = {"--cpu-slots", "2"}});
  std::mt19937_64 random(TheSettings().seed);
  for (int i = 0; i < RoundsOr(3); ++i) {
    Load load(rig.address(), rig.history(),
              {.seed = TheSettings().seed + static_cast<uint64_t>(i)});
    absl::SleepFor(absl::Milliseconds(static_cast<int64_t>(200 + random() % 800)));
    Fill();
    absl::SleepFor(absl::Milliseconds(500));
    const std::string id = NewUuid();
    rig.history().Add({.op = "asked", .request_id = id});
    const auto submitted = rig.api().Submit({.request_id = id, .seed = 1001});
    EXPECT_FALSE(submitted.ok()) << "a submit was acknowledged on a full disk";
    const auto written = rig.api().Write(NewUpload(RefOf("more")), "more", 0);
    EXPECT_FALSE(written.ok()) << "an upload was acknowledged on a full disk";
    Free();
    if (rig.server().EndsWithin(absl::Milliseconds(100))) {
      EXPECT_EQ(rig.server().Wait(), 75) << rig.server().log();
      rig.Start({.arguments = {"--cpu-slots", "2"}});
    }
    absl::SleepFor(absl::Milliseconds(300));
    load.Stop();
  }
  rig.CheckOracle({.workers_were_killed = true, .disk_failed = true});
}

}  // namespace
}  // namespace adamant::testing
