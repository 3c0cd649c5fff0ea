// SPDX-License-Identifier: Apache-2.0
// APGD (Croce and Hein 2020, arXiv 2003.01690), exactly as AutoAttack runs it:
//   z = P(x_i + eta * dir(g_i)),  x_{i+1} = P(x_i + a (z - x_i) + (1 - a)(x_i - x_{i-1})),
// a = 1 in the first step, else 0.75; eta starts at 2 epsilon, x_0 on the surface of the ball.
// At a checkpoint, eta is halved and the search goes back to the best point when at most rho * k of
// the window's k steps raised the loss, or when eta was not halved at the checkpoint before and the
// best loss has not changed since. The first window compares its first loss with 0, as the
// reference does.
//
// L1 (Croce and Hein 2021, arXiv 2103.01208): balls of 3, 2 and 1 epsilon for 30, 30 and 40 % of
// the steps, each from the best point of the one before; x_{i+1} = P(x_i + eta * s / ||s||_1), s
// the signs of the gradient's largest components. At a checkpoint the share of components becomes
// ||x_best - x||_0 / (1.5 D); where x_best got sparser by 5 %, eta starts again and the search goes
// back to x_best, else eta shrinks by 1.5, down to epsilon / 10.
//
// Names: apgd_ce and apgd_dlr differ in the default loss. apgd_t runs dlr_targeted against the
// classes next to the label in the clean ranking, one after the other.
//
// Differs from the reference: every iterate is claimed and verified, a broken sample leaves at
// once, the last gradient is not computed, clean logits are not computed again for each target, and
// with `eot` loss and decision are those of all draws.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/attacks/apgd_schedule.h"
#include "core/attacks/expectation.h"
#include "core/attacks/search.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr double kMomentum = 0.75;
constexpr double kFirstShare = 0.2;  // of an L1 step
constexpr double kShareDivisor = 1.5;
constexpr double kStepDivisor = 1.5;
constexpr double kSmallestStep = 0.1;  // of epsilon, L1
constexpr double kSparser = 0.95;

// The search within one ball; every tensor has one row per sample in search.
struct Trajectory {
  at::Tensor x, before, gradient, best, best_gradient;
  at::Tensor best_loss, checked_loss, last_loss;  // double
  at::Tensor step_size;                           // float
  at::Tensor halved;                              // bool: at the checkpoint before
  at::Tensor rises;                               // int64: in this window
  at::Tensor share;                               // double, L1: of the components that a step moves
  at::Tensor changed;                             // double, L1: components of `best` that changed
};

at::Tensor ChangedValues(const at::Tensor& images, const at::Tensor& origin) {
  return RowSum((images != origin).to(at::kDouble));
}

// The signs of the components that are at least as large as the `share`-th of a row, divided by
// their number.
at::Tensor SparseDirection(const at::Tensor& gradient, const at::Tensor& share) {
  const at::Tensor size = gradient.flatten(1).abs();
  const auto values = static_cast<double>(size.size(1));
  const at::Tensor place = ((1 - share) * values).clamp(0, values - 1).to(at::kLong).unsqueeze(1);
  const at::Tensor smallest = std::get<0>(size.sort(1)).gather(1, place);
  const at::Tensor chosen = gradient.sign() * (size >= smallest).view_as(gradient);
  return chosen / PerRow(RowSum(chosen.abs()) + 1e-10);
}

class Apgd final : public Attack {
 public:
  explicit Apgd(const Params& params)
      : options_(ParseSearch(params)),
        steps_(params.Int("steps")),
        rho_(params.Real("rho")),
        draws_(params.Int("eot")),
        targeted_(params.Has("n_targets")),
        targets_(targeted_ ? params.Int("n_targets") : 1) {}

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return Unchanged(batch);
    Search search(victim, batch, threat, settings, control, options_);
    const bool l1 = threat.norm == Norm::kL1;
    const int64_t restarts = options_.restarts > 0 ? options_.restarts : l1 ? 5 : 1;
    const int64_t targets = targeted_
                                ? Targets(victim.info().shape.num_classes, targets_ > 0 ? targets_
                                                                           : l1         ? 5
                                                                                        : 9)
                                : 1;
    for (int64_t slot = 0; slot < targets; ++slot) {
      for (int64_t restart = 0; restart < restarts; ++restart) {
        if (!search.BeginRestart(restart, slot)) return std::move(search).Result();
        if (targeted_) search.AimAt(slot + 1);
        RunRestart(search, threat);
      }
    }
    return std::move(search).Result();
  }

  std::vector<std::string> Notes(int64_t num_classes) const override {
    std::vector<std::string> notes = LossNotes(options_, num_classes);
    const int64_t wanted = targets_ > 0 ? targets_ : 9;
    if (targeted_ && Targets(num_classes, wanted) < wanted) {
      notes.push_back(absl::StrCat("n_targets ", wanted, " needs ", wanted + 1, " classes; ",
                                   num_classes - 1, " targets were used"));
    }
    return notes;
  }

 private:
  static int64_t Targets(int64_t num_classes, int64_t wanted) {
    return std::min(wanted, num_classes - 1);
  }

  void RunRestart(Search& search, const ThreatModel& threat) const {
    if (threat.norm != Norm::kL1) {
      RunBall(search, {threat, 0, steps_, true}, search.SurfaceStart());
      return;
    }
    at::Tensor x;
    for (const ApgdBall& ball : ApgdBalls(threat, steps_)) {
      x = x.defined() ? FeasibleSet(search.set().origin(), ball.threat).Project(x)
                      : search.SurfaceStart(ball.threat.epsilon / threat.epsilon);
      x = RunBall(search, ball, x);
    }
  }

  // Searches one ball and returns its best point; undefined when no row is left.
  at::Tensor RunBall(Search& search, const ApgdBall& ball, const at::Tensor& start) const {
    const FeasibleSet whole(search.set().origin(), ball.threat);
    const auto set = [&] { return ball.last ? search.set() : whole; };
    Trajectory at;
    at.x = start;
    LossGradient seen = ExpectedGradient(search, at.x, ball.first_step, draws_);
    Test(search, ball, 0, seen, at);
    if (search.empty()) return {};
    Begin(seen, set(), ball.first_step > 0, at);
    const std::vector<int64_t> windows = ApgdWindows(ball.threat.norm, ball.steps);
    size_t window = 0;
    int64_t in_window = 0;
    for (int64_t step = 1; step <= ball.steps; ++step) {
      Step(set(), step == 1, at);
      const bool last = step == ball.steps;
      seen = last ? ExpectedLoss(search, at.x, ball.first_step + step, draws_)
                  : ExpectedGradient(search, at.x, ball.first_step + step, draws_);
      Test(search, ball, step, seen, at);
      if (search.empty()) return {};
      Track(seen, at);
      if (last || ++in_window < windows[window]) continue;
      Checkpoint(windows[window], set(), at);
      in_window = 0;
      ++window;
    }
    if (ball.last) search.EndRestart(at.x, seen.loss);
    return at.best;
  }

  // Points outside of the threat model cannot be claimed. The last of a ball is the start of the
  // next, and one step.
  static void Test(Search& search, const ApgdBall& ball, int64_t step, LossGradient& seen,
                   Trajectory& at) {
    if (!ball.last) {
      return search.CountUntested(seen, ball.first_step + step > 0 && step < ball.steps);
    }
    search.Observe(at.x, seen, ball.first_step + step,
                   {&at.before, &at.best, &at.best_gradient, &at.best_loss, &at.checked_loss,
                    &at.last_loss, &at.step_size, &at.halved, &at.rises, &at.share, &at.changed});
  }

  // The loss itself, where its log-odds stand for it: the first one is compared with 0.
  at::Tensor Value(const LossGradient& seen) const {
    return draws_ == 1 ? LossValue(options_, seen.loss) : seen.loss;
  }

  void Begin(const LossGradient& seen, const FeasibleSet& set, bool continued,
             Trajectory& at) const {
    const auto values = static_cast<double>(at.x[0].numel());
    const bool l1 = set.threat().norm == Norm::kL1;
    at.before = at.x;
    at.gradient = seen.gradient;
    at.best = at.x;
    at.best_gradient = seen.gradient;
    at.best_loss = Value(seen);
    at.checked_loss = at.best_loss;
    at.last_loss = at::zeros_like(at.best_loss);
    at.step_size = at::full({at.x.size(0)}, (l1 ? 1 : 2) * set.threat().epsilon, at.x.options());
    at.halved = at::ones({at.x.size(0)}, at.x.options().dtype(at::kBool));
    at.rises = at::zeros({at.x.size(0)}, at.x.options().dtype(at::kLong));
    if (!l1) return;
    at.changed =
        continued ? ChangedValues(at.x, set.origin()) : at::full_like(at.best_loss, values);
    at.share =
        continued ? at.changed / values / kShareDivisor : at::full_like(at.best_loss, kFirstShare);
  }

  static void Step(const FeasibleSet& set, bool first, Trajectory& at) {
    const at::Tensor last_move = at.x - at.before;
    at.before = at.x;
    const at::Tensor direction = at.share.defined() ? SparseDirection(at.gradient, at.share)
                                                    : StepDirection(set.threat().norm, at.gradient);
    const at::Tensor z = set.Project(at.x + PerRow(at.step_size) * direction);
    const double a = first ? 1 : kMomentum;
    at.x = at.share.defined() ? z : set.Project(at.x + a * (z - at.x) + (1 - a) * last_move);
  }

  void Track(const LossGradient& seen, Trajectory& at) const {
    const at::Tensor loss = Value(seen);
    at.rises = at.rises + (loss > at.last_loss).to(at::kLong);
    at.last_loss = loss;
    const at::Tensor better = loss > at.best_loss;
    at.best_loss = at::where(better, loss, at.best_loss);
    at.best = at::where(PerRow(better), at.x, at.best);
    if (!seen.gradient.defined()) return;
    at.gradient = seen.gradient;
    at.best_gradient = at::where(PerRow(better), seen.gradient, at.best_gradient);
  }

  void Checkpoint(int64_t window, const FeasibleSet& set, Trajectory& at) const {
    if (at.share.defined()) return SparsityCheckpoint(set, at);
    const at::Tensor oscillates = at.rises <= rho_ * static_cast<double>(window);
    const at::Tensor stuck = at.halved.logical_not().logical_and(at.best_loss <= at.checked_loss);
    at.halved = oscillates.logical_or(stuck);
    at.checked_loss = at.best_loss;
    at.step_size = at::where(at.halved, at.step_size / 2, at.step_size);
    GoBack(at.halved, at);
    at.rises = at::zeros_like(at.rises);
  }

  static void SparsityCheckpoint(const FeasibleSet& set, Trajectory& at) {
    const double epsilon = set.threat().epsilon;
    const at::Tensor changed = ChangedValues(at.best, set.origin());
    const at::Tensor sparser = changed < kSparser * at.changed;
    at.share = changed / static_cast<double>(at.x[0].numel()) / kShareDivisor;
    at.changed = changed;
    at.step_size = at::where(sparser, epsilon, at.step_size / kStepDivisor)
                       .clamp(kSmallestStep * epsilon, epsilon);
    GoBack(sparser, at);
  }

  static void GoBack(const at::Tensor& rows, Trajectory& at) {
    at.x = at::where(PerRow(rows), at.best, at.x);
    at.gradient = at::where(PerRow(rows), at.best_gradient, at.gradient);
  }

  const SearchOptions options_;
  const int64_t steps_;
  const double rho_;
  const int64_t draws_;
  const bool targeted_;
  const int64_t targets_;
};

std::vector<Param> ApgdParams(const SearchDefaults& defaults) {
  return Joined(SearchParams(defaults),
                {Int("steps", 100).Range(1, 10000).Doc("gradient steps"),
                 Real("rho", 0.75)
                     .Range(0.001, 0.999)
                     .Doc("share of a window's steps that must raise the loss"),
                 Int("eot", 1).Range(1, 1000).Doc(
                     "draws of a random model whose gradients and losses are averaged")});
}

std::unique_ptr<Attack> MakeApgd(const Params& params) { return std::make_unique<Apgd>(params); }

const Registration<Attack> kApgdCe{
    {.name = "apgd_ce",
     .summary = "PGD with adaptive step size on cross-entropy, the first stage of AutoAttack",
     .paper = "Croce and Hein 2020, arXiv 2003.01690",
     .params = ApgdParams({.loss = "ce", .restarts = 0}),
     .norms = {"linf", "l2", "l1"},
     .test_params = {{"steps", 12}, {"restarts", 1}}},
    MakeApgd};

const Registration<Attack> kApgdDlr{
    {.name = "apgd_dlr",
     .summary = "PGD with adaptive step size on the difference of logits ratio",
     .paper = "Croce and Hein 2020, arXiv 2003.01690",
     .params = ApgdParams({.loss = "dlr", .restarts = 0}),
     .norms = {"linf", "l2", "l1"},
     .test_params = {{"steps", 12}, {"restarts", 1}}},
    MakeApgd};

const Registration<Attack> kApgdT{
    {.name = "apgd_t",
     .summary = "targeted APGD against the most likely wrong classes, AutoAttack's second stage",
     .paper = "Croce and Hein 2020, arXiv 2003.01690",
     .params =
         Joined(ApgdParams({.loss = "dlr_targeted", .restarts = 0, .chooses_targets = true}),
                {Int("n_targets", 0)
                     .Range(0, 100000)
                     .Doc("classes next to the label in the clean ranking; 0: 9, but 5 under L1")}),
     .norms = {"linf", "l2", "l1"},
     .test_params = {{"steps", 12}, {"restarts", 1}, {"n_targets", 3}}},
    MakeApgd};

}  // namespace
}  // namespace adamant
