// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/fault/api.h"
#include "tests/fault/history.h"
#include "tests/fault/oracle.h"
#include "tests/support/programs/program.h"

namespace adamant::testing {

struct RigOptions {
  std::string failpoints;         // ADAMANT_FAILPOINTS of the server
  std::string worker_failpoints;  // of its workers
  std::vector<std::string> arguments;
  bool may_end = false;  // the server may end before it is ready
};

// A real adamantd with the fake worker that is killed and started again over one data folder and
// one pair of ports, and the history of what its clients were told. Starts and kills by one thread.
class Rig {
 public:
  // `data_dir` empty: inside the rig's own folder.
  explicit Rig(const std::string& data_dir = "");
  ~Rig();

  void Start(const RigOptions& options = {});
  void Kill();     // SIGKILL to the server; its workers die with it
  void Restart();  // Kill and Start without failpoints

  ServerProcess& server() { return *server_; }
  bool running() const { return server_ != nullptr; }
  const std::string& address() const { return address_; }
  const std::string& data_dir() const { return data_dir_; }
  const std::string& folder() const { return evidence_; }
  Api& api() { return *api_; }
  History& history() { return *history_; }

  // The pids of the workers that run now.
  std::vector<pid_t> Workers() const;

  // "name action" -> how often it fired so far, in servers and workers.
  std::map<std::string, int> Fired() const;
  bool HasFired(const std::string& failpoint) const;

  // Resumes what is paused and waits until no job is live.
  void ComeToRest(absl::Duration limit = absl::Minutes(3));
  // Comes to rest, reads everything, and fails the test with each violation.
  void CheckOracle(const OracleOptions& options = {});

 private:
  std::string WorkerScript(const std::string& failpoints);
  Truth ReadTruth();
  absl::Status ReadJob(const std::string& name, JobTruth& truth);

  TemporaryFolder temporary_;
  std::string evidence_;
  std::string data_dir_;
  std::string address_;
  std::string metrics_address_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<Api> api_;
  std::unique_ptr<History> history_;
};

}  // namespace adamant::testing
