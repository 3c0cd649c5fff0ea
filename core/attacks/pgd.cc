// SPDX-License-Identifier: Apache-2.0
// PGD (Madry et al. 2018, arXiv 1706.06083):  x_0 = x or a random point of the ball,
//   v_{k+1} = mu * v_k + g_k / max(||g_k||_1, 1e-12)   (mu = 0: v_{k+1} = g_k),
//   x_{k+1} = P(x_k + a * dir(v_{k+1})),  g_k = dL/dx at x_k,  k = 0..steps-1.
//
// pgd_margin ("C&W Linf" in papers) ascends the margin, or the clamped margin cw50 of the paper
// protocols. eot_pgd (Athalye et al. 2018, arXiv 1802.00420) is for random models: gradient, loss
// and decision are means over m draws of the model's noise; `knowledge` says what the attacker
// knows of that noise.
//
// Differs from torchattacks, advertorch, Foolbox and ART: every iterate is tested, not the last
// one alone; a restart sees only the samples that are left; the worst case is taken per sample.
#include <utility>

#include "core/attacks/ascent.h"
#include "core/attacks/expectation.h"

namespace adamant {
namespace {

// What a judge of random models draws first.
constexpr DrawAt kNoiseOfTheTest{.purpose = Purpose::kVerification};

class Pgd final : public Attack {
 public:
  explicit Pgd(const Params& params)
      : options_(ParseSearch(params)),
        steps_(params.Int("steps")),
        rule_(ParseStepRule(params)),
        random_start_(params.Bool("random_start")),
        momentum_(params.Real("mu")),
        sparsity_(params.Real("sparsity")),
        knowledge_(params.Has("knowledge") ? params.Text("knowledge") : "eot"),
        draws_(params.Has("m") && knowledge_ == "eot" ? params.Int("m") : 1) {
    StepSize(rule_, {}, steps_, 1);
  }

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return Unchanged(batch);
    const AscentPlan plan{steps_, StepSize(rule_, threat, steps_, settings.step_scale), momentum_,
                          sparsity_};
    Search search(victim, batch, threat, settings, control, options_);
    const Look look = [&](const at::Tensor& x, int64_t step, bool gradient) {
      return LookAt(search, x, step, gradient);
    };
    for (int64_t restart = 0; restart < options_.restarts; ++restart) {
      if (!search.BeginRestart(restart)) break;
      Ascend(search, search.Start(random_start_), plan, look);
    }
    return std::move(search).Result();
  }

  std::vector<std::string> Notes(int64_t num_classes) const override {
    return LossNotes(options_, num_classes);
  }

 private:
  LossGradient LookAt(Search& search, const at::Tensor& x, int64_t step, bool gradient) const {
    if (knowledge_ == "eot" || knowledge_ == "vanilla") {
      return gradient ? ExpectedGradient(search, x, step, draws_)
                      : ExpectedLoss(search, x, step, draws_);
    }
    if (knowledge_ == "oblivious") {
      search.SilenceNoise();
    } else {
      search.SetNoise(kNoiseOfTheTest);
    }
    return gradient ? search.Gradient(x) : search.Loss(x);
  }

  const SearchOptions options_;
  const int64_t steps_;
  const StepRule rule_;
  const bool random_start_;
  const double momentum_;
  const double sparsity_;
  const std::string knowledge_;
  const int64_t draws_;
};

std::vector<Param> PgdParams(const std::string& loss) {
  return Joined(Joined(SearchParams({.loss = loss}), StepParams(40, "madry")),
                {Bool("random_start", true).Doc("start at a random point of the ball"),
                 Real("mu", 0).Range(0, 10).Doc("momentum"),
                 Real("sparsity", 0.1).Range(0, 1).Doc("share of values that an L1 step changes")});
}

std::unique_ptr<Attack> MakePgd(const Params& params) { return std::make_unique<Pgd>(params); }

const Registration<Attack> kPgd{
    {.name = "pgd",
     .summary = "projected gradient descent",
     .paper = "Madry et al. 2018, arXiv 1706.06083",
     .params = PgdParams("ce"),
     .presets = {{"pgd7_fm", {{"steps", 7.0}, {"step_size", 2.0 / 255}, {"random_start", true}}},
                 {"pgd40_mnist", {{"steps", 40.0}, {"step_size", 0.01}}},
                 {"pgd200_px256",
                  {{"steps", 200.0}, {"step_size", 1.0 / 256}, {"random_start", false}}},
                 {"pgd10_pcl", {{"steps", 10.0}, {"step_rule", "fraction"}, {"step_frac", 0.1}}},
                 {"pgd10_pcl_code",
                  {{"steps", 10.0}, {"step_size", 2.0 / 255}, {"random_start", false}}},
                 {"pgd20_at", {{"steps", 20.0}}},
                 {"pgd50_at", {{"steps", 50.0}}},
                 {"pgd100_at", {{"steps", 100.0}}}},
     .norms = {"linf", "l2", "l1", "l0"},
     .traits = {"inner_ok"},
     .test_params = {{"steps", 10}}},
    MakePgd};

const Registration<Attack> kPgdMargin{{.name = "pgd_margin",
                                       .summary = "margin PGD (C&W Linf)",
                                       .paper = "Carlini and Wagner 2017, arXiv 1608.04644",
                                       .params = PgdParams("margin"),
                                       .norms = {"linf", "l2"},
                                       .traits = {"inner_ok"},
                                       .test_params = {{"steps", 10}}},
                                      MakePgd};

const Registration<Attack> kEotPgd{
    {.name = "eot_pgd",
     .summary = "projected gradient descent on the mean over a random model's noise",
     .paper = "Athalye et al. 2018, arXiv 1802.00420",
     .params = Joined(
         PgdParams("ce"),
         {Int("m", 20).Range(1, 1000).Doc("draws of the noise per step, for knowledge eot"),
          Choice("knowledge", "eot", {"eot", "vanilla", "known_pattern", "oblivious"})
              .Doc("eot: mean over m draws; vanilla: one fresh draw per step; known_pattern: the "
                   "first draw of the verification; oblivious: the base model without noise. The "
                   "last two are vanilla for a model that does not declare its noise")}),
     .norms = {"linf", "l2"},
     .traits = {"inner_ok"},
     .test_params = {{"steps", 10}, {"m", 2}}},
    MakePgd};

}  // namespace
}  // namespace adamant
