// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "adamant/v1/attack.pb.h"
#include "adamant/v1/train.pb.h"
#include "client/cli/exit_code.h"
#include "client/cli/params.h"
#include "client/cli/spec_file.h"
#include "client/cli/submit.h"
#include "google/protobuf/util/message_differencer.h"

namespace adamant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kYaml[] = R"(
model: {model: models/net}
data: {dataset: datasets/mnist, end: 1000}
attacks:
  - attack: {name: pgd, params: {steps: 40, step_size: 2/255, random_start: true}}
    threat: {norm: linf, epsilon: 8/255}
seeds: [0, 1]
)";

constexpr char kJson[] = R"({
"model": {"model": "models/net"},
"data": {"dataset": "datasets/mnist", "end": 1000},
"attacks": [{"attack": {"name": "pgd", "params": {"steps": 40, "step_size": "2/255",
                        "random_start": true}},
             "threat": {"norm": "LINF", "epsilon": "8/255"}}],
"seeds": [0, 1]})";

constexpr char kText[] = R"(
model { model: "models/net" }
data { dataset: "datasets/mnist" end: 1000 }
attacks {
  attack { name: "pgd" params {
    fields { key: "steps" value { number_value: 40 } }
    fields { key: "step_size" value { number_value: 0.00784313725490196 } }
    fields { key: "random_start" value { bool_value: true } } } }
  threat { norm: LINF epsilon: 0.03137254901960784 epsilon_text: "8/255" }
}
seeds: 0 seeds: 1)";

TEST(SpecFile, GivesEqualMessagesInEveryForm) {
  v1::AttackSpec yaml, json, text;
  ASSERT_TRUE(ParseSpec(kYaml, "yaml", yaml).ok()) << ParseSpec(kYaml, "yaml", yaml);
  ASSERT_TRUE(ParseSpec(kJson, "json", json).ok()) << ParseSpec(kJson, "json", json);
  ASSERT_TRUE(ParseSpec(kText, "textproto", text).ok());
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(yaml, json));
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::ApproximatelyEquals(yaml, text))
      << yaml.DebugString();
  EXPECT_EQ(yaml.attacks(0).threat().epsilon_text(), "8/255");
  EXPECT_DOUBLE_EQ(yaml.attacks(0).threat().epsilon(), 8.0 / 255);
}

TEST(SpecFile, NamesTheNearestFieldAndItsPlace) {
  v1::AttackSpec spec;
  const absl::Status status = ParseSpec("attacks: [{attak: {name: pgd}}]", "yaml", spec);
  EXPECT_TRUE(IsUsageError(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("attacks[0]"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("did you mean \"attack\"?"));
}

TEST(SpecFile, NamesTheNearestEnumValue) {
  v1::AttackSpec spec;
  const absl::Status status = ParseSpec("attacks: [{threat: {norm: lifn}}]", "yaml", spec);
  EXPECT_THAT(std::string(status.message()), HasSubstr("did you mean \"LINF\"?"));
}

TEST(SpecFile, SaysWhereTheYamlIsBroken) {
  v1::AttackSpec spec;
  EXPECT_THAT(std::string(ParseSpec("a: [1, 2\nb: 3", "yaml", spec).message()), HasSubstr("line "));
}

TEST(Settings, ReachNestedFieldsListsAndParameters) {
  v1::TrainSpec spec;
  spec.mutable_optimizer()->set_lr(0.5);
  const absl::Status status = ApplySettings(
      {"optimizer.lr=1/4", "evaluation.attacks[0].attack.name=pgd",
       "evaluation.attacks[0].attack.params.steps=7", "threat.epsilon=8/255", "epochs=3"},
      spec);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(spec.optimizer().lr(), 0.25);
  EXPECT_EQ(spec.evaluation().attacks(0).attack().params().fields().at("steps").number_value(), 7);
  EXPECT_EQ(spec.threat().epsilon_text(), "8/255");
  EXPECT_EQ(spec.epochs(), 3);
}

TEST(Settings, RefuseUnknownFieldsAndGapsInLists) {
  v1::TrainSpec spec;
  EXPECT_TRUE(IsUsageError(ApplySettings({"optimiser.lr=1"}, spec)));
  EXPECT_TRUE(IsUsageError(ApplySettings({"augmentations[2].name=hflip"}, spec)));
  EXPECT_TRUE(IsUsageError(ApplySettings({"epochs"}, spec)));
}

TEST(Params, BelongToThePluginBeforeThem) {
  const auto plugins = BindParams({{"model", "mnist_cnn"},
                                   {"param", "kind=advertorch"},
                                   {"attack", "pgd"},
                                   {"param", "steps=7"},
                                   {"param", "step_size=2/255"},
                                   {"attack", "fgsm"}});
  ASSERT_TRUE(plugins.ok()) << plugins.status();
  EXPECT_EQ(LastPlugin(*plugins, "model")->params().fields().at("kind").string_value(),
            "advertorch");
  const auto attacks = AllPlugins(*plugins, "attack");
  ASSERT_EQ(attacks.size(), 2u);
  EXPECT_EQ(attacks[0].params().fields().at("steps").number_value(), 7);
  EXPECT_DOUBLE_EQ(attacks[0].params().fields().at("step_size").number_value(), 2.0 / 255);
  EXPECT_FALSE(attacks[0].params().fields().contains("kind"));
  EXPECT_EQ(attacks[1].params().fields_size(), 0);
}

TEST(Params, NeedAPluginANameAndComeOnce) {
  EXPECT_TRUE(IsUsageError(BindParams({{"param", "a=1"}}).status()));
  EXPECT_TRUE(IsUsageError(BindParams({{"attack", "pgd"}, {"param", "steps"}}).status()));
  EXPECT_TRUE(
      IsUsageError(BindParams({{"attack", "pgd"}, {"param", "a=1"}, {"param", "a=2"}}).status()));
}

TEST(Values, FollowTheRulesOfJsonPlusQuotients) {
  EXPECT_EQ(ParseValue("40").number_value(), 40);
  EXPECT_EQ(ParseValue("-1.5e-3").number_value(), -0.0015);
  EXPECT_DOUBLE_EQ(ParseValue("8/255").number_value(), 8.0 / 255);
  EXPECT_TRUE(ParseValue("true").bool_value());
  EXPECT_EQ(ParseValue("[1, 2/4]").list_value().values(1).number_value(), 0.5);
  EXPECT_EQ(ParseValue("[]").list_value().values_size(), 0);
  EXPECT_EQ(ParseValue("\"7\"").string_value(), "7");
  for (const char* text : {"ce", "inf", "nan", "0x10", "1/0", "e", "-"}) {
    EXPECT_EQ(ParseValue(text).string_value(), text);
  }
}

TEST(Threat, KeepsWhatWasTypedAndTakesLists) {
  v1::ThreatModel threat;
  google::protobuf::RepeatedField<double> grid;
  ASSERT_TRUE(ApplyThreat({"linf", "8/255"}, threat, &grid).ok());
  EXPECT_EQ(threat.epsilon_text(), "8/255");
  EXPECT_TRUE(grid.empty());
  ASSERT_TRUE(ApplyThreat({"", "0.1,0.2"}, threat, &grid).ok());
  EXPECT_THAT(grid, ElementsAre(0.1, 0.2));
  EXPECT_TRUE(IsUsageError(ApplyThreat({"", "0.1,0.2"}, threat, nullptr)));
  EXPECT_TRUE(IsUsageError(ApplyThreat({"", "much"}, threat, nullptr)));
  EXPECT_THAT(std::string(ApplyThreat({"lifn", ""}, threat, nullptr).message()),
              HasSubstr("did you mean \"linf\"?"));
}

TEST(Ids, AreNumbersAndRanges) {
  EXPECT_THAT(*ParseIds("3,10..12"), ElementsAre(3, 10, 11, 12));
  for (const char* text : {"", "a", "5..3", "1..2..3", "-1", "0..100000"}) {
    EXPECT_TRUE(IsUsageError(ParseIds(text).status())) << text;
  }
}

}  // namespace
}  // namespace adamant
