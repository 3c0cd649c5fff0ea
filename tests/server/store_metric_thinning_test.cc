// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "server/store/metric_thinning.h"

namespace adamant {
namespace {

using ::testing::ElementsAre;

// Values at steps 0, 1, 2, ...
std::vector<v1::MetricPoint> Series(const std::vector<double>& values) {
  std::vector<v1::MetricPoint> points;
  for (const double value : values) {
    v1::MetricPoint& point = points.emplace_back();
    point.set_name("loss");
    point.set_step(static_cast<int64_t>(points.size()) - 1);
    point.set_value(value);
  }
  return points;
}

std::vector<int64_t> StepsOf(const std::vector<v1::MetricPoint>& points) {
  std::vector<int64_t> steps;
  for (const v1::MetricPoint& point : points) steps.push_back(point.step());
  return steps;
}

TEST(MetricThinning, KeepsFirstLastAndTheExtremesOfEachBucket) {
  // Between the ends two buckets of three: {5, 1, 3} and {7, 2, 9}.
  const auto kept = ThinSeries(Series({4, 5, 1, 3, 7, 2, 9, 6}), 6);
  EXPECT_THAT(StepsOf(kept), ElementsAre(0, 1, 2, 5, 6, 7));
  EXPECT_EQ(kept[2].value(), 1);
  EXPECT_EQ(kept[2].name(), "loss");
}

TEST(MetricThinning, LeavesAShortSeriesWhole) {
  EXPECT_THAT(StepsOf(ThinSeries(Series({3, 2, 1}), 3)), ElementsAre(0, 1, 2));
  EXPECT_TRUE(ThinSeries({}, 3).empty());
}

TEST(MetricThinning, StoresAPointThatIsBothExtremesOnce) {
  EXPECT_THAT(StepsOf(ThinSeries(Series({1, 1, 1, 1, 1}), 4)), ElementsAre(0, 1, 3, 4));
  EXPECT_THAT(StepsOf(ThinSeries(Series({1, 2, 3}), 2)), ElementsAre(0, 2));
  EXPECT_THAT(StepsOf(ThinSeries(Series({1, 2, 3}), 1)), ElementsAre(2));
}

TEST(MetricThinning, ShowsAValueThatIsNotANumber) {
  EXPECT_THAT(StepsOf(ThinSeries(Series({1, 8, NAN, 0, 9, 1}), 4)), ElementsAre(0, 2, 3, 5));
}

TEST(MetricThinning, NeverExceedsTheLimitAndIsStableWhenRepeated) {
  std::vector<double> values;
  for (int i = 0; i < 25'000; ++i) values.push_back(std::sin(i * 0.37) * i);
  for (const int limit : {1, 2, 3, 4, 5, 99, 10'000}) {
    const auto kept = ThinSeries(Series(values), limit);
    EXPECT_LE(kept.size(), static_cast<size_t>(limit));
    EXPECT_GE(kept.size() + 2, static_cast<size_t>(limit)) << "buckets were left out";
    EXPECT_EQ(StepsOf(ThinSeries(kept, limit)), StepsOf(kept));
  }
}

}  // namespace
}  // namespace adamant
