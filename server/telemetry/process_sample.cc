// SPDX-License-Identifier: Apache-2.0
#include "server/telemetry/process_sample.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace adamant {
namespace {

// A field of /proc/self/stat behind the process name; the numbering is that of proc(5).
int64_t StatField(const std::vector<std::string>& after_name, size_t field) {
  int64_t value = 0;
  return field - 3 < after_name.size() && absl::SimpleAtoi(after_name[field - 3], &value) ? value
                                                                                          : 0;
}

int64_t CountOpenFds() {
  DIR* folder = opendir("/proc/self/fd");
  if (folder == nullptr) return 0;
  int64_t count = 0;
  while (readdir(folder) != nullptr) ++count;
  closedir(folder);
  return count - 3;  // ".", ".." and the folder itself
}

double BootTime() {
  std::ifstream stat("/proc/stat");
  std::string word;
  double seconds = 0;
  while (stat >> word) {
    if (word == "btime") stat >> seconds;
  }
  return seconds;
}

}  // namespace

ProcessSample SampleProcess() {
  ProcessSample sample;
  std::ifstream file("/proc/self/stat");
  std::string text;
  std::getline(file, text);
  if (const size_t end = text.rfind(')'); end != std::string::npos && end + 2 < text.size()) {
    const std::vector<std::string> fields = absl::StrSplit(text.substr(end + 2), ' ');
    static const double kBootTime = BootTime();
    sample.virtual_bytes = StatField(fields, 23);
    sample.resident_bytes = StatField(fields, 24) * sysconf(_SC_PAGESIZE);
    sample.start_time_seconds =
        kBootTime + static_cast<double>(StatField(fields, 22)) / sysconf(_SC_CLK_TCK);
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  sample.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  sample.open_fds = CountOpenFds();
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  sample.max_fds = static_cast<int64_t>(limit.rlim_cur);
  return sample;
}

}  // namespace adamant
