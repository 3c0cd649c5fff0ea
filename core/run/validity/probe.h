// SPDX-License-Identifier: Apache-2.0
// Further passes for the validity report.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/run/judge.h"
#include "core/run/validity.h"

namespace adamant::validity {

// The probe set, the model in evaluation mode, and evaluations of further attacks on some of the
// samples. Counts rows. Borrows the input. Not thread-safe.
class Probe {
 public:
  explicit Probe(const ValidityInput& input);

  // Positions of the first min(n,256) samples that are correct on clean input, by sample id.
  const std::vector<int64_t>& positions() const { return positions_; }
  // The same, of the first `most`.
  std::vector<int64_t> Correct(size_t most) const;
  // Those of positions() that no attack broke.
  std::vector<int64_t> Survivors() const;

  absl::StatusOr<Batch> Read(absl::Span<const int64_t> positions) const;  // on the model's device
  at::Tensor Logits(const at::Tensor& images) { return caller_.Logits(images); }  // on the CPU
  // In calls of `rows` rows and a smaller last one.
  at::Tensor LogitsInCalls(const at::Tensor& images, int64_t rows);

  // One attack alone on some samples; outcomes are in the order of `positions`.
  absl::StatusOr<EvaluationResult> Evaluate(const std::vector<int64_t>& positions,
                                            const v1::PluginSpec& attack,
                                            const v1::ThreatModel& threat,
                                            const std::string& stream);

  const ValidityInput& input() const { return input_; }
  FixedCaller& caller() { return caller_; }
  void Count(int64_t forwards, int64_t backwards) {
    forwards_ += forwards;
    backwards_ += backwards;
  }
  int64_t forwards() const { return forwards_ + caller_.forwards(); }
  int64_t backwards() const { return backwards_; }

 private:
  const ValidityInput& input_;
  const FrozenModel frozen_;
  FixedCaller caller_;
  std::vector<int64_t> positions_;
  int64_t forwards_ = 0;
  int64_t backwards_ = 0;
};

}  // namespace adamant::validity
