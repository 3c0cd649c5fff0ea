// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace adamant {

// Shows the bytes of one transfer on stderr: a line that is redrawn on a terminal, else one line
// per 10 s. Not thread-safe.
class TransferView {
 public:
  // `bar_width` = columns of the terminal, 0 for lines. `now` is replaced by tests.
  TransferView(
      std::ostream& err, int bar_width, std::string label,
      std::function<absl::Time()> now = [] { return absl::Now(); })
      : err_(err), bar_width_(bar_width), label_(std::move(label)), now_(std::move(now)) {}

  void OnBytes(int64_t done, int64_t total);
  // `1.5 MiB in 3.0 s (0.5 MiB/s)`; `nothing` when no byte went over the line. Removes the bar.
  std::string Finish(const std::string& nothing);

 private:
  double Rate() const;
  void Line(const std::string& text);

  std::ostream& err_;
  const int bar_width_;
  const std::string label_;
  const std::function<absl::Time()> now_;
  absl::Time start_ = absl::InfiniteFuture();
  absl::Time shown_ = absl::InfinitePast();
  int64_t first_ = 0;  // where this process began
  int64_t done_ = 0;
  bool bar_shown_ = false;
};

}  // namespace adamant
