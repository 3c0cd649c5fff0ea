// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "adamant/v1/train.pb.h"
#include "core/base/run_control.h"
#include "core/run/optimizer.h"
#include "core/run/run_context.h"
#include "core/run/train_setup.h"

namespace adamant {

// The course of one training run over an opened setup. Its whole state is `state_` and the tensors
// of Tensors(): what a checkpoint holds. Not thread-safe.
class Trainer {
 public:
  Trainer(TrainSetup setup, RunContext& context, const RunControl& control);

  // Takes up a checkpoint of the same run. FAILED_PRECONDITION when it belongs to another one.
  absl::Status Resume(std::shared_ptr<const FileView> file);

  // Steps, evaluations and checkpoints to the end. Throws Stopped after saving a checkpoint.
  absl::Status Run();

  // Writes the weights and completes the report.
  absl::Status Finish(v1::TrainReport& report);

  // Tells the context where the run stands, at most twice a second.
  void ReportProgress();

 private:
  using Clock = std::chrono::steady_clock;

  absl::Status Step();
  Batch NextBatch(int64_t epoch, int64_t index);
  StepOutput ForwardAndBackward(const Batch& batch, int64_t epoch);
  // One part of a batch: adds `weight` times its gradients.
  StepOutput MicroStep(const Batch& batch, int64_t epoch, double weight);
  absl::Status Record(const StepOutput& out, const at::Tensor& gradient_norm, const Batch& batch);
  // Every tenth of an epoch: "lr", the loss and its terms, "epoch_fraction" (epochs done, with the
  // part of the current one), "samples_per_second", "attack_share_ratio", and the mean seconds per
  // step in each phase: "data_seconds", "attack_seconds", "forward_backward_seconds",
  // "optimizer_seconds". SaveCheckpoint adds "checkpoint_seconds".
  void EmitMetrics(double lr);
  absl::Status WriteDiagnosis(const std::string& text, const Batch& batch);

  bool EvaluationDue() const;
  absl::Status Evaluate();
  void KeepWeights(double metric);

  bool CheckpointDue() const;
  void SaveCheckpoint();
  NamedTensors Weights() const;  // live parameters and buffers
  NamedTensors Tensors() const;  // everything that a checkpoint holds
  absl::Status WriteWeights(const std::string& role, const std::string& name, int64_t step,
                            v1::BlobRef* blob);

  void WarnOnce(const std::string& code, const std::string& text);
  void WarnAboutPlan();
  void WarnAboutMicroBatches();
  void WarnAboutOutcome();
  int64_t Epoch() const { return state_.step() / setup_.length.steps_per_epoch; }

  TrainSetup setup_;
  RunContext& context_;
  const RunControl& control_;
  const at::Device device_;
  const std::string fingerprint_;
  Optimizer optimizer_;
  v1::TrainCheckpoint state_;
  NamedTensors kept_;  // copies of the best weights; empty before the first evaluation
  std::map<std::string, at::Tensor> memory_;

  std::vector<int64_t> order_;  // permutation of epoch order_epoch_
  int64_t order_epoch_ = -1;
  std::deque<double> last_losses_;
  std::string phase_ = "train";
  Clock::time_point started_, last_progress_, last_checkpoint_;
  int64_t first_step_ = 0;  // of this attempt
  int64_t saved_step_ = -1;
  // Of the steps since metrics were last reported. On a GPU a phase ends when its work is queued,
  // except forward_backward, which ends when the loss is there.
  struct Window {
    int64_t steps = 0;
    double seconds = 0;
    double data = 0;
    double attack = 0;
    double forward_backward = 0;  // without the attack
  };
  Window window_;
};

}  // namespace adamant
