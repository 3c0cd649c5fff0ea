// SPDX-License-Identifier: Apache-2.0
// The reference checkpoints give their reference numbers, in both formats, and every file of `bad`
// is refused with its cause.
#include "tests/support/torch/reference.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/match.h"
#include "core/base/torch.h"
#include "core/models/model_file.h"
#include "tests/support/test_data.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;

constexpr ModelShape kMnistShape{1, 28, 28, 10};

absl::StatusOr<std::unique_ptr<Model>> Open(const std::string& file, const ModelShape& shape) {
  const auto view = FileView::Open(testing::TestDataFolder() + "/checkpoints/" + file);
  if (!view.ok()) return view.status();
  ModelInput input;
  input.file = *view;
  input.shape = shape;
  return OpenModel(input);
}

// golden_logits_first_8.float32 of one checkpoint in index.json.
at::Tensor GoldenLogits(const std::string& name) {
  const auto json = ReadFile(testing::TestDataFolder() + "/checkpoints/index.json");
  google::protobuf::Struct index;
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(*json, &index).ok());
  at::Tensor logits = torch::zeros({8, 10});
  for (const auto& value : index.fields().at("checkpoints").list_value().values()) {
    const auto& checkpoint = value.struct_value().fields();
    if (checkpoint.at("name").string_value() != name) continue;
    const auto& rows = checkpoint.at("golden_logits_first_8").struct_value().fields().at("float32");
    for (int i = 0; i < 8; ++i) {
      for (int k = 0; k < 10; ++k) {
        logits[i][k] = rows.list_value().values(i).list_value().values(k).number_value();
      }
    }
  }
  return logits;
}

int64_t CorrectOf(const Model& model, const Batch& batch) {
  const torch::NoGradGuard no_grad;
  int64_t correct = 0;
  for (int64_t begin = 0; begin < batch.size(); begin += 250) {
    const at::Tensor logits = model.Logits(batch.images.slice(0, begin, begin + 250));
    correct += logits.argmax(1).eq(batch.labels.slice(0, begin, begin + 250)).sum().item<int64_t>();
  }
  return correct;
}

struct Reference {
  const char* name;
  std::vector<const char*> programs;
  int64_t parameters;
  int64_t correct_1000;
  int64_t correct_10000;
};

const Reference kReferences[] = {
    {"mnist_lenet5_adv", {"mnist_lenet5_adv.scripted.pt"}, 648226, 982, 9864},
    {"mnist_lenet5_cln", {"mnist_lenet5_cln.scripted.pt"}, 648226, 984, 9889},
    {"mnist_convex", {"mnist_convex.scripted.pt", "mnist_convex.traced.pt"}, 166406, 982, 9820},
};

TEST(ReferenceCheckpoints, GiveTheGoldenLogitsInBothFormats) {
  REQUIRE_TEST_DATA();
  const torch::NoGradGuard no_grad;
  const Batch batch = testing::MnistTestBatch(8);
  for (const Reference& reference : kReferences) {
    SCOPED_TRACE(reference.name);
    const at::Tensor golden = GoldenLogits(reference.name);
    ASSERT_GT(golden.abs().max().item<double>(), 1);
    const auto model = testing::ReferenceModel(reference.name);
    EXPECT_EQ(model->info().parameter_count, reference.parameters);
    EXPECT_LE((model->Logits(batch.images) - golden).abs().max().item<double>(), 1e-4);
    for (const char* file : reference.programs) {
      const auto program = Open(file, kMnistShape);
      ASSERT_TRUE(program.ok()) << file << ": " << program.status();
      EXPECT_LE(((*program)->Logits(batch.images) - golden).abs().max().item<double>(), 1e-4);
    }
  }
}

TEST(ReferenceCheckpoints, ClassifyExactlyAsManyImagesRightAsMeasured) {
  REQUIRE_TEST_DATA();
  const Batch batch = testing::MnistTestBatch(1000);
  for (const Reference& reference : kReferences) {
    EXPECT_EQ(CorrectOf(*testing::ReferenceModel(reference.name), batch), reference.correct_1000)
        << reference.name;
  }
}

TEST(ReferenceCheckpoints, ClassifyAll10000ImagesAsMeasuredSlow) {
  REQUIRE_TEST_DATA();
  const Batch batch = testing::MnistTestBatch(10000);
  for (const Reference& reference : kReferences) {
    EXPECT_EQ(CorrectOf(*testing::ReferenceModel(reference.name), batch), reference.correct_10000)
        << reference.name;
  }
}

TEST(TorchScript, IsForEvaluationOnly) {
  REQUIRE_TEST_DATA();
  const auto model = Open("mnist_convex.scripted.pt", kMnistShape);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->info().format, v1::TORCHSCRIPT);
  EXPECT_EQ((*model)->info().parameter_count, 166406);
  EXPECT_FALSE((*model)->info().trainable);
  EXPECT_THROW((*model)->Train(true), std::logic_error);
  EXPECT_TRUE((*model)->Parameters().empty());
  EXPECT_ANY_THROW(SerializeModel(**model));
}

TEST(TorchScript, IsProbedAgainstTheDeclaredShape) {
  REQUIRE_TEST_DATA();
  const auto classes = Open("mnist_convex.scripted.pt", {1, 28, 28, 7});
  EXPECT_THAT(std::string(classes.status().message()), HasSubstr("[1, 10], expected [1, 7]"));
  const auto size = Open("mnist_convex.scripted.pt", {1, 32, 32, 10});
  EXPECT_EQ(size.status().code(), absl::StatusCode::kInvalidArgument);
  const auto nothing = Open("mnist_convex.scripted.pt", {});
  EXPECT_THAT(std::string(nothing.status().message()), HasSubstr("needs its input shape"));
}

TEST(ModelFile, AFileWithoutMetadataNeedsItsArchitectureNamed) {
  REQUIRE_TEST_DATA();
  const auto unnamed = Open("mnist_convex.safetensors", {});
  EXPECT_THAT(std::string(unnamed.status().message()), HasSubstr("name its architecture"));
}

TEST(ModelFile, TheWrongKindListsTheTensorsThatDoNotFit) {
  REQUIRE_TEST_DATA();
  ModelInput input;
  input.file = *FileView::Open(testing::TestDataFolder() + "/checkpoints/mnist_convex.safetensors");
  input.architecture.set_name("mnist_cnn");
  const auto wrong = OpenModel(input);
  EXPECT_EQ(wrong.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(wrong.status().message()), HasSubstr("ST-11 ARCH_MISMATCH"));
  EXPECT_THAT(std::string(wrong.status().message()),
              HasSubstr("different conv1.weight Float[16,1,4,4], expected Float[32,1,3,3]"));
}

TEST(BadUploads, AreRefusedWithTheirCause) {
  REQUIRE_TEST_DATA();
  const struct {
    const char* file;
    const char* cause;
  } kCases[] = {
      {"torchscript_truncated.pt", "not a readable model file (truncated archive)"},
      {"safetensors_header_longer_than_file.safetensors", "header length exceeds the file"},
      {"safetensors_header_length_max.safetensors", "header length exceeds the file"},
      {"safetensors_data_beyond_file.safetensors", "tensor fc.weight lies outside the file"},
      {"safetensors_overlapping_offsets.safetensors", "tensors fc.bias and fc.weight overlap"},
      {"safetensors_wrong_dtype.safetensors", "unknown dtype F33 of tensor fc.weight"},
      {"safetensors_shape_overflow.safetensors", "shape of fc.weight does not match its data size"},
      {"pickle_plain.pt", "pickle files are not accepted; upload TorchScript or safetensors"},
      {"pickle_state_dict_zip.pt", "pickle / state dict, not TorchScript"},
      {"empty.pt", "the file is empty"},
      {"zip_not_torchscript.pt", "zip archive without TorchScript content"},
  };
  for (const auto& c : kCases) {
    const auto model = Open(std::string("bad/") + c.file, kMnistShape);
    EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument) << c.file;
    EXPECT_THAT(std::string(model.status().message()), HasSubstr(c.cause)) << c.file;
  }
  EXPECT_FALSE(std::filesystem::exists("PICKLE_WAS_EXECUTED"));
}

}  // namespace
}  // namespace adamant
