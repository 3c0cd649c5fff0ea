// SPDX-License-Identifier: Apache-2.0
#include "server/workers/catalog.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/files.h"
#include "common/sha256.h"
#include "common/status_macros.h"

extern char** environ;

namespace adamant {
namespace {

constexpr absl::Duration kLimit = absl::Seconds(60);
constexpr size_t kMaxBytes = 16 << 20;

// Everything up to the end of the stream.
absl::StatusOr<std::string> ReadToEnd(int fd) {
  const absl::Time deadline = absl::Now() + kLimit;
  std::string bytes;
  std::array<char, 64 << 10> buffer;
  while (bytes.size() <= kMaxBytes) {
    const int64_t left = absl::ToInt64Milliseconds(deadline - absl::Now());
    pollfd polled{fd, POLLIN, 0};
    const int ready = left > 0 ? poll(&polled, 1, static_cast<int>(left)) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return absl::DeadlineExceededError("no answer in time");
    const ssize_t count = read(fd, buffer.data(), buffer.size());
    if (count == 0) return bytes;
    if (count < 0) return ErrnoStatus(errno, "read");
    bytes.append(buffer.data(), static_cast<size_t>(count));
  }
  return absl::ResourceExhaustedError("it printed more than 16 MiB");
}

// What `worker --catalog` prints.
absl::StatusOr<std::string> AskWorker(const WorkerCommand& command) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus(errno, "pipe");
  const Descriptor output(ends[0]);
  Descriptor child_output(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, child_output.get(), STDOUT_FILENO);

  std::vector<std::string> arguments = command.launcher;
  arguments.push_back(absl::StrCat("--threads=", command.threads));
  arguments.insert(arguments.end(), {command.worker, "--catalog"});
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  pid_t pid;
  const int error = posix_spawn(&pid, pointers[0], &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return ErrnoStatus(error, arguments[0]);
  child_output.Close();

  absl::StatusOr<std::string> printed = ReadToEnd(output.get());
  if (!printed.ok()) kill(pid, SIGKILL);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (printed.ok() && status != 0)
    return absl::InternalError(absl::StrCat("it ended with wait status ", status));
  return printed;
}

absl::StatusOr<worker::v1::Catalog> ParseCatalog(const std::string& bytes) {
  worker::v1::Catalog catalog;
  if (!catalog.ParseFromString(bytes) || catalog.families().empty())
    return absl::DataLossError("it printed no catalogue");
  return catalog;
}

}  // namespace

absl::StatusOr<worker::v1::Catalog> LoadCatalog(const WorkerCommand& command,
                                                const std::string& cache_folder) {
  ASSIGN_OR_RETURN(const auto binary, FileView::Open(command.worker));
  const std::string path = absl::StrCat(cache_folder, "/", Sha256Hex(binary->bytes()));
  if (const absl::StatusOr<std::string> kept = ReadFile(path); kept.ok()) {
    absl::StatusOr<worker::v1::Catalog> catalog = ParseCatalog(*kept);
    if (catalog.ok()) return catalog;
  }
  const absl::StatusOr<std::string> printed = AskWorker(command);
  absl::StatusOr<worker::v1::Catalog> catalog =
      printed.ok() ? ParseCatalog(*printed) : printed.status();
  if (!catalog.ok())
    return absl::FailedPreconditionError(
        absl::StrCat("`", command.worker, " --catalog` failed: ", catalog.status().message()));
  if (mkdir(cache_folder.c_str(), 0700) != 0 && errno != EEXIST)
    return ErrnoStatus(errno, cache_folder);
  RETURN_IF_ERROR(WriteFileDurably(path, *printed));
  return catalog;
}

}  // namespace adamant
