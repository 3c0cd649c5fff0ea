// SPDX-License-Identifier: Apache-2.0
// Sparse-RS (Croce et al. 2022, arXiv 2006.12834): random search over k pixels, every channel 0 or
// 1. A proposal stays if it raises the margin max_{j != y} z_j - z_y or is misclassified.
//   shape = pixels  k = floor(epsilon); a proposal moves max(a k, 1) of them elsewhere and gives
//                   them new colours.
//   shape = frame   the widest frame of at most epsilon pixels; a proposal recolours a share a.
//   shape = patch   the largest square of at most epsilon pixels, anywhere; every fifth proposal
//                   moves it, the others recolour a share a (our choice of schedule).
// a falls with the queries: alpha_init, then divided by 2, 4, 5, 6, 8, 10, 12, 15, 20 after query
// 0, 50, 200, 500, 1000, 2000, 4000, 6000, 8000.
//
// Differs from the reference: each sample has its own random numbers; frame and patch draw single
// pixels instead of squares and stripes.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "core/attacks/script.h"

namespace adamant {
namespace {

enum class Layout { kPixels, kFrame, kPatch };

constexpr std::pair<int64_t, double> kShares[] = {
    {0, 2}, {50, 4}, {200, 5}, {500, 6}, {1000, 8}, {2000, 10}, {4000, 12}, {6000, 15}, {8000, 20}};
constexpr int64_t kMoveEvery = 5;

double Share(double alpha, int64_t query) {
  double divisor = 1;
  for (const auto& [after, value] : kShares) {
    if (query > after) divisor = value;
  }
  return alpha / divisor;
}

// Random integers and colours of one query.
class Dice {
 public:
  Dice(const Rng& rng, uint32_t query, size_t words) : words_(words) {
    rng.Words({.step = query, .purpose = Purpose::kWindow}, absl::MakeSpan(words_));
  }
  int64_t Below(int64_t n) {
    return static_cast<int64_t>(uint64_t{words_[next_++]} * static_cast<uint64_t>(n) >> 32);
  }
  bool Flip() { return (words_[next_++] >> 31) != 0; }

 private:
  std::vector<uint32_t> words_;
  size_t next_ = 0;
};

// The pixels that may change: order[0..chosen) are those in use, the rest are free.
struct Places {
  std::vector<int64_t> order;
  int64_t chosen = 0;
  int64_t side = 0;  // of a patch
};

void Colour(const Subject& subject, Dice& dice, int64_t pixel, Pixels& image) {
  for (int64_t i = pixel; i < subject.count(); i += subject.shape.plane()) {
    image[i] = static_cast<float>(dice.Flip() ? subject.threat.clip_max : subject.threat.clip_min);
  }
}

void Uncolour(const Subject& subject, int64_t pixel, Pixels& image) {
  for (int64_t i = pixel; i < subject.count(); i += subject.shape.plane()) {
    image[i] = subject.clean[i];
  }
}

// A pixel that got the colours of the clean image gets the opposite ones.
void MakeVisible(const Subject& subject, int64_t pixel, Pixels& image) {
  for (int64_t i = pixel; i < subject.count(); i += subject.shape.plane()) {
    if (image[i] != subject.clean[i]) return;
  }
  for (int64_t i = pixel; i < subject.count(); i += subject.shape.plane()) {
    image[i] = static_cast<float>(subject.threat.clip_max + subject.threat.clip_min - image[i]);
  }
}

// A frame's pixels, width 1, 2, ... while they are at most `room`.
std::vector<int64_t> FramePixels(const PlaneShape& shape, int64_t room) {
  std::vector<int64_t> widest;
  for (int64_t width = 1; 2 * width <= std::min(shape.height, shape.width) + 1; ++width) {
    std::vector<int64_t> frame;
    for (int64_t p = 0; p < shape.plane(); ++p) {
      const int64_t i = p / shape.width;
      const int64_t j = p % shape.width;
      if (std::min({i, j, shape.height - 1 - i, shape.width - 1 - j}) < width) frame.push_back(p);
    }
    if (static_cast<int64_t>(frame.size()) > room) break;
    widest = std::move(frame);
  }
  return widest;
}

std::vector<int64_t> PatchPixels(const PlaneShape& shape, int64_t side, Dice& dice) {
  const int64_t top = dice.Below(shape.height - side + 1);
  const int64_t left = dice.Below(shape.width - side + 1);
  std::vector<int64_t> patch;
  for (int64_t i = 0; i < side * side; ++i) {
    patch.push_back((top + i / side) * shape.width + left + i % side);
  }
  return patch;
}

Places FirstPlaces(const Subject& subject, Layout layout, Dice& dice) {
  const PlaneShape& shape = subject.shape;
  const int64_t room = std::min(static_cast<int64_t>(subject.threat.epsilon), shape.plane());
  Places places{.chosen = room};
  if (layout == Layout::kPixels) {
    for (int64_t p = 0; p < shape.plane(); ++p) places.order.push_back(p);
    for (int64_t i = 0; i < room; ++i) {
      std::swap(places.order[i], places.order[i + dice.Below(shape.plane() - i)]);
    }
    return places;
  }
  if (layout == Layout::kFrame) {
    places.order = FramePixels(shape, room);
  } else {
    places.side = std::min(
        {static_cast<int64_t>(std::sqrt(static_cast<double>(room))), shape.height, shape.width});
    places.order = PatchPixels(shape, places.side, dice);
  }
  places.chosen = static_cast<int64_t>(places.order.size());
  return places;
}

// The same colours elsewhere.
void MovePatch(const Subject& subject, Dice& dice, Places& places, Pixels& image) {
  const std::vector<int64_t> to = PatchPixels(subject.shape, places.side, dice);
  const Pixels before = image;
  for (const int64_t pixel : places.order) Uncolour(subject, pixel, image);
  for (size_t i = 0; i < to.size(); ++i) {
    for (int64_t c = 0; c < subject.shape.channels; ++c) {
      const int64_t plane = c * subject.shape.plane();
      image[plane + to[i]] = before[plane + places.order[i]];
    }
  }
  places.order = to;
}

void Propose(const Subject& subject, Layout layout, double share, int64_t query, Dice& dice,
             Places& places, Pixels& image) {
  if (layout == Layout::kPatch && query % kMoveEvery == 0) {
    return MovePatch(subject, dice, places, image);
  }
  const auto count =
      std::max<int64_t>(static_cast<int64_t>(share * static_cast<double>(places.chosen)), 1);
  const int64_t free = static_cast<int64_t>(places.order.size()) - places.chosen;
  for (int64_t i = 0; i < count; ++i) {
    // The first `count` places are those that change, chosen at random.
    const int64_t at = i + dice.Below(places.chosen - i);
    std::swap(places.order[i], places.order[at]);
    if (free > i) {
      const int64_t other = places.chosen + i + dice.Below(free - i);
      std::swap(places.order[places.chosen + i], places.order[other]);
      Uncolour(subject, places.order[i], image);
      std::swap(places.order[i], places.order[places.chosen + i]);
    }
    Colour(subject, dice, places.order[i], image);
  }
  if (count == 1) MakeVisible(subject, places.order[0], image);
}

Script SearchPixels(Subject& subject, Layout layout, double alpha) {
  const auto words = static_cast<size_t>((3 + subject.shape.channels) * subject.shape.plane() + 2);
  Pixels best = subject.Clean();
  Dice dice(subject.rng, 0, words);
  Places places = FirstPlaces(subject, layout, dice);
  if (places.chosen == 0) co_return;
  for (int64_t i = 0; i < places.chosen; ++i) Colour(subject, dice, places.order[i], best);
  const std::vector<Answer>& first = co_await subject.Ask(best);
  double best_loss = first[0].loss;
  for (int64_t query = 1;; ++query) {
    const double share = Share(alpha, query);
    const auto changed = static_cast<size_t>(share * static_cast<double>(places.chosen) + 1);
    Dice drawn(subject.rng, static_cast<uint32_t>(query),
               changed * static_cast<size_t>(2 + subject.shape.channels) + 2);
    Places next = places;
    Pixels candidate = best;
    Propose(subject, layout, share, query, drawn, next, candidate);
    const std::vector<Answer>& answers = co_await subject.Ask(candidate);
    if (answers[0].loss > best_loss || answers[0].wrong) {
      best_loss = std::max(best_loss, answers[0].loss);
      best = candidate;
      places = next;
    }
  }
}

class SparseRs final : public Attack {
 public:
  explicit SparseRs(const Params& params)
      : layout_(params.Text("shape") == "frame"   ? Layout::kFrame
                : params.Text("shape") == "patch" ? Layout::kPatch
                                                  : Layout::kPixels),
        alpha_(params.Real("alpha_init")),
        options_{.queries = params.Int("queries")} {}

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    return RunScripts(victim, batch, threat, settings, control, options_,
                      [this](Subject& subject) { return SearchPixels(subject, layout_, alpha_); });
  }

 private:
  const Layout layout_;
  const double alpha_;
  const ScriptOptions options_;
};

const Registration<Attack> kSparseRs{
    {.name = "sparse_rs",
     .summary = "random search over a few pixels, a frame or a patch",
     .paper = "Croce et al. 2022, arXiv 2006.12834",
     .params =
         {Int("queries", 10000).Range(1, 1000000).Doc("forward passes"),
          Real("alpha_init", 0.3).Range(1e-6, 1).Doc("share of pixels of the first proposals"),
          Choice("shape", "pixels", {"pixels", "frame", "patch"})
              .Doc("where the pixels are: anywhere, along the border, in a square")},
     .norms = {"l0"},
     .traits = {"forward_only"},
     .test_params = {{"queries", 60}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<SparseRs>(params);
    }};

}  // namespace
}  // namespace adamant
