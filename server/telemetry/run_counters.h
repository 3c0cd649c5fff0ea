// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "adamant/v1/job.pb.h"
#include "server/telemetry/metrics.h"

namespace adamant {

// Turns what the worker of one job reports into counts while it runs, and counts the rest when the
// report of the job is there. Reported totals are cumulative within an attempt. Not thread-safe.
class RunCounters {
 public:
  // One METRIC event of the job. Names that count, beside those of MetricsSample:
  //   data_seconds, attack_seconds, forward_backward_seconds, optimizer_seconds: means per step
  //   checkpoint_seconds: of one checkpoint
  //   attack_samples.ATTACK, attack_successes.ATTACK, attack_gradient_queries.ATTACK: totals
  //   explain_maps: total
  void Take(const v1::JobSpec& spec, int attempt, const v1::MetricEvent& event, Metrics& metrics);

  // What the job computed beyond that which was taken.
  void Finish(const v1::JobSpec& spec, const v1::JobReport& report, Metrics& metrics);

  // The attempt has ended: its values are no longer shown.
  void Forget() { latest_.clear(); }
  const std::map<std::string, double>& latest() const { return latest_; }

 private:
  void TakeTraining(const v1::TrainSpec& spec, const v1::MetricEvent& event, bool new_attempt,
                    Metrics& metrics);
  void TakeTotal(const v1::JobSpec& spec, const std::string& name, double total, Metrics& metrics);

  int attempt_ = 0;
  int64_t steps_ = 0;                      // counted, of all attempts
  int64_t last_step_ = 0;                  // of this attempt
  std::map<std::string, int64_t> totals_;  // counted, of this attempt
  std::map<std::string, double> latest_;
};

}  // namespace adamant
