// SPDX-License-Identifier: Apache-2.0
// Attacks that compare samples with each other get them in cohorts of a fixed size.
#include <gtest/gtest.h>

#include "core/base/torch.h"
#include "core/run/evaluation.h"
#include "tests/support/torch/memory_run_context.h"
#include "tests/support/torch/toy_models.h"

namespace adamant {
namespace {

constexpr ModelShape kShape{1, 8, 8, 5};
constexpr int64_t kImages = kCohortSize + 44;

EvaluationResult RunPortfolio(int64_t images, const EvaluationOptions& options) {
  const auto model = testing::ToyMlp(kShape);
  const Batch all = testing::ToyBatch(*model, kImages);
  const Batch batch{all.images.narrow(0, 0, images), all.labels.narrow(0, 0, images),
                    all.ids.narrow(0, 0, images)};
  google::protobuf::RepeatedPtrField<v1::AttackEntry> entries;
  v1::AttackEntry& entry = *entries.Add();
  *entry.mutable_attack() = Plugin("portfolio", {{"passes", 100},
                                                 {"leak_steps", 2},
                                                 {"steps", 3},
                                                 {"restarts", 1},
                                                 {"rounds", 2},
                                                 {"chains", 1},
                                                 {"iterations", 8}});
  entry.mutable_threat()->set_norm(v1::LINF);
  entry.mutable_threat()->set_epsilon(0.02);
  const auto instances = MakeInstances(entries, kShape);
  EXPECT_TRUE(instances.ok()) << instances.status();
  auto result = RunEvaluation(*model, SamplesOf(batch), *instances, options, {});
  EXPECT_TRUE(result.ok()) << result.status();
  return *std::move(result);
}

std::vector<std::string> Outcomes(const EvaluationResult& result, int64_t images) {
  std::vector<std::string> bytes;
  for (int64_t i = 0; i < images; ++i) bytes.push_back(result.outcomes[i].SerializeAsString());
  return bytes;
}

TEST(Cohorts, DoNotDependOnTheSamplesInFlight) {
  EvaluationOptions few, many;
  few.batch_size = 16;
  many.batch_size = 1024;
  const EvaluationResult result = RunPortfolio(kImages, few);
  EXPECT_GT(result.instances[0].broken, 0);
  EXPECT_LT(result.instances[0].broken, result.instances[0].attacked);
  EXPECT_EQ(Outcomes(result, kImages), Outcomes(RunPortfolio(kImages, many), kImages));
}

TEST(Cohorts, KnowNothingOfEachOther) {
  EvaluationOptions options;
  int reports = 0;
  options.observe = [&](const EvaluationProgress& now) { reports += now.attacked > 0; };
  const EvaluationResult both = RunPortfolio(kImages, options);
  EXPECT_GE(reports, 2) << "progress after each cohort";
  EXPECT_EQ(Outcomes(both, kCohortSize), Outcomes(RunPortfolio(kCohortSize, {}), kCohortSize));
}

}  // namespace
}  // namespace adamant
