// SPDX-License-Identifier: Apache-2.0
// One-pixel attack (Su et al. 2019, arXiv 1710.08864): differential evolution over the places and
// colours of min(pixels, epsilon) pixels. A child of member i is r1 + 0.5 (r2 - r3) of three random
// members; it takes the place of member i when its margin max_{j != y} z_j - z_y is larger.
//
// Differs from the paper: fitness is the margin instead of the probability of the label; what
// leaves the image or the box is drawn anew.
#include <algorithm>
#include <cmath>

#include "core/attacks/script.h"

namespace adamant {
namespace {

constexpr double kScale = 0.5;
constexpr int64_t kAsked = 25;

struct Plan {
  int64_t pixels = 0;
  int64_t population = 0;
  int64_t generations = 0;
};

// Genes of a member, each in [0,1): row, column and colours of one pixel after another.
class Population {
 public:
  Population(const Subject& subject, const Plan& plan)
      : subject_(subject),
        genes_(static_cast<size_t>(
            (2 + subject.shape.channels) *
            std::clamp<int64_t>(static_cast<int64_t>(subject.threat.epsilon), 1, plan.pixels))),
        members_(static_cast<size_t>(plan.population) * genes_),
        children_(members_.size()),
        fitness_(static_cast<size_t>(plan.population), -HUGE_VAL) {
    subject.rng.Uniform({.purpose = Purpose::kStart}, absl::MakeSpan(children_));
  }

  size_t size() const { return fitness_.size(); }

  // The image of child `i`, appended.
  void Append(size_t i, Pixels& images) const {
    const size_t begin = images.size();
    images.insert(images.end(), subject_.clean.begin(), subject_.clean.end());
    const PlaneShape& shape = subject_.shape;
    const double low = subject_.threat.clip_min;
    const auto per_pixel = static_cast<size_t>(2 + shape.channels);
    for (size_t g = 0; g < genes_; g += per_pixel) {
      const float* gene = children_.data() + i * genes_ + g;
      const auto row = std::min(static_cast<int64_t>(gene[0] * static_cast<float>(shape.height)),
                                shape.height - 1);
      const auto column = std::min(static_cast<int64_t>(gene[1] * static_cast<float>(shape.width)),
                                   shape.width - 1);
      for (int64_t c = 0; c < shape.channels; ++c) {
        images[begin + static_cast<size_t>(c * shape.plane() + row * shape.width + column)] =
            static_cast<float>(low + (subject_.threat.clip_max - low) * gene[2 + c]);
      }
    }
  }

  void Judge(size_t i, double loss) {
    if (loss <= fitness_[i]) return;
    fitness_[i] = loss;
    std::copy_n(children_.begin() + static_cast<int64_t>(i * genes_), genes_,
                members_.begin() + static_cast<int64_t>(i * genes_));
  }

  void Breed(uint32_t generation) {
    std::vector<uint32_t> words(3 * size());
    subject_.rng.Words({.step = generation, .purpose = Purpose::kDirection}, absl::MakeSpan(words));
    std::vector<float> fresh(children_.size());
    subject_.rng.Uniform({.step = generation, .purpose = Purpose::kDirection, .draw = 1},
                         absl::MakeSpan(fresh));
    for (size_t i = 0; i < size(); ++i) {
      const float* parents[3];
      for (size_t k = 0; k < 3; ++k) {
        parents[k] = members_.data() + (uint64_t{words[3 * i + k]} * size() >> 32) * genes_;
      }
      for (size_t g = 0; g < genes_; ++g) {
        const auto gene =
            static_cast<float>(parents[0][g] + kScale * (parents[1][g] - parents[2][g]));
        const bool inside = gene >= 0 && gene <= 1;
        children_[i * genes_ + g] = inside ? gene : fresh[i * genes_ + g];
      }
    }
  }

 private:
  const Subject& subject_;
  const size_t genes_;
  std::vector<float> members_;
  std::vector<float> children_;
  std::vector<double> fitness_;
};

Script Evolve(Subject& subject, Plan plan) {
  Population population(subject, plan);
  Pixels images;
  for (uint32_t generation = 0;; ++generation) {
    if (generation > 0) population.Breed(generation);
    for (size_t first = 0; first < population.size(); first += kAsked) {
      images.clear();
      const size_t end = std::min(population.size(), first + kAsked);
      for (size_t i = first; i < end; ++i) population.Append(i, images);
      const std::vector<Answer>& answers = co_await subject.Ask(images);
      for (size_t i = first; i < end; ++i) population.Judge(i, answers[i - first].loss);
    }
  }
}

class OnePixel final : public Attack {
 public:
  explicit OnePixel(const Params& params)
      : plan_{params.Int("pixels"), params.Int("population"), params.Int("generations")},
        options_{.queries = plan_.population * (plan_.generations + 1),
                 .largest_question = kAsked} {}

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    return RunScripts(victim, batch, threat, settings, control, options_,
                      [this](Subject& subject) { return Evolve(subject, plan_); });
  }

 private:
  const Plan plan_;
  const ScriptOptions options_;
};

const Registration<Attack> kOnePixel{
    {.name = "one_pixel",
     .summary = "differential evolution over the places and colours of a few pixels",
     .paper = "Su et al. 2019, arXiv 1710.08864",
     .params = {Int("pixels", 1).Range(1, 5).Doc("pixels to change, at most epsilon"),
                Int("population", 400).Range(4, 10000).Doc("members of a generation"),
                Int("generations", 100).Range(0, 10000).Doc("generations after the first")},
     .norms = {"l0"},
     .traits = {"forward_only"},
     .test_params = {{"pixels", 5}, {"population", 40}, {"generations", 10}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<OnePixel>(params);
    }};

}  // namespace
}  // namespace adamant
