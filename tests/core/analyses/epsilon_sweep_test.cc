// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/analyses/analysis.h"
#include "core/base/statistics.h"
#include "tests/support/torch/toy_models.h"

namespace adamant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Runs the sweep on given accuracies (percent of 100 samples), one per epsilon.
absl::StatusOr<AnalysisOutput> Sweep(const std::vector<double>& epsilons,
                                     const std::vector<int64_t>& correct) {
  v1::PluginSpec spec;
  spec.set_name("epsilon_sweep");
  auto& list = (*spec.mutable_params()->mutable_fields())["epsilons"];
  for (const double epsilon : epsilons) {
    list.mutable_list_value()->add_values()->set_number_value(epsilon);
  }
  const auto analysis = MakePlugin<Analysis>(spec);
  if (!analysis.ok()) return analysis.status();
  const auto model = testing::ToyConst({1, 2, 2, 10});
  AnalysisInput input;
  input.model = model.get();
  input.model_name = "toy";
  input.evaluate = [&](const std::vector<v1::AttackEntry>& entries) {
    std::vector<MeasuredAccuracy> out;
    for (int i = 0; i < entries[0].epsilons_size(); ++i) {
      out.push_back(
          {0, entries[0].attack(), entries[0].epsilons(i), MakeAccuracy(correct[i], 100)});
    }
    return out;
  };
  return (*analysis)->Run(input);
}

TEST(EpsilonSweep, GivesOneRowPerEpsilon) {
  const auto out = Sweep({0, 0.1, 0.2}, {90, 40, 11});
  ASSERT_TRUE(out.ok()) << out.status();
  const v1::AnalysisTable& table = out->tables[0];
  ASSERT_EQ(table.rows_size(), 3);
  EXPECT_EQ(table.columns(3).name(), "accuracy_pct");
  EXPECT_EQ(table.rows(1).cells(1).text(), "0:pgd");
  EXPECT_EQ(table.rows(1).cells(2).number(), 0.1);
  EXPECT_DOUBLE_EQ(table.rows(1).cells(3).number(), 40);
  EXPECT_TRUE(table.notes().empty());  // 11 % is within 2 points of chance
}

TEST(EpsilonSweep, SaysWhereTheAttackIsTooWeakOrACurveRises) {
  const auto out = Sweep({0, 0.1, 0.2}, {90, 40, 45});
  EXPECT_THAT(out->tables[0].notes(),
              ElementsAre(HasSubstr("rises by 5.00 points"), HasSubstr("not driven to chance")));
}

TEST(EpsilonSweep, MustStartAtZeroAndAscend) {
  EXPECT_EQ(Sweep({0.1, 0.2}, {1, 1}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Sweep({0, 0.2, 0.1}, {1, 1, 1}).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace adamant
