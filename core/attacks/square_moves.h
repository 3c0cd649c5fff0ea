// SPDX-License-Identifier: Apache-2.0
// Builds Square's candidates for all rows in search at once.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "core/attacks/search.h"
#include "core/attacks/square_pixels.h"

namespace adamant {

// One batch's proposals. Propose and Settle alternate. Not thread-safe.
class SquareMoves {
 public:
  // exclusive: windows never reach the last row and column, as in the reference.
  SquareMoves(const Batch& batch, const ThreatModel& threat, const Search& search, bool exclusive);
  virtual ~SquareMoves() = default;

  // First images of the rows in search: LINF vertical stripes, L2 and L1 a grid of pyramids.
  at::Tensor Start(const Search& search) const;
  // `images`, the best of each row, become the candidates of `query` >= 1, in place on the CPU.
  void Propose(const Search& search, int64_t query, double share, at::Tensor& images);
  // Rows in search may have left since Propose. Those without `kept` (bool [M]) get back what they
  // were.
  virtual void Settle(const Search& search, const at::Tensor& kept, at::Tensor& images) = 0;

 protected:
  virtual void Build(const Search& search, const int64_t* rows, at::Tensor& images) = 0;

  const at::Tensor x_;  // all rows of the batch
  const ThreatModel threat_;
  const PlaneShape shape_;
  at::Tensor low_, high_;          // LINF: the corners of each row's set
  std::vector<SquareMove> moves_;  // by row of the batch, like all below
  std::vector<float> signs_;       // a sign for each channel
  at::Tensor saved_;               // what Settle gives back
  int64_t side_ = 0;
  std::vector<float> pyramids_;  // [side,side]: L2 and L1

 private:
  at::Tensor StartChange(const Search& search) const;

  const bool exclusive_;
  at::Tensor rows_;  // the rows in search when they were last fetched
  at::Tensor host_rows_;
  std::vector<Rng> rngs_;
  std::vector<uint32_t> words_;
};

// Loops over plain memory on the CPU, tensor operations elsewhere and where `fused` is false. Both
// propose the same images, up to rounding for L2 and L1.
std::unique_ptr<SquareMoves> MakeSquareMoves(const Batch& batch, const ThreatModel& threat,
                                             const Search& search, bool exclusive,
                                             bool fused = true);

}  // namespace adamant
