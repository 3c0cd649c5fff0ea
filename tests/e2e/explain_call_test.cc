// SPDX-License-Identifier: Apache-2.0
// Interactive explanations with the real programs.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "client/client.h"
#include "tests/support/programs/program.h"
#include "tests/support/test_data.h"

namespace adamant::testing {
namespace {

// A model trained for one step, and a connection.
class ExplainCallTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const ProgramResult trained = server_.Cli(
        {"train", "--model", "mini_gap", "--dataset", "shapes", "--param", "train=64", "--param",
         "test=32", "--steps", "1", "--batch-size", "32", "--register-as", "trained", "--wait"});
    ASSERT_EQ(trained.exit_code, 0) << trained.out << trained.err;
    auto client = Client::Create(server_.address());
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
    // Adding it again waits until a worker has looked into it.
    const std::string file = folder_.path() + "/weights.safetensors";
    ASSERT_EQ(server_.Cli({"blob", "get", "models/trained", file}).exit_code, 0);
    const ProgramResult added = server_.Cli({"model", "add", "net", file});
    ASSERT_EQ(added.exit_code, 0) << added.err;
    const auto model = client_->GetModel("models/net");
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *model;
  }

  v1::ExplainRequest Request(float level) const {
    v1::ExplainRequest request;
    v1::ExplainSpec& spec = *request.mutable_spec();
    spec.mutable_model()->set_model("models/net");
    v1::InlineImage& image = *spec.add_images();
    *image.mutable_raw_shape() = model_.input_shape();
    const v1::ImageShape& shape = model_.input_shape();
    const std::vector<float> pixels(
        static_cast<size_t>(shape.channels() * shape.height() * shape.width()), level);
    image.set_data(pixels.data(), pixels.size() * sizeof(float));
    return request;
  }

  const TemporaryFolder folder_;
  ServerProcess server_{folder_.path() + "/data"};
  std::unique_ptr<Client> client_;
  v1::Model model_;
};

TEST_F(ExplainCallTest, AnswersFromAWarmWorkerAndStoresNothing) {
  EXPECT_GT(model_.activation_bytes(), 0);
  EXPECT_GT(model_.forward_flops(), 0);
  const auto first = client_->Explain(Request(0.25F), absl::Seconds(60));
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_FALSE(first->warm());
  const auto second = client_->Explain(Request(0.25F), absl::Seconds(60));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_TRUE(second->warm());
  ASSERT_EQ(second->images_size(), 1);
  const v1::ExplainMap& map = second->images(0).maps(0);
  EXPECT_EQ(map.raw().size(), 4U * map.height() * map.width());
  EXPECT_EQ(map.raw(), first->images(0).maps(0).raw());
  EXPECT_EQ(map.overlay_png().substr(1, 3), "PNG");
  double share = 0;
  for (const v1::TopClass& top : second->images(0).top()) share += top.probability();
  EXPECT_LE(share, 1 + 1e-6);
  EXPECT_EQ(second->model_sha256(), model_.blob().sha256());
  const auto jobs = client_->ListJobs({});
  ASSERT_TRUE(jobs.ok());
  EXPECT_EQ(jobs->jobs_size(), 1);  // the training
}

TEST_F(ExplainCallTest, ALongAttackEndsAtTheCallersDeadlineAndTheWorkerAnswersAgain) {
  ASSERT_TRUE(client_->Explain(Request(0.5F), absl::Seconds(60)).ok());
  v1::ExplainRequest endless = Request(0.5F);
  v1::ExplainAttack& attack = *endless.mutable_spec()->mutable_attack();
  attack.mutable_attack()->set_name("pgd");
  (*attack.mutable_attack()->mutable_params()->mutable_fields())["steps"].set_number_value(100000);
  attack.mutable_threat()->set_norm(v1::LINF);
  attack.mutable_threat()->set_epsilon(0.001);
  EXPECT_EQ(client_->Explain(endless, absl::Seconds(1)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  const auto next = client_->Explain(Request(0.5F), absl::Seconds(60));
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_TRUE(next->warm());  // the same process: it stopped, and nobody had to kill it
}

TEST_F(ExplainCallTest, AJobTakesTheSlotOfAnIdleWorker) {
  ASSERT_TRUE(client_->Explain(Request(0.5F), absl::Seconds(60)).ok());
  const ProgramResult attack =
      server_.Cli({"attack", "--model", "net", "--dataset", "shapes", "--param", "test=8", "--norm",
                   "linf", "--epsilon", "0.01", "--attack", "fgsm", "--wait"});
  EXPECT_EQ(attack.exit_code, 0) << attack.out << attack.err;
}

}  // namespace
}  // namespace adamant::testing
