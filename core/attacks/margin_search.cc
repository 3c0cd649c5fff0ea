// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/margin_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kTiny = 1e-12;
// What a move writes into a value: nothing, the lower or upper vertex, or the gradient's sign.
constexpr float kKeep = 0;
constexpr float kGradient = 2;

// z_j - z_y in double; -inf in the label's column and where a logit is not finite.
at::Tensor ClassLeads(const at::Tensor& logits, const at::Tensor& labels) {
  const at::Tensor z = logits.to(at::kDouble);
  const at::Tensor leads = z - z.gather(1, labels.unsqueeze(1));
  const at::Tensor bad = at::isfinite(z).all(1, /*keepdim=*/true).logical_not();
  return leads.scatter(1, labels.unsqueeze(1), -kInfinity).masked_fill(bad, -kInfinity);
}

LossGradient Seen(const at::Tensor& logits, const at::Tensor& labels) {
  LossGradient seen;
  seen.logits = logits;
  seen.loss = std::get<0>(ClassLeads(logits, labels).max(1));
  return seen;
}

double LeakShare(int64_t step, int64_t steps) {
  const double left = 1 - static_cast<double>(step) / static_cast<double>(steps);
  return left * left;
}

// Step size as a share of epsilon.
double StepShare(const LeakyAscent& ascent, int64_t step) {
  if (step < ascent.leak_steps) return 2 * (0.02 + 0.98 * LeakShare(step, ascent.leak_steps));
  const auto last = static_cast<double>(std::max<int64_t>(1, ascent.steps - 1));
  const double phase = static_cast<double>(step - ascent.leak_steps) / last;
  return 0.02 + 0.28 * (1 + std::cos(std::numbers::pi * phase)) / 2;
}

struct Shape {
  int64_t channels, height, width;
};

// The square window at (top, left) becomes `values` (one per channel).
void FillWindow(const Shape& shape, int64_t side, int64_t top, int64_t left,
                absl::Span<const float> values, absl::Span<float> out) {
  for (int64_t c = 0; c < shape.channels; ++c) {
    for (int64_t i = top; i < std::min(top + side, shape.height); ++i) {
      float* row = out.data() + (c * shape.height + i) * shape.width;
      std::fill(row + left, row + std::min(left + side, shape.width), values[c]);
    }
  }
}

// One move. `progress` in [0,1] shrinks it.
void DrawMove(const Rng& rng, DrawAt at, const Shape& shape, double progress,
              absl::Span<float> out) {
  std::fill(out.begin(), out.end(), kKeep);
  uint32_t words[4];
  rng.Words(at, absl::MakeSpan(words));
  const double kind = static_cast<double>(words[0] >> 8) * 0x1p-24;
  if (kind >= 0.4 && kind < 0.7) {
    const double share = 0.05 * std::pow(0.002 / 0.05, progress);
    std::vector<float> drawn(out.size());
    at.purpose = Purpose::kDirection;
    rng.Uniform(at, absl::MakeSpan(drawn));
    for (size_t i = 0; i < out.size(); ++i) out[i] = drawn[i] < share ? kGradient : kKeep;
    out[words[1] % out.size()] = kGradient;
    return;
  }
  const auto side = static_cast<int64_t>(std::lround(5 - 4 * progress));
  const auto place = [&](uint32_t word, int64_t length) {
    const auto places = static_cast<uint64_t>(std::max<int64_t>(1, length - side + 1));
    return static_cast<int64_t>((word * places) >> 32);
  };
  std::vector<float> values(static_cast<size_t>(shape.channels), kGradient);
  if (kind < 0.4) {
    at.purpose = Purpose::kDirection;
    rng.Signs(at, absl::MakeSpan(values));
  }
  FillWindow(shape, side, place(words[1], shape.height), place(words[2], shape.width), values, out);
}

// Where `moves` (kKeep, kGradient or a sign for each value) take `images`, which stand row by row
// in `set`; sign: that of the gradient.
at::Tensor Moved(const FeasibleSet& set, const at::Tensor& images, const at::Tensor& sign,
                 const at::Tensor& moves) {
  const at::Tensor direction = at::where(moves == kGradient, sign, moves);
  const at::Tensor vertex = set.Project(set.origin() + set.threat().epsilon * direction);
  return at::where(moves == kKeep, images, vertex);
}

}  // namespace

Closest::Closest(const Batch& batch, int64_t num_classes)
    : labels_(batch.labels.to(batch.images.device())),
      lead_(at::full({batch.size()}, -kInfinity, batch.images.options().dtype(at::kDouble))),
      images_(batch.images.clone()),
      class_lead_(at::full({batch.size(), num_classes}, -kInfinity,
                           batch.images.options().dtype(at::kDouble))) {}

void Closest::Update(const Search& search, const at::Tensor& images, const at::Tensor& logits) {
  const at::Tensor& rows = search.rows();
  const at::Tensor leads = ClassLeads(logits, labels_.index_select(0, rows));
  class_lead_.index_copy_(0, rows, class_lead_.index_select(0, rows).maximum(leads));
  const at::Tensor lead = std::get<0>(leads.max(1));
  const at::Tensor before = lead_.index_select(0, rows);
  const at::Tensor nearer = lead > before;
  lead_.index_copy_(0, rows, at::where(nearer, lead, before));
  images_.index_copy_(0, rows, at::where(PerRow(nearer), images, images_.index_select(0, rows)));
}

at::Tensor Closest::Target(const at::Tensor& rows, int64_t place) const {
  const int64_t others = class_lead_.size(1) - 1;
  return RankedClasses(class_lead_.index_select(0, rows)).select(1, std::min(place, others - 1));
}

at::Tensor LeakyAscent::Slopes(const Search& search) const {
  if (leak <= 0 || leak_steps == 0) return {};
  const at::Tensor ids = search.ids();
  const at::Tensor slopes = at::empty({ids.size(0)}, at::kFloat);
  for (int64_t i = 0; i < ids.size(0); ++i) {
    search.RngOf(ids.data_ptr<int64_t>()[i])
        .Uniform(search.Draw(Purpose::kTransform, 0),
                 absl::MakeSpan(slopes.data_ptr<float>() + i, 1));
  }
  return slopes.mul_(leak).to(search.set().origin().device());
}

void LeakyAscent::Run(Search& search, Closest& closest) const {
  static const LossFunction loss = MakeLoss("logit_diff", /*targeted=*/true, Numerics::kStrong);
  at::Tensor x = search.Start(/*random=*/true);
  at::Tensor slopes = Slopes(search);
  at::Tensor velocity;
  for (int64_t step = 0; step < leak_steps + steps; ++step) {
    const bool leaky = slopes.defined() && step < leak_steps;
    LossGradient seen =
        search.Gradient(x, loss, leaky ? slopes * LeakShare(step, leak_steps) : at::Tensor());
    closest.Update(search, x, seen.logits);
    search.Observe(x, seen, step, {&velocity, &slopes});
    if (search.empty()) return;
    const at::Tensor size = seen.gradient.abs().flatten(1).mean(1).clamp_min(kTiny);
    const at::Tensor unit = seen.gradient / PerRow(size);
    const double momentum = step < leak_steps ? 0.5 : 0.75;
    velocity = velocity.defined() ? momentum * velocity + (1 - momentum) * unit : unit;
    x = search.set().Project(x + StepShare(*this, step) * search.set().threat().epsilon *
                                     velocity.sign());
  }
  LossGradient seen = search.Loss(x);
  closest.Update(search, x, seen.logits);
  search.Observe(x, seen, leak_steps + steps);
  if (!search.empty()) search.EndRestart(x, seen.loss);
}

void VertexMoves::Run(Search& search, Closest& closest) const {
  static const LossFunction margin = MakeLoss("margin", /*targeted=*/false, Numerics::kStrong);
  const at::Tensor& origin = search.set().origin();
  const Shape shape{origin.size(1), origin.size(2), origin.size(3)};
  const auto for_each_chain = [&](const at::Tensor& rows) {  // [M,...] -> [M,chains,...]
    return at::stack(std::vector<at::Tensor>(static_cast<size_t>(chains), rows), 1);
  };
  at::Tensor at_images = for_each_chain(closest.images().index_select(0, search.rows()));
  at::Tensor at_lead = for_each_chain(closest.lead().index_select(0, search.rows()));
  at::Tensor sign;
  for (int64_t it = 0; it < iterations; ++it) {
    if (it % kRefresh == 0) {
      const at::Tensor nearest = closest.images().index_select(0, search.rows());
      sign = search.Gradient(nearest, margin).gradient.sign();
    }
    const double progress = static_cast<double>(it) / static_cast<double>(iterations);
    std::vector<at::Tensor> moves;
    for (int64_t c = 0; c < chains; ++c) {
      moves.push_back(search.DrawEach([&](const Rng& rng, absl::Span<float> out) {
        DrawMove(rng, search.Draw(Purpose::kWindow, it, c), shape, progress, out);
      }));
    }
    // One call for the moves of all chains: few rows are in search here.
    const at::Tensor of =
        for_each_chain(at::arange(sign.size(0), sign.options().dtype(at::kLong))).flatten();
    const at::Tensor images = Moved(search.set().Select(of), at_images.flatten(0, 1),
                                    sign.index_select(0, of), at::stack(moves, 1).flatten(0, 1));
    const at::Tensor logits = search.Ask(images, of).logits;
    const LossGradient seen = Seen(logits, search.labels().index_select(0, of));
    const at::Tensor lead = seen.loss.view_as(at_lead);
    for (int64_t c = 0; c < chains; ++c) {
      closest.Update(search, images.view_as(at_images).select(1, c),
                     logits.unflatten(0, lead.sizes()).select(1, c));
    }
    const at::Tensor better = lead > at_lead;
    at_images =
        at::where(PerRow(better.flatten()), images, at_images.flatten(0, 1)).view_as(at_images);
    at_lead = at::where(better, lead, at_lead);
    // The best of the chains is claimed.
    const at::Tensor best = at::arange(lead.size(0), of.options()) * chains + lead.argmax(1);
    at::Tensor claimed = images.index_select(0, best);
    LossGradient claim;
    claim.logits = logits.index_select(0, best);
    claim.loss = seen.loss.index_select(0, best);
    search.Observe(claimed, claim, it + 1, {&sign, &at_images, &at_lead});
    if (search.empty()) return;
  }
}

}  // namespace adamant
