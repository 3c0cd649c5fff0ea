// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include "google/rpc/error_details.pb.h"
#include "tests/support/api/api_rig.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;
using namespace testing;  // NOLINT: the fake tasks

// A safetensors file without tensors, as far as its first bytes tell.
std::string Safetensors(char fill = ' ') {
  return std::string("\x10\0\0\0\0\0\0\0{}", 10) + std::string(14, fill);
}

class ApiResourcesTest : public ::testing::Test {
 protected:
  v1::RegisterModelRequest ModelRequest(const std::string& id, const std::string& bytes) {
    v1::RegisterModelRequest request;
    request.set_id(id);
    *request.mutable_blob() = ApiRig::RefOf(bytes);
    return request;
  }

  grpc::Status Register(const v1::RegisterModelRequest& request, v1::Model* model = nullptr) {
    v1::Model ignored;
    grpc::ClientContext context;
    return rig_.models->RegisterModel(&context, request, model == nullptr ? &ignored : model);
  }

  grpc::Status Read(const std::string& name, int64_t offset, int64_t limit, std::string& bytes) {
    v1::ReadRequest request;
    request.set_name(name);
    request.set_offset(offset);
    request.set_limit(limit);
    grpc::ClientContext context;
    const auto reader = rig_.blobs->Read(&context, request);
    v1::ReadResponse chunk;
    while (reader->Read(&chunk)) bytes += chunk.data();
    return reader->Finish();
  }

  bool IsMissing(const std::string& bytes) {
    v1::FindMissingBlobsRequest request;
    v1::FindMissingBlobsResponse response;
    *request.add_blobs() = ApiRig::RefOf(bytes);
    grpc::ClientContext context;
    EXPECT_TRUE(rig_.blobs->FindMissingBlobs(&context, request, &response).ok());
    return response.missing_size() == 1;
  }

  ApiRig rig_;
};

TEST_F(ApiResourcesTest, UploadsFindsAndDownloadsABlob) {
  const std::string bytes(600000, 'b');
  EXPECT_TRUE(IsMissing(bytes));
  const grpc::Status status = rig_.Upload(bytes);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(rig_.written.committed_size(), 600000);
  EXPECT_FALSE(IsMissing(bytes));
  std::string all;
  EXPECT_TRUE(Read(ApiRig::NameOf(bytes), 0, 0, all).ok());
  EXPECT_EQ(all, bytes);
  std::string part;
  EXPECT_TRUE(Read(ApiRig::NameOf(bytes), 599990, 4, part).ok());
  EXPECT_EQ(part, "bbbb");
}

TEST_F(ApiResourcesTest, AnswersAPresentBlobAtOnce) {
  ASSERT_TRUE(rig_.Upload("hello").ok());
  EXPECT_TRUE(rig_.Upload("", ApiRig::NameOf("hello"), 0, false).ok());
  EXPECT_EQ(rig_.written.committed_size(), 5);
  EXPECT_THAT(rig_.metrics.Text(),
              HasSubstr("adamant_blob_transfers_total{direction=\"upload\",result=\"dedup\"} 1"));
}

TEST_F(ApiResourcesTest, ResumesABrokenUploadAtItsSize) {
  EXPECT_EQ(Reason(rig_.Upload("hel", ApiRig::NameOf("hello"), 0, false)), "BAD_OFFSET");
  v1::QueryWriteStatusRequest query;
  query.set_resource_name("uploads/01234567-89ab-4cde-8f01-23456789abcd/" +
                          ApiRig::NameOf("hello"));
  v1::QueryWriteStatusResponse state;
  grpc::ClientContext context;
  ASSERT_TRUE(rig_.blobs->QueryWriteStatus(&context, query, &state).ok());
  EXPECT_EQ(state.committed_size(), 3);
  EXPECT_FALSE(state.complete());
  const grpc::Status wrong = rig_.Upload("llo", ApiRig::NameOf("hello"), 2);
  EXPECT_EQ(Reason(wrong), "BAD_OFFSET");
  EXPECT_THAT(wrong.error_message(), HasSubstr("expected 3"));
  EXPECT_TRUE(rig_.Upload("lo", ApiRig::NameOf("hello"), 3).ok());
  EXPECT_FALSE(IsMissing("hello"));
}

TEST_F(ApiResourcesTest, RefusesBadUploadsWithTheReason) {
  const std::string digest = std::string(64, 'a');
  const std::pair<std::string, const char*> cases[] = {
      {"blobs/" + digest + "/5", "DIGEST_MISMATCH"},
      {"blobs/" + digest + "/99999999999999", "BLOB_TOO_LARGE"},
      {"blobs/ABC/5", "INVALID_SPEC"},
      {"elsewhere", "INVALID_SPEC"},
      {"blobs/" + digest + "/3", "BAD_OFFSET"},
  };
  for (const auto& [name, reason] : cases)
    EXPECT_EQ(Reason(rig_.Upload("hello", name)), reason) << name;
}

TEST_F(ApiResourcesTest, RefusesBadDownloads) {
  ASSERT_TRUE(rig_.Upload("hello").ok());
  std::string bytes;
  EXPECT_EQ(Reason(Read(ApiRig::NameOf("other"), 0, 0, bytes)), "BLOB_NOT_FOUND");
  EXPECT_EQ(Reason(Read(ApiRig::NameOf("hello"), 6, 0, bytes)), "BAD_OFFSET");
  EXPECT_EQ(Reason(Read("blobs/x", 0, 0, bytes)), "INVALID_SPEC");
}

TEST_F(ApiResourcesTest, RegistersAModelAndValidatesIt) {
  ASSERT_TRUE(rig_.Upload(Safetensors()).ok());
  v1::Model model;
  const grpc::Status status = Register(ModelRequest("net", Safetensors()), &model);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(model.name(), "models/net");
  EXPECT_EQ(model.state(), v1::VALIDATING);
  EXPECT_EQ(model.format(), v1::SAFETENSORS);
  rig_.jobs.AwaitModel("models/net", [](const v1::Model& m) { return m.state() == v1::READY; });
  EXPECT_TRUE(Register(ModelRequest("net", Safetensors()), &model).ok());
  EXPECT_EQ(model.state(), v1::READY);
}

TEST_F(ApiResourcesTest, RefusesAnotherModelOfTheSameId) {
  ASSERT_TRUE(rig_.Upload(Safetensors()).ok());
  ASSERT_TRUE(rig_.Upload(Safetensors('x')).ok());
  ASSERT_TRUE(Register(ModelRequest("net", Safetensors())).ok());
  const grpc::Status status = Register(ModelRequest("net", Safetensors('x')));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(Reason(status), "ID_TAKEN");
}

TEST_F(ApiResourcesTest, RefusesBadModelsWithTheReason) {
  ASSERT_TRUE(rig_.Upload(Safetensors()).ok());
  ASSERT_TRUE(rig_.Upload("\x80\x02pickle").ok());
  ASSERT_TRUE(rig_.Upload("PK\x03\x04 archive").ok());
  EXPECT_EQ(Reason(Register(ModelRequest("net", "absent"))), "BLOB_MISSING");
  EXPECT_EQ(Reason(Register(ModelRequest("Net", Safetensors()))), "INVALID_SPEC");
  EXPECT_EQ(Reason(Register(ModelRequest("net", "\x80\x02pickle"))), "FORMAT_REFUSED");
  const grpc::Status torchscript = Register(ModelRequest("net", "PK\x03\x04 archive"));
  EXPECT_EQ(Reason(torchscript), "INVALID_SPEC");
  EXPECT_THAT(torchscript.error_message(), HasSubstr("num_classes"));
  EXPECT_THAT(torchscript.error_message(), HasSubstr("input_shape"));
  v1::RegisterModelRequest request = ModelRequest("net", Safetensors());
  request.mutable_architecture()->set_name("mini_gab");
  const grpc::Status unknown = Register(request);
  EXPECT_EQ(Reason(unknown), "UNKNOWN_PLUGIN");
  EXPECT_THAT(unknown.error_message(), HasSubstr("did you mean \"mini_gap\""));
}

TEST_F(ApiResourcesTest, RefusesARejectedModelInASubmit) {
  ASSERT_TRUE(rig_.Upload(Safetensors()).ok());
  v1::RegisterModelRequest request = ModelRequest("net", Safetensors());
  request.set_display_name(kRejectModel);
  ASSERT_TRUE(Register(request).ok());
  rig_.jobs.AwaitModel("models/net", [](const v1::Model& m) { return m.state() == v1::REJECTED; });
  v1::TrainJobRequest train = ApiRig::Training(kSucceed);
  train.mutable_spec()->mutable_model()->set_model("models/net");
  v1::Job job;
  grpc::ClientContext context;
  const grpc::Status status = rig_.robustness->TrainJob(&context, train, &job);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(Reason(status), "MODEL_INCOMPATIBLE");
}

TEST_F(ApiResourcesTest, NamesWhatASubmitRefersToInVain) {
  const auto submit = [this](const v1::TrainJobRequest& request) {
    v1::Job job;
    grpc::ClientContext context;
    return Reason(rig_.robustness->TrainJob(&context, request, &job));
  };
  v1::TrainJobRequest train = ApiRig::Training(kSucceed);
  train.mutable_spec()->mutable_model()->set_model("models/absent");
  EXPECT_EQ(submit(train), "MODEL_NOT_FOUND");
  train = ApiRig::Training(kSucceed);
  train.mutable_spec()->mutable_train()->set_dataset("datasets/absent");
  EXPECT_EQ(submit(train), "DATASET_NOT_FOUND");
  train = ApiRig::Training(kSucceed);
  *train.mutable_spec()->mutable_model()->mutable_weights()->mutable_blob() =
      ApiRig::RefOf("absent");
  EXPECT_EQ(submit(train), "BLOB_MISSING");
  train = ApiRig::Training(kSucceed);
  train.mutable_spec()->mutable_model()->mutable_checkpoint()->set_job(
      "jobs/aaaaaaaaaaaaaaaaaaaaaaaaaa");
  EXPECT_EQ(submit(train), "JOB_NOT_FOUND");
  ASSERT_TRUE(rig_.Upload(Safetensors()).ok());
  ASSERT_TRUE(Register(ModelRequest("net", Safetensors())).ok());
  train = ApiRig::Training(kSucceed);
  train.mutable_spec()->set_register_as("net");
  EXPECT_EQ(submit(train), "ID_TAKEN");
}

TEST_F(ApiResourcesTest, ListsAndDeletesModels) {
  ASSERT_TRUE(rig_.Upload(Safetensors()).ok());
  for (const char* id : {"a", "b", "c"})
    ASSERT_TRUE(Register(ModelRequest(id, Safetensors())).ok());
  v1::ListModelsRequest request;
  request.set_page_size(2);
  v1::ListModelsResponse first;
  grpc::ClientContext contexts[4];
  ASSERT_TRUE(rig_.models->ListModels(&contexts[0], request, &first).ok());
  ASSERT_EQ(first.models_size(), 2);
  request.set_page_token(first.next_page_token());
  v1::ListModelsResponse second;
  ASSERT_TRUE(rig_.models->ListModels(&contexts[1], request, &second).ok());
  ASSERT_EQ(second.models_size(), 1);
  EXPECT_EQ(second.models(0).name(), "models/c");
  EXPECT_EQ(second.next_page_token(), "");
  v1::DeleteModelRequest remove;
  remove.set_name("models/c");
  google::protobuf::Empty empty;
  EXPECT_TRUE(rig_.models->DeleteModel(&contexts[2], remove, &empty).ok());
  EXPECT_EQ(Reason(rig_.models->DeleteModel(&contexts[3], remove, &empty)), "MODEL_NOT_FOUND");
}

TEST_F(ApiResourcesTest, RefusesBadDatasetsListingEverything) {
  v1::RegisterDatasetRequest request;
  request.set_id("9");
  request.mutable_reader()->set_name("mnits");
  request.add_files()->set_name("a/b");
  v1::Dataset dataset;
  grpc::ClientContext context;
  const grpc::Status status = rig_.datasets->RegisterDataset(&context, request, &dataset);
  google::rpc::Status message;
  ASSERT_TRUE(message.ParseFromString(status.error_details()));
  google::rpc::BadRequest bad;
  for (const auto& detail : message.details()) detail.UnpackTo(&bad);
  std::vector<std::string> fields;
  for (const auto& violation : bad.field_violations()) fields.push_back(violation.field());
  EXPECT_THAT(fields,
              ::testing::ElementsAre("id", "reader.name", "files[0].name", "files[0].blob"));
}

TEST_F(ApiResourcesTest, TellsItsCapabilitiesOnce) {
  v1::Capabilities all;
  grpc::ClientContext context;
  ASSERT_TRUE(rig_.system->GetCapabilities(&context, {}, &all).ok());
  EXPECT_EQ(all.families_size(), 6);
  EXPECT_EQ(all.libtorch_version(), "2.13.0");
  EXPECT_EQ(all.sandbox_level(), "none");
  EXPECT_EQ(all.limits().max_blob_bytes(), int64_t{16} << 30);
  v1::GetCapabilitiesRequest again;
  again.set_etag(all.etag());
  v1::Capabilities unchanged;
  grpc::ClientContext again_context;
  ASSERT_TRUE(rig_.system->GetCapabilities(&again_context, again, &unchanged).ok());
  EXPECT_EQ(unchanged.families_size(), 0);
  EXPECT_EQ(unchanged.etag(), all.etag());
}

TEST_F(ApiResourcesTest, TellsItsStatus) {
  v1::ServerStatus status;
  grpc::ClientContext context;
  ASSERT_TRUE(rig_.system->GetServerStatus(&context, {}, &status).ok());
  EXPECT_EQ(status.slots_size(), 1);
  EXPECT_EQ(status.tenant(), "local");
  EXPECT_FALSE(status.draining());
  EXPECT_GT(status.rss_bytes(), 0);
}

}  // namespace
}  // namespace adamant
