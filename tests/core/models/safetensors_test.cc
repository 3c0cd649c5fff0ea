// SPDX-License-Identifier: Apache-2.0
#include "core/models/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "core/base/torch.h"
#include "core/models/model_file.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;

std::string WithLength(const std::string& header, size_t data_bytes) {
  std::string out;
  for (size_t i = 0; i < 8; ++i) out.push_back(static_cast<char>(header.size() >> (8 * i) & 0xFF));
  return out + header + std::string(data_bytes, '\0');
}

std::string ErrorOf(const std::string& header, size_t data_bytes) {
  const auto parsed = ParseSafetensors(FileView::Own(WithLength(header, data_bytes)));
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument) << header;
  return std::string(parsed.status().message());
}

std::string Entry(const std::string& name, const std::string& rest) {
  return "\"" + name + "\":{" + rest + "}";
}

constexpr char kFloat[] = R"("dtype":"F32","shape":[1],"data_offsets":[0,4])";

TEST(Safetensors, RoundTripsTensorsAndMetadataBitForBit) {
  const std::map<std::string, at::Tensor> tensors = {
      {"b", torch::tensor({1.5f, -0.0f, std::numeric_limits<float>::quiet_NaN()})},
      {"a", torch::tensor({1, 2, 3, 4}, at::kLong).reshape({2, 2})},
      {"c.half", torch::tensor({0.5}, at::kDouble).to(at::kHalf)},
      {"flag", torch::tensor({true, false, true})},
      {"none", torch::zeros({0, 3})},
      {"scalar", torch::tensor(7.0, at::kDouble)}};
  const std::map<std::string, std::string> metadata = {{"adamant.params", "{\"a\":\"\\u00e9\n\"}"},
                                                       {"k\xC3\xA9y", "line\ttab"}};
  const std::string bytes = WriteSafetensors(tensors, metadata);
  EXPECT_EQ(bytes, WriteSafetensors(tensors, metadata));
  const auto read = ParseSafetensors(FileView::Own(bytes));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->metadata, metadata);
  ASSERT_EQ(read->tensors.size(), tensors.size());
  EXPECT_EQ(WriteSafetensors(read->tensors, read->metadata), bytes);
  EXPECT_EQ(read->tensors.at("scalar").dim(), 0);
  EXPECT_TRUE(read->tensors.at("a").equal(tensors.at("a")));
}

TEST(Safetensors, AcceptsTensorsInAnyOrderAndTrailingSpaces) {
  const std::string header = "{" + Entry("b", R"("dtype":"U8","shape":[2],"data_offsets":[4,6])") +
                             " ,\n" + Entry("a", kFloat) + "}   ";
  const auto read = ParseSafetensors(FileView::Own(WithLength(header, 6)));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->tensors.size(), 2u);
}

TEST(Safetensors, TensorsOutliveTheParsedObject) {
  at::Tensor view;
  {
    auto read = ParseSafetensors(
        FileView::Own(WriteSafetensors({{"a", torch::arange(1000).to(at::kFloat)}}, {})));
    view = read->tensors.at("a");
  }
  EXPECT_EQ(view.sum().item<float>(), 499500);
}

// One row per way to break a rule of reliability.md 3.1.
TEST(Safetensors, RefusesEachBrokenRuleByItsId) {
  const std::string good = Entry("a", kFloat);
  std::string many = "{";
  for (int i = 0; i <= 4096; ++i) {
    many += (i > 0 ? "," : "") +
            Entry("t" + std::to_string(i), R"("dtype":"F32","shape":[0],"data_offsets":[0,0])");
  }
  const struct {
    std::string header;
    size_t data;
    const char* error;
  } kCases[] = {
      {"{", 0, "ST-01"},
      {"[]", 4, "ST-02"},
      {" {" + good + "}", 4, "ST-02"},
      {"{" + good + "}\n", 4, "ST-02"},
      {"{" + good + "}{}", 4, "ST-02"},
      {"{\"\xC3\x28\":1}", 4, "ST-02"},
      {"{\"\xED\xA0\x80\":1}", 4, "ST-02"},
      {"{" + good, 4, "ST-03"},
      {"{" + good + ",}", 4, "ST-03"},
      {"{\"a\":[1]}", 4, "ST-03"},
      {"{" + Entry("a", R"("dtype":"F32","shape":[1],"offsets":[0,4])") + "}", 4, "unknown key"},
      {"{" + Entry("a", R"("dtype":"F32","shape":[1])") + "}", 4, "ST-03"},
      {"{" + Entry("a", R"("dtype":"F32","shape":[1],"data_offsets":[4])") + "}", 4, "ST-03"},
      {R"({"__metadata__":{"k":1},)" + good + "}", 4, "ST-03"},
      {R"({"__metadata__":{"k":"\ud800"},)" + good + "}", 4, "ST-03"},
      {"{" + Entry("a/b", kFloat) + "}", 4, "ST-04"},
      {"{" + Entry("", kFloat) + "}", 4, "ST-04"},
      {"{" + Entry("\\u0061", kFloat) + "}", 4, "ST-04"},
      {"{" + Entry(std::string(129, 'a'), kFloat) + "}", 4, "ST-04"},
      {"{" + good + "," + good + "}", 4, "ST-05"},
      {R"({"__metadata__":{"k":"1","k":"2"},)" + good + "}", 4, "ST-05"},
      {R"({"__metadata__":{},"__metadata__":{},)" + good + "}", 4, "ST-05"},
      {"{" + Entry("a", R"("dtype":"F32","dtype":"F32","shape":[1])") + "}", 4, "ST-05"},
      {"{" + Entry("a", R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])") + "}", 4, "ST-06"},
      {"{" + Entry("a", R"("dtype":"F32","shape":[01],"data_offsets":[0,4])") + "}", 4, "ST-06"},
      {"{" + Entry("a", R"("dtype":"F32","shape":[1.0],"data_offsets":[0,4])") + "}", 4, "ST-06"},
      {"{" + Entry("a", R"("dtype":"F32","shape":[1],"data_offsets":[0,9223372036854775808])") +
           "}",
       4, "ST-06"},
      {"{}", 0, "ST-07"},
      {many + "}", 0, "ST-07"},
      {"{" + Entry("a", R"("dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4])") + "}",
       4, "ST-07"},
      {R"({"__metadata__":{"k":")" + std::string(17000, 'x') + "\"}," + good + "}", 4, "ST-07"},
      {"{" + Entry("a", R"("dtype":"I8","shape":[4],"data_offsets":[0,4])") + "}", 4, "ST-08"},
      {"{" + Entry("a", R"("dtype":"F32","shape":[2],"data_offsets":[0,4])") + "}", 4, "ST-09"},
      {"{" + Entry("a", R"("dtype":"F32","shape":[1],"data_offsets":[4,0])") + "}", 4, "ST-09"},
      {"{" + Entry("a", R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0])") +
           "}",
       4, "ST-09"},
      {"{" + good + "}", 5, "trailing bytes"},
      {"{" + good + "}", 3, "lies outside the file"},
      {"{" + Entry("a", R"("dtype":"F32","shape":[1],"data_offsets":[2,6])") + "}", 6,
       "unused bytes before tensor a"},
      {"{" + good + "," + Entry("b", R"("dtype":"F32","shape":[1],"data_offsets":[2,6])") + "}", 6,
       "tensors a and b overlap"},
  };
  for (const auto& c : kCases) {
    EXPECT_THAT(ErrorOf(c.header, c.data), HasSubstr(c.error)) << c.header.substr(0, 200);
  }
}

TEST(Safetensors, RefusesBooleansThatAreNeitherZeroNorOne) {
  std::string bytes = WriteSafetensors({{"a", torch::tensor({true, true})}}, {});
  bytes.back() = 2;
  const auto parsed = ParseSafetensors(FileView::Own(bytes));
  EXPECT_THAT(std::string(parsed.status().message()), HasSubstr("ST-12 BAD_VALUE"));
}

class ModelFileTest : public ::testing::Test {
 protected:
  ModelFileTest() {
    v1::PluginSpec spec;
    spec.set_name("mini_gap");
    (*spec.mutable_params()->mutable_fields())["width"].set_number_value(4);
    model_ = *MakePlugin<Model>(spec, ModelShape{1, 12, 12, 3}, uint64_t{5});
  }

  static ModelInput Input(std::string bytes) {
    ModelInput input;
    input.file = FileView::Own(std::move(bytes));
    return input;
  }

  // The model's file after `change` of its tensors and metadata.
  template <class Change>
  std::string Changed(Change change) const {
    Safetensors file = *ParseSafetensors(FileView::Own(SerializeModel(*model_)));
    change(file.tensors, file.metadata);
    return WriteSafetensors(file.tensors, file.metadata);
  }

  static std::string ErrorOf(const ModelInput& input) {
    const auto model = OpenModel(input);
    EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(model.status().message());
  }

  std::unique_ptr<Model> model_;
};

TEST_F(ModelFileTest, CarriesTheMetadataThatDescribesIt) {
  const auto file =
      ParseSafetensors(FileView::Own(SerializeModel(*model_, {{"adamant.objective", "standard"}})));
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->metadata.at("adamant.format"), "1");
  EXPECT_EQ(file->metadata.at("adamant.architecture"), "mini_gap");
  EXPECT_EQ(file->metadata.at("adamant.params"),
            R"({"normaliser":"channel","normaliser_mean":[0.3],"normaliser_std":[0.3],"width":4})");
  EXPECT_EQ(file->metadata.at("adamant.classes"), "3");
  EXPECT_EQ(file->metadata.at("adamant.input"), "1,12,12");
  EXPECT_EQ(file->metadata.at("adamant.normaliser"), "channel(0.3/0.3)");
  EXPECT_EQ(file->metadata.at("adamant.objective"), "standard");
}

TEST_F(ModelFileTest, ARequestThatContradictsTheMetadataIsRefused) {
  const std::string bytes = SerializeModel(*model_);
  ModelInput same = Input(bytes);
  same.architecture.set_name("mini_gap");
  same.shape = {1, 12, 12, 3};
  EXPECT_TRUE(OpenModel(same).ok());
  ModelInput other = same;
  other.architecture.set_name("lenet");
  EXPECT_THAT(ErrorOf(other), HasSubstr("architecture = lenet, the file says mini_gap"));
  ModelInput width = same;
  (*width.architecture.mutable_params()->mutable_fields())["width"].set_number_value(8);
  EXPECT_THAT(ErrorOf(width), HasSubstr("width = 8, the file says 4"));
  ModelInput unknown = same;
  (*unknown.architecture.mutable_params()->mutable_fields())["depth"].set_number_value(8);
  EXPECT_THAT(ErrorOf(unknown), HasSubstr("depth"));
  ModelInput classes = same;
  classes.shape.num_classes = 10;
  EXPECT_THAT(ErrorOf(classes), HasSubstr("classes = 10, the file says 3"));
  const auto normaliser =
      Changed([](auto&, auto& metadata) { metadata["adamant.normaliser"] = "identity"; });
  EXPECT_THAT(ErrorOf(Input(normaliser)), HasSubstr("adamant.normaliser"));
}

TEST_F(ModelFileTest, WithoutMetadataTheClassesComeFromTheLastLayer) {
  ModelInput input = Input(Changed([](auto&, auto& metadata) { metadata.clear(); }));
  input.architecture = model_->info().architecture;
  input.shape = {1, 12, 12, 0};
  const auto opened = OpenModel(input);
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ((*opened)->info().shape.num_classes, 3);
}

TEST_F(ModelFileTest, ListsTheTensorsThatDoNotFit) {
  const std::string bytes = Changed([](auto& tensors, auto&) {
    tensors.erase("fc.bias");
    tensors["fc.extra"] = torch::zeros({1});
    tensors["conv1.weight"] = torch::zeros({4, 1, 5, 5});
    tensors["bn1.weight"] = torch::zeros({4}, at::kLong);
  });
  const std::string error = ErrorOf(Input(bytes));
  EXPECT_THAT(error, HasSubstr("ST-11 ARCH_MISMATCH: 4 tensors"));
  EXPECT_THAT(error, HasSubstr("missing fc.bias Float[3]"));
  EXPECT_THAT(error, HasSubstr("extra fc.extra Float[1]"));
  EXPECT_THAT(error, HasSubstr("different conv1.weight Float[4,1,5,5], expected Float[4,1,3,3]"));
  EXPECT_THAT(error, HasSubstr("different bn1.weight Long[4]"));
}

TEST_F(ModelFileTest, TensorsOfAnObjectiveNeedTheObjectiveNamed) {
  const auto add = [](auto& tensors, auto&) {
    tensors["objective.centres"] = torch::zeros({3, 2});
  };
  EXPECT_THAT(ErrorOf(Input(Changed(add))), HasSubstr("extra objective.centres"));
  const std::string named = Changed([&](auto& tensors, auto& metadata) {
    add(tensors, metadata);
    metadata["adamant.objective"] = "pcl";
  });
  EXPECT_TRUE(OpenModel(Input(named)).ok());
}

TEST_F(ModelFileTest, WidensHalfPrecisionWeights) {
  const std::string bytes = Changed([](auto& tensors, auto&) {
    tensors["fc.weight"] = torch::full({3, 16}, 0.5, at::kFloat).to(at::kHalf);
    tensors["fc.bias"] = torch::full({3}, 0.25, at::kFloat).to(at::kBFloat16);
  });
  const auto opened = OpenModel(Input(bytes));
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_TRUE((*opened)->GapHead().first.equal(torch::full({3, 16}, 0.5f)));
  EXPECT_TRUE((*opened)->GapHead().second.equal(torch::full({3}, 0.25f)));
}

TEST_F(ModelFileTest, CountsNonFiniteWeightsAndRefusesThemUnlessAllowed) {
  const std::string bytes = Changed([](auto& tensors, auto&) {
    tensors["fc.bias"] = torch::tensor(
        {1.0f, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()});
  });
  EXPECT_THAT(ErrorOf(Input(bytes)), HasSubstr("ST-13 NON_FINITE: 2 weights"));
  ModelInput allowed = Input(bytes);
  allowed.allow_nonfinite = true;
  EXPECT_TRUE(OpenModel(allowed).ok());
}

}  // namespace
}  // namespace adamant
