// SPDX-License-Identifier: Apache-2.0
#include "common/plugin_check.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <limits>

namespace adamant {
namespace {

using ::testing::HasSubstr;

constexpr char kFamily[] = R"pb(
  name: "attack"
  plugins {
    name: "pgd"
    params {
      name: "steps"
      type: INT
      default_value { number_value: 40 }
      min: 1
      max: 1000
    }
    params {
      name: "loss"
      type: CHOICE
      default_value { string_value: "ce" }
      choices: "ce"
      choices: "margin"
    }
    params {
      name: "random_start"
      type: BOOL
      default_value { bool_value: true }
    }
    params {
      name: "weights"
      type: REAL_LIST
      default_value { list_value {} }
      min: 0
      max: 1
    }
    params { name: "source" type: TEXT }
    presets {
      name: "pgd7"
      params {
        fields {
          key: "steps"
          value { number_value: 7 }
        }
      }
    }
  }
  plugins { name: "fgsm" }
)pb";

v1::PluginFamily Family() {
  v1::PluginFamily family;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(kFamily, &family));
  return family;
}

v1::PluginSpec Pgd() {
  v1::PluginSpec spec;
  spec.set_name("pgd");
  (*spec.mutable_params()->mutable_fields())["source"].set_string_value("x");
  return spec;
}

google::protobuf::Value& Set(v1::PluginSpec& spec, const std::string& name) {
  return (*spec.mutable_params()->mutable_fields())[name];
}

TEST(PluginCheck, ASingleNumberIsAListOfOne) {
  v1::PluginSpec spec = Pgd();
  Set(spec, "weights").set_number_value(0.5);
  const auto normal = NormalizePluginSpec(spec, Family());
  ASSERT_TRUE(normal.ok()) << normal.status();
  const auto& weights = normal->params().fields().at("weights").list_value();
  ASSERT_EQ(weights.values_size(), 1);
  EXPECT_EQ(weights.values(0).number_value(), 0.5);
  Set(spec, "weights").set_number_value(2);
  EXPECT_THAT(std::string(NormalizePluginSpec(spec, Family()).status().message()),
              HasSubstr("has an entry that is 2, outside [0, 1]"));
}

TEST(PluginCheck, FillsEveryDefault) {
  const auto normal = NormalizePluginSpec(Pgd(), Family());
  ASSERT_TRUE(normal.ok()) << normal.status();
  EXPECT_EQ(normal->params().fields_size(), 5);
  EXPECT_EQ(normal->params().fields().at("steps").number_value(), 40);
  EXPECT_EQ(normal->params().fields().at("loss").string_value(), "ce");
}

TEST(PluginCheck, PresetGivesValuesAndExplicitOnesWin) {
  v1::PluginSpec spec = Pgd();
  Set(spec, "preset").set_string_value("pgd7");
  EXPECT_EQ(NormalizePluginSpec(spec, Family())->params().fields().at("steps").number_value(), 7);
  Set(spec, "steps").set_number_value(9);
  EXPECT_EQ(NormalizePluginSpec(spec, Family())->params().fields().at("steps").number_value(), 9);
}

TEST(PluginCheck, UnknownNameSuggestsTheNearest) {
  v1::PluginSpec spec;
  spec.set_name("pdg");
  const auto normal = NormalizePluginSpec(spec, Family());
  EXPECT_EQ(normal.status().message(),
            "unknown attack \"pdg\"; did you mean \"pgd\"? known: pgd, fgsm");
}

TEST(PluginCheck, EveryViolationIsListed) {
  v1::PluginSpec spec;
  spec.set_name("pgd");
  Set(spec, "steps").set_number_value(0);
  Set(spec, "loss").set_string_value("hinge");
  Set(spec, "random_start").set_number_value(1);
  Set(spec, "weights").mutable_list_value()->add_values()->set_number_value(2);
  Set(spec, "step").set_number_value(1);
  std::vector<Violation> violations;
  NormalizePluginSpec(spec, Family(), "attacks[0].attack", violations);
  std::vector<std::string> found;
  for (const Violation& v : violations) found.push_back(v.field + ": " + v.description);
  EXPECT_THAT(
      found,
      ::testing::UnorderedElementsAre(
          "attacks[0].attack.params.steps: pgd.steps is 0, outside [1, 1000]",
          "attacks[0].attack.params.loss: pgd.loss must be one of ce, margin",
          "attacks[0].attack.params.random_start: pgd.random_start must be true or false",
          "attacks[0].attack.params.weights: pgd.weights has an entry that is 2, outside [0, 1]",
          HasSubstr("did you mean \"steps\"?"), HasSubstr("pgd.source is required")));
}

TEST(PluginCheck, IntegersRefuseFractionsAndNonFiniteNumbers) {
  for (const double value :
       {1.5, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    v1::PluginSpec spec = Pgd();
    Set(spec, "steps").set_number_value(value);
    EXPECT_FALSE(NormalizePluginSpec(spec, Family()).ok()) << value;
  }
}

TEST(ParseNumber, ReadsNumbersAndQuotients) {
  EXPECT_EQ(ParseNumber("8/255").value(), 8.0 / 255.0);
  EXPECT_EQ(ParseNumber("0.3").value(), 0.3);
  for (const char* bad : {"", "a", "1/0", "1/2/3", "8/", "inf"}) {
    EXPECT_FALSE(ParseNumber(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace adamant
