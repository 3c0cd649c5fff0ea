// SPDX-License-Identifier: Apache-2.0
// Carlini and Wagner 2017 (arXiv 1608.04644), L2:  v = (tanh(w0 + d) + 1) / 2,
//   w0 = atanh((2x - 1) * 0.999999);  Adam on d for
//   ||v - x||_2^2 + c * max(0, z_y - max_{j != y} z_j + kappa)
// (targeted: max_{j != t} z_j - z_t + kappa), with d = 0 and fresh moments at each of the searches
// for c. Success: argmax(z + kappa e_y) != y (targeted: argmax(z - kappa e_t) == t); the nearest
// one is kept.
//
// Differs from the published code: everything is per sample, also the end of a search whose loss no
// longer falls, so results do not depend on the batch; the distance is to x, not to tanh(w0).
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "core/attacks/nearest.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr double kInsideBox = 0.999999;
constexpr double kProgress = 0.9999;
constexpr double kBeta1 = 0.9;
constexpr double kBeta2 = 0.999;
constexpr double kAdamFloor = 1e-8;

// One search; every tensor has one row per sample in search.
struct Descent {
  at::Tensor w0, d, moment, square;
  at::Tensor constant;  // float
  at::Tensor before;    // double: the loss at the last check
  at::Tensor image;     // v
  at::Tensor success;
  at::Tensor gradient;
  at::Tensor value;  // double: distance + c * loss
};

class CwL2 final : public Attack {
 public:
  explicit CwL2(const Params& params)
      : options_(ParseNearest(params, "margin")),
        learning_rate_(params.Real("lr")),
        searches_(params.Int("binary_search_steps")),
        iterations_(params.Int("max_iterations")),
        initial_(params.Real("initial_const")),
        kappa_(params.Real("kappa")),
        abort_early_(params.Bool("abort_early")) {}

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return NothingNear(batch);
    Search search(victim, batch, threat, settings, control, options_);
    TradeOff trade_off(batch.images, initial_, searches_);
    for (int64_t number = 0; number < searches_; ++number) {
      if (!search.BeginRestart(number)) break;
      RunSearch(search, trade_off);
      trade_off.Update(number);
    }
    return std::move(search).Result();
  }

 private:
  void RunSearch(Search& search, TradeOff& trade_off) const {
    Descent at = Begin(search, trade_off);
    const int64_t period = std::max<int64_t>(1, iterations_ / 10);
    for (int64_t step = 0; step < iterations_; ++step) {
      Evaluate(search, /*last=*/step == iterations_ - 1, at);
      trade_off.Succeeded(search.rows(), at.success);
      at::Tensor image = at.image;
      search.ObserveNearest(image, at.success, step,
                            {&at.w0, &at.d, &at.moment, &at.square, &at.constant, &at.before,
                             &at.gradient, &at.value});
      if (search.empty() || step == iterations_ - 1) return;
      if (abort_early_ && step % period == 0) {
        const at::Tensor falls = at.value <= at.before * kProgress;
        at.before = at.value;
        search.KeepOnly(falls, image,
                        {&at.w0, &at.d, &at.moment, &at.square, &at.constant, &at.before,
                         &at.gradient, &at.value});
        if (search.empty()) return;
      }
      Descend(step + 1, at);
    }
  }

  static Descent Begin(const Search& search, const TradeOff& trade_off) {
    Descent at;
    at.w0 = ((2 * search.set().origin() - 1) * kInsideBox).atanh();
    at.d = at::zeros_like(at.w0);
    at.moment = at::zeros_like(at.w0);
    at.square = at::zeros_like(at.w0);
    at.constant = trade_off.Constants(search.rows());
    at.before = at::full({at.w0.size(0)}, std::numeric_limits<double>::infinity(),
                         at.w0.options().dtype(at::kDouble));
    return at;
  }

  // Image, success, loss and its gradient with respect to d.
  void Evaluate(Search& search, bool last, Descent& at) const {
    const at::Tensor squash = (at.w0 + at.d).tanh();
    at.image = ((squash + 1) / 2).clamp_(0, 1);
    const LossGradient seen = last ? search.Loss(at.image) : search.Gradient(at.image);
    at.success =
        search.Misclassified(seen.logits).logical_and(Reaches(search.aims(), seen.logits, kappa_));
    const at::Tensor change = at.image - search.set().origin();
    at.value = RowNorm(Norm::kL2, change).square() +
               at.constant.to(at::kDouble) * (kappa_ - seen.loss).clamp_min(0);
    if (last) return;
    const at::Tensor active = (seen.loss < kappa_).to(at::kFloat) * at.constant;
    at.gradient = (2 * change - PerRow(active) * seen.gradient) * (1 - squash * squash) / 2;
  }

  void Descend(int64_t count, Descent& at) const {
    at.moment = kBeta1 * at.moment + (1 - kBeta1) * at.gradient;
    at.square = kBeta2 * at.square + (1 - kBeta2) * at.gradient * at.gradient;
    const double rate = learning_rate_ / (1 - std::pow(kBeta1, count));
    const double correction = 1 - std::pow(kBeta2, count);
    at.d = at.d - rate * at.moment / ((at.square / correction).sqrt() + kAdamFloor);
  }

  const SearchOptions options_;
  const double learning_rate_;
  const int64_t searches_;
  const int64_t iterations_;
  const double initial_;
  const double kappa_;
  const bool abort_early_;
};

const Registration<Attack> kCwL2{
    {.name = "cw_l2",
     .summary =
         "smallest L2 change by Adam on distance and margin, with a search for the trade-off",
     .paper = "Carlini and Wagner 2017, arXiv 1608.04644",
     .params = Joined(
         NearestParams(),
         {Real("lr", 0.01).Range(1e-5, 1).Doc("learning rate of Adam"),
          Int("binary_search_steps", 9).Range(1, 20).Doc("searches for the constant c"),
          Int("max_iterations", 1000).Range(1, 10000).Doc("steps of each search"),
          Real("initial_const", 1e-3).Range(1e-6, 1e10).Doc("first constant c"),
          Real("kappa", 0).Range(0, 1000).Doc("margin that counts as success"),
          Bool("abort_early", true).Doc("a sample's search ends when its loss no longer falls")}),
     .presets = {{"cw_l2_adp",
                  {{"binary_search_steps", 1.0},
                   {"initial_const", 10.0},
                   {"kappa", 0.1},
                   {"lr", 0.01},
                   {"max_iterations", 1000.0}}}},
     .norms = {"l2"},
     .test_params = {{"max_iterations", 12}, {"binary_search_steps", 2}, {"initial_const", 10}}},
    [](const Params& params) -> std::unique_ptr<Attack> { return std::make_unique<CwL2>(params); }};

}  // namespace
}  // namespace adamant
