// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/square_moves.h"

#include <algorithm>

#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr double kTiny = 1e-12;
constexpr double kInsideL1 = 1 - 1e-6;
constexpr int64_t kTiles = 5;
constexpr int64_t kMoveWords = 5;

MassBudget BudgetOf(const ThreatModel& threat) {
  return {threat.norm == Norm::kL1, threat.epsilon, static_cast<float>(threat.clip_min),
          static_cast<float>(threat.clip_max)};
}

// A grid of pyramids: for each tile word 0 turns it, the others are its channels' signs.
void DrawTiles(const Rng& rng, const DrawAt& at, const PlaneShape& shape, bool l1, float* out) {
  const int64_t side = std::max<int64_t>(shape.height / kTiles, 1);
  const int64_t margin = std::max<int64_t>(shape.height - side * kTiles, 0) / 2;
  const int64_t rows = (shape.height - margin) / side;
  const int64_t columns = std::max<int64_t>(shape.width - margin, 0) / side;
  const std::vector<float> pyramids = Pyramids(side, l1);
  std::vector<float> signs(static_cast<size_t>(rows * columns * (1 + shape.channels)));
  rng.Signs(at, absl::MakeSpan(signs));
  const float* sign = signs.data();
  for (int64_t tile = 0; tile < rows * columns; ++tile, sign += 1 + shape.channels) {
    const int64_t top = margin + tile / columns * side;
    const int64_t left = margin + tile % columns * side;
    for (int64_t i = 0; i < side * side; ++i) {
      const float height = pyramids[sign[0] < 0 ? i % side * side + i / side : i];
      for (int64_t c = 0; c < shape.channels; ++c) {
        out[c * shape.plane() + (top + i / side) * shape.width + left + i % side] =
            sign[1 + c] * height;
      }
    }
  }
}

class FusedMoves final : public SquareMoves {
 public:
  FusedMoves(const Batch& batch, const ThreatModel& threat, const Search& search, bool exclusive)
      : SquareMoves(batch, threat, search, exclusive),
        window_(static_cast<size_t>(shape_.plane())) {
    saved_ = at::empty_like(x_);
  }

  void Settle(const Search& search, const at::Tensor& kept, at::Tensor& images) override {
    const int64_t* rows = search.rows().const_data_ptr<int64_t>();
    const bool* stays = kept.const_data_ptr<bool>();
    for (int64_t i = 0; i < images.size(0); ++i) {
      if (stays[i]) continue;
      float* image = images.data_ptr<float>() + i * shape_.size();
      const float* saved = saved_.const_data_ptr<float>() + rows[i] * shape_.size();
      if (threat_.norm == Norm::kLinf) {
        RestoreWindow(shape_, moves_[rows[i]], side_, saved, image);
      } else {
        std::copy_n(saved, shape_.size(), image);
      }
    }
  }

 private:
  void Build(const Search& search, const int64_t* rows, at::Tensor& images) override {
    static_cast<void>(search);
    const MassBudget budget = BudgetOf(threat_);
    for (int64_t i = 0; i < images.size(0); ++i) {
      const int64_t at = rows[i] * shape_.size();
      const SquareMove& move = moves_[rows[i]];
      const float* signs = signs_.data() + rows[i] * shape_.channels;
      float* image = images.data_ptr<float>() + i * shape_.size();
      float* saved = saved_.data_ptr<float>() + at;
      if (threat_.norm == Norm::kLinf) {
        PutWindow(shape_, move, side_, signs, low_.const_data_ptr<float>() + at,
                  high_.const_data_ptr<float>() + at, image, saved);
        continue;
      }
      std::copy_n(image, shape_.size(), saved);
      MoveMass(shape_, budget, move, side_, signs, pyramids_.data(),
               x_.const_data_ptr<float>() + at, saved, image, absl::MakeSpan(window_));
    }
  }

  std::vector<float> window_;
};

class TensorMoves final : public SquareMoves {
 public:
  TensorMoves(const Batch& batch, const ThreatModel& threat, const Search& search, bool exclusive)
      : SquareMoves(batch, threat, search, exclusive) {
    saved_ = x_.clone();
  }

  void Settle(const Search& search, const at::Tensor& kept, at::Tensor& images) override {
    images = at::where(PerRow(kept), images, saved_.index_select(0, search.rows()));
  }

 private:
  // Column `part` of the rows' moves, [M,1,1,1].
  at::Tensor Part(const int64_t* rows, int64_t count, int64_t SquareMove::* part) const {
    const at::Tensor out = at::empty({count, 1, 1, 1}, at::kLong);
    for (int64_t i = 0; i < count; ++i) out.data_ptr<int64_t>()[i] = moves_[rows[i]].*part;
    return out.to(x_.device());
  }

  at::Tensor Signs(const int64_t* rows, int64_t count) const {
    const int64_t channels = shape_.channels;
    const at::Tensor out = at::empty({count, channels, 1, 1}, at::kFloat);
    for (int64_t i = 0; i < count; ++i) {
      std::copy_n(signs_.data() + rows[i] * channels, channels,
                  out.data_ptr<float>() + i * channels);
    }
    return out.to(x_.device());
  }

  at::Tensor Window(const at::Tensor& row, const at::Tensor& column) const {
    const auto options = x_.options().dtype(at::kLong);
    const at::Tensor y = at::arange(shape_.height, options).view({1, 1, -1, 1}) - row;
    const at::Tensor x = at::arange(shape_.width, options).view({1, 1, 1, -1}) - column;
    return (y >= 0).logical_and(y < side_).logical_and(x >= 0).logical_and(x < side_);
  }

  void Build(const Search& search, const int64_t* rows, at::Tensor& images) override {
    const int64_t count = images.size(0);
    saved_.index_copy_(0, search.rows(), images);
    const at::Tensor row = Part(rows, count, &SquareMove::row);
    const at::Tensor column = Part(rows, count, &SquareMove::column);
    const at::Tensor window = Window(row, column);
    const at::Tensor signs = Signs(rows, count);
    if (threat_.norm == Norm::kLinf) {
      const at::Tensor vertex = at::where(signs > 0, high_.index_select(0, search.rows()),
                                          low_.index_select(0, search.rows()));
      images = at::where(window, vertex, images);
      return;
    }
    const at::Tensor other =
        Window(Part(rows, count, &SquareMove::row2), Part(rows, count, &SquareMove::column2));
    const at::Tensor pyramids = Placed(rows, row, column) * signs;
    const at::Tensor change = Shifted(images - search.set().origin(), window, other, pyramids);
    images = Applied(search.set().origin(), change);
  }

  // The pyramids where each row's window is, [M,1,H,W].
  at::Tensor Placed(const int64_t* rows, const at::Tensor& row, const at::Tensor& column) const {
    const int64_t count = row.size(0);
    const at::Tensor turned = at::empty({count, 1, 1, 1}, at::kBool);
    for (int64_t i = 0; i < count; ++i) turned.data_ptr<bool>()[i] = moves_[rows[i]].turned;
    const auto options = x_.options().dtype(at::kLong);
    const at::Tensor y =
        (at::arange(shape_.height, options).view({1, 1, -1, 1}) - row).clamp(0, side_ - 1);
    const at::Tensor x =
        (at::arange(shape_.width, options).view({1, 1, 1, -1}) - column).clamp(0, side_ - 1);
    const at::Tensor index =
        at::where(turned.to(x_.device()), x * side_ + y, y * side_ + x).contiguous();
    return at::tensor(pyramids_)
        .to(x_.device())
        .index_select(0, index.flatten())
        .view(index.sizes());
  }

  at::Tensor Sizes(const at::Tensor& values) const {
    return threat_.norm == Norm::kL1 ? values.abs() : values.square();
  }
  at::Tensor Root(const at::Tensor& sums) const {
    return threat_.norm == Norm::kL1 ? sums : sums.sqrt();
  }

  at::Tensor Shifted(const at::Tensor& change, const at::Tensor& window, const at::Tensor& other,
                     const at::Tensor& pyramids) const {
    const bool l1 = threat_.norm == Norm::kL1;
    const auto channels = static_cast<double>(shape_.channels);
    const at::Tensor sizes = Sizes(change.to(at::kDouble));
    const double full = l1 ? threat_.epsilon : threat_.epsilon * threat_.epsilon;
    const at::Tensor free = (full - RowSum(sizes)).clamp_min(0) / channels;
    const at::Tensor moved = PerRow(free + RowSum(sizes * window.logical_or(other)));
    const at::Tensor mass = l1 ? moved * channels : moved.sqrt();
    const at::Tensor old = Root((sizes * window).sum({2, 3}, /*keepdim=*/true));
    const at::Tensor mixed = (pyramids + change / (kTiny + old)) * window;
    const at::Tensor size = Root(Sizes(mixed).sum({2, 3}, /*keepdim=*/true));
    return change * window.logical_or(other).logical_not() + mixed * (mass / (kTiny + size));
  }

  at::Tensor Applied(const at::Tensor& x, const at::Tensor& change) const {
    if (threat_.norm == Norm::kL1) {
      ThreatModel inner = threat_;
      inner.epsilon *= kInsideL1;
      return FeasibleSet(x, inner).Project((x + change).to(at::kFloat));
    }
    const at::Tensor scale = threat_.epsilon / (RowSum(change.square()).sqrt() + kTiny);
    return (x + change * PerRow(scale)).to(at::kFloat).clamp_(threat_.clip_min, threat_.clip_max);
  }
};

}  // namespace

SquareMoves::SquareMoves(const Batch& batch, const ThreatModel& threat, const Search& search,
                         bool exclusive)
    : x_(batch.images.contiguous()),
      threat_(threat),
      shape_{x_.size(1), x_.size(2), x_.size(3)},
      moves_(static_cast<size_t>(batch.size())),
      signs_(static_cast<size_t>(batch.size() * shape_.channels)),
      exclusive_(exclusive),
      words_(static_cast<size_t>(kMoveWords + shape_.channels)) {
  const at::Tensor ids = batch.ids.cpu();
  for (int64_t i = 0; i < batch.size(); ++i) {
    rngs_.push_back(search.RngOf(ids.const_data_ptr<int64_t>()[i]));
  }
  if (threat.norm != Norm::kLinf) return;
  const FeasibleSet set(x_, threat);
  low_ = set.Project(at::full_like(x_, threat.clip_min));
  high_ = set.Project(at::full_like(x_, threat.clip_max));
}

at::Tensor SquareMoves::StartChange(const Search& search) const {
  const at::Tensor rows = search.rows().cpu();
  const at::Tensor change =
      at::zeros({rows.size(0), shape_.channels, shape_.height, shape_.width}, at::kFloat);
  const DrawAt at = search.Draw(Purpose::kStart, 0);
  for (int64_t i = 0; i < rows.size(0); ++i) {
    DrawTiles(rngs_[rows.const_data_ptr<int64_t>()[i]], at, shape_, threat_.norm == Norm::kL1,
              change.data_ptr<float>() + i * shape_.size());
  }
  return change.to(x_.device());
}

at::Tensor SquareMoves::Start(const Search& search) const {
  const at::Tensor x = x_.index_select(0, search.rows());
  if (threat_.norm == Norm::kLinf) {
    const at::Tensor rows = search.rows().cpu();
    const at::Tensor signs =
        at::empty({rows.size(0), shape_.channels, 1, shape_.width}, at::kFloat);
    const DrawAt at = search.Draw(Purpose::kStart, 0);
    const auto count = static_cast<size_t>(shape_.channels * shape_.width);
    for (int64_t i = 0; i < rows.size(0); ++i) {
      float* out = signs.data_ptr<float>() + static_cast<size_t>(i) * count;
      rngs_[rows.const_data_ptr<int64_t>()[i]].Signs(at, absl::MakeSpan(out, count));
    }
    return at::where(signs.to(x_.device()) > 0, high_.index_select(0, search.rows()),
                     low_.index_select(0, search.rows()));
  }
  const at::Tensor change = StartChange(search);
  if (threat_.norm == Norm::kL1) {
    ThreatModel inner = threat_;
    inner.epsilon *= kInsideL1;
    return FeasibleSet(x, inner).Project(x + change);
  }
  const at::Tensor scale = threat_.epsilon / (RowSum(change.square()).sqrt() + kTiny);
  return (x + change * PerRow(scale)).clamp_(threat_.clip_min, threat_.clip_max);
}

void SquareMoves::Propose(const Search& search, int64_t query, double share, at::Tensor& images) {
  const bool linf = threat_.norm == Norm::kLinf;
  const int64_t side = linf ? SquareSide(share, shape_) : PyramidSide(share, shape_);
  if (!linf && side != side_) pyramids_ = Pyramids(side, threat_.norm == Norm::kL1);
  side_ = side;
  if (!rows_.is_same(search.rows())) {
    rows_ = search.rows();
    host_rows_ = rows_.cpu();
  }
  const int64_t* rows = host_rows_.const_data_ptr<int64_t>();
  const DrawAt at = search.Draw(Purpose::kWindow, query);
  for (int64_t i = 0; i < host_rows_.size(0); ++i) {
    moves_[rows[i]] = DrawMove(rngs_[rows[i]], at, shape_, side, exclusive_, absl::MakeSpan(words_),
                               &signs_[rows[i] * shape_.channels]);
  }
  Build(search, rows, images);
}

std::unique_ptr<SquareMoves> MakeSquareMoves(const Batch& batch, const ThreatModel& threat,
                                             const Search& search, bool exclusive, bool fused) {
  if (fused && batch.images.is_cpu()) {
    return std::make_unique<FusedMoves>(batch, threat, search, exclusive);
  }
  return std::make_unique<TensorMoves>(batch, threat, search, exclusive);
}

}  // namespace adamant
