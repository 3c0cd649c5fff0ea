// SPDX-License-Identifier: Apache-2.0
#include "tests/support/programs/program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/files.h"

extern char** environ;

namespace adamant::testing {
namespace {

std::string ProgramPath(const std::string& name) {
  static const auto* folders = new std::map<std::string, std::string>{
      {"adamantd", "server"}, {"adamant-worker", "worker"}, {"adamant", "client"}};
  return absl::StrCat(ADAMANT_BUILD_DIR, "/", folders->at(name), "/", name);
}

// Starts a program with its stdout and stderr on the given descriptors.
pid_t Spawn(const std::string& path, const std::vector<std::string>& arguments,
            const std::vector<std::string>& environment, int out, int err) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out, 1);
  posix_spawn_file_actions_adddup2(&actions, err, 2);
  std::vector<char*> argv = {const_cast<char*>(path.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  std::vector<char*> env;
  for (const std::string& entry : environment) env.push_back(const_cast<char*>(entry.c_str()));
  for (char** entry = environ; *entry != nullptr; ++entry) env.push_back(*entry);
  env.push_back(nullptr);
  pid_t pid = -1;
  const int error = posix_spawn(&pid, path.c_str(), &actions, nullptr, argv.data(), env.data());
  posix_spawn_file_actions_destroy(&actions);
  EXPECT_EQ(error, 0) << "cannot start " << path;
  return error == 0 ? pid : -1;
}

int WaitFor(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

constexpr absl::Duration kDrainLimit = absl::Minutes(2);  // only a failing test waits that long

#ifdef __SANITIZE_ADDRESS__
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// Fails the test with what a sanitizer wrote. A SIGKILL or a worker's end would hide the exit code.
void FailOnSanitizerReport(absl::string_view program, const std::string& text) {
  for (const char* sign : {"ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error: "}) {
    const size_t begin = text.find(sign);
    if (begin != std::string::npos) ADD_FAILURE() << program << ": " << text.substr(begin, 8000);
  }
}

// The workers of a server write to the logs of their jobs.
void FailOnReportsOfWorkers(const std::string& data_dir) {
  std::error_code error;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(data_dir + "/logs", error)) {
    if (!entry.is_regular_file()) continue;
    const absl::StatusOr<std::string> text = ReadFile(entry.path().string());
    if (text.ok()) FailOnSanitizerReport("a worker", *text);
  }
}

// Reads from all descriptors until each is at its end.
void Drain(std::map<int, std::string*> sinks) {
  while (!sinks.empty()) {
    std::vector<pollfd> polled;
    for (const auto& [fd, sink] : sinks) polled.push_back({fd, POLLIN, 0});
    poll(polled.data(), polled.size(), -1);
    for (const pollfd& entry : polled) {
      if (entry.revents == 0) continue;
      char buffer[65536];
      const ssize_t size = read(entry.fd, buffer, sizeof(buffer));
      if (size > 0) {
        sinks[entry.fd]->append(buffer, static_cast<size_t>(size));
      } else if (size == 0 || errno != EINTR) {
        sinks.erase(entry.fd);
      }
    }
  }
}

}  // namespace

ProgramResult RunProgram(const std::string& name, const std::vector<std::string>& arguments,
                         const std::vector<std::string>& environment) {
  int out[2];
  int err[2];
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) return {};
  const pid_t pid = Spawn(ProgramPath(name), arguments, environment, out[1], err[1]);
  close(out[1]);
  close(err[1]);
  ProgramResult result;
  Drain({{out[0], &result.out}, {err[0], &result.err}});
  close(out[0]);
  close(err[0]);
  if (pid > 0) result.exit_code = WaitFor(pid);
  FailOnSanitizerReport(name, result.err);
  return result;
}

ServerProcess::ServerProcess(std::string data_dir, const ServerSetup& setup)
    : data_dir_(std::move(data_dir)) {
  std::vector<std::string> all = {"--data-dir", data_dir_, "--log-format", "json"};
  for (const char* flag : {"--listen", "--metrics-address"}) {
    const auto& given = setup.arguments;
    if (std::find(given.begin(), given.end(), flag) == given.end())
      all.insert(all.end(), {flag, "127.0.0.1:0"});
  }
  all.insert(all.end(), setup.arguments.begin(), setup.arguments.end());
  int log[2];
  if (pipe2(log, O_CLOEXEC) != 0) return;
  pid_ = Spawn(ProgramPath("adamantd"), all, setup.environment, log[1], log[1]);
  close(log[1]);
  reader_ = std::thread([this, fd = log[0]] { ReadLog(fd); });
  {
    absl::MutexLock lock(&mutex_);
    const auto settled = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return log_ended_ || absl::StrContains(log_, "\"event\":\"ready\"");
    };
    mutex_.Await(absl::Condition(&settled));
    ready_ = absl::StrContains(log_, "\"event\":\"ready\"");
    EXPECT_TRUE(ready_ || setup.may_end) << log_;
  }
  if (!ready_) return;
  const absl::StatusOr<std::string> lock = ReadFile(data_dir_ + "/LOCK");
  if (!lock.ok()) return;
  for (const absl::string_view line : absl::StrSplit(*lock, '\n')) {
    if (absl::StartsWith(line, "listen=")) address_ = std::string(line.substr(7));
    if (absl::StartsWith(line, "metrics=")) metrics_address_ = std::string(line.substr(8));
  }
}

ServerProcess::~ServerProcess() {
  if (kSanitized && ready_ && pid_ > 0) DrainNow();
  Kill();
  if (reader_.joinable()) reader_.join();
}

void ServerProcess::ReadLog(int fd) {
  char buffer[65536];
  while (true) {
    const ssize_t size = read(fd, buffer, sizeof(buffer));
    if (size < 0 && errno == EINTR) continue;
    absl::MutexLock lock(&mutex_);
    if (size <= 0) {
      log_ended_ = true;
      close(fd);
      return;
    }
    log_.append(buffer, static_cast<size_t>(size));
  }
}

std::string ServerProcess::log() const {
  absl::MutexLock lock(&mutex_);
  return log_;
}

int ServerProcess::Wait() {
  if (pid_ <= 0) return -1;
  const int exit_code = WaitFor(std::exchange(pid_, -1));
  {
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(&log_ended_), absl::Seconds(30));
    FailOnSanitizerReport("adamantd", log_);
  }
  if (kSanitized) FailOnReportsOfWorkers(data_dir_);
  return exit_code;
}

// The second SIGTERM spares the delay of the drain.
void ServerProcess::DrainNow() {
  Signal(SIGCONT);
  Signal(SIGTERM);
  {
    absl::MutexLock lock(&mutex_);
    const auto draining = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return log_ended_ || absl::StrContains(log_, "\"message\":\"draining\"");
    };
    mutex_.AwaitWithTimeout(absl::Condition(&draining), kDrainLimit);
  }
  Signal(SIGTERM);
  EXPECT_TRUE(EndsWithin(kDrainLimit)) << "no end after SIGTERM: leaks were not looked for";
}

void ServerProcess::Kill() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  Wait();
}

void ServerProcess::Signal(int number) const {
  if (pid_ > 0) kill(pid_, number);
}

bool ServerProcess::EndsWithin(absl::Duration limit) const {
  if (pid_ <= 0) return true;
  absl::MutexLock lock(&mutex_);  // its end closes the pipe of its log
  return mutex_.AwaitWithTimeout(absl::Condition(&log_ended_), limit);
}

int ServerProcess::Terminate() {
  kill(pid_, SIGTERM);
  return Wait();
}

ProgramResult ServerProcess::Cli(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), {"--server", address_});
  return RunProgram("adamant", arguments);
}

}  // namespace adamant::testing
