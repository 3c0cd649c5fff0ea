// SPDX-License-Identifier: Apache-2.0
// Ensembles on the trained nets against what the original AutoAttack found there
// (checkpoints/index.json of the test data): the first 1000 test images of MNIST.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "common/files.h"
#include "core/run/evaluation.h"
#include "tests/support/test_data.h"
#include "tests/support/torch/memory_run_context.h"
#include "tests/support/torch/reference.h"

namespace adamant {
namespace {

using nlohmann::json;

constexpr int64_t kFirst = 1000;

json Checkpoint(const std::string& name) {
  const json index = json::parse(*ReadFile(testing::TestDataFolder() + "/checkpoints/index.json"));
  for (const json& checkpoint : index.at("checkpoints")) {
    if (checkpoint.at("name") == name) return checkpoint;
  }
  ADD_FAILURE() << "no checkpoint " << name;
  return {};
}

EvaluationResult Attack(const std::string& model, const std::string& attack, double epsilon,
                        uint64_t seed = 0) {
  google::protobuf::RepeatedPtrField<v1::AttackEntry> entries;
  v1::AttackEntry& entry = *entries.Add();
  entry.mutable_attack()->set_name(attack);
  entry.mutable_threat()->set_norm(v1::LINF);
  entry.mutable_threat()->set_epsilon(epsilon);
  const auto net = testing::ReferenceModel(model);
  const auto instances = MakeInstances(entries, net->info().shape);
  EXPECT_TRUE(instances.ok()) << instances.status();
  EvaluationOptions options;
  options.seed = seed;
  const Batch batch = testing::MnistTestBatch(kFirst);
  auto result = RunEvaluation(*net, SamplesOf(batch), *instances, options, {});
  EXPECT_TRUE(result.ok()) << result.status();
  return *std::move(result);
}

std::set<int64_t> Broken(const EvaluationResult& result) {
  std::set<int64_t> ids;
  for (const v1::SampleOutcome& outcome : result.outcomes) {
    if (outcome.state() == v1::BROKEN) ids.insert(outcome.sample_id());
  }
  return ids;
}

// All that the original breaks on the adversarially trained LeNet.
std::set<int64_t> BrokenByTheOriginal() {
  const json checkpoint = Checkpoint("mnist_lenet5_adv");
  std::set<int64_t> all;
  for (const json& stage : checkpoint.at("autoattack").at("broken_by")) {
    all.merge(stage.get<std::set<int64_t>>());
  }
  EXPECT_EQ(all.size(), 107);
  return all;
}

int64_t CountMissing(const std::set<int64_t>& wanted, const std::set<int64_t>& in) {
  return std::count_if(wanted.begin(), wanted.end(), [&](int64_t id) { return !in.contains(id); });
}

TEST(ReferenceEnsembles, SlowAutoAttackEndsWhereTheOriginalEnds) {
  REQUIRE_TEST_DATA();
  const EvaluationResult result = Attack("mnist_lenet5_adv", "autoattack", 0.3);
  constexpr int64_t kAfter[] = {897, 891, 891, 875};
  ASSERT_EQ(result.instances.size(), 4);
  int64_t robust = 982;
  for (int stage = 0; stage < 4; ++stage) {
    robust -= result.instances[stage].broken_first;
    EXPECT_NEAR(robust, kAfter[stage], stage == 3 ? 5 : 10) << "stage " << stage;
  }
  const std::set<int64_t> original = BrokenByTheOriginal();
  const std::set<int64_t> broken = Broken(result);
  EXPECT_LE(CountMissing(original, broken), static_cast<int64_t>(original.size() / 50));
  EXPECT_LE(CountMissing(broken, original), 3);
}

TEST(ReferenceEnsembles, SlowAutoAttackStaysAboveTheCertificate) {
  REQUIRE_TEST_DATA();
  const EvaluationResult result = Attack("mnist_convex", "autoattack", 0.1);
  const auto original = Checkpoint("mnist_convex")
                            .at("autoattack")
                            .at("not_robust_indices_incl_misclassified")
                            .get<std::set<int64_t>>();
  std::set<int64_t> lost;
  for (const v1::SampleOutcome& outcome : result.outcomes) {
    if (outcome.state() != v1::ROBUST) lost.insert(outcome.sample_id());
  }
  EXPECT_NEAR(static_cast<int64_t>(lost.size()), 47, 3);
  EXPECT_LE(CountMissing(original, lost), 1);
  EXPECT_LE(CountMissing(lost, original), 3);
}

class Portfolio : public ::testing::TestWithParam<uint64_t> {};

TEST_P(Portfolio, SlowMissesNothingThatTheOriginalBreaksAtAnEighthOfItsPasses) {
  REQUIRE_TEST_DATA();
  const EvaluationResult result = Attack("mnist_lenet5_adv", "portfolio", 0.3, GetParam());
  const std::set<int64_t> broken = Broken(result);
  EXPECT_EQ(CountMissing(BrokenByTheOriginal(), broken), 0);
  EXPECT_LE(982 - static_cast<int64_t>(broken.size()), 875);
  EXPECT_LE(result.instances[0].forwards, 1000 * kFirst);
}

INSTANTIATE_TEST_SUITE_P(Seeds, Portfolio, ::testing::Values(0, 1, 2));

}  // namespace
}  // namespace adamant
