// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/sha256.h"
#include "core/base/torch.h"
#include "core/data/image_file.h"
#include "tests/core/data/files.h"
#include "tests/support/test_data.h"
#include "tests/support/torch/reference.h"

namespace adamant {
namespace {

using testing::CifarRecord;
using ::testing::ElementsAre;
using testing::File;
using ::testing::HasSubstr;
using testing::IdxBytes;
using testing::SmallMnist;
using testing::TarBytes;
using testing::TarItem;

v1::PluginSpec Reader(const std::string& name) {
  v1::PluginSpec spec;
  spec.set_name(name);
  return spec;
}

v1::PluginSpec Folder(const std::string& resize, int height = 0, int width = 0) {
  v1::PluginSpec spec = Reader("image_folder");
  auto& fields = *spec.mutable_params()->mutable_fields();
  fields["resize"].set_string_value(resize);
  fields["height"].set_number_value(height);
  fields["width"].set_number_value(width);
  return spec;
}

std::unique_ptr<Dataset> Open(const v1::PluginSpec& spec, const DataFiles& files) {
  auto made = MakePlugin<Dataset>(spec, files);
  EXPECT_TRUE(made.ok()) << made.status();
  return made.ok() ? *std::move(made) : nullptr;
}

std::string ErrorOf(const v1::PluginSpec& spec, const DataFiles& files) {
  const auto made = MakePlugin<Dataset>(spec, files);
  EXPECT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(made.status().message());
}

// A picture of one colour.
std::string Png(int64_t height, int64_t width, uint8_t red, uint8_t green, uint8_t blue) {
  PixelImage image{width, height, 3, {}};
  for (int64_t i = 0; i < height * width; ++i) {
    image.pixels.insert(image.pixels.end(), {red, green, blue});
  }
  return EncodePng(image);
}

std::string GreyPng(int64_t side, uint8_t value) {
  return EncodePng({side, side, 1, std::vector<uint8_t>(static_cast<size_t>(side * side), value)});
}

DataFiles Tar(const std::vector<TarItem>& items) { return {File("data.tar", TarBytes(items))}; }

DataFiles SmallFolder(const std::string& root = "") {
  return Tar({{root + "train/b/2.png", Png(4, 6, 0, 0, 255)},
              {root + "train/b/1.png", Png(4, 6, 0, 255, 0)},
              {root + "train/a/z.png", Png(4, 6, 255, 0, 0)},
              {root + "test/b/x.PNG", Png(4, 6, 51, 102, 153)}});
}

// Every reader, over what it reads.
struct ReaderCase {
  std::string name;
  v1::PluginSpec spec;
  DataFiles files;
};

std::vector<ReaderCase> AllReaders() {
  return {
      {"shapes", Reader("shapes"), {}},
      {"mnist", Reader("mnist"), SmallMnist("train")},
      {"fashion_mnist", Reader("fashion_mnist"), SmallMnist("t10k")},
      {"cifar10",
       Reader("cifar10"),
       {File("data_batch_2.bin", CifarRecord(3, 1, 2, 3) + CifarRecord(0, 4, 5, 6))}},
      {"image_folder", Folder("none"), SmallFolder()},
  };
}

class DatasetConformance : public ::testing::TestWithParam<ReaderCase> {};

TEST(DatasetConformance, CoversEveryRegisteredReader) {
  std::set<std::string> covered;
  for (const ReaderCase& c : AllReaders()) covered.insert(c.name);
  for (const auto& [name, entry] : Registry<Dataset>::All()) {
    EXPECT_EQ(covered.count(name), 1u) << name << " has no case in AllReaders";
  }
}

TEST_P(DatasetConformance, GivesImagesInTheUnitRangeWithTheirLabelsInAnyOrder) {
  const auto data = Open(GetParam().spec, GetParam().files);
  ASSERT_NE(data, nullptr);
  const DatasetInfo& info = data->info();
  EXPECT_EQ(info.class_names.size(), static_cast<size_t>(info.num_classes));
  EXPECT_EQ(info.digest.size(), 64u);
  EXPECT_NE(info.summary, "");
  ASSERT_FALSE(info.splits.empty());
  for (const auto& [split, size] : info.splits) {
    EXPECT_EQ(*data->SplitSize(split), size);
    const std::vector<int64_t> ids{size - 1, 0};
    const auto batch = data->Read(split, ids);
    ASSERT_TRUE(batch.ok()) << batch.status();
    EXPECT_EQ(batch->images.sizes(), (at::IntArrayRef{2, info.channels, info.height, info.width}));
    EXPECT_EQ(batch->images.scalar_type(), at::kFloat);
    EXPECT_TRUE(batch->images.ge(0).logical_and(batch->images.le(1)).all().item<bool>());
    EXPECT_TRUE(
        batch->labels.ge(0).logical_and(batch->labels.lt(info.num_classes)).all().item<bool>());
    EXPECT_TRUE(batch->ids.equal(torch::tensor(ids)));
    const auto last = data->Read(split, std::vector<int64_t>{size - 1});
    EXPECT_TRUE(last->images[0].equal(batch->images[0]));
    EXPECT_TRUE(last->labels[0].equal(batch->labels[0]));
  }
  EXPECT_TRUE(data->CheckSamples().ok());
}

TEST_P(DatasetConformance, OpensAgainWithTheSameDigestAndNamesItsSplits) {
  const auto one = Open(GetParam().spec, GetParam().files);
  const auto other = Open(GetParam().spec, GetParam().files);
  EXPECT_EQ(one->info().digest, other->info().digest);
  const auto unknown = one->Read("nowhere", std::vector<int64_t>{0});
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(unknown.status().message()), HasSubstr("unknown split"));
}

INSTANTIATE_TEST_SUITE_P(All, DatasetConformance, ::testing::ValuesIn(AllReaders()),
                         [](const auto& info) { return info.param.name; });

TEST(Mnist, ReadsPixelsAndLabelsByPosition) {
  const auto data = Open(Reader("mnist"), SmallMnist("t10k"));
  EXPECT_THAT(data->info().splits, ElementsAre(std::pair<std::string, int64_t>("test", 3)));
  EXPECT_EQ(data->info().summary, "3 test");
  const auto batch = data->Read("test", std::vector<int64_t>{2, 1});
  EXPECT_TRUE(batch->labels.equal(torch::tensor({4, 9}, at::kLong)));
  EXPECT_TRUE(
      batch->images[0].flatten().equal(torch::tensor({32, 33, 34, 35}).to(at::kFloat) / 255));
}

TEST(Mnist, AcceptsDotsInFileNames) {
  DataFiles files = SmallMnist("train");
  files[0].name = "train-images.idx3-ubyte";
  files[1].name = "train-labels.idx1-ubyte";
  EXPECT_NE(Open(Reader("mnist"), files), nullptr);
}

TEST(Mnist, RefusesWhatIsNotIdx) {
  const DataFiles good = SmallMnist("train");
  const std::string image_name = good[0].name, label_name = good[1].name;
  const std::string pixels(12, 'p');
  const struct {
    DataFiles files;
    std::string error;
  } kCases[] = {
      {{}, "no files"},
      {{good[0]}, "missing train-labels-idx1-ubyte"},
      {{good[1]}, "missing train-images-idx3-ubyte"},
      {{good[0], good[1], good[1]}, "given twice"},
      {{good[0], good[1], File("readme", "x")}, "unknown file readme"},
      {{File(image_name, "\x1f\x8b\x08"), good[1]}, "decompressed"},
      {{File(image_name, IdxBytes({3, 4}, pixels)), good[1]},
       "bad magic 00000802, expected 00000803"},
      {{File(image_name, "abc"), good[1]}, "size mismatch (expected at least 16, got 3)"},
      {{File(image_name, IdxBytes({3, 2, 2}, pixels + "x")), good[1]},
       "trailing bytes: size mismatch (expected 28, got 29)"},
      {{File(image_name, IdxBytes({4, 2, 2}, pixels)), good[1]},
       "size mismatch (expected 32, got 28)"},
      {{File(image_name, IdxBytes({4294967295, 4294967295, 4294967295}, pixels)), good[1]},
       "size mismatch"},
      {{File(image_name, IdxBytes({3, 0, 2}, pixels)), good[1]}, "a dimension is 0 (offset 8)"},
      {{good[0], File(label_name, IdxBytes({2}, "\x1\x2"))},
       "size mismatch (expected 3 labels, got 2)"},
      {{good[0], File(label_name, IdxBytes({3}, "\x1\x2\xA"))},
       "label out of range: 10 of 10 classes (offset 10)"},
  };
  for (const auto& c : kCases) {
    EXPECT_THAT(ErrorOf(Reader("mnist"), c.files), HasSubstr(c.error));
  }
}

// SHA-256 of the official test images and labels (models_and_datasets.md 6).
TEST(Mnist, TheRealFilesAreTheOfficialOnes) {
  REQUIRE_TEST_DATA();
  const DataFiles files = testing::MnistTestFiles();
  EXPECT_EQ(Sha256Hex(files[0].view->bytes()),
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7");
  EXPECT_EQ(Sha256Hex(files[1].view->bytes()),
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2");
  const auto data = Open(Reader("mnist"), files);
  EXPECT_EQ(*data->SplitSize("test"), 10000);
  EXPECT_EQ(data->info().height, 28);
  const auto batch = data->Read("test", std::vector<int64_t>{0, 1, 2, 3, 4});
  EXPECT_TRUE(batch->labels.equal(torch::tensor({7, 2, 1, 0, 4}, at::kLong)));
}

TEST(Cifar10, CountsRecordsOverItsBatchesInNameOrder) {
  const auto data =
      Open(Reader("cifar10"),
           {File("test_batch.bin", CifarRecord(9, 7, 8, 9)),
            File("data_batch_2.bin", CifarRecord(2, 0, 0, 0)),
            File("data_batch_1.bin", CifarRecord(3, 255, 0, 51) + CifarRecord(1, 0, 0, 0)),
            File("batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n")});
  EXPECT_EQ(data->info().summary, "records 3 of 50000 train, 1 of 10000 test");
  EXPECT_EQ(data->info().class_names[9], "j");
  const auto batch = data->Read("train", std::vector<int64_t>{0, 1, 2});
  EXPECT_TRUE(batch->labels.equal(torch::tensor({3, 1, 2}, at::kLong)));
  EXPECT_EQ(batch->images[0][0].min().item<float>(), 1.0f);
  EXPECT_EQ(batch->images[0][1].max().item<float>(), 0.0f);
  EXPECT_FLOAT_EQ(batch->images[0][2].mean().item<float>(), 0.2f);
}

TEST(Cifar10, RefusesBrokenBatches) {
  EXPECT_THAT(ErrorOf(Reader("cifar10"), {}), HasSubstr("at least one of"));
  EXPECT_THAT(ErrorOf(Reader("cifar10"), {File("data_batch_1.bin", "")}),
              HasSubstr("CIFAR_INVALID: data_batch_1.bin: size mismatch"));
  EXPECT_THAT(ErrorOf(Reader("cifar10"), {File("data_batch_1.bin", CifarRecord(1, 0, 0, 0) + "x")}),
              HasSubstr("got 3074) (offset 3073)"));
  EXPECT_THAT(ErrorOf(Reader("cifar10"),
                      {File("test_batch.bin", CifarRecord(1, 0, 0, 0) + CifarRecord(10, 0, 0, 0))}),
              HasSubstr("label out of range: 10 of 10 classes (offset 3073)"));
  EXPECT_THAT(ErrorOf(Reader("cifar10"), {File("data_batch_6.bin", CifarRecord(1, 0, 0, 0))}),
              HasSubstr("unknown file data_batch_6.bin"));
}

TEST(Cifar10, ReadsThePartialRealSet) {
  REQUIRE_TEST_DATA();
  const std::string folder = testing::TestDataFolder() + "/cifar10/";
  DataFiles files;
  for (const char* name :
       {"data_batch_1.bin", "data_batch_2.bin", "test_batch.bin", "batches.meta.txt"}) {
    files.push_back({name, *FileView::Open(folder + name)});
  }
  const auto data = Open(Reader("cifar10"), files);
  EXPECT_EQ(data->info().summary, "records 20000 of 50000 train, 5000 of 10000 test");
  EXPECT_EQ(data->info().class_names[0], "airplane");
  std::vector<int64_t> ids(5000);
  std::iota(ids.begin(), ids.end(), 0);
  const at::Tensor labels = data->Read("test", ids)->labels;
  EXPECT_TRUE(labels.bincount().eq(500).all().item<bool>());
}

TEST(ImageFolder, SortsClassesAndFilesByName) {
  for (const std::string root : {"", "flowers/"}) {
    const auto data = Open(Folder("none"), SmallFolder(root));
    ASSERT_NE(data, nullptr);
    EXPECT_THAT(data->info().class_names, ElementsAre("a", "b"));
    EXPECT_EQ(data->info().height, 4);
    EXPECT_EQ(data->info().width, 6);
    const auto batch = data->Read("train", std::vector<int64_t>{0, 1, 2});
    EXPECT_TRUE(batch->labels.equal(torch::tensor({0, 1, 1}, at::kLong)));
    // Red, green, blue: each image's own channel is 1.
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(batch->images[i][i].min().item<float>(), 1.0f);
      EXPECT_EQ(batch->images[i].sum().item<float>(), 24.0f);
    }
    EXPECT_EQ(*data->SplitSize("test"), 1);
  }
}

TEST(ImageFolder, ResizesAndTurnsGreyIntoColour) {
  const DataFiles files =
      Tar({{"test/a/1.png", GreyPng(20, 51)}, {"test/b/1.png", Png(10, 30, 1, 2, 3)}});
  for (const char* resize : {"stretch", "shorter_side_crop"}) {
    const auto data = Open(Folder(resize, 8, 12), files);
    const auto batch = data->Read("test", std::vector<int64_t>{0, 1});
    ASSERT_TRUE(batch.ok()) << batch.status();
    EXPECT_EQ(batch->images.sizes(), (at::IntArrayRef{2, 3, 8, 12}));
    EXPECT_TRUE(batch->images[0].allclose(torch::full({3, 8, 12}, 0.2f)));
  }
}

TEST(ImageFolder, ImagesOfSeveralSizesNeedAResizePolicy) {
  const auto data = Open(Folder("none"),
                         Tar({{"test/a/1.png", GreyPng(20, 0)}, {"test/b/1.png", GreyPng(10, 0)}}));
  const absl::Status status = data->CheckSamples();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("10x10 differs from the first one, 20x20"));
  EXPECT_THAT(ErrorOf(Folder("stretch"), SmallFolder()), HasSubstr("needs height and width"));
}

TEST(ImageFolder, ABrokenImageIsFoundWhenSamplesAreChecked) {
  const auto data = Open(
      Folder("none"), Tar({{"test/a/1.png", GreyPng(20, 0)}, {"test/b/broken.png", "no picture"}}));
  EXPECT_THAT(std::string(data->CheckSamples().message()), HasSubstr("test/b/broken.png"));
}

TEST(ImageFolder, RefusesHostileAndBrokenArchives) {
  const std::string png = GreyPng(4, 0);
  const std::string good = TarBytes({{"test/a/1.png", png}});
  std::string checksum = good;
  checksum[0] = 'x';
  std::string behind = good;
  behind.back() = 'x';
  const struct {
    std::string bytes;
    const char* error;
  } kCases[] = {
      {TarBytes({{"../test/a/1.png", png}}), ".. part"},
      {TarBytes({{"/test/a/1.png", png}}), "relative"},
      {TarBytes({{"./test/a/1.png", png}}), "empty, . or .. part"},
      {TarBytes({{"test//1.png", png}}), "empty, . or .. part"},
      {TarBytes({{"test/a/\xC3\xA9.png", png}}), "names are made of"},
      {TarBytes({{"test/a/1.png", png}, {"test/a/1.png", png}}), "occurs twice"},
      {TarBytes({{"test/a/1.png", "", '2'}}), "only regular files and folders"},
      {TarBytes({{"test/a/1.png", "", '3'}}), "only regular files and folders"},
      {checksum, "TAR_INVALID"},
      {behind, "trailing bytes"},
      {good.substr(0, good.size() - 512), "two blocks of zeros"},
      {good.substr(0, 600), "TAR_INVALID"},
      {"", "TAR_INVALID"},
      {"\x1f\x8b" + good, "TAR_INVALID"},
      {TarBytes({{"readme.txt", "x"}}), "no images found"},
      {TarBytes({{"p/test/a/1.png", png}, {"q/test/b/1.png", png}}), "several leading folders"},
      {TarBytes({{"test/a/1.png", png}, {"test/b/", "", '5'}}), "empty class folder"},
  };
  for (const auto& c : kCases) {
    EXPECT_THAT(ErrorOf(Folder("none"), {File("data.tar", c.bytes)}), HasSubstr(c.error));
  }
  EXPECT_THAT(ErrorOf(Folder("none"), {File("a.zip", good)}),
              HasSubstr("exactly one file, data.tar"));
}

TEST(ImageFolder, AcceptsFolderEntriesAndSaysWhatItIgnored) {
  const auto data = Open(Folder("none"), Tar({{"set/", "", '5'},
                                              {"set/test/", "", '5'},
                                              {"set/test/a/", "", '5'},
                                              {"set/test/a/1.png", GreyPng(4, 0)},
                                              {"set/licence.txt", "free"},
                                              {"set/test/b/1.png", GreyPng(4, 0)},
                                              {"set/end/", "", '5'}}));
  ASSERT_NE(data, nullptr);
  EXPECT_EQ(data->info().summary, "2 test; 2 classes; 1 other files ignored");
}

}  // namespace
}  // namespace adamant
