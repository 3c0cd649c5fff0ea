// SPDX-License-Identifier: Apache-2.0
// `adamant explain --now`: the answer as files, table and JSON.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/cli/explain_files.h"
#include "tests/client/cli_rig.h"

namespace adamant {
namespace {

using testing::ErrorWith;
using ::testing::HasSubstr;
using ::testing::Not;

class ExplainNow : public Cli {
 protected:
  ExplainNow() {
    image_ = Write("cat.png", "pixels");
    v1::ExplainedImage& image = *server_.jobs.explained.add_images();
    AddTop(image, 7, 0.9375);
    AddTop(image, 2, 0.0625);
    AddMap(image, "conv2");
    server_.jobs.explained.set_compute_seconds(0.5);
    server_.jobs.explained.mutable_explainer()->set_name("grad_cam");
  }

  static void AddTop(v1::ExplainedImage& image, int index, double probability) {
    v1::TopClass& top = *image.add_top();
    top.set_index(index);
    top.set_probability(probability);
  }
  static v1::ExplainMap& AddMap(v1::ExplainedImage& image, const std::string& layer) {
    v1::ExplainMap& map = *image.add_maps();
    map.set_layer(layer);
    map.set_target_class(7);
    map.set_overlay_png("picture of " + layer);
    return map;
  }
  int Now(std::vector<std::string> more) {
    more.insert(more.begin(), {"explain", image_, "--model", "net", "--now"});
    return Run(more);
  }

  std::string image_;
};

TEST_F(ExplainNow, WritesTheOverlayAndPrintsClassProbabilityAndTimes) {
  EXPECT_EQ(Now({"--out", Path("maps"), "--explainer", "grad_cam"}), 0) << err_.str();
  const v1::ExplainSpec& spec = server_.jobs.explain_now.spec();
  EXPECT_EQ(spec.model().model(), "models/net");
  EXPECT_EQ(spec.images(0).data(), "pixels");
  EXPECT_EQ(spec.explainers(0).name(), "grad_cam");
  EXPECT_THAT(spec.outputs(), ::testing::ElementsAre(v1::OVERLAY_PNG, v1::TOP_CLASSES));
  EXPECT_EQ(*ReadFile(Path("maps/cat.overlay.png")), "picture of conv2");
  EXPECT_THAT(out_.str(), HasSubstr("IMAGE    CLASS  PROBABILITY       NEXT\n"
                                    "cat.png      7      93.75 %  2: 6.25 %\n"));
  EXPECT_THAT(out_.str(), HasSubstr(Path("maps/cat.overlay.png")));
  EXPECT_THAT(out_.str(), HasSubstr("500 computing"));
  EXPECT_THAT(server_.jobs.verbs, ::testing::IsEmpty());
}

TEST_F(ExplainNow, PutsTheOnlyPictureIntoTheFileThatIsNamed) {
  EXPECT_EQ(Now({"--out", Path("map.png")}), 0) << err_.str();
  EXPECT_EQ(*ReadFile(Path("map.png")), "picture of conv2");
  EXPECT_EQ(Now({"--out", Path("map.png")}), 1);
  EXPECT_THAT(err_.str(), HasSubstr("--force"));
  EXPECT_EQ(Now({"--out", Path("map.png"), "--force"}), 0) << err_.str();
  EXPECT_EQ(Now({"--out", Path("map.npy")}), 2);
  AddMap(*server_.jobs.explained.mutable_images(0), "conv1");
  EXPECT_EQ(Now({"--out", Path("map.png"), "--force"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("the answer has 2 files"));
}

TEST_F(ExplainNow, NamesFilesAfterLayerAndVariantWhereTheyDiffer) {
  v1::ExplainedImage& image = *server_.jobs.explained.mutable_images(0);
  AddMap(image, "conv2");
  AddMap(image, "block/conv1");
  AddMap(image, "block/conv1");
  EXPECT_EQ(Now({"--out", Path("m"), "--attack", "pgd", "--epsilon", "0.3", "-o", "name"}), 0)
      << err_.str();
  EXPECT_THAT(Lines(out_.str()), ::testing::ElementsAre(Path("m/cat.conv2.overlay.png"),
                                                        Path("m/cat.conv2.adv.overlay.png"),
                                                        Path("m/cat.block_conv1.overlay.png"),
                                                        Path("m/cat.block_conv1.adv.overlay.png")));
}

TEST_F(ExplainNow, TellsImagesOfTheSameNameApart) {
  std::filesystem::create_directories(Path("other"));
  const std::string second = Write("other/cat.png", "other pixels");
  *server_.jobs.explained.add_images() = server_.jobs.explained.images(0);
  EXPECT_EQ(Now({second, "--out", Path("m"), "-o", "name"}), 0) << err_.str();
  EXPECT_THAT(Lines(out_.str()),
              ::testing::ElementsAre(Path("m/cat.overlay.png"), Path("m/cat-2.overlay.png")));
}

TEST_F(ExplainNow, GivesJsonWithoutBytesAndALinePerImage) {
  EXPECT_EQ(Now({"--out", Path("m"), "-o", "json"}), 0) << err_.str();
  const auto data = Json(out_.str()).fields().at("data").struct_value().fields();
  EXPECT_EQ(data.at("compute_seconds").number_value(), 0.5);
  const auto image = data.at("images").list_value().values(0).struct_value().fields();
  EXPECT_EQ(image.at("name").string_value(), "cat.png");
  EXPECT_EQ(
      image.at("top").list_value().values(0).struct_value().fields().at("index").number_value(), 7);
  const auto map = image.at("maps").list_value().values(0).struct_value().fields();
  EXPECT_EQ(map.at("variant").string_value(), "clean");
  EXPECT_EQ(map.at("overlay_file").string_value(), Path("m/cat.overlay.png"));
  EXPECT_THAT(out_.str(), Not(HasSubstr("overlay_png")));
  EXPECT_EQ(Now({"-o", "jsonl"}), 0) << err_.str();
  ASSERT_EQ(Lines(out_.str()).size(), 2u);
  EXPECT_EQ(Json(Lines(out_.str())[0]).fields().at("name").string_value(), "cat.png");
  EXPECT_TRUE(Json(Lines(out_.str())[1]).fields().at("terminal").bool_value());
}

TEST_F(ExplainNow, RefusesWhatBelongsToJobs) {
  for (const std::vector<std::string>& more : {std::vector<std::string>{"--wait"},
                                               {"--priority", "3"},
                                               {"--samples", "2"},
                                               {"--analysis", "x"},
                                               {"--explainer", "cam", "--explainer", "grad_cam"},
                                               {"--outputs", "raw_map"},
                                               {"--timeout", "2m"}}) {
    EXPECT_EQ(Now(more), 2) << more[0];
    EXPECT_THAT(err_.str(), HasSubstr(more[0])) << more[0];
  }
  EXPECT_EQ(server_.jobs.explains, 0);
}

TEST_F(ExplainNow, TakesMoreThanAJobDoesAndSaysTheLimit) {
  image_ = Write("large.png", std::string((1 << 20) + 1, 'x'));
  EXPECT_EQ(Now({}), 0) << err_.str();
  EXPECT_EQ(Run({"explain", image_, "--model", "net"}), 2);
  image_ = Write("larger.png", std::string((4 << 20) + 1, 'x'));
  EXPECT_EQ(Now({}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("4.0 MiB"));
}

TEST_F(ExplainNow, SaysWhatToDoWhenNoSlotIsFree) {
  server_.jobs.explain_status =
      ErrorWith(grpc::RESOURCE_EXHAUSTED, "every slot is busy", "NO_INTERACTIVE_SLOT");
  EXPECT_EQ(Now({}), 5);
  EXPECT_THAT(err_.str(), HasSubstr("without --now"));
}

// Read by hand: magic, version 1.0, 118 bytes of header, so that the values begin at 128.
TEST(NpyBytes, StartsItsValuesAtAMultipleOf64) {
  const std::string bytes = NpyBytes(1, 2, "12345678");
  ASSERT_EQ(bytes.size(), 128u + 8);
  EXPECT_EQ(bytes.substr(0, 10), std::string("\x93NUMPY\x01\x00\x76\x00", 10));
  EXPECT_THAT(bytes.substr(10),
              ::testing::StartsWith("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }"));
  EXPECT_EQ(bytes.substr(127), "\n12345678");
}

}  // namespace
}  // namespace adamant
