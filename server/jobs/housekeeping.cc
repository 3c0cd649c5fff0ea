// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/housekeeping.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

namespace adamant {
namespace {

constexpr absl::Duration kCompactAfter = absl::Hours(24);
constexpr int kExpiredAtOnce = 500;
constexpr int kCompactedAtOnce = 20;

}  // namespace

void Housekeeping::RemoveLogOf(std::string uid) {
  absl::MutexLock lock(&mutex_);
  gone_.push_back(std::move(uid));
}

absl::Time Housekeeping::due() const {
  absl::MutexLock lock(&mutex_);
  return gone_.empty() ? next_ : absl::InfinitePast();
}

void Housekeeping::Run() {
  std::vector<std::string> gone;
  {
    absl::MutexLock lock(&mutex_);
    gone.swap(gone_);
  }
  for (const std::string& uid : gone) {
    // The uid is one that the store made: no path can hide in it.
    std::error_code ignored;
    std::filesystem::remove_all(absl::StrCat(options_.log_folder, "/", uid), ignored);
  }
  if (clock_.Steady() < next_) return;
  next_ = clock_.Steady() + options_.housekeeping_every;
  const absl::Time now = clock_.Wall();
  store_.DeleteExpired(now, kExpiredAtOnce, [](const absl::StatusOr<std::vector<std::string>>&) {});
  store_.CompactMetrics(now - kCompactAfter, kCompactedAtOnce,
                        [](const absl::StatusOr<int64_t>&) {});
}

}  // namespace adamant
