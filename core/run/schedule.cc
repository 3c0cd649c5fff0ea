// SPDX-License-Identifier: Apache-2.0
#include "core/run/schedule.h"

#include <algorithm>
#include <cmath>

namespace adamant {
namespace {

constexpr double kPi = 3.14159265358979323846;

double Factor(const v1::Schedule& schedule, const RunLength& length, int64_t step) {
  const double t = static_cast<double>(step) / static_cast<double>(length.total_steps);
  const int64_t epoch = step / length.steps_per_epoch;
  switch (schedule.kind()) {
    case v1::Schedule::STEP: {
      const int64_t position = length.in_epochs ? epoch : step;
      const auto passed = std::count_if(schedule.milestones().begin(), schedule.milestones().end(),
                                        [&](int64_t milestone) { return position >= milestone; });
      return std::pow(schedule.gamma(), static_cast<double>(passed));
    }
    case v1::Schedule::COSINE:
      return (1 + std::cos(kPi * t)) / 2;
    case v1::Schedule::CYCLIC:
      return t < schedule.peak() ? t / schedule.peak() : (1 - t) / (1 - schedule.peak());
    case v1::Schedule::EXPONENTIAL:
      return std::pow(schedule.gamma(), static_cast<double>(epoch / schedule.every()));
    default:
      return 1;
  }
}

}  // namespace

double LearningRate(const v1::Schedule& schedule, double base_lr, const RunLength& length,
                    int64_t step) {
  double lr = base_lr * Factor(schedule, length, step);
  if (schedule.kind() == v1::Schedule::COSINE) lr = std::max(lr, schedule.min_lr());
  if (schedule.warmup_steps() > 0) {
    lr *=
        std::min(1.0, static_cast<double>(step + 1) / static_cast<double>(schedule.warmup_steps()));
  }
  return lr;
}

}  // namespace adamant
