// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "common/files.h"
#include "common/worker_exit.h"
#include "server/workers/catalog.h"
#include "server/workers/worker_pool.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/workers/job_rig.h"

namespace adamant {
namespace {

using testing::FakeWorkerCommand;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::TemporaryFolder;

// What a program prints when it is started as a worker.
std::string OutputOf(const std::string& program, int* exit_code = nullptr) {
  WorkerCommand command = FakeWorkerCommand();
  command.worker = program;
  auto process = WorkerProcess::Spawn(command);
  EXPECT_TRUE(process.ok()) << process.status();
  std::string output;
  (*process)->SetOutput([&](absl::string_view bytes) { absl::StrAppend(&output, bytes); });
  while ((*process)->Next(absl::InfiniteFuture()).kind != WorkerNews::kExited) {
  }
  if (exit_code != nullptr) *exit_code = WEXITSTATUS(*(*process)->wait_status());
  return output;
}

TEST(Launcher, GivesTheWorkerAFixedEnvironment) {
  setenv("LD_LIBRARY_PATH", "/nowhere", 1);
  setenv("SECRET_TOKEN", "secret", 1);
  const std::string environment = OutputOf("/usr/bin/env");
  unsetenv("LD_LIBRARY_PATH");
  unsetenv("SECRET_TOKEN");
  EXPECT_THAT(environment, HasSubstr("OMP_WAIT_POLICY=passive\n"));
  EXPECT_THAT(environment, HasSubstr("OMP_NUM_THREADS=1\n"));
  EXPECT_THAT(environment, Not(HasSubstr("LD_")));
  EXPECT_THAT(environment, Not(HasSubstr("secret")));
}

TEST(Launcher, SaysWhenTheWorkerCannotBeExecuted) {
  int exit_code = 0;
  EXPECT_THAT(OutputOf("/nowhere/adamant-worker", &exit_code), HasSubstr("cannot be executed"));
  EXPECT_EQ(exit_code, kExitSandbox);
}

TEST(WorkerProcess, IsKilledWhenItHoldsMoreMemoryThanItsLimit) {
  auto process = WorkerProcess::Spawn(FakeWorkerCommand());
  ASSERT_TRUE(process.ok()) << process.status();
  (*process)->LimitResident(1 << 16);
  WorkerNews news;
  while (news.kind != WorkerNews::kExited) news = (*process)->Next(absl::InfiniteFuture());
  EXPECT_EQ(news.error.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(news.error.message()), HasSubstr("its limit is 65536"));
}

TEST(WorkerPool, SaysWhyAWorkerDidNotGetReady) {
  WorkerPoolOptions options;
  options.command = FakeWorkerCommand();
  options.command.worker = "/bin/false";
  options.warm_spares = 0;
  WorkerPool pool(options);
  const auto worker = pool.Take();
  EXPECT_EQ(worker.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(worker.status().message()), HasSubstr("exit code 1"));
}

TEST(WorkerPool, HandsOutSparesThatSaidHello) {
  WorkerPoolOptions options;
  options.command = FakeWorkerCommand();
  options.warm_spares = 1;
  WorkerPool pool(options);
  auto first = pool.Take();
  auto second = pool.Take();
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(first->hello.build_id(), "fake");
  EXPECT_NE(first->process->pid(), second->process->pid());
}

TEST(WorkerPool, ProbesADeviceUntilItComputesRight) {
  const TemporaryFolder folder;
  const std::string fault = folder.path() + "/fault";
  ASSERT_TRUE(WriteFileDurably(fault, "x").ok());
  WorkerPoolOptions options;
  options.command = FakeWorkerCommand();
  options.warm_spares = 0;
  options.slots = {Slot{}, Slot{testing::kBrokenWhile + fault}};
  WorkerPool pool(options);
  EXPECT_TRUE(pool.Probe(0).ok());
  const absl::Status broken = pool.Probe(1);
  EXPECT_EQ(broken.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(broken.message()), HasSubstr("computes wrong"));
  ASSERT_EQ(unlink(fault.c_str()), 0);
  EXPECT_TRUE(pool.Probe(1).ok());
}

TEST(WorkerPool, GivesUpAProbeThatDoesNotAnswer) {
  WorkerPoolOptions options;
  options.command = FakeWorkerCommand();
  options.warm_spares = 0;
  options.slots = {Slot{testing::kSilentDevice}};
  options.probe_limit = absl::Milliseconds(200);
  WorkerPool pool(options);
  EXPECT_THAT(std::string(pool.Probe(0).message()), HasSubstr("no answer in time"));
}

TEST(Catalog, IsAskedOnceAndThenReadFromTheCache) {
  const TemporaryFolder folder;
  const std::string cache = folder.path() + "/catalog";
  auto catalog = LoadCatalog(FakeWorkerCommand(), cache);
  ASSERT_TRUE(catalog.ok()) << catalog.status();
  EXPECT_EQ(catalog->families(0).plugins(0).name(), "shapes");
  WorkerCommand broken = FakeWorkerCommand();
  broken.launcher = {"/bin/false"};
  EXPECT_TRUE(LoadCatalog(broken, cache).ok());
  EXPECT_EQ(LoadCatalog(broken, folder.path() + "/other").status().code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace adamant
