// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/plane_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace adamant {
namespace {

// Partial sums that run side by side: a fixed order that vector units can follow.
constexpr int64_t kLanes = 8;
constexpr int kMaxRounds = 100;

double Total(const double (&lanes)[kLanes]) {
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

double Direction(const PlaneRow& row) { return row.excess >= 0 ? -1 : 1; }

// Sum_i weight_i * min(reach_i, room_i), reach_i = lambda (kScaled: lambda * weight_i), and its
// derivative.
struct Piece {
  double value;
  double slope;
};
template <bool kScaled>
Piece Evaluate(const double* __restrict weight, const double* __restrict room, int64_t padded,
               double lambda) {
  double value[kLanes] = {};
  double slope[kLanes] = {};
  for (int64_t i = 0; i < padded; i += kLanes) {
    for (int64_t k = 0; k < kLanes; ++k) {
      const double w = weight[i + k];
      const double pull = kScaled ? w * w : w;
      const double part = pull * lambda;
      const double most = w * room[i + k];
      value[k] += part < most ? part : most;
      slope[k] += part < most ? pull : 0.0;
    }
  }
  return {Total(value), Total(slope)};
}

}  // namespace

PlaneSolver::PlaneSolver(int64_t size)
    : size_(size),
      weight_(static_cast<size_t>((size + kLanes - 1) / kLanes * kLanes)),
      room_(weight_.size()) {}

void PlaneSolver::Load(const PlaneRow& row) {
  const double direction = Direction(row);
  for (int64_t i = 0; i < size_; ++i) {
    const double normal = row.normal[i];
    const double point = row.point[i];
    const double room = direction * normal > 0 ? row.high - point : point - row.low;
    weight_[i] = std::fabs(normal);
    room_[i] = normal != 0 && room > 0 ? room : 0;
  }
}

// Newton's method from below on a concave piecewise linear function: no step goes too far, and the
// piece that repeats holds the root.
template <bool kScaled>
double PlaneSolver::Lambda(double need) const {
  double lambda = 0;
  double before = std::numeric_limits<double>::infinity();
  for (int round = 0; round < kMaxRounds; ++round) {
    const Piece piece = Evaluate<kScaled>(weight_.data(), room_.data(),
                                          static_cast<int64_t>(weight_.size()), lambda);
    if (piece.slope <= 0) return round == 0 ? 0 : std::numeric_limits<double>::infinity();
    if (piece.slope == before) break;
    before = piece.slope;
    lambda += (need - piece.value) / piece.slope;
  }
  return lambda;
}

template <bool kScaled>
void PlaneSolver::Change(const PlaneRow& row, float* change) {
  Load(row);
  const double need = std::fabs(row.excess);
  const double lambda = Lambda<kScaled>(need);
  const double direction = Direction(row);
  for (int64_t i = 0; i < size_; ++i) {
    const double reach = kScaled ? lambda * weight_[i] : lambda;
    const double size = room_[i] < reach ? room_[i] : reach;
    change[i] = static_cast<float>(direction * row.normal[i] > 0   ? size
                                   : direction * row.normal[i] < 0 ? -size
                                                                   : 0.0);
  }
}

void PlaneSolver::ChangeLinf(const PlaneRow& row, float* change) { Change<false>(row, change); }

void PlaneSolver::ChangeL2(const PlaneRow& row, float* change) { Change<true>(row, change); }

// The largest weight w whose coordinates, with all of larger weight, hold at least `need`.
PlaneSolver::Threshold PlaneSolver::Select(double need) {
  const auto mass = [](auto begin, auto end) {
    double sum = 0;
    for (; begin != end; ++begin) sum += begin->mass;
    return sum;
  };
  Threshold found{0, 1};
  auto begin = entries_.begin();
  auto end = entries_.end();
  while (begin != end) {
    const double first = begin->weight;
    const double middle = (begin + (end - begin) / 2)->weight;
    const double last = (end - 1)->weight;
    const double pivot = std::max(std::min(first, middle), std::min(std::max(first, middle), last));
    const auto larger =
        std::partition(begin, end, [&](const Entry& e) { return e.weight > pivot; });
    const double above = mass(begin, larger);
    if (above >= need && above > 0) {
      end = larger;
      continue;
    }
    const auto equal =
        std::partition(larger, end, [&](const Entry& e) { return e.weight == pivot; });
    const double here = mass(larger, equal);
    found = {pivot, 1};
    if (above + here >= need) {
      found.share = here > 0 ? (need - above) / here : 0;
      return found;
    }
    need -= above + here;
    begin = equal;
  }
  return found;
}

void PlaneSolver::ChangeL1(const PlaneRow& row, float* change) {
  Load(row);
  entries_.clear();
  for (int64_t i = 0; i < size_; ++i) {
    if (room_[i] > 0) entries_.push_back({weight_[i], weight_[i] * room_[i]});
  }
  const Threshold threshold = Select(std::fabs(row.excess));
  const double direction = Direction(row);
  for (int64_t i = 0; i < size_; ++i) {
    const double share = weight_[i] > threshold.weight    ? 1
                         : weight_[i] == threshold.weight ? threshold.share
                                                          : 0;
    change[i] =
        static_cast<float>(direction * row.normal[i] > 0 ? share * room_[i] : -share * room_[i]);
  }
}

}  // namespace adamant
