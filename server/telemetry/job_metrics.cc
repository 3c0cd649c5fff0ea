// SPDX-License-Identifier: Apache-2.0
#include "server/telemetry/job_metrics.h"

#include "server/telemetry/metric_names.h"
#include "server/telemetry/metrics.h"

namespace adamant {
namespace {

const Buckets kWaitSeconds{1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240};
const Buckets kStartSeconds{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 120};
const Buckets kRunSeconds{1, 5, 15, 60, 300, 900, 3600, 7200, 14400, 28800, 57600, 86400};
const Buckets kStepSeconds{.001, .0025, .005, .01, .025, .05, .1, .25, 1, 2.5, 10};
const Buckets kExplainSeconds{.05, .1, .25, .5, 1, 2.5, 10, 60, 600};
constexpr size_t kKinds = 3;
constexpr const char* kReaders[] = {"shapes", "mnist", "fashion_mnist", "cifar10", "image_folder"};
constexpr size_t kMaxFamilies = std::size(kReaders) + 1;
constexpr size_t kMaxAttacks = 32;
constexpr size_t kMaxExplainers = 13;

// The names of a catalogue and "other", as many as fit.
void MakePlugins(Labelled<prometheus::Counter>& counters, const std::vector<std::string>& names) {
  counters.MakeOverflow();
  for (const std::string& name : names) counters.At({name});
}

}  // namespace

JobMetrics::JobMetrics(prometheus::Registry& registry, const MetricsOptions& options)
    : submitted(MakeCounters(registry, "adamant_jobs_submitted_total",
                             "Submit requests by what became of them", {"kind", "outcome"}, 9)),
      finished(MakeCounters(registry, "adamant_jobs_finished_total",
                            "Jobs that reached a terminal state", {"kind", "state", "reason"}, 51)),
      attempts(MakeCounters(registry, "adamant_job_attempts_total", "Attempts that ended, by how",
                            {"kind", "outcome"}, 24)),
      queue_wait(MakeHistograms(registry, "adamant_job_queue_wait_seconds",
                                "Time from queued to claimed", {"kind"}, kKinds, kWaitSeconds)),
      start_seconds(MakeHistograms(registry, "adamant_job_start_seconds",
                                   "Time from the claim to the first step", {"kind"}, kKinds,
                                   kStartSeconds)),
      run_seconds(MakeHistograms(registry, "adamant_job_run_seconds",
                                 "Time from the first start to the end", {"kind"}, kKinds,
                                 kRunSeconds)),
      recovered(MakeCounters(registry, "adamant_jobs_recovered_total",
                             "Jobs that lost their worker, by what became of them", {"result"}, 2)),
      train_steps(MakeCounters(registry, "adamant_train_steps_total", "Optimiser steps",
                               {"dataset_family"}, kMaxFamilies)),
      train_samples(MakeCounters(registry, "adamant_train_samples_total", "Clean images trained on",
                                 {"dataset_family"}, kMaxFamilies)),
      step_seconds(MakeHistograms(registry, "adamant_train_step_seconds",
                                  "Time per step in each phase, means of the steps between two "
                                  "reports of a worker",
                                  {"phase"}, 5, kStepSeconds)),
      nonfinite(MakeCounters(registry, "adamant_nonfinite_losses_total",
                             "Attempts that ended because a number was not finite", {"kind"},
                             kKinds)),
      attack_samples(MakeCounters(registry, "adamant_attack_samples_total", "Samples attacked",
                                  {"attack"}, kMaxAttacks)),
      attack_successes(MakeCounters(registry, "adamant_attack_successes_total", "Samples broken",
                                    {"attack"}, kMaxAttacks)),
      attack_queries(MakeCounters(registry, "adamant_attack_gradient_queries_total",
                                  "Gradients computed, one per sample and pass", {"attack"},
                                  kMaxAttacks)),
      explain_maps(MakeCounters(registry, "adamant_explain_maps_total", "Attribution maps computed",
                                {"explainer"}, kMaxExplainers)),
      explain_seconds(MakeHistogram(registry, "adamant_explain_seconds",
                                    "Time to compute an explanation, interactive or of a job",
                                    kExplainSeconds)) {
  for (const v1::JobKind kind : kJobKinds) {
    const std::string name = LabelOf(kind);
    for (const char* outcome : {"accepted", "deduplicated", "rejected"})
      submitted->Make({name, outcome});
    finished->Make({name, "succeeded", ""});
    finished->Make({name, "cancelled", "user_request"});
    for (int reason = v1::OUT_OF_MEMORY; reason <= v1::INTERNAL; ++reason) {
      // A drain or a restart never fails a job.
      if (reason == v1::DRAIN || reason == v1::SERVER_RESTART) continue;
      finished->Make({name, "failed", LabelOf(static_cast<v1::StateReason>(reason))});
    }
    for (const char* outcome : kAttemptOutcomes) attempts->Make({name, outcome});
    queue_wait->Make({name});
    start_seconds->Make({name});
    run_seconds->Make({name});
    nonfinite->Make({name});
  }
  for (const char* result : {"requeued", "failed"}) recovered->Make({result});
  for (Labelled<prometheus::Counter>* family : {train_steps.get(), train_samples.get()}) {
    for (const char* reader : kReaders) family->Make({reader});
    family->MakeOverflow();
  }
  for (const char* phase : {"data", "attack", "forward_backward", "optimizer", "checkpoint"})
    step_seconds->Make({phase});
  for (Labelled<prometheus::Counter>* family :
       {attack_samples.get(), attack_successes.get(), attack_queries.get()})
    MakePlugins(*family, options.attacks);
  MakePlugins(*explain_maps, options.explainers);
}

}  // namespace adamant
