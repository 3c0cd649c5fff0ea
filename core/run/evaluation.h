// SPDX-License-Identifier: Apache-2.0
// The evaluation loop: clean pass, attack instances over the samples that are left, verification of
// every claim, final check. One code path for attack jobs, training and analyses.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "adamant/v1/attack.pb.h"
#include "core/attacks/attack.h"
#include "core/base/run_control.h"
#include "core/data/dataset.h"
#include "core/models/model.h"
#include "core/run/samples.h"

namespace adamant {

class AttackJournal;
class CraftedSet;

// One attack entry at one epsilon; of a composite attack, one of its stages.
struct AttackInstance {
  int position = 0;  // of its entry
  int stage = -1;    // of a composite attack; -1: not one
  bool last_stage = true;
  std::string entry;         // plug-in of the entry, "autoattack"
  std::string name;          // "0:pgd", "0.1:apgd_t"
  std::string stream;        // of the random draws
  v1::PluginSpec spec;       // complete
  bool no_ball = false;      // the attack has a budget of its own: only the box is checked
  bool whole_set = false;    // the attack compares samples: it gets all of them in one batch
  bool cohorts = false;      // the same, kCohortSize at a time
  bool replays_set = false;  // the attack's images come from a crafted set
  v1::ThreatModel given;     // as asked, with this epsilon
  ThreatModel threat;
  std::shared_ptr<const Attack> attack;  // shared by the epsilons of one entry
};

// The instances of a list of entries, epsilons ascending; streams are "<position>:<attack>", of
// stages "<position>.<stage>:<attack>". `unbounded`: MIN_NORM, one instance per entry whose ball is
// the whole box. INVALID_ARGUMENT for an unknown attack, a bad parameter, a norm that the attack
// does not support, an epsilon out of range or out of order.
absl::StatusOr<std::vector<AttackInstance>> MakeInstances(
    const google::protobuf::RepeatedPtrField<v1::AttackEntry>& entries, const ModelShape& shape,
    bool unbounded = false);

// Samples that an attack with the trait `cohorts` gets in one batch, whatever the batch size: the
// result depends on it. What is lost at a stop is at most one cohort.
inline constexpr int64_t kCohortSize = 256;

struct EvaluationProgress {
  std::string phase;  // "clean", "attack 0:pgd", "final_check"
  double fraction = 0;
  double samples_per_second = 0;  // of the current instance
  double seconds_left = 0;        // 0: not known
  int64_t attacked = 0;           // (instance, sample) pairs that are through
  int64_t robust = 0;             // samples not broken so far
  int64_t broken = 0;
  std::string attack;  // plug-in of the current instance; empty outside of attacks
  // Of all instances of that plug-in so far: samples through, broken, gradients computed.
  int64_t attack_samples = 0;
  int64_t attack_successes = 0;
  int64_t attack_gradient_queries = 0;
};

struct EvaluationOptions {
  uint64_t seed = 0;
  bool cascade = true;     // an attack sees only the samples that the ones before it left robust
  bool craft = false;      // fixed number of steps, the attack's own result is judged
  bool nearest = false;    // MIN_NORM: search to the end, the smallest verified distance counts
  int decision_draws = 1;  // forward passes per decision of a random model
  v1::AttackStop stop;
  bool keep_images = false;     // of robust samples too
  int64_t batch_size = 0;       // samples in flight; 0 = automatic
  int64_t compute_batch = 0;    // rows per network call; 0 = automatic
  int micro_batch_divisor = 1;  // of an automatic compute_batch
  int64_t memory_limit = 0;     // of the process, bytes; 0 = none
  std::string device = "cpu";
  Model* search_model = nullptr;  // what attacks see; null: the model itself. See MakeSearchModel
  std::function<void(const EvaluationProgress&)> observe;
  const CraftedSet* crafted = nullptr;  // what attacks that replay a set replay
  AttackJournal* journal = nullptr;     // finished batches go there and are taken from there
  int64_t run = 0;                      // of the journal's runs
};

// What one instance did.
struct InstanceOutcome {
  int64_t attacked = 0;
  int64_t broken = 0;                 // of the attacked ones
  int64_t broken_first = 0;           // by no instance before this one
  std::vector<int64_t> broken_steps;  // the iterate of each broken one
  std::vector<double> min_norm;       // per sample: verified distance, NaN where there is none
  std::vector<bool> broken_at;  // per sample: broken within this instance's threat model so far
  int64_t rejected_claims = 0;
  int64_t forwards = 0;  // rows of the attack, without padding and verification
  int64_t backwards = 0;
  int64_t padded_rows = 0;
  int64_t zero_grads = 0;
  int64_t nonfinite_grads = 0;
  int64_t nonfinite_logits = 0;
  int64_t extra_forwards = 0;
  int64_t empty_maps = 0;  // a3: samples whose clean map is 0 everywhere
  double seconds = 0;
};

struct EvaluationResult {
  std::vector<v1::SampleOutcome> outcomes;  // per sample
  std::vector<int> instance_of;             // per sample: the instance that broke it, -1
  std::vector<at::Tensor> images;  // per sample [C,H,W] CPU: accepted, or kept; else undefined
  std::vector<InstanceOutcome> instances;
  int64_t compute_batch = 0;
  int64_t forwards = 0;  // all rows: clean pass, attacks, verification, final check
  int64_t backwards = 0;
  int64_t padded_rows = 0;
  int64_t work_repeated = 0;  // rows computed again after a stop; not in `forwards`
  double final_check_seconds = 0;
  std::vector<std::string> notes;  // e.g. why it ended early
};

// Runs the instances in order. INVALID_ARGUMENT names the first sample whose label is outside [0,K)
// or whose image is outside [0,1]; DATA_LOSS when the final check disagrees with an accepted claim.
// Throws what the model throws, and Stopped, after the journal was saved.
absl::StatusOr<EvaluationResult> RunEvaluation(Model& model, const Samples& samples,
                                               const std::vector<AttackInstance>& instances,
                                               const EvaluationOptions& options,
                                               const RunControl& control);

// Rows per call as asked for, or else automatically: 64 on the CPU and 256 on a GPU, halved for
// large images, and on the CPU until a call fits into 60 % of options.memory_limit.
int64_t ComputeBatch(const EvaluationOptions& options, Model& model);
// Rows of a call that verifies. Claims come a few at a time, so there are fewer than in other
// calls, but always the same number: a verification does not depend on what is claimed beside it.
int64_t VerifyRows(int64_t compute_batch);

}  // namespace adamant
