// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>

#include "core/attacks/square_moves.h"
#include "core/base/torch.h"
#include "core/run/judge.h"
#include "tests/support/test_data.h"
#include "tests/support/torch/reference.h"
#include "tests/support/torch/toy_models.h"

namespace adamant {
namespace {

using testing::ToyBatch;
using testing::ToyPointer;

constexpr int64_t kIterations[] = {0, 11, 51, 201, 501, 1001, 2001, 4001};

std::unique_ptr<Attack> MakeSquare(int64_t queries, const std::string& numerics = "strong") {
  v1::PluginSpec spec;
  spec.set_name("square");
  auto& params = *spec.mutable_params()->mutable_fields();
  params["queries"].set_number_value(static_cast<double>(queries));
  params["numerics"].set_string_value(numerics);
  return *MakePlugin<Attack>(spec);
}

std::vector<int64_t> Sides(int64_t size, int64_t (*side)(double, const PlaneShape&)) {
  std::vector<int64_t> out;
  for (const int64_t it : kIterations) out.push_back(side(SquareShare(0.8, it), {1, size, size}));
  return out;
}

TEST(SquareSchedule, HasTheReferenceSides) {  // C29
  EXPECT_EQ(Sides(28, SquareSide), (std::vector<int64_t>{25, 18, 13, 9, 6, 4, 3, 2}));
  EXPECT_EQ(Sides(32, SquareSide), (std::vector<int64_t>{29, 20, 14, 10, 7, 5, 4, 3}));
  EXPECT_EQ(Sides(28, PyramidSide), (std::vector<int64_t>{25, 19, 13, 9, 7, 5, 3, 3}));
  EXPECT_EQ(Sides(32, PyramidSide), (std::vector<int64_t>{29, 21, 15, 11, 7, 5, 5, 3}));
}

TEST(SquareSchedule, ChangesAfterEachMilestone) {
  EXPECT_EQ(SquareShare(0.8, 10), 0.8);
  EXPECT_EQ(SquareShare(0.8, 11), 0.4);
  EXPECT_EQ(SquareShare(0.8, 8000), 0.8 / 256);
  EXPECT_EQ(SquareShare(0.8, 8001), 0.8 / 512);
  EXPECT_EQ(SquareShare(0.8, 1000000), 0.8 / 512);
}

TEST(SquarePyramids, AreAPairOfOppositeSignAndNormOne) {
  // Side 3: the top row has its centre at (0,1), rings to 1; below, [2,3] is centred at (1,1).
  const std::vector<float> l1 = Pyramids(3, /*l1=*/true);
  const double edge = 1.0 / 16;
  const double peak = 1 + edge;
  const double top = peak + 2 * edge;
  const double bottom = peak + 5 * edge;
  const std::vector<double> want = {edge / top,     peak / top,     edge / top,
                                    -edge / bottom, -edge / bottom, -edge / bottom,
                                    -edge / bottom, -peak / bottom, -edge / bottom};
  for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(l1[i], want[i] / 2, 1e-6) << i;
  double sum = 0;
  for (const float v : Pyramids(5, /*l1=*/false)) sum += static_cast<double>(v) * v;
  EXPECT_NEAR(sum, 1, 1e-6);
}

// Both backends, side by side, on rows whose proposals are kept or not by a fixed pattern.
void ExpectSameMoves(const ThreatModel& threat, double tolerance) {
  const ToyPointer model = testing::ToyLinear({3, 12, 10, 5});
  const Batch batch = ToyBatch(*model, 9);
  Victim victim(*model);
  const AttackSettings settings{.stream = "0:square"};
  const RunControl control;
  Search search(victim, batch, threat, settings, control, {.loss = "margin"});
  const auto fused = MakeSquareMoves(batch, threat, search, false, /*fused=*/true);
  const auto plain = MakeSquareMoves(batch, threat, search, false, /*fused=*/false);
  at::Tensor a = fused->Start(search).clone();
  at::Tensor b = plain->Start(search).clone();
  EXPECT_TRUE(a.equal(b));
  for (int64_t query = 1; query <= 60; ++query) {
    const double share = SquareShare(0.8, query * 20);
    const at::Tensor before = a.clone();
    fused->Propose(search, query, share, a);
    plain->Propose(search, query, share, b);
    EXPECT_LE((a - b).abs().max().item<double>(), tolerance) << query;
    EXPECT_FALSE(a.equal(before)) << query;
    const at::Tensor kept = (search.rows() + query).remainder(3) == 0;
    fused->Settle(search, kept, a);
    plain->Settle(search, kept, b);
    EXPECT_TRUE(a.index_select(0, (kept == 0).nonzero().squeeze(1))
                    .equal(before.index_select(0, (kept == 0).nonzero().squeeze(1))));
    b.copy_(a);
  }
}

TEST(SquareMoves, AreEqualOnPlainMemoryAndAsTensors) {
  ExpectSameMoves({Norm::kLinf, 0.1}, 0);
  ExpectSameMoves({Norm::kL2, 1.0}, 1e-6);
  ExpectSameMoves({Norm::kL1, 8.0}, 2e-6);
}

TEST(SquareMoves, ProjectAChangeOntoTheL1BallInTheBox) {
  const std::vector<float> x = {0.5F, 0.5F, 0.5F, 0.9F};
  std::vector<float> values = {0.4F, -0.2F, 0.05F, 0.6F};
  // Room .1 above the last pixel: lambda = .2 gives (.2, 0, 0, .1), whose L1 norm is .3.
  ProjectChangeL1(4, 0.3, {.l1 = true, .epsilon = 0.3}, x.data(), values.data());
  EXPECT_NEAR(values[0], 0.7, 1e-6);
  EXPECT_NEAR(values[1], 0.5, 1e-6);
  EXPECT_NEAR(values[2], 0.5, 1e-6);
  EXPECT_NEAR(values[3], 1.0, 1e-6);
}

TEST(SquareDraws, ReachTheLastPositionOnlyWhenInclusive) {
  const Rng rng(0, "0:square", 0);
  std::vector<uint32_t> words(6);
  float sign = 0;
  int64_t inclusive = 0;
  int64_t exclusive = 0;
  for (uint32_t query = 1; query <= 400; ++query) {
    const DrawAt at{.step = query, .purpose = Purpose::kWindow};
    const PlaneShape shape{1, 8, 8};
    inclusive =
        std::max(inclusive, DrawMove(rng, at, shape, 3, false, absl::MakeSpan(words), &sign).row);
    exclusive =
        std::max(exclusive, DrawMove(rng, at, shape, 3, true, absl::MakeSpan(words), &sign).row);
  }
  EXPECT_EQ(inclusive, 5);
  EXPECT_EQ(exclusive, 4);
}

struct Counted {
  AttackResult result;
  std::vector<int64_t> broken_at;  // query, -1: robust
};

Counted RunSquare(Model& model, const Batch& batch, const ThreatModel& threat, int64_t queries,
                  const std::string& numerics = "strong") {
  FixedCaller caller(model, 64, [] {});
  VerifyingJudge judge(caller, batch, threat);
  Victim victim(model, BatchNormMode::kEval, 64);
  Counted out;
  const AttackSettings settings{.stream = "3:square", .judge = &judge};
  out.result = MakeSquare(queries, numerics)->Run(victim, batch, threat, settings, {});
  for (int64_t i = 0; i < batch.size(); ++i) {
    out.broken_at.push_back(judge.finding(i).has_value() ? judge.finding(i)->step : -1);
  }
  return out;
}

TEST(Square, CountsOneForwardForEachQueryAndTheStart) {  // C21
  const ToyPointer toy = testing::ToyMlp({1, 8, 8, 5});
  testing::CountingModel model(*toy);
  const Batch batch = ToyBatch(*toy, 30);
  const Counted out = RunSquare(model, batch, {Norm::kLinf, 0.04}, 50);
  int64_t robust = 0;
  int64_t broken = 0;
  for (int64_t i = 0; i < batch.size(); ++i) {
    const int64_t at = out.broken_at[static_cast<size_t>(i)];
    (at < 0 ? robust : broken) += 1;
    EXPECT_EQ(out.result.counts.forwards[i].item<int64_t>(), at < 0 ? 51 : at + 1);
    EXPECT_EQ(out.result.counts.backwards[i].item<int64_t>(), 0);
  }
  EXPECT_GT(robust, 0);
  EXPECT_GT(broken, 0);
}

TEST(Square, BreaksMoreWithMoreQueriesAndNeverLosesOne) {  // C08
  const ToyPointer model = testing::ToyMlp({1, 8, 8, 5});
  const Batch batch = ToyBatch(*model, 30);
  for (const Norm norm : {Norm::kLinf, Norm::kL2, Norm::kL1}) {
    const ThreatModel threat{norm, norm == Norm::kLinf ? 0.05 : norm == Norm::kL2 ? 0.4 : 2.5};
    const Counted few = RunSquare(*model, batch, threat, 20);
    const Counted more = RunSquare(*model, batch, threat, 200);
    int64_t extra = 0;
    for (size_t i = 0; i < few.broken_at.size(); ++i) {
      if (few.broken_at[i] >= 0) {
        EXPECT_EQ(more.broken_at[i], few.broken_at[i]);
      }
      extra += few.broken_at[i] < 0 && more.broken_at[i] >= 0;
    }
    EXPECT_GT(extra, 0) << NormName(norm);
  }
}

TEST(Square, BreaksWhatNoGradientAttackOfTheReferenceBrokeSlow) {
  REQUIRE_TEST_DATA();
  // mnist_lenet5_adv at 0.3: what the reference's Square broke after APGD and FAB (index.json), and
  // as many images that it left robust.
  const std::vector<int64_t> broken = {7,   232, 449, 468, 492, 497, 610, 628,
                                       629, 654, 694, 716, 827, 939, 940, 950};
  const std::vector<int64_t> robust = {0, 1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 13, 14, 15, 16, 17};
  const auto model = testing::ReferenceModel("mnist_lenet5_adv");
  const Batch all = testing::MnistTestBatch(1000);
  for (const std::string numerics : {"strong", "reference"}) {
    const auto count = [&](const std::vector<int64_t>& ids) {
      const at::Tensor rows = at::tensor(ids);
      const Batch batch{all.images.index_select(0, rows), all.labels.index_select(0, rows),
                        all.ids.index_select(0, rows)};
      const Counted out = RunSquare(*model, batch, {Norm::kLinf, 0.3}, 5000, numerics);
      return std::count_if(out.broken_at.begin(), out.broken_at.end(),
                           [](int64_t at) { return at >= 0; });
    };
    EXPECT_GE(count(broken), 12) << numerics;
    EXPECT_LE(count(robust), 1) << numerics;
  }
}

}  // namespace
}  // namespace adamant
