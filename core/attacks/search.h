// SPDX-License-Identifier: Apache-2.0
// What gradient attacks share: targets, and the set of rows that are still in search.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/attacks/attack.h"
#include "core/attacks/losses.h"
#include "core/attacks/search_options.h"
#include "core/attacks/steps.h"
#include "core/base/rng.h"

namespace adamant {

// The rows of one Run that are still in search: gradients and logits for them, claims, and what is
// returned in the end. After Observe the caller's state tensors hold the remaining rows only. Not
// thread-safe; lives for one Run.
class Search {
 public:
  Search(Victim& victim, const Batch& batch, const ThreatModel& threat,
         const AttackSettings& settings, const RunControl& control, const SearchOptions& options);
  ~Search();
  Search(const Search&) = delete;
  Search& operator=(const Search&) = delete;

  // All rows (or those of `among`, int64: positions within the batch) that no accepted claim has
  // taken, from the start; false when there is none. The draws of a restart differ by `slot`, for
  // attacks that try several targets.
  bool BeginRestart(int64_t restart, int64_t slot = 0, const at::Tensor& among = {});
  // The class of rank `rank` >= 1 behind the label in the clean ranking becomes the target of each
  // row in search. The options must be those of a targeted attack.
  void AimAt(int64_t rank);
  void AimAt(const at::Tensor& targets);  // int64 [M], one class for each row in search
  at::Tensor Start(bool random) const;    // the given start, a random one, or the clean images
  // The given start, or one on the surface of the ball, of a ball `times` as large.
  at::Tensor SurfaceStart(double times = 1) const;

  LossGradient Gradient(const at::Tensor& images);  // of the options' loss
  LossGradient Gradient(const at::Tensor& images, const LossFunction& loss,
                        const at::Tensor& slopes = {});  // see Model::LeakyLogits
  // Of a loss that looks inside the network; `loss` of the result is that of the options.
  LossGradient Gradient(const at::Tensor& images, const TapLoss& loss);
  std::vector<at::Tensor> Values(const at::Tensor& images, const TapLoss& values);
  LossGradient Loss(const at::Tensor& images);  // without gradient
  at::Tensor Logits(const at::Tensor& images);
  // As Loss, for any number of images for each row: `of` (int64 [R]) tells whose image it is, as a
  // position among the rows in search. Counts logits that are not finite.
  LossGradient Ask(const at::Tensor& images, const at::Tensor& of);
  // One forward pass, several gradients; see RecordedPass. The rows in search stay the same.
  RecordedPass Record(const at::Tensor& images);
  LossGradient Gradient(RecordedPass& pass, const LossFunction& loss, bool last,
                        const at::Tensor& wanted = {});
  // Tests iterate `step` and drops the rows whose claim is accepted from `images`, `seen` and
  // `state` (each [M,...]; undefined ones stay so).
  void Observe(at::Tensor& images, LossGradient& seen, int64_t step,
               absl::Span<at::Tensor* const> state = {});
  // Counts what Observe counts, for an iterate that cannot be claimed.
  void CountUntested(const LossGradient& seen, bool moved);
  // One forward pass of the rows `some` (int64 [S], positions among those in search), counted as
  // extra, and its gradients. images [S,...].
  RecordedPass RecordExtra(const at::Tensor& some, const at::Tensor& images);
  LossGradient GradientExtra(RecordedPass& pass, const at::Tensor& some, const LossFunction& loss,
                             bool last);

  // Rows with finite logits that predict another class than the label: bool [M]. Counts the others
  // that are not finite.
  at::Tensor Misclassified(const at::Tensor& logits) const;
  // The same for minimum-norm attacks. `success` (bool [M]) tells which images reach the attack's
  // aim: those nearer to the clean image than any before are kept, those inside the threat model
  // claimed. Returns which of the rows that stay are settled: success that the judge did not
  // refuse.
  at::Tensor ObserveNearest(at::Tensor& images, const at::Tensor& success, int64_t step,
                            absl::Span<at::Tensor* const> state = {});
  // The rows where `keep` (bool [M]) is false leave until the next restart.
  void KeepOnly(const at::Tensor& keep, at::Tensor& images, absl::Span<at::Tensor* const> state);
  // Claims every row, for images that were not evaluated. They become the result.
  void ClaimAll(const at::Tensor& images, int64_t step);
  // Craft mode: ends a restart at `images`, with their loss where it is known.
  void EndRestart(const at::Tensor& images, const at::Tensor& loss = {});

  bool empty() const { return rows_.size(0) == 0; }
  bool wants_last() const;  // whether the last iterate of a restart has to be evaluated
  const FeasibleSet& set() const { return set_; }
  const SearchOptions& options() const { return options_; }
  const Aims& aims() const { return aims_; }        // of the rows in search
  const at::Tensor& rows() const { return rows_; }  // int64 [M]: positions within the batch
  at::Tensor ids() const;                           // int64 [M], CPU: keys of the draws
  const at::Tensor& forwards() const { return result_.counts.forwards; }  // [N]: so far
  const at::Tensor& accepted() const { return accepted_; }                // bool [N]
  const at::Tensor& labels() const { return row_labels_; }
  at::Tensor clean_logits();       // [M,K]; a forward pass when the settings have none
  at::Tensor nearest() const;      // double [M]: smallest distance so far, +inf for none
  at::Tensor best_images() const;  // [M,C,H,W]: what would be returned now
  DrawAt Draw(Purpose purpose, int64_t step, int64_t draw = 0) const;
  Rng RngOf(int64_t id) const;
  // [M,C,H,W]: each row filled by draw(stream of its sample, values of the row).
  at::Tensor DrawEach(const std::function<void(const Rng&, absl::Span<float>)>& draw) const;
  at::Tensor Uniform(int64_t values, const DrawAt& at) const;  // [M,values], in [0,1)
  // The noise of a random model in the passes over the rows in search that follow; see ModelNoise.
  // Without effect on a model that does not declare its noise.
  void SetNoise(const DrawAt& at);
  void SilenceNoise();
  AttackResult Result() &&;

 private:
  void SetRows(const at::Tensor& rows);
  void SetAims();
  at::Tensor AllCleanLogits();
  at::Tensor LossOf(const at::Tensor& logits) const;  // double [M]; -inf where one is not finite
  // Rows that stay after `accepted` (bool, one for each of `chosen`); undefined: all of them.
  at::Tensor Remaining(const at::Tensor& chosen, const at::Tensor& accepted) const;
  void KeepRows(const at::Tensor& keep, at::Tensor& images, absl::Span<at::Tensor* const> state);
  at::Tensor Targets(const at::Tensor& logits) const;
  void CountGradient(const LossGradient& seen, const at::Tensor& wanted, const at::Tensor& rows);
  void Count(const at::Tensor& counter, const at::Tensor& amount) const;
  at::Tensor Submit(const at::Tensor& chosen, const at::Tensor& images, int64_t step);
  void TakeBest(const at::Tensor& images, const at::Tensor& loss);
  void TakeFirst(const at::Tensor& images, const at::Tensor& wrong);

  Victim& victim_;
  const AttackSettings& settings_;
  const RunControl& control_;
  const SearchOptions options_;
  const LossFunction loss_;
  const at::Tensor images_;  // all rows [N,...]
  const at::Tensor labels_;
  const at::Tensor ids_;
  const FeasibleSet full_set_;
  Aims all_aims_;
  at::Tensor clean_logits_;  // [N,K], once known
  at::Tensor accepted_;      // bool [N]
  at::Tensor best_loss_;     // double [N], of result_
  AttackResult result_;
  int64_t restart_ = 0, slot_ = 0;
  at::Tensor rows_;  // int64 [M], rows in search
  FeasibleSet set_;
  at::Tensor row_labels_;
  Aims aims_;
};

// Whether there is nothing to search: no image, no room to move, or fewer than two classes.
bool NothingToSearch(const Victim& victim, const Batch& batch, const ThreatModel& threat);
AttackResult Unchanged(const Batch& batch);

}  // namespace adamant
