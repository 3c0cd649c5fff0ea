// SPDX-License-Identifier: Apache-2.0
// Adding a plug-in takes its own file alone: the toy data set below is registered here and nowhere
// else, and the catalogue, validation and construction know it.
#include "core/base/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "core/data/dataset.h"
#include "core/models/model.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;

class ToyDataset : public Dataset {
 public:
  explicit ToyDataset(int64_t size) { info_.splits = {{"test", size}}; }
  const DatasetInfo& info() const override { return info_; }
  absl::StatusOr<Batch> Read(const std::string&, absl::Span<const int64_t>) const override {
    return Batch{};
  }

 private:
  DatasetInfo info_;
};

const Registration<Dataset> kToy{
    {.name = "toy",
     .summary = "registered by one file",
     .params = {Int("size", 3).Range(1, 9).Doc("samples"), Real("level", 0.5), Bool("on", true),
                Choice("kind", "a", {"a", "b"}), RealList("list", {1, 2})}},
    [](const Params& params, const DataFiles&) -> absl::StatusOr<std::unique_ptr<Dataset>> {
      return std::make_unique<ToyDataset>(params.Int("size"));
    }};

v1::PluginSpec Toy(const std::string& key = "", double value = 0) {
  v1::PluginSpec spec;
  spec.set_name("toy");
  if (!key.empty()) (*spec.mutable_params()->mutable_fields())[key].set_number_value(value);
  return spec;
}

std::string ErrorOf(const v1::PluginSpec& spec) {
  const auto made = MakePlugin<Dataset>(spec, DataFiles{});
  EXPECT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(made.status().message());
}

TEST(Registry, AToyPluginNeedsNoOtherChange) {
  const auto made = MakePlugin<Dataset>(Toy("size", 7), DataFiles{});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(*(*made)->SplitSize("test"), 7);
  const v1::PluginFamily family = Registry<Dataset>::Family();
  const v1::PluginInfo* info = FindPlugin(family, "toy");
  ASSERT_NE(info, nullptr);
  EXPECT_EQ(info->summary(), "registered by one file");
  EXPECT_EQ(info->params_size(), 5);
  EXPECT_EQ(info->params(0).default_value().number_value(), 3);
}

TEST(Registry, FillsDefaults) {
  const auto made = MakePlugin<Dataset>(Toy(), DataFiles{});
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(*(*made)->SplitSize("test"), 3);
}

TEST(Registry, RefusesWhatWasNotDeclared) {
  EXPECT_THAT(ErrorOf(Toy("size", 10)), HasSubstr("size"));
  EXPECT_THAT(ErrorOf(Toy("sise", 3)), HasSubstr("size"));
  EXPECT_THAT(ErrorOf(Toy("size", 2.5)), HasSubstr("size"));
  v1::PluginSpec unknown;
  unknown.set_name("toi");
  EXPECT_THAT(ErrorOf(unknown), HasSubstr("did you mean \"toy\""));
}

// Without whole-archive linking a program keeps none of the registrations, silently.
TEST(Registry, KeepsTheRegistrationsOfTheLibrary) {
  EXPECT_GT(Registry<Model>::All().size(), 0u);
  EXPECT_GT(Registry<Dataset>::All().size(), 1u);
  EXPECT_EQ(Registry<Model>::All().count("mini_gap"), 1u);
}

TEST(RegistryDeathTest, ASecondPluginOfANameAbortsWithBothPlaces) {
  EXPECT_DEATH(Registration<Dataset>({.name = "toy"}, nullptr),
               "\"toy\" is registered twice: .*registry_test.cc:[0-9]+ and .*registry_test.cc");
}

TEST(Params, GivesTypedValuesAndThrowsForUndeclaredOnes) {
  const auto normal = NormalizePluginSpec(Toy(), Registry<Dataset>::Family());
  ASSERT_TRUE(normal.ok());
  const Params params(*normal);
  EXPECT_EQ(params.Int("size"), 3);
  EXPECT_EQ(params.Real("level"), 0.5);
  EXPECT_TRUE(params.Bool("on"));
  EXPECT_EQ(params.Text("kind"), "a");
  EXPECT_THAT(params.RealList("list"), ::testing::ElementsAre(1, 2));
  EXPECT_TRUE(params.Has("kind"));
  EXPECT_FALSE(params.Has("colour"));
  EXPECT_THROW(params.Int("colour"), std::logic_error);
  EXPECT_THROW(params.Text("size"), std::logic_error);
}

}  // namespace
}  // namespace adamant
