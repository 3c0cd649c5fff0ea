// SPDX-License-Identifier: Apache-2.0
// The two gradient stages of AutoAttack on the trained LeNet (checkpoints/index.json of the test
// data), the second on what the first leaves.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "common/files.h"
#include "core/base/torch.h"
#include "core/run/judge.h"
#include "tests/support/test_data.h"
#include "tests/support/torch/attacks.h"
#include "tests/support/torch/reference.h"

namespace adamant {
namespace {

using nlohmann::json;

constexpr int64_t kFirst = 1000;
constexpr int64_t kComputeBatch = 64;

// Ids of the samples of `batch` that the attack breaks.
std::set<int64_t> BrokenBy(const std::string& name, const std::string& stream, Model& model,
                           const Batch& batch) {
  const ThreatModel threat{Norm::kLinf, 0.3};
  FixedCaller caller(model, kComputeBatch, [] {});
  VerifyingJudge judge(caller, batch, threat);
  Victim victim(model, BatchNormMode::kEval, kComputeBatch);
  testing::MakeAttack(name)->Run(
      victim, batch, threat,
      {.stream = stream, .judge = &judge, .clean_logits = caller.Logits(batch.images)}, {});
  std::set<int64_t> broken;
  for (int64_t i = 0; i < batch.size(); ++i) {
    if (judge.finding(i).has_value()) broken.insert(batch.ids[i].item<int64_t>());
  }
  return broken;
}

Batch Without(const Batch& batch, const std::set<int64_t>& ids) {
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < batch.size(); ++i) {
    if (!ids.contains(batch.ids[i].item<int64_t>())) kept.push_back(i);
  }
  const at::Tensor index = at::tensor(kept, at::kLong);
  return {batch.images.index_select(0, index), batch.labels.index_select(0, index),
          batch.ids.index_select(0, index)};
}

// Of 1000 images 897 and 891 stay robust. Of those that the reference's two stages break at least
// 98 % are broken here, and beyond what its four stages break at most 0.3 % of all.
TEST(ReferenceApgd, SlowReachesAutoAttacksTwoGradientStages) {
  REQUIRE_TEST_DATA();
  const json index = json::parse(*ReadFile(testing::TestDataFolder() + "/checkpoints/index.json"));
  const json& reference = index.at("checkpoints").at(0);
  ASSERT_EQ(reference.at("name"), "mnist_lenet5_adv");
  const auto model = testing::ReferenceModel("mnist_lenet5_adv");
  const auto wrong =
      reference.at("clean").at("first_1000").at("misclassified_indices").get<std::set<int64_t>>();
  const Batch right = Without(testing::MnistTestBatch(kFirst), wrong);
  const std::set<int64_t> first = BrokenBy("apgd_ce", "0.0:apgd_ce", *model, right);
  const std::set<int64_t> second = BrokenBy("apgd_t", "0.1:apgd_t", *model, Without(right, first));

  const json& stages = reference.at("autoattack").at("broken_by");
  auto expected = stages.at("apgd-ce").get<std::set<int64_t>>();
  expected.merge(stages.at("apgd-t").get<std::set<int64_t>>());
  auto all = expected;
  all.merge(stages.at("square").get<std::set<int64_t>>());
  std::set<int64_t> found = first;
  found.insert(second.begin(), second.end());
  const auto missed = std::count_if(expected.begin(), expected.end(),
                                    [&](int64_t id) { return !found.contains(id); });
  const auto extra =
      std::count_if(found.begin(), found.end(), [&](int64_t id) { return !all.contains(id); });
  const auto after_first = right.size() - static_cast<int64_t>(first.size());
  const auto after_second = right.size() - static_cast<int64_t>(found.size());
  std::printf("apgd_ce %ld, then apgd_t %ld robust; of %zu missed %ld, beyond all stages %ld\n",
              after_first, after_second, expected.size(), missed, extra);
  EXPECT_NEAR(after_first, 897, 10);
  EXPECT_NEAR(after_second, 891, 10);
  // Which stage breaks an image moves with rounding; of the complete run 98 % are asked for
  // (ReferenceEnsembles).
  EXPECT_LE(missed, static_cast<int64_t>(expected.size() * 3 / 100));
  EXPECT_LE(extra, 3);
}

}  // namespace
}  // namespace adamant
