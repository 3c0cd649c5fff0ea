// SPDX-License-Identifier: Apache-2.0
// Verification of claimed adversarial images. Shares nothing with the attacks but the model: its
// own forward pass, its own decision rule, distances in double, clean images read from the data
// again.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "core/attacks/attack.h"
#include "core/models/model.h"

namespace adamant {

// Forward passes of a fixed number of rows, without gradients; the last call is padded by repeating
// its last row. Counts rows. Borrows the model. Not thread-safe.
class FixedCaller {
 public:
  FixedCaller(const Model& model, int64_t compute_batch, std::function<void()> before_call)
      : model_(model), compute_batch_(compute_batch), before_call_(std::move(before_call)) {}

  at::Tensor Logits(const at::Tensor& images);  // float32 [N,K] on the CPU

  int64_t forwards() const { return forwards_; }
  int64_t padded_rows() const { return padded_rows_; }

 private:
  const Model& model_;
  const int64_t compute_batch_;
  const std::function<void()> before_call_;
  int64_t forwards_ = 0;
  int64_t padded_rows_ = 0;
};

// What a row of logits says about a label.
struct Decision {
  bool finite = false;
  int64_t predicted = -1;  // lowest index among the largest logits
  double margin = 0;       // z_y - max_{j != y} z_j
};
Decision Decide(const float* logits, int64_t num_classes, int64_t label);

struct Distances {
  double linf = 0;
  double l2 = 0;
  double l1 = 0;
  int64_t l0 = 0;      // changed values
  int64_t pixels = 0;  // changed pixels
};

struct Verification {
  bool accepted = false;  // finite logits, misclassified, inside box and ball
  bool inside = false;    // inside box and ball
  Decision decision;
  Distances distances;
};

// How strictly images are judged.
struct JudgeRule {
  bool ball = true;  // false: the box alone, for attacks with a budget of their own
  // > 1: a random model; an image is accepted when the label wins fewer than half of the draws.
  int draws = 1;
};

// Whether distances lie inside the ball, with the tolerances of attacks.md 1.9.
bool InBall(const Distances& found, const ThreatModel& threat);

// Checks images [M,C,H,W] against the clean ones [M,C,H,W] (CPU).
std::vector<Verification> VerifyImages(FixedCaller& caller, const at::Tensor& images,
                                       const at::Tensor& clean, const std::vector<int64_t>& labels,
                                       const ThreatModel& threat, const JudgeRule& rule = {});

// An accepted claim.
struct Finding {
  at::Tensor image;  // [C,H,W], CPU
  Verification verification;
  int64_t step = 0;
  int64_t restart = 0;
  int64_t target = -1;
};

// Judges the claims of one batch. Not thread-safe.
class VerifyingJudge final : public Judge {
 public:
  // `clean` as read from the data, on the CPU.
  VerifyingJudge(FixedCaller& caller, const Batch& clean, const ThreatModel& threat,
                 const JudgeRule& rule = {});

  at::Tensor Submit(const Claims& claims) override;

  const std::optional<Finding>& finding(int64_t row) const { return findings_[row]; }
  const ThreatModel& threat() const { return threat_; }
  int64_t claims(int64_t row) const { return claims_[row]; }
  int64_t rejected(int64_t row) const { return rejected_[row]; }

 private:
  FixedCaller& caller_;
  const Batch clean_;
  const ThreatModel threat_;
  const JudgeRule rule_;
  std::vector<std::optional<Finding>> findings_;
  std::vector<int64_t> claims_;
  std::vector<int64_t> rejected_;
};

}  // namespace adamant
