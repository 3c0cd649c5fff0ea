// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/support/api/api_rig.h"

namespace adamant {
namespace {

using testing::ApiRig;
using ::testing::HasSubstr;

class ApiExplainTest : public ::testing::Test {
 protected:
  void SetUp() override {
    rig_.jobs.Register("net", "");
    rig_.jobs.AwaitModel("models/net",
                         [](const v1::Model& model) { return model.state() == v1::READY; });
  }

  static v1::ExplainRequest Request(const std::string& image) {
    v1::ExplainRequest request;
    v1::ExplainSpec& spec = *request.mutable_spec();
    spec.mutable_model()->set_model("models/net");
    v1::InlineImage& added = *spec.add_images();
    added.set_name(image);
    added.set_data("a picture");
    return request;
  }

  grpc::Status Explain(const v1::ExplainRequest& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    return rig_.robustness->Explain(&context, request, &response_);
  }

  std::string Refusal(const v1::ExplainRequest& request) {
    const grpc::Status status = Explain(request);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
    return status.error_message();
  }

  ApiRig rig_;
  v1::ExplainResponse response_;
};

TEST_F(ApiExplainTest, AnswersWithMapsOfACompleteSpecAndStoresNothing) {
  const grpc::Status status = Explain(Request("cat"));
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response_.images_size(), 1);
  EXPECT_EQ(response_.images(0).maps(0).raw().size(), 16);
  EXPECT_EQ(response_.explainer().name(), "grad_cam");
  EXPECT_FALSE(response_.warm());
  ASSERT_TRUE(Explain(Request("dog")).ok());
  EXPECT_TRUE(response_.warm());
  v1::ListJobsResponse jobs;
  grpc::ClientContext context;
  ASSERT_TRUE(rig_.robustness->ListJobs(&context, {}, &jobs).ok());
  EXPECT_EQ(jobs.jobs_size(), 0);
}

TEST_F(ApiExplainTest, RefusesWhatOnlyAJobCanDo) {
  v1::ExplainRequest request = Request("cat");
  request.mutable_spec()->mutable_data()->mutable_builtin()->set_name("shapes");
  EXPECT_THAT(Refusal(request), HasSubstr("spec.data"));
  request = Request("cat");
  request.mutable_spec()->clear_images();
  EXPECT_THAT(Refusal(request), HasSubstr("spec.images"));
  request = Request("cat");
  request.mutable_spec()->add_explainers()->set_name("cam");
  request.mutable_spec()->add_explainers()->set_name("grad_cam");
  EXPECT_THAT(Refusal(request), HasSubstr("spec.explainers"));
  request = Request("cat");
  request.mutable_spec()->add_outputs(v1::SHEET_PNG);
  EXPECT_THAT(Refusal(request), HasSubstr("spec.outputs[0]"));
  request = Request("cat");
  request.mutable_spec()->add_outputs(v1::RAW_MAP);
  request.mutable_spec()->add_outputs(v1::UPSAMPLED_MAP);
  EXPECT_THAT(Refusal(request), HasSubstr("choose one of them"));
  request = Request("cat");
  request.mutable_spec()->mutable_explainers()->Add()->set_name("gradcam");
  EXPECT_THAT(Refusal(request), HasSubstr("grad_cam"));
}

TEST_F(ApiExplainTest, TakesImagesOfThreeMebibytesAndRefusesMoreThanFour) {
  v1::ExplainRequest request = Request("cat");
  request.mutable_spec()->mutable_images(0)->set_data(std::string(3 << 20, 'x'));
  EXPECT_TRUE(Explain(request).ok());
  request.mutable_spec()->mutable_images(0)->set_data(std::string((4 << 20) + 1, 'x'));
  EXPECT_THAT(Refusal(request), HasSubstr("at most 4194304"));
}

TEST_F(ApiExplainTest, NamesAMissingModel) {
  v1::ExplainRequest request = Request("cat");
  request.mutable_spec()->mutable_model()->set_model("models/none");
  EXPECT_EQ(Explain(request).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ApiExplainTest, TellsWhenToTryAgainWhileEverySlotIsBusy) {
  const v1::Job job = rig_.Submit(testing::kWaitForStop);
  rig_.jobs.AwaitState(job.name(), v1::RUNNING);
  const grpc::Status status = Explain(Request("cat"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(FromGrpc(status)), "NO_INTERACTIVE_SLOT");
  EXPECT_TRUE(FromGrpc(status).GetPayload("type.googleapis.com/google.rpc.RetryInfo").has_value());
  rig_.jobs.Cancel(job.name());
  rig_.jobs.AwaitEnd(job.name());
}

TEST_F(ApiExplainTest, StopsTheWorkerWhenTheCallerGoes) {
  grpc::ClientContext context;
  grpc::Status status;
  std::thread caller([&] {
    status = rig_.robustness->Explain(&context, Request(testing::kSlowImage), &response_);
  });
  context.TryCancel();
  caller.join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
  // The only slot answers again: the slow request has ended.
  const grpc::Status next = Explain(Request("cat"));
  EXPECT_TRUE(next.ok()) << next.error_message();
}

TEST_F(ApiExplainTest, EndsAtTheCallersDeadline) {
  ASSERT_TRUE(Explain(Request("cat")).ok());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
  EXPECT_EQ(
      rig_.robustness->Explain(&context, Request(testing::kSlowImage), &response_).error_code(),
      grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(Explain(Request("cat")).ok());
}

TEST_F(ApiExplainTest, IsRefusedWhileTheServerDrains) {
  rig_.jobs.scheduler().StopAdmission();
  const grpc::Status status = Explain(Request("cat"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(FromGrpc(status)), "DRAINING");
}

}  // namespace
}  // namespace adamant
