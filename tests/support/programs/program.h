// SPDX-License-Identifier: Apache-2.0
// Runs the real programs for end-to-end tests.
#pragma once

#include <sys/types.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "tests/support/temporary_folder.h"

namespace adamant::testing {

struct ProgramResult {
  int exit_code = -1;  // 128 + signal when killed
  std::string out;
  std::string err;
};

// Runs a program of the build tree ("adamant", "adamantd", "adamant-worker") to its end.
ProgramResult RunProgram(const std::string& name, const std::vector<std::string>& arguments,
                         const std::vector<std::string>& environment = {});

struct ServerSetup {
  // Added to the defaults: free ports and logs as JSON. A --listen or --metrics-address replaces
  // the free port.
  std::vector<std::string> arguments;
  std::vector<std::string> environment;  // added to that of the test
  bool may_end = false;                  // ending before it is ready does not fail the test
};

// An adamantd on 127.0.0.1 with free ports, over its own data folder. Killed on destruction; under
// AddressSanitizer drained before, so that it looks for leaks. What a sanitizer wrote in the server
// or its workers fails the test.
class ServerProcess {
 public:
  // Returns when the server says that it is ready; fails the test when it exits first.
  explicit ServerProcess(std::string data_dir, std::vector<std::string> arguments = {})
      : ServerProcess(std::move(data_dir), ServerSetup{std::move(arguments), {}, false}) {}
  ServerProcess(std::string data_dir, const ServerSetup& setup);
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  const std::string& address() const { return address_; }
  const std::string& metrics_address() const { return metrics_address_; }
  const std::string& data_dir() const { return data_dir_; }
  pid_t pid() const { return pid_; }  // -1 once it was waited for
  bool ready() const { return ready_; }

  void Signal(int number) const;
  void Kill();      // SIGKILL, and waits until it is gone
  int Terminate();  // SIGTERM; the exit code
  int Wait();       // for its end; the exit code, 128 + signal when killed
  // Whether it ended, after waiting that long for it.
  bool EndsWithin(absl::Duration limit) const;

  std::string log() const;  // what it wrote so far

  // `adamant --server ADDRESS ...`
  ProgramResult Cli(std::vector<std::string> arguments) const;

 private:
  void ReadLog(int fd);
  void DrainNow();

  const std::string data_dir_;
  pid_t pid_ = -1;
  mutable absl::Mutex mutex_;
  std::string log_ ABSL_GUARDED_BY(mutex_);
  bool log_ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread reader_;
  std::string address_;
  std::string metrics_address_;
  bool ready_ = false;
};

}  // namespace adamant::testing
