// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "core/attacks/steps.h"
#include "core/base/torch.h"
#include "core/run/validity/gather.h"
#include "core/run/validity/measure.h"

namespace adamant::validity {
namespace {

constexpr int64_t kReadChunk = 512;
constexpr int64_t kMostImages = 2000;        // that are compared in pairs
constexpr int64_t kMostValues = 16'000'000;  // of those images
constexpr int64_t kCoarse = 64;              // values that rule most pairs out

// What the data look like together.
struct Pile {
  at::Tensor low, high;  // [D] over all images
  at::Tensor images;     // the first ones, [M,D]
  at::Tensor labels;     // int64 [n]
  double least = 1, most = 0;
};

void See(const at::Tensor& images, Pile& pile) {
  pile.least = std::min(pile.least, images.min().item<double>());
  pile.most = std::max(pile.most, images.max().item<double>());
}

absl::Status ReadAll(const ValidityInput& input, Pile& pile) {
  std::vector<at::Tensor> images;
  std::vector<at::Tensor> labels;
  int64_t kept = 0;
  for (int64_t begin = 0; begin < input.samples.size; begin += kReadChunk) {
    std::vector<int64_t> positions;
    for (int64_t p = begin; p < std::min(begin + kReadChunk, input.samples.size); ++p) {
      positions.push_back(p);
    }
    input.control.Check();
    const absl::StatusOr<Batch> batch = input.samples.read(positions);
    if (!batch.ok()) return batch.status();
    const at::Tensor rows = batch->images.flatten(1);
    See(rows, pile);
    const at::Tensor low = rows.amin(0);
    const at::Tensor high = rows.amax(0);
    pile.low = pile.low.defined() ? at::minimum(pile.low, low) : low;
    pile.high = pile.high.defined() ? at::maximum(pile.high, high) : high;
    labels.push_back(batch->labels.to(at::kLong));
    const int64_t room = std::min(kMostImages, std::max<int64_t>(1, kMostValues / rows.size(1)));
    if (kept < room) {
      images.push_back(rows.narrow(0, 0, std::min(rows.size(0), room - kept)));
      kept += images.back().size(0);
    }
  }
  pile.images = at::cat(images);
  pile.labels = at::cat(labels);
  return absl::OkStatus();
}

double LargestClassShare(const at::Tensor& labels) {
  const at::Tensor counts = at::bincount(labels);
  return counts.max().item<double>() / static_cast<double>(labels.size(0));
}

at::Tensor Sizes(const at::Tensor& changes, v1::Norm norm) {  // [M,D] -> double [M]
  switch (norm) {
    case v1::LINF:
      return changes.abs().amax(1).to(at::kDouble);
    case v1::L1:
      return changes.to(at::kDouble).abs().sum(1);
    case v1::L0:
      return changes.ne(0).sum(1).to(at::kDouble);
    default:
      return changes.to(at::kDouble).square().sum(1).sqrt();
  }
}

// Whether the balls of all images have a point in common.
bool AllMeet(const Pile& pile, const ValidityInput& input, v1::Norm norm, double epsilon) {
  constexpr double kRounding = 1e-7;
  if (norm == v1::LINF)
    return (pile.high - pile.low).max().item<double>() <= 2 * epsilon + kRounding;
  if (norm == v1::L0 || pile.images.size(0) < input.samples.size) return false;
  const at::Tensor middle = (pile.high + pile.low) / 2;
  return Sizes(pile.images - middle, norm).max().item<double>() <= epsilon + kRounding;
}

double Bound(const Pile& pile, const ValidityInput& input, v1::Norm norm, double epsilon) {
  double bound = 1;
  if (AllMeet(pile, input, norm, epsilon)) bound = LargestClassShare(pile.labels);
  if (norm == v1::L0 && input.model.info().shape.channels > 1) return bound;
  const int64_t pairs =
      CountMeetingPairs(pile.images, pile.labels.narrow(0, 0, pile.images.size(0)), norm, epsilon);
  return std::min(bound, 1 - static_cast<double>(pairs) / static_cast<double>(input.samples.size));
}

std::vector<ClassifierBound> Bounds(const Pile& pile, const ValidityInput& input,
                                    const ValidityFacts& facts) {
  constexpr size_t kMostThreats = 8;
  std::set<std::pair<int, double>> threats;
  std::vector<ClassifierBound> out;
  for (const AttackFacts& attack : facts.attacks) {
    if (attack.own_budget || attack.epsilon <= 0 || out.size() == kMostThreats) continue;
    if (!threats.emplace(attack.norm, attack.epsilon).second) continue;
    int64_t robust = 0;
    for (size_t p = 0; p < input.result.outcomes.size(); ++p) {
      bool broken = false;
      for (size_t i = 0; i < facts.attacks.size(); ++i) {
        broken |= SameThreat(facts.attacks[i], attack) && input.result.instances[i].broken_at[p];
      }
      robust += IsCorrect(input.result.outcomes[p]) && !broken;
    }
    out.push_back({attack.epsilon, static_cast<double>(robust) / static_cast<double>(facts.samples),
                   Bound(pile, input, attack.norm, attack.epsilon), pile.images.size(0)});
  }
  return out;
}

}  // namespace

int64_t CountMeetingPairs(const at::Tensor& images, const at::Tensor& labels, v1::Norm norm,
                          double epsilon) {
  const at::Tensor rows = images.flatten(1).contiguous();
  const int64_t count = rows.size(0);
  const double reach = 2 * epsilon + 1e-7;
  const at::Tensor order = (rows - rows.mean(0)).square().mean(0).argsort(0, /*descending=*/true);
  const at::Tensor coarse =
      rows.index_select(1, order.narrow(0, 0, std::min(kCoarse, order.size(0)))).contiguous();
  const at::Tensor classes = labels.contiguous();
  const int64_t* label = classes.const_data_ptr<int64_t>();
  std::vector<bool> used(count, false);
  int64_t pairs = 0;
  for (int64_t i = 0; i + 1 < count; ++i) {
    if (used[i]) continue;
    const int64_t rest = count - i - 1;
    const at::Tensor near = Sizes(coarse.narrow(0, i + 1, rest) - coarse[i], norm)
                                .le(reach)
                                .nonzero()
                                .squeeze(1)
                                .contiguous();
    for (int64_t k = 0; k < near.size(0); ++k) {
      const int64_t j = i + 1 + near.const_data_ptr<int64_t>()[k];
      if (used[j] || label[i] == label[j]) continue;
      if (Sizes((rows[j] - rows[i]).unsqueeze(0), norm).item<double>() > reach) continue;
      used[i] = used[j] = true;
      ++pairs;
      break;
    }
  }
  return pairs;
}

void MeasureData(const ValidityInput& input, ValidityFacts& facts) {
  const at::NoGradGuard no_grad;
  Pile pile;
  if (const absl::Status read = ReadAll(input, pile); !read.ok()) {
    facts.pixels = read;
    facts.bounds = read;
    return;
  }
  int64_t count = input.samples.size;
  for (const at::Tensor& image : input.result.images) {
    if (!image.defined()) continue;
    See(image, pile);
    ++count;
  }
  facts.pixels = PixelRange{pile.least, pile.most, count};
  std::vector<ClassifierBound> bounds = Bounds(pile, input, facts);
  if (bounds.empty()) {
    facts.bounds = Unmeasured("no attack has an epsilon above 0");
  } else {
    facts.bounds = std::move(bounds);
  }
}

}  // namespace adamant::validity
