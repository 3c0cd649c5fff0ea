// SPDX-License-Identifier: Apache-2.0
#include "server/api/spec_checker.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "tests/support/api/test_catalog.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;

constexpr char kTrain[] = R"pb(train {
                                 model { architecture { name: "mini_gap" } }
                                 train { builtin { name: "shapes" } }
                                 epochs: 2
                               })pb";
constexpr char kAttack[] = R"pb(attack {
                                  model { model: "models/net" }
                                  data { dataset: "datasets/digits" }
                                  attacks {
                                    attack { name: "pgd" }
                                    threat { norm: LINF epsilon: 0.3 }
                                  }
                                })pb";
constexpr char kExplain[] = R"pb(explain {
                                   model { model: "models/net" }
                                   data { dataset: "datasets/digits" }
                                 })pb";

v1::JobSpec Spec(const std::string& base, const std::string& change = "") {
  v1::JobSpec spec;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(base, &spec));
  v1::JobSpec delta;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(change, &delta)) << change;
  spec.MergeFrom(delta);
  return spec;
}

std::vector<Violation> Check(v1::JobSpec& spec) {
  static const worker::v1::Catalog catalog = testing::TestCatalog();
  SpecChecker checker(catalog);
  checker.CheckSpec(spec);
  return checker.violations();
}

struct BadCase {
  const char* base;
  const char* change;  // merged into the base
  const char* field;
  const char* reason;
  const char* text;
};

class BadSpec : public ::testing::TestWithParam<BadCase> {};

TEST_P(BadSpec, IsRefusedForExactlyOneReason) {
  v1::JobSpec spec = Spec(GetParam().base, GetParam().change);
  const std::vector<Violation> violations = Check(spec);
  ASSERT_EQ(violations.size(), 1u) << GetParam().change;
  EXPECT_EQ(violations[0].field, GetParam().field);
  EXPECT_EQ(violations[0].reason, GetParam().reason);
  EXPECT_THAT(violations[0].description, HasSubstr(GetParam().text));
}

INSTANTIATE_TEST_SUITE_P(
    Train, BadSpec,
    ::testing::Values(
        BadCase{kTrain, "train { steps: 5 }", "spec.epochs", "INVALID_SPEC", "not both"},
        BadCase{kTrain, "train { objective { name: 'pgd_ta' } }", "spec.objective.name",
                "UNKNOWN_PLUGIN", "did you mean \"pgd_at\""},
        BadCase{kTrain, "train { world_size: 2 }", "spec.world_size", "INVALID_SPEC",
                "not served by this release"},
        BadCase{kTrain, "train { precision: BF16 }", "spec.precision", "INVALID_SPEC", "FP32"},
        BadCase{kTrain, "train { evolution { every_steps: 1 } }", "spec.evolution", "INVALID_SPEC",
                "not served"},
        BadCase{kTrain, "train { register_as: 'Net' }", "spec.register_as", "INVALID_SPEC",
                "lower-case letter"},
        BadCase{kTrain, "train { attack { name: 'pgd' } }", "spec.threat", "INVALID_SPEC",
                "missing"},
        BadCase{kTrain, "train { attack { name: 'apgd_ce' } threat { norm: LINF epsilon: 0.1 } }",
                "spec.attack.name", "INVALID_SPEC", "fgsm, pgd"},
        BadCase{kTrain, "train { optimizer { kind: ADAM momentum: 0.9 } }",
                "spec.optimizer.momentum", "INVALID_SPEC", "SGD"},
        BadCase{kTrain, "train { optimizer { lr: 0 } }", "spec.optimizer.lr", "INVALID_SPEC",
                "(0, 10]"},
        BadCase{kTrain, "train { schedule { kind: STEP } }", "spec.schedule.milestones",
                "INVALID_SPEC", "missing"},
        BadCase{kTrain, "train { augmentations { name: 'hflop' } }", "spec.augmentations[0].name",
                "UNKNOWN_PLUGIN", "did you mean \"hflip\""},
        BadCase{kTrain, "train { schedule { kind: COSINE gamma: 0.5 } }", "spec.schedule.gamma",
                "INVALID_SPEC", "STEP and EXPONENTIAL"},
        BadCase{kTrain, "train { ema_decay: 0.9 }", "spec.ema_decay", "INVALID_SPEC", "not served"},
        BadCase{kTrain, "train { label_smoothing: 0.6 }", "spec.label_smoothing", "INVALID_SPEC",
                "[0, 0.5]"},
        BadCase{kTrain, "train { train { begin: 5 end: 5 } }", "spec.train.end", "INVALID_SPEC",
                "selects no sample"},
        BadCase{kTrain, "train { train { sample_ids: [3, 1, 3] } }", "spec.train.sample_ids",
                "INVALID_SPEC", "twice"},
        BadCase{kTrain, "train { train { builtin { name: 'mnist' } } }", "spec.train.builtin.name",
                "INVALID_SPEC", "needs files"},
        BadCase{kTrain, "train { model { model: 'net' } }", "spec.model.model", "INVALID_SPEC",
                "models/ID"}));

INSTANTIATE_TEST_SUITE_P(
    Attack, BadSpec,
    ::testing::Values(
        BadCase{kAttack, "attack { stop { seconds: -5 } }", "spec.stop.seconds", "INVALID_SPEC",
                "negative"},
        BadCase{kAttack, "attack { stop { robust_accuracy: 2 } }", "spec.stop.robust_accuracy",
                "INVALID_SPEC", "[0, 1]"},
        BadCase{kAttack, "attack { depth: 'deep' }", "spec.depth", "INVALID_SPEC", "quick"},
        BadCase{kAttack, "attack { confidence_level: 1 }", "spec.confidence_level", "INVALID_SPEC",
                "(0, 1)"},
        BadCase{kAttack, "attack { model { architecture { name: 'mini_gap' } } }",
                "spec.model.architecture", "INVALID_SPEC", "only be trained"},
        BadCase{kAttack,
                "attack { attacks { attack { name: 'fgsm' } threat { norm: L2 epsilon: 1 } } }",
                "spec.attacks[1].threat.norm", "INVALID_SPEC", "does not support l2"},
        BadCase{kAttack,
                "attack { attacks { attack { name: 'fgsm' } threat { norm: LINF epsilon: 8 } } }",
                "spec.attacks[1].threat.epsilon", "INVALID_SPEC", "8/255"},
        BadCase{kAttack,
                "attack { attacks { attack { name: 'pgd' } threat { norm: LINF epsilon: 0.1 "
                "epsilon_text: '8/255' } } }",
                "spec.attacks[1].threat.epsilon_text", "INVALID_SPEC", "but epsilon is 0.1"},
        BadCase{kAttack,
                "attack { attacks { attack { name: 'pgd' } threat { norm: LINF } "
                "epsilons: [0.1, 0.1] } }",
                "spec.attacks[1].epsilons[1]", "INVALID_SPEC", "ascending"},
        BadCase{kAttack,
                "attack { attacks { attack { name: 'pgd' params { fields { key: 'stepz' value { "
                "number_value: 3 } } } } threat { norm: LINF epsilon: 0.1 } } }",
                "spec.attacks[1].attack.params.stepz", "BAD_PARAMETER", "did you mean \"steps\""},
        BadCase{kAttack, "attack { adversarial_set { size_bytes: 1 } }", "spec.adversarial_set",
                "INVALID_SPEC", "attack transfer"},
        BadCase{kAttack, "attack { shard { index: 2 count: 2 } }", "spec.shard.index",
                "INVALID_SPEC", "count - 1"},
        BadCase{kAttack, "attack { shard { count: 33 } }", "spec.shard.count", "INVALID_SPEC",
                "2 to 32"},
        BadCase{kAttack, "attack { shard { count: 2 } stop { seconds: 9 } }", "spec.stop",
                "INVALID_SPEC", "all samples"}));

INSTANTIATE_TEST_SUITE_P(
    Explain, BadSpec,
    ::testing::Values(BadCase{kExplain, "explain { images { data: 'x' } }", "spec.images",
                              "INVALID_SPEC", "replaces spec.data"},
                      BadCase{kExplain, "explain { target: GIVEN }", "spec.class_index",
                              "INVALID_SPEC", "both or none"},
                      BadCase{kExplain, "explain { explainers { name: 'gradcam' } }",
                              "spec.explainers[0].name", "UNKNOWN_PLUGIN",
                              "did you mean \"grad_cam\""},
                      BadCase{kExplain, "explain { outputs: REPORT }", "spec.outputs[0]",
                              "INVALID_SPEC", "not served"},
                      BadCase{kExplain, "explain { analyses { name: 'epsilon_sweep' } }",
                              "spec.analyses", "INVALID_SPEC", "not served"},
                      BadCase{kExplain, "explain { outputs: LAYERS }", "spec.outputs[0]",
                              "INVALID_SPEC", "interactive"},
                      BadCase{kExplain, "explain { display { colour_map: 'rainbow' } }",
                              "spec.display.colour_map", "INVALID_SPEC", "viridis"},
                      BadCase{kExplain, "explain { contrast_class: 3 }", "spec.contrast_class",
                              "INVALID_SPEC", "CONTRAST"}));

TEST(SpecChecker, AcceptsAndDefaultsTheSmallestSpecs) {
  v1::JobSpec train = Spec(kTrain);
  EXPECT_TRUE(Check(train).empty());
  EXPECT_EQ(train.train().checkpoint().every_steps(), 500);
  EXPECT_EQ(train.train().evaluation().every_epochs(), 1);
  EXPECT_EQ(train.train().val_ratio(), 0.1);
  v1::JobSpec attack = Spec(kAttack);
  EXPECT_TRUE(Check(attack).empty());
  EXPECT_TRUE(attack.attack().cascade());
  EXPECT_EQ(attack.attack().data().split(), "test");
  EXPECT_EQ(attack.attack().attacks(0).threat().clip_max(), 1);
  EXPECT_EQ(attack.attack().attacks(0).attack().params().fields().at("steps").number_value(), 40);
  v1::JobSpec explain = Spec(kExplain);
  EXPECT_TRUE(Check(explain).empty());
  EXPECT_EQ(explain.explain().explainers(0).name(), "grad_cam");
  EXPECT_EQ(explain.explain().outputs_size(), 3);
}

TEST(SpecChecker, LeavesADefaultedSpecAsItIs) {
  for (const char* base : {kTrain, kAttack, kExplain}) {
    v1::JobSpec once = Spec(base);
    EXPECT_TRUE(Check(once).empty());
    v1::JobSpec twice = once;
    for (const Violation& violation : Check(twice))
      ADD_FAILURE() << violation.field << ": " << violation.description;
    EXPECT_EQ(twice.SerializeAsString(), once.SerializeAsString()) << base;
  }
}

TEST(SpecChecker, ReadsEpsilonFromItsText) {
  v1::JobSpec spec = Spec(kAttack,
                          "attack { attacks { attack { name: 'pgd' } threat { norm: LINF "
                          "epsilon_text: '8/255' } } }");
  EXPECT_TRUE(Check(spec).empty());
  EXPECT_EQ(spec.attack().attacks(1).threat().epsilon(), 8.0 / 255.0);
}

TEST(SpecChecker, ListsEveryViolationWithItsPlace) {
  v1::JobSpec spec =
      Spec(kAttack,
           "attack { model { model: 'x' } data { dataset: 'y' begin: -1 } attacks { attack { name: "
           "'nope' } threat { epsilon: -1 } } confidence_level: 2 depth: 'deep' batch_size: -1 }");
  std::vector<std::string> fields;
  for (const Violation& violation : Check(spec)) fields.push_back(violation.field);
  EXPECT_THAT(fields, ::testing::UnorderedElementsAre(
                          "spec.model.model", "spec.data.dataset", "spec.data",
                          "spec.attacks[1].attack.name", "spec.attacks[1].threat.norm",
                          "spec.attacks[1].threat.epsilon", "spec.confidence_level", "spec.depth",
                          "spec.batch_size"));
}

TEST(SpecChecker, ChecksInlineImages) {
  v1::JobSpec spec = Spec("explain { model { model: 'models/net' } }");
  v1::InlineImage& image = *spec.mutable_explain()->add_images();
  image.set_data(std::string(12, 'x'));
  image.mutable_raw_shape()->set_channels(3);
  image.mutable_raw_shape()->set_height(2);
  image.mutable_raw_shape()->set_width(2);
  EXPECT_TRUE(Check(spec).empty());
  image.set_data(std::string(13, 'x'));
  std::vector<Violation> violations = Check(spec);
  ASSERT_EQ(violations.size(), 1u);
  EXPECT_THAT(violations[0].description, HasSubstr("needs 12 (uint8) or 48 (float32)"));
  image.clear_raw_shape();
  image.set_data(std::string((1 << 20) + 1, 'x'));
  violations = Check(spec);
  ASSERT_EQ(violations.size(), 1u);
  EXPECT_THAT(violations[0].description, HasSubstr("Register them as a dataset"));
}

TEST(SpecChecker, ChecksSubmitOptions) {
  const worker::v1::Catalog catalog = testing::TestCatalog();
  SpecChecker checker(catalog);
  v1::SubmitOptions options;
  options.set_request_id("01234567-89ab-1cde-8f01-23456789abcd");  // version 1
  options.set_display_name("-x");
  options.set_priority(101);
  options.mutable_retention()->set_seconds(60);
  (*options.mutable_labels())["key"] = std::string(256, 'v');
  options.mutable_resources()->set_gpus(1);
  checker.CheckOptions(options, /*admin=*/true);
  std::vector<std::string> fields;
  for (const Violation& violation : checker.violations()) fields.push_back(violation.field);
  EXPECT_THAT(fields, ::testing::UnorderedElementsAre("options.request_id", "options.display_name",
                                                      "options.priority", "options.retention",
                                                      "options.labels", "options.resources.gpus"));
}

std::vector<std::string> BadOptions(v1::SubmitOptions options, bool admin = true) {
  const worker::v1::Catalog catalog = testing::TestCatalog();
  SpecChecker checker(catalog);
  checker.CheckOptions(options, admin);
  std::vector<std::string> fields;
  for (const Violation& violation : checker.violations()) fields.push_back(violation.field);
  return fields;
}

TEST(SpecChecker, AcceptsTheWholeRangeOfEveryOption) {
  v1::SubmitOptions options;
  for (const int priority : {-100, 100}) {
    for (const int64_t retention : {int64_t{3600}, int64_t{315360000}}) {
      options.set_priority(priority);
      options.mutable_retention()->set_seconds(retention);
      EXPECT_THAT(BadOptions(options), ::testing::IsEmpty()) << priority << " " << retention;
    }
  }
  options.set_start_paused(true);
  options.set_cache(v1::CACHE_USE);
  options.mutable_resources()->set_host_memory_bytes(int64_t{1} << 30);
  options.mutable_resources()->set_exclusive(true);
  options.mutable_max_run_time()->set_seconds(1);
  options.mutable_queue_timeout()->set_seconds(1);
  options.mutable_retry_policy()->add_classes(v1::DEVICE_FAULT);
  EXPECT_THAT(BadOptions(options), ::testing::IsEmpty());
}

TEST(SpecChecker, RefusesOptionsOutsideTheirRange) {
  using ::testing::ElementsAre;
  v1::SubmitOptions options;
  options.set_priority(-1);
  EXPECT_THAT(BadOptions(options, /*admin=*/false), ElementsAre("options.priority"));
  options.set_priority(-101);
  EXPECT_THAT(BadOptions(options), ElementsAre("options.priority"));
  options.Clear();
  options.mutable_retention()->set_seconds(3599);
  EXPECT_THAT(BadOptions(options), ElementsAre("options.retention"));
  options.mutable_retention()->set_seconds(315360001);
  EXPECT_THAT(BadOptions(options), ElementsAre("options.retention"));
  options.Clear();
  options.mutable_max_run_time()->set_nanos(5);
  options.mutable_queue_timeout()->set_seconds(-1);
  EXPECT_THAT(BadOptions(options), ElementsAre("options.max_run_time", "options.queue_timeout"));
  options.Clear();
  options.mutable_retry_policy()->add_classes(v1::WORKER_LOST);
  options.mutable_retry_policy()->add_classes(v1::WORKER_LOST);
  options.mutable_retry_policy()->add_classes(v1::DATA_ERROR);
  EXPECT_THAT(BadOptions(options),
              ElementsAre("options.retry_policy.classes[1]", "options.retry_policy.classes[2]"));
  options.Clear();
  options.mutable_resources()->set_host_memory_bytes(-1);
  options.mutable_resources()->set_slots(2);
  EXPECT_THAT(BadOptions(options),
              ElementsAre("options.resources.slots", "options.resources.host_memory_bytes"));
}

TEST(SpecChecker, RefusesTextsOfMoreThanFourKibibytesAtAnyDepth) {
  const worker::v1::Catalog catalog = testing::TestCatalog();
  SpecChecker checker(catalog);
  v1::JobSpec spec;
  v1::PluginSpec& attack = *spec.mutable_attack()->add_attacks()->mutable_attack();
  attack.set_name("fgsm");
  (*attack.mutable_params()->mutable_fields())["x"].set_string_value(std::string(4097, 'x'));
  checker.CheckSpec(spec);
  std::vector<std::string> fields;
  for (const Violation& violation : checker.violations()) fields.push_back(violation.field);
  EXPECT_THAT(fields, ::testing::Contains(HasSubstr("spec.attack.attacks[0].attack.params")));
}

}  // namespace
}  // namespace adamant
