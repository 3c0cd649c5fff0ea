// SPDX-License-Identifier: Apache-2.0
// The binarization test of Zimmermann et al. 2022 (arXiv 2206.13991): behind the features of the
// model, a logistic regression separates 999 points of a sample's ball, drawn within 0.95 epsilon,
// from one point at epsilon. The attack that is tested must find the class of that point, which is
// there by construction.
//
// Features are the last tap, in front of the model's own head. The boundary lies halfway between
// the point and the nearest of the 999 (the published code leaves it to the regression, or moves it
// close to the point). Random search has 200 uniform draws, as there. Under LINF the point is a
// corner of the ball, else on its surface.
#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "core/attacks/steps.h"
#include "core/base/torch.h"
#include "core/run/validity/measure.h"

namespace adamant::validity {
namespace {

constexpr size_t kMostSamples = 512;
constexpr int64_t kInnerPoints = 999;
constexpr double kInnerReach = 0.95;
constexpr int64_t kRandomDraws = 200;

// A linear function of a model's last tap, above 0 for class 1.
struct Head {
  at::Tensor weight;  // [d]
  double bias = 0;

  at::Tensor Score(const at::Tensor& features) const {
    return (features.flatten(1) * weight).sum(1) + bias;
  }
};

// The body of a model with another head. Borrows the model.
class TwoClassModel final : public Model {
 public:
  TwoClassModel(Model& body, Head head) : body_(body), head_(std::move(head)), info_(body.info()) {
    info_.shape.num_classes = 2;
    info_.gap_head = false;
    info_.visible_relus = false;
  }

  const ModelInfo& info() const override { return info_; }
  at::Tensor Forward(const at::Tensor& images, const TapVisitor& visit) const override {
    at::Tensor features;
    body_.Forward(images, [&](const std::string& name, const at::Tensor& value) {
      const at::Tensor now = visit ? visit(name, value) : value;
      if (name == info_.taps.back().name) features = now;
      return now;
    });
    const at::Tensor score = head_.Score(features);
    return at::stack({-score, score}, 1);
  }
  NamedTensors Parameters() const override { return body_.Parameters(); }
  NamedTensors Buffers() const override { return body_.Buffers(); }
  void Train(bool on) override { body_.Train(on); }
  bool training() const override { return body_.training(); }
  void To(const c10::Device& device) override { body_.To(device); }

 private:
  Model& body_;
  const Head head_;
  ModelInfo info_;
};

at::Tensor Repeated(const at::Tensor& image, int64_t count) {
  return image.unsqueeze(0).expand({count, -1, -1, -1}).contiguous();
}

// One sample under test.
class Ball {
 public:
  Ball(const at::Tensor& image, const ThreatModel& threat, uint64_t seed, int64_t id)
      : image_(image), threat_(threat), seed_(seed), stream_(absl::StrCat("validity:bin:", id)) {}

  // The clean image and others drawn uniformly, then the point.
  at::Tensor TrainingPoints() const {
    ThreatModel inner = threat_;
    inner.epsilon *= kInnerReach;
    return at::cat({image_.unsqueeze(0), Uniform(inner, kInnerPoints - 1, 0), Extreme()});
  }
  at::Tensor RandomPoints() const { return Uniform(threat_, kRandomDraws, 1); }

 private:
  at::Tensor Uniform(const ThreatModel& threat, int64_t count, uint32_t step) const {
    return RandomStart(FeasibleSet(Repeated(image_, count), threat), at::arange(count, at::kLong),
                       seed_, stream_, {.step = step, .purpose = Purpose::kNoise});
  }

  at::Tensor Extreme() const {
    const FeasibleSet set(image_.unsqueeze(0), threat_);
    const DrawAt at{.purpose = Purpose::kDirection};
    const at::Tensor first = at::zeros({1}, at::kLong);
    if (threat_.norm != Norm::kLinf) return SurfaceStart(set, first, seed_, stream_, at);
    const at::Tensor signs =
        DrawRows(set.origin(), first, seed_, stream_,
                 [&](const Rng& rng, absl::Span<float> out) { rng.Signs(at, out); });
    return set.Project(set.origin() + threat_.epsilon * signs);
  }

  const at::Tensor image_;
  const ThreatModel threat_;
  const uint64_t seed_;
  const std::string stream_;
};

// Logistic regression of the last row against the others, both classes of equal weight, by
// Nesterov's method; nullopt where it does not separate them. Scores are 1 at the last row and -1
// at the nearest of the others.
std::optional<Head> Separate(const at::Tensor& features) {
  constexpr int kMostSteps = 400;
  constexpr int kStepsPerLook = 20;
  constexpr double kGoodLoss = 0.02;
  const int64_t last = features.size(0) - 1;
  const at::Tensor rows = features.flatten(1);
  const at::Tensor mean = rows.narrow(0, 0, last).mean(0);
  const at::Tensor centred = rows - mean;
  const at::Tensor x = centred / centred.norm(2, {1}).mean().clamp_min(1e-12);
  const at::Tensor sign =
      at::ones({last + 1}, x.options())
          .index_fill_(0, at::full({1}, last, x.options().dtype(at::kLong)), at::Scalar(-1.0));
  const at::Tensor share = at::where(sign > 0, 0.5 / static_cast<double>(last), 0.5).to(x);
  const double step = 4 / (x.square().sum(1).max().item<double>() + 1);
  at::Tensor weight = at::zeros({x.size(1)}, x.options());
  at::Tensor bias = at::zeros({1}, x.options());
  at::Tensor ahead = weight;
  at::Tensor ahead_bias = bias;
  for (int k = 0; k < kMostSteps; ++k) {
    const at::Tensor score = sign * (at::mv(x, ahead) + ahead_bias);
    if (k % kStepsPerLook == 0 && (share * at::softplus(score)).sum().item<double>() < kGoodLoss) {
      break;
    }
    const at::Tensor slope = share * sign * at::sigmoid(score);
    const at::Tensor next = ahead - step * at::mv(x.t(), slope);
    const at::Tensor next_bias = ahead_bias - step * slope.sum();
    const double momentum = k / (k + 3.0);
    ahead = next + momentum * (next - weight);
    ahead_bias = next_bias + momentum * (next_bias - bias);
    weight = next;
    bias = next_bias;
  }
  const at::Tensor scores = (rows * weight).sum(1);
  const auto point = scores[last].item<double>();
  const auto nearest = scores.narrow(0, 0, last).max().item<double>();
  const double gap = (point - nearest) / 2;
  if (!(gap > 1e-6 * std::max(std::abs(point), std::abs(nearest)))) return std::nullopt;
  return Head{weight / gap, -(point + nearest) / (2 * gap)};
}

class BinarizationTest {
 public:
  BinarizationTest(Probe& probe, const AttackInstance& attack) : probe_(probe), attack_(attack) {}

  absl::StatusOr<Binarized> Run() {
    const std::vector<int64_t> positions = probe_.Correct(kMostSamples);
    Binarized out;
    for (const int64_t position : positions) {
      ASSIGN_OR_RETURN(const Batch sample, probe_.Read({position}));
      RETURN_IF_ERROR(RunOne(sample, out));
    }
    if (out.samples == 0) return Unmeasured("no linear head separates a point of the ball");
    return out;
  }

 private:
  at::Tensor Features(const at::Tensor& images) {
    const Model& model = probe_.input().model;
    const std::vector<std::string> last = {model.info().taps.back().name};
    const c10::InferenceMode inference;
    std::vector<at::Tensor> parts;
    const int64_t rows = probe_.input().result.compute_batch;
    for (int64_t begin = 0; begin < images.size(0); begin += rows) {
      probe_.input().control.Check();
      const int64_t count = std::min(rows, images.size(0) - begin);
      parts.push_back(model.ForwardWithTaps(images.narrow(0, begin, count), last).taps.at(last[0]));
    }
    probe_.Count(images.size(0), 0);
    return at::cat(parts).flatten(1);
  }

  absl::Status RunOne(const Batch& sample, Binarized& out) {
    const uint64_t seed = probe_.input().options.seed;
    const Ball ball(sample.images[0], attack_.threat, seed, sample.ids[0].item<int64_t>());
    std::optional<Head> head;
    bool by_chance = false;
    {
      const at::NoGradGuard no_grad;
      head = Separate(Features(ball.TrainingPoints()).clone());
      if (!head.has_value()) return absl::OkStatus();
      by_chance = (head->Score(Features(ball.RandomPoints())) > 0).any().item<bool>();
    }
    TwoClassModel model(probe_.input().model, *head);
    EvaluationOptions options;
    options.seed = seed;
    options.compute_batch = 1;
    options.device = probe_.input().options.device;
    const Batch alone{sample.images.to(at::kCPU), at::zeros({1}, at::kLong), sample.ids};
    ASSIGN_OR_RETURN(
        const EvaluationResult result,
        RunEvaluation(model, SamplesOf(alone), {attack_}, options, probe_.input().control));
    probe_.Count(result.forwards, result.backwards);
    const v1::SampleState state = result.outcomes[0].state();
    if (state != v1::ROBUST && state != v1::BROKEN) return absl::OkStatus();
    ++out.samples;
    out.found += state == v1::BROKEN;
    out.by_chance += by_chance;
    return absl::OkStatus();
  }

  Probe& probe_;
  const AttackInstance& attack_;
};

}  // namespace

Measured<Binarized> Binarize(Probe& probe, const AttackInstance& attack) {
  if (probe.input().model.info().taps.empty()) {
    return Unmeasured("the model names no layer in front of its head");
  }
  if (attack.no_ball || attack.threat.norm == Norm::kL0) {
    return Unmeasured("the attack has no ball with a surface");
  }
  return BinarizationTest(probe, attack).Run();
}

}  // namespace adamant::validity
