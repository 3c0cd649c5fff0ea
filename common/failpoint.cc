// SPDX-License-Identifier: Apache-2.0
#include "common/failpoint.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"

namespace adamant {
namespace {

constexpr absl::string_view kNames[] = {
    "submit.before_commit",
    "submit.after_commit",
    "claim.before_commit",
    "claim.after_commit",
    "spawn.before",
    "spawn.after",
    "hello.before",
    "start.before",
    "heartbeat.skip",
    "progress.before",
    "event.before_commit",
    "event.after_commit",
    "output.open",
    "output.fallocate",
    "output.write",
    "output.fsync",
    "output.rename",
    "output.dirsync",
    "checkpoint.before_commit",
    "checkpoint.after_commit",
    "result.before_commit",
    "result.after_commit",
    "result.before_reply",
    "upload.write",
    "upload.fsync",
    "upload.rename",
    "upload.dirsync",
    "upload.before_row",
    "upload.before_reply",
    "gc.before_row",
    "gc.before_unlink",
    "delete.before_commit",
    "lease.renew",
    "lease.expire",
    "supervisor.skip_kill",
    "drain.each_step",
    "start.recover",
};

}  // namespace

absl::Span<const absl::string_view> FailpointNames() { return kNames; }

#ifdef ADAMANT_FAILPOINTS
namespace {

constexpr int kKill = -3;
constexpr int kStop = -4;
constexpr int kFail = -5;

struct Rule {
  int action = 0;
  std::string action_name;
  int from = 1;
  int to = 1;
  int hits = 0;
};

[[noreturn]] void Refuse(absl::string_view rule) {
  std::fprintf(stderr, "ADAMANT_FAILPOINTS: cannot read \"%s\"\n", std::string(rule).c_str());
  std::_Exit(2);
}

int ActionOf(absl::string_view name, absl::string_view rule) {
  if (name == "kill") return kKill;
  if (name == "stop") return kStop;
  if (name == "eio") return EIO;
  if (name == "enospc") return ENOSPC;
  if (name == "eintr") return EINTR;
  if (name == "short_write") return kShortWrite;
  if (name == "skip") return kSkip;
  if (name == "fail") return kFail;
  Refuse(rule);
}

// "kill", "kill@3", "kill@3+", "kill@*".
Rule ParseRule(absl::string_view text, absl::string_view whole) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(text, absl::MaxSplits('@', 1));
  Rule rule;
  rule.action = ActionOf(parts.first, whole);
  rule.action_name = std::string(parts.first);
  absl::string_view when = parts.second;
  if (when.empty()) return rule;
  const bool open_end = when == "*" || absl::ConsumeSuffix(&when, "+");
  if (when != "*" && (!absl::SimpleAtoi(when, &rule.from) || rule.from < 1)) Refuse(whole);
  rule.to = open_end ? std::numeric_limits<int>::max() : rule.from;
  return rule;
}

class Failpoints {
 public:
  Failpoints() {
    if (const char* log = std::getenv("ADAMANT_FAILPOINT_LOG"); log != nullptr) log_ = log;
    if (const char* text = std::getenv("ADAMANT_FAILPOINTS"); text != nullptr) Arm(text);
  }

  void Arm(absl::string_view text) {
    absl::MutexLock lock(&mutex_);
    rules_.clear();
    for (absl::string_view whole : absl::StrSplit(text, ',', absl::SkipEmpty())) {
      const std::pair<absl::string_view, absl::string_view> parts =
          absl::StrSplit(whole, absl::MaxSplits('=', 1));
      if (std::count(std::begin(kNames), std::end(kNames), parts.first) == 0) Refuse(whole);
      rules_[std::string(parts.first)] = ParseRule(parts.second, whole);
    }
    active_ = !rules_.empty();
  }

  // The action due at this hit of `name`; 0 = none.
  int Hit(absl::string_view name) {
    if (!active_) return 0;
    absl::MutexLock lock(&mutex_);
    const auto found = rules_.find(name);
    if (found == rules_.end()) return 0;
    Rule& rule = found->second;
    ++rule.hits;
    if (rule.hits < rule.from || rule.hits > rule.to) return 0;
    Record(absl::StrCat(name, " ", rule.action_name, "\n"));
    return rule.action;
  }

 private:
  void Record(const std::string& line) const {
    if (log_.empty()) return;
    const int fd = open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return;
    if (write(fd, line.data(), line.size()) < 0) std::perror("ADAMANT_FAILPOINT_LOG");
    close(fd);
  }

  std::atomic<bool> active_{false};
  std::string log_;
  absl::Mutex mutex_;
  absl::flat_hash_map<std::string, Rule> rules_ ABSL_GUARDED_BY(mutex_);
};

Failpoints& TheFailpoints() {
  static Failpoints* const failpoints = new Failpoints;
  return *failpoints;
}

}  // namespace

void ArmFailpoints(absl::string_view rules) { TheFailpoints().Arm(rules); }

int FailpointErrno(absl::string_view name) {
  const int action = TheFailpoints().Hit(name);
  if (action == kKill) kill(getpid(), SIGKILL);
  if (action == kStop) kill(getpid(), SIGSTOP);
  if (action == kFail) return EIO;
  return action == kKill || action == kStop ? 0 : action;
}
#else
void ArmFailpoints(absl::string_view /*rules*/) {}

int FailpointErrno(absl::string_view /*name*/) { return 0; }
#endif

absl::Status FailpointStatus(absl::string_view name) {
  const int error = FailpointErrno(name);
  if (error == ENOSPC) return absl::ResourceExhaustedError(absl::StrCat("failpoint ", name));
  return error == 0 ? absl::OkStatus() : absl::InternalError(absl::StrCat("failpoint ", name));
}

}  // namespace adamant
