// SPDX-License-Identifier: Apache-2.0
// What an evaluation knows so far. Finished batches are applied to it in order, whether they were
// computed just now or read from the journal of an earlier attempt.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/run/attack_record.h"
#include "core/run/evaluation.h"

namespace adamant {

// Not thread-safe; one per evaluation. Borrows the instances.
class EvaluationState {
 public:
  EvaluationState(int64_t size, const std::vector<AttackInstance>& instances,
                  const EvaluationOptions& options);

  void TakeClean(int64_t position, int64_t sample_id, int64_t label, const Decision& clean);
  // Samples that instance `index` has to attack, once all instances before it are through.
  std::vector<int64_t> Open(int index) const;
  void Apply(const BatchRecord& batch);
  void Finish(int index);
  void TakeRounded(int64_t position, bool broken) {
    result_.outcomes[position].set_broken_8bit(broken);
  }
  void CountRows(int64_t forwards, int64_t padded_rows);

  const EvaluationResult& result() const { return result_; }
  EvaluationResult& result() { return result_; }
  int64_t attacked() const { return attacked_; }
  int64_t robust() const { return robust_; }
  int64_t broken() const { return broken_; }
  // Fills the totals of the plug-in of instance `index`.
  void Describe(int index, EvaluationProgress& progress) const;

 private:
  struct Totals {
    int64_t samples = 0;
    int64_t successes = 0;
    int64_t queries = 0;
  };

  bool Broken(int index, int64_t position) const;
  bool CarriesOver(const AttackInstance& earlier, const AttackInstance& later) const;
  bool CountsFor(const AttackInstance& instance, const Verification& found) const;
  void AddCounts(const AttackRecord& record, InstanceOutcome& totals);
  void TakeFinding(int index, const AttackRecord& record);

  const std::vector<AttackInstance>& instances_;
  const bool cascade_;
  const bool nearest_;
  const int64_t most_queries_;
  bool any_ball_ = false;               // an instance has an L_p ball
  std::vector<std::vector<bool>> hit_;  // per instance and sample: verified success
  EvaluationResult result_;
  int64_t attacked_ = 0;
  int64_t robust_ = 0;
  int64_t broken_ = 0;
  std::map<std::string, Totals> totals_;  // by plug-in
};

}  // namespace adamant
