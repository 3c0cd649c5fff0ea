// SPDX-License-Identifier: Apache-2.0
#include "server/workers/worker_process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

extern "C" {
#include <sys/pidfd.h>  // glibc 2.36 declares it without C linkage
}

extern char** environ;

namespace adamant {
namespace {

constexpr absl::Duration kResidentInterval = absl::Milliseconds(100);
constexpr int kChannelDescriptor = 3;
constexpr int64_t kAckEvery = 64;  // frames
constexpr size_t kMaxEarlyOutput = 64 << 10;
constexpr timeval kSocketTimeout{5, 0};  // for the rest of a frame, and for a worker to read one

struct SpawnPlan {
  SpawnPlan() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

// The child starts with default signals and descriptors 0 to 3, whatever the server has.
void Fill(SpawnPlan& plan, int socket, int output) {
  posix_spawn_file_actions_addopen(&plan.actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&plan.actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&plan.actions, output, STDERR_FILENO);
  posix_spawn_file_actions_adddup2(&plan.actions, socket, kChannelDescriptor);
  sigset_t signals;
  sigemptyset(&signals);
  posix_spawnattr_setsigmask(&plan.attributes, &signals);
  sigfillset(&signals);
  posix_spawnattr_setsigdefault(&plan.attributes, &signals);
  posix_spawnattr_setpgroup(&plan.attributes, 0);  // Ctrl-C is for the server alone: it drains
  posix_spawnattr_setflags(&plan.attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
}

std::vector<std::string> Arguments(const WorkerCommand& command) {
  std::vector<std::string> arguments = command.launcher;
  arguments.push_back(absl::StrCat("--threads=", command.threads));
  arguments.push_back(absl::StrCat("--parent=", getpid()));
  arguments.push_back(command.worker);
  return arguments;
}

timespec UntilDeadline(absl::Time deadline) {
  const absl::Duration left = deadline - absl::Now();
  return absl::ToTimespec(std::clamp(left, absl::ZeroDuration(), absl::Hours(1)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<WorkerProcess>> WorkerProcess::Spawn(const WorkerCommand& command) {
  ASSIGN_OR_RETURN(auto sockets, MakeSocketPair());
  setsockopt(sockets.first.get(), SOL_SOCKET, SO_RCVTIMEO, &kSocketTimeout, sizeof(timeval));
  setsockopt(sockets.first.get(), SOL_SOCKET, SO_SNDTIMEO, &kSocketTimeout, sizeof(timeval));
  int pipe_ends[2];
  if (pipe2(pipe_ends, O_CLOEXEC) != 0) return ErrnoStatus(errno, "pipe");
  Descriptor output(pipe_ends[0]);
  const Descriptor child_output(pipe_ends[1]);
  fcntl(output.get(), F_SETFL, O_NONBLOCK);
  Descriptor wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return ErrnoStatus(errno, "eventfd");

  SpawnPlan plan;
  Fill(plan, sockets.second.get(), child_output.get());
  std::vector<std::string> arguments = Arguments(command);
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  pid_t pid;
  const int error =
      posix_spawn(&pid, pointers[0], &plan.actions, &plan.attributes, pointers.data(), environ);
  if (error != 0) return ErrnoStatus(error, absl::StrCat("start of ", arguments[0]));
  Descriptor pidfd(pidfd_open(pid, 0));
  if (!pidfd.valid()) {
    const int pidfd_error = errno;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return ErrnoStatus(pidfd_error, "pidfd_open");
  }
  return std::unique_ptr<WorkerProcess>(new WorkerProcess(
      std::move(sockets.first), std::move(output), std::move(pidfd), std::move(wake), pid));
}

WorkerProcess::WorkerProcess(Descriptor socket, Descriptor output, Descriptor pidfd,
                             Descriptor wake, pid_t pid)
    : channel_(std::move(socket)),
      output_(std::move(output)),
      pidfd_(std::move(pidfd)),
      wake_(std::move(wake)),
      pid_(pid) {}

WorkerProcess::~WorkerProcess() { Finish(); }

absl::Status WorkerProcess::Send(worker::v1::Frame frame, const std::vector<int>& descriptors) {
  return channel_.Send(std::move(frame), descriptors);
}

void WorkerProcess::Acknowledge(int64_t frame_number) {
  if (frame_number / kAckEvery <= acknowledged_ / kAckEvery) return;
  acknowledged_ = frame_number;
  worker::v1::Frame frame;
  frame.mutable_ack()->set_stored_through(frame_number);
  Send(std::move(frame)).IgnoreError();
}

WorkerNews WorkerProcess::Next(absl::Time deadline) {
  while (true) {
    if (wait_status_.has_value()) return {WorkerNews::kExited, {}, over_limit_};
    if (resident_limit_ > 0) CheckResident();
    std::array<pollfd, 4> polled = {{{channel_open_ ? channel_.fd() : -1, POLLIN, 0},
                                     {output_.get(), POLLIN, 0},
                                     {wake_.get(), POLLIN, 0},
                                     {pidfd_.get(), POLLIN, 0}}};
    const timespec timeout =
        UntilDeadline(resident_limit_ > 0 ? std::min(deadline, look_at_resident_) : deadline);
    const int ready = ppoll(polled.data(), polled.size(), &timeout, nullptr);
    if (ready < 0 && errno != EINTR) return {WorkerNews::kBroken, {}, ErrnoStatus(errno, "poll")};
    if (ready == 0 && absl::Now() >= deadline) return {WorkerNews::kTimeout};
    if (ready <= 0) continue;
    if (polled[1].revents != 0) DrainOutput();
    if (polled[2].revents != 0) {
      eventfd_t count;
      eventfd_read(wake_.get(), &count);
      return {WorkerNews::kWoken};
    }
    if (polled[0].revents != 0) {
      absl::StatusOr<ReceivedFrame> received = channel_.Receive();
      if (received.ok()) return {WorkerNews::kFrame, *std::move(received)};
      channel_open_ = false;
      if (!absl::IsUnavailable(received.status()))
        return {WorkerNews::kBroken, {}, received.status()};
      continue;
    }
    if (polled[3].revents != 0) Reap();
  }
}

void WorkerProcess::CheckResident() {
  const absl::Time now = absl::Now();
  if (now < look_at_resident_) return;
  look_at_resident_ = now + kResidentInterval;
  std::ifstream file(absl::StrCat("/proc/", pid_, "/statm"));
  int64_t total = 0;
  int64_t resident = 0;
  if (!(file >> total >> resident) || resident * sysconf(_SC_PAGESIZE) <= resident_limit_) return;
  over_limit_ = absl::ResourceExhaustedError(absl::StrCat(
      "the worker held ", resident * sysconf(_SC_PAGESIZE), " bytes of memory, its limit is ",
      resident_limit_, "; raise resources.host_memory_bytes, or use a smaller batch_size"));
  resident_limit_ = 0;
  Signal(SIGKILL);
}

bool WorkerProcess::DrainOutput() {
  std::array<char, 64 << 10> buffer;
  const ssize_t count = read(output_.get(), buffer.data(), buffer.size());
  if (count < 0) return false;  // nothing there now
  if (count == 0) {
    output_.Close();
    return false;
  }
  const absl::string_view bytes(buffer.data(), static_cast<size_t>(count));
  if (sink_) {
    sink_(bytes);
  } else {
    absl::StrAppend(&early_output_, bytes.substr(0, kMaxEarlyOutput - early_output_.size()));
  }
  return true;
}

void WorkerProcess::SetOutput(std::function<void(absl::string_view)> sink) {
  sink_ = std::move(sink);
  if (sink_ && !early_output_.empty()) sink_(std::exchange(early_output_, ""));
}

absl::Status WorkerProcess::LimitMemory(int64_t bytes) {
  std::ifstream file(absl::StrCat("/proc/", pid_, "/statm"));
  int64_t pages = 0;
  if (!(file >> pages)) return absl::UnavailableError("the worker is gone");
  const rlim_t limit = static_cast<rlim_t>(pages * sysconf(_SC_PAGESIZE) + bytes);
  const rlimit limits{limit, limit};
  if (prlimit(pid_, RLIMIT_AS, &limits, nullptr) != 0) return ErrnoStatus(errno, "prlimit");
  return absl::OkStatus();
}

void WorkerProcess::Wake() { eventfd_write(wake_.get(), 1); }

void WorkerProcess::Signal(int signum) { pidfd_send_signal(pidfd_.get(), signum, nullptr, 0); }

void WorkerProcess::Reap() {
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  while (output_.valid() && DrainOutput()) {
  }
  wait_status_ = status;
}

int WorkerProcess::Finish() {
  if (!wait_status_.has_value()) {
    Signal(SIGKILL);
    Reap();
  }
  return *wait_status_;
}

}  // namespace adamant
