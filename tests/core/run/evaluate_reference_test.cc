// SPDX-License-Identifier: Apache-2.0
// The reference checkpoints give their reference numbers (checkpoints/index.json of the test data).
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "common/files.h"
#include "core/attacks/steps.h"
#include "core/base/torch.h"
#include "core/run/evaluation.h"
#include "core/run/judge.h"
#include "tests/support/test_data.h"
#include "tests/support/torch/memory_run_context.h"
#include "tests/support/torch/reference.h"

namespace adamant {
namespace {

using nlohmann::json;

constexpr int64_t kFirst = 1000;

json Reference(const std::string& name) {
  const auto text = ReadFile(testing::TestDataFolder() + "/checkpoints/index.json");
  const json index = json::parse(*text);
  for (const json& one : index.at("checkpoints")) {
    if (one.at("name") == name) return one;
  }
  ADD_FAILURE() << "no checkpoint " << name;
  return {};
}

v1::AttackEntry Entry(const std::string& attack, std::vector<double> epsilons,
                      const std::vector<std::pair<std::string, double>>& params = {}) {
  v1::AttackEntry entry;
  *entry.mutable_attack() = Plugin(attack, params);
  auto& fields = *entry.mutable_attack()->mutable_params()->mutable_fields();
  fields["numerics"].set_string_value("reference");
  if (attack == "pgd") fields["random_start"].set_bool_value(false);
  entry.mutable_threat()->set_norm(v1::LINF);
  *entry.mutable_epsilons() = {epsilons.begin(), epsilons.end()};
  return entry;
}

EvaluationResult RunAttack(Model& model, const Batch& batch, const v1::AttackEntry& entry) {
  google::protobuf::RepeatedPtrField<v1::AttackEntry> entries;
  *entries.Add() = entry;
  const auto instances = MakeInstances(entries, model.info().shape);
  EXPECT_TRUE(instances.ok()) << instances.status();
  auto result = RunEvaluation(model, SamplesOf(batch), *instances, {}, {});
  EXPECT_TRUE(result.ok()) << result.status();
  return *std::move(result);
}

// Samples that are wrong on clean input or broken by an instance.
std::set<int64_t> NotRobust(const EvaluationResult& result, int instance) {
  std::set<int64_t> out;
  for (size_t i = 0; i < result.outcomes.size(); ++i) {
    if (result.outcomes[i].state() == v1::CLEAN_WRONG || result.instances[instance].broken_at[i]) {
      out.insert(result.outcomes[i].sample_id());
    }
  }
  return out;
}

// In one list but not in the other, beside `allowed`.
int64_t Differences(const std::set<int64_t>& found, const json& expected, const json& allowed) {
  const auto list = expected.get<std::set<int64_t>>();
  std::set<int64_t> differing;
  std::set_symmetric_difference(found.begin(), found.end(), list.begin(), list.end(),
                                std::inserter(differing, differing.end()));
  for (const int64_t id : allowed.get<std::set<int64_t>>()) differing.erase(id);
  return static_cast<int64_t>(differing.size());
}

// Samples wrong on clean input do not count as broken.
std::set<int64_t> Broken(const EvaluationResult& result) {
  std::set<int64_t> out;
  for (const v1::SampleOutcome& outcome : result.outcomes) {
    if (outcome.state() == v1::BROKEN) out.insert(outcome.sample_id());
  }
  return out;
}

// FGSM lists count every image that is wrong at the judged point, also one that was wrong before
// and that FGSM may turn right: compare on the images that were right.
json WithoutCleanWrong(const json& indices, const EvaluationResult& result) {
  json out = json::array();
  for (const json& index : indices) {
    if (result.outcomes[index.get<int64_t>()].state() != v1::CLEAN_WRONG) out.push_back(index);
  }
  return out;
}

class ReferenceCheckpoint : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { REQUIRE_TEST_DATA(); }
};

TEST_P(ReferenceCheckpoint, GivesTheCleanCountAndFgsmLists) {
  const json reference = Reference(GetParam());
  const auto model = testing::ReferenceModel(GetParam());
  const Batch batch = testing::MnistTestBatch(kFirst);
  for (const char* epsilon : {"0.1", "0.2", "0.3"}) {
    const EvaluationResult result = RunAttack(*model, batch, Entry("fgsm", {std::stod(epsilon)}));
    const auto clean =
        std::count_if(result.outcomes.begin(), result.outcomes.end(),
                      [](const v1::SampleOutcome& o) { return o.state() != v1::CLEAN_WRONG; });
    EXPECT_EQ(clean, reference.at("clean").at("first_1000").at("correct").get<int64_t>());
    const json& expected = reference.at("fgsm").at("eps").at(epsilon).at("first_1000");
    const int64_t robust = kFirst - static_cast<int64_t>(NotRobust(result, 0).size());
    RecordProperty(std::string("fgsm_") + epsilon, static_cast<int>(robust));
    std::printf("%s fgsm %s: %ld robust\n", GetParam(), epsilon, robust);
    EXPECT_NEAR(robust, expected.at("robust").get<int64_t>(), 3) << epsilon;
    EXPECT_LE(
        Differences(Broken(result), WithoutCleanWrong(expected.at("misclassified_indices"), result),
                    expected.at("indices_that_differ_in_float64")),
        3)
        << epsilon;
  }
}

json PgdReference(const json& reference, const std::string& start) {
  for (const json& one : reference.at("pgd")) {
    const bool seed_fits = one.at("seed").is_null() || one.at("seed") == 0;
    if (one.at("images") == "first_1000" && one.at("start") == start && seed_fits) return one;
  }
  ADD_FAILURE() << "no pgd from " << start;
  return {};
}

TEST_P(ReferenceCheckpoint, GivesThePgdListFromTheCleanImage) {
  const json expected = PgdReference(Reference(GetParam()), "x0 (deterministic)");
  const auto model = testing::ReferenceModel(GetParam());
  const EvaluationResult result = RunAttack(
      *model, testing::MnistTestBatch(kFirst),
      Entry("pgd", {expected.at("eps").get<double>()}, {{"steps", 40}, {"step_size", 0.01}}));
  const int64_t robust = kFirst - static_cast<int64_t>(NotRobust(result, 0).size());
  std::printf("%s pgd-40 %s: %ld robust, %.1f s\n", GetParam(), expected.at("eps").dump().c_str(),
              robust, result.instances[0].seconds);
  EXPECT_NEAR(robust, expected.at("robust").get<int64_t>(), 3);
  if (!expected.at("broken_indices").is_array()) return;
  EXPECT_LE(Differences(Broken(result), expected.at("broken_indices"),
                        expected.value("indices_that_differ_in_float64", json::array())),
            3);
}

INSTANTIATE_TEST_SUITE_P(, ReferenceCheckpoint,
                         ::testing::Values("mnist_lenet5_adv", "mnist_lenet5_cln", "mnist_convex"));

// min(max(x + epsilon * (2u - 1), lo), hi) with u by SplitMix64 over all pixels in file order.
at::Tensor SplitMixStart(const at::Tensor& images, uint64_t seed, double epsilon) {
  const at::Tensor u = at::empty(images.sizes());
  float* out = u.data_ptr<float>();
  for (int64_t c = 0; c < u.numel(); ++c) {
    uint64_t z = seed + static_cast<uint64_t>(c + 1) * 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    z ^= z >> 31;
    out[c] = static_cast<float>(z >> 40) * 0x1p-24F;
  }
  return FeasibleSet(images, {Norm::kLinf, epsilon}).Project(images + epsilon * (2 * u - 1));
}

TEST(ReferenceStart, SlowGivesTheListOfTheGivenRandomStart) {
  REQUIRE_TEST_DATA();
  const json expected = PgdReference(Reference("mnist_lenet5_adv"), "random");
  const auto model = testing::ReferenceModel("mnist_lenet5_adv");
  const Batch batch = testing::MnistTestBatch(kFirst);
  const ThreatModel threat{Norm::kLinf, 0.3};
  const auto attack = MakePlugin<Attack>(Entry("pgd", {}, {{"step_size", 0.01}}).attack());
  ASSERT_TRUE(attack.ok()) << attack.status();
  FixedCaller caller(*model, 64, [] {});
  VerifyingJudge judge(caller, batch, threat);
  Victim victim(*model, BatchNormMode::kEval, 64);
  (*attack)->Run(victim, batch, threat,
                 {.judge = &judge, .start = SplitMixStart(batch.images, 0, 0.3)}, {});
  const at::Tensor clean = caller.Logits(batch.images).argmax(1);
  std::set<int64_t> broken;
  for (int64_t i = 0; i < kFirst; ++i) {
    const bool right = clean[i].item<int64_t>() == batch.labels[i].item<int64_t>();
    if (right && judge.finding(i).has_value()) broken.insert(i);
  }
  std::printf("mnist_lenet5_adv pgd-40 given start: %zu broken\n", broken.size());
  EXPECT_LE(Differences(broken, expected.at("broken_indices"), json::array()), 3);
}

int64_t RobustUnderApgd(const std::string& name, double epsilon) {
  const auto model = testing::ReferenceModel(name);
  const EvaluationResult result = RunAttack(*model, testing::MnistTestBatch(kFirst),
                                            Entry("apgd_ce", {epsilon}, {{"steps", 100}}));
  const int64_t robust = kFirst - static_cast<int64_t>(NotRobust(result, 0).size());
  std::printf("%s apgd_ce %g: %ld robust, %.1f s\n", name.c_str(), epsilon, robust,
              result.instances[0].seconds);
  return robust;
}

TEST(ReferenceApgd, SlowReachesAutoAttacksFirstStageOnTheTrainedNet) {
  REQUIRE_TEST_DATA();
  EXPECT_NEAR(RobustUnderApgd("mnist_lenet5_adv", 0.3), 897, 10);
}

TEST(ReferenceApgd, SlowReachesAutoAttacksFirstStageOnTheCertifiedNet) {
  REQUIRE_TEST_DATA();
  EXPECT_NEAR(RobustUnderApgd("mnist_convex", 0.1), 954, 3);
}

}  // namespace
}  // namespace adamant
