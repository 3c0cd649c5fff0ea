// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "server/telemetry/labelled.h"

namespace adamant {

struct MetricsOptions;

// The families that jobs and their runs count into, with their known members.
struct JobMetrics {
  JobMetrics(prometheus::Registry& registry, const MetricsOptions& options);

  const Counters submitted, finished, attempts;  // kind and: outcome; state, reason; outcome
  const Histograms queue_wait, start_seconds, run_seconds;          // kind
  const Counters recovered;                                         // result
  const Counters train_steps, train_samples;                        // dataset_family
  const Histograms step_seconds;                                    // phase
  const Counters nonfinite;                                         // kind
  const Counters attack_samples, attack_successes, attack_queries;  // attack
  const Counters explain_maps;                                      // explainer
  prometheus::Histogram& explain_seconds;
};

}  // namespace adamant
