// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <ostream>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "adamant/v1/job.pb.h"

namespace adamant {

// Shows the events of one job on stderr: a bar that is redrawn on a terminal, else one line per 10
// s; state changes, warnings and each evaluation of a training get a line of their own. Not
// thread-safe.
class ProgressView {
 public:
  // `bar_width` = columns of the terminal, 0 for lines. `now` is replaced by tests.
  ProgressView(
      std::ostream& err, int bar_width,
      std::function<absl::Time()> now = [] { return absl::Now(); })
      : err_(err), bar_width_(bar_width), now_(std::move(now)) {}

  void OnEvent(const v1::JobEvent& event);
  // Removes the bar, before something else is written.
  void Clear();

  // `step 2700/6000  epoch 3  loss 0.312  clean 97.10 %  robust 85.00 %  1234 samples/s  ETA 12:30`
  std::string StatusText() const;

 private:
  void OnMetric(const v1::JobEvent& event);
  void OnSnapshot(const v1::Job& job);
  void Line(const std::string& text);
  void Refresh();

  std::ostream& err_;
  const int bar_width_;
  const std::function<absl::Time()> now_;
  v1::JobKind kind_ = v1::JOB_KIND_UNSPECIFIED;
  v1::JobState state_ = v1::JOB_STATE_UNSPECIFIED;
  v1::Progress progress_;
  std::map<std::string, double> metrics_;
  absl::Time last_line_ = absl::InfinitePast();
  bool bar_shown_ = false;
};

}  // namespace adamant
