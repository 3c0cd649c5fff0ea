// SPDX-License-Identifier: Apache-2.0
#include "core/run/judge.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "core/base/torch.h"

namespace adamant {
namespace {

// Distances of one image from its clean one; `plane` = H*W.
Distances Measure(const float* image, const float* clean, int64_t channels, int64_t plane) {
  Distances out;
  double squares = 0;
  for (int64_t p = 0; p < plane; ++p) {
    bool changed = false;
    for (int64_t c = 0; c < channels; ++c) {
      const double change = static_cast<double>(image[c * plane + p]) - clean[c * plane + p];
      out.linf = std::max(out.linf, std::abs(change));
      out.l1 += std::abs(change);
      squares += change * change;
      out.l0 += change != 0;
      changed |= change != 0;
    }
    out.pixels += changed;
  }
  out.l2 = std::sqrt(squares);
  return out;
}

bool InBox(const float* image, int64_t values, const ThreatModel& threat) {
  return std::all_of(image, image + values, [&](float v) {
    return v >= static_cast<float>(threat.clip_min) && v <= static_cast<float>(threat.clip_max);
  });
}

std::vector<int64_t> ToVector(const at::Tensor& values) {
  const at::Tensor host = values.to(at::kCPU, at::kLong).contiguous();
  return {host.data_ptr<int64_t>(), host.data_ptr<int64_t>() + host.numel()};
}

// Of several draws: the label's most frequent rival where it wins, the mean margin.
Decision Majority(const std::vector<Decision>& draws, int64_t label) {
  Decision out = draws[0];
  if (draws.size() == 1) return out;
  size_t correct = 0;
  out.margin = 0;
  for (const Decision& draw : draws) {
    out.finite &= draw.finite;
    out.margin += draw.margin / static_cast<double>(draws.size());
    correct += draw.predicted == label;
    if (draw.predicted != label) out.predicted = draw.predicted;
  }
  if (2 * correct >= draws.size()) out.predicted = label;
  return out;
}

}  // namespace

bool InBall(const Distances& found, const ThreatModel& threat) {
  const double epsilon = threat.epsilon;
  switch (threat.norm) {
    case Norm::kLinf:
      return found.linf <= epsilon * (1 + 1e-6) + 1e-7;
    case Norm::kL2:
      return found.l2 <= epsilon * (1 + 1e-5) + 1e-6;
    case Norm::kL1:
      return found.l1 <= epsilon * (1 + 1e-5) + 1e-6;
    case Norm::kL0:
      return static_cast<double>(found.pixels) <= epsilon;
  }
  return false;
}

at::Tensor FixedCaller::Logits(const at::Tensor& images) {
  const int64_t n = images.size(0);
  const at::Tensor out = at::empty({n, model_.info().shape.num_classes}, at::kFloat);
  for (int64_t begin = 0; begin < n; begin += compute_batch_) {
    const int64_t count = std::min(compute_batch_, n - begin);
    before_call_();
    forwards_ += count;
    padded_rows_ += compute_batch_ - count;
    const c10::InferenceMode inference;
    const at::Tensor index =
        at::arange(begin, begin + compute_batch_, images.options().dtype(at::kLong))
            .clamp_max(begin + count - 1);
    const at::Tensor logits = model_.Logits(images.index_select(0, index));
    out.narrow(0, begin, count).copy_(logits.narrow(0, 0, count));
  }
  return out;
}

Decision Decide(const float* logits, int64_t num_classes, int64_t label) {
  Decision out;
  out.finite = true;
  out.predicted = 0;
  double other = -std::numeric_limits<double>::infinity();
  for (int64_t k = 0; k < num_classes; ++k) {
    out.finite &= std::isfinite(logits[k]);
    if (logits[k] > logits[out.predicted]) out.predicted = k;
    if (k != label) other = std::max(other, static_cast<double>(logits[k]));
  }
  out.margin = static_cast<double>(logits[label]) - other;
  return out;
}

std::vector<Verification> VerifyImages(FixedCaller& caller, const at::Tensor& images,
                                       const at::Tensor& clean, const std::vector<int64_t>& labels,
                                       const ThreatModel& threat, const JudgeRule& rule) {
  std::vector<at::Tensor> draws;
  for (int draw = 0; draw < std::max(1, rule.draws); ++draw) draws.push_back(caller.Logits(images));
  const at::Tensor host = images.detach().to(at::kCPU, at::kFloat).contiguous();
  const at::Tensor origin = clean.contiguous();
  const int64_t channels = host.size(1);
  const int64_t plane = host.size(2) * host.size(3);
  const int64_t num_classes = draws[0].size(1);
  std::vector<Verification> out(labels.size());
  for (size_t i = 0; i < out.size(); ++i) {
    const auto row = static_cast<int64_t>(i) * channels * plane;
    const float* image = host.data_ptr<float>() + row;
    Verification& found = out[i];
    std::vector<Decision> decisions;
    for (const at::Tensor& logits : draws) {
      decisions.push_back(Decide(logits.data_ptr<float>() + static_cast<int64_t>(i) * num_classes,
                                 num_classes, labels[i]));
    }
    found.decision = Majority(decisions, labels[i]);
    found.distances = Measure(image, origin.data_ptr<float>() + row, channels, plane);
    found.inside =
        InBox(image, channels * plane, threat) && (!rule.ball || InBall(found.distances, threat));
    found.accepted = found.inside && found.decision.finite && found.decision.predicted != labels[i];
  }
  return out;
}

VerifyingJudge::VerifyingJudge(FixedCaller& caller, const Batch& clean, const ThreatModel& threat,
                               const JudgeRule& rule)
    : caller_(caller),
      clean_(clean),
      threat_(threat),
      rule_(rule),
      findings_(clean.size()),
      claims_(clean.size()),
      rejected_(clean.size()) {}

at::Tensor VerifyingJudge::Submit(const Claims& claims) {
  const std::vector<int64_t> rows = ToVector(claims.rows);
  const at::Tensor index = claims.rows.to(at::kCPU);
  const std::vector<int64_t> labels = ToVector(clean_.labels.index_select(0, index));
  const std::vector<int64_t> targets =
      claims.targets.defined() ? ToVector(claims.targets) : std::vector<int64_t>(rows.size(), -1);
  const std::vector<Verification> found = VerifyImages(
      caller_, claims.images, clean_.images.index_select(0, index), labels, threat_, rule_);
  const at::Tensor host = claims.images.detach().to(at::kCPU, at::kFloat);
  const at::Tensor accepted = at::zeros({static_cast<int64_t>(rows.size())}, at::kBool);
  for (size_t i = 0; i < rows.size(); ++i) {
    const int64_t row = rows[i];
    ++claims_[row];
    rejected_[row] += !found[i].accepted;
    accepted.data_ptr<bool>()[i] = found[i].accepted;
    if (!found[i].accepted || findings_[row].has_value()) continue;
    findings_[row] = Finding{host[static_cast<int64_t>(i)].clone(), found[i], claims.step,
                             claims.restart, targets[i]};
  }
  return accepted;
}

}  // namespace adamant
