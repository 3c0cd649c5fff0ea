// SPDX-License-Identifier: Apache-2.0
#include "server/api/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;

template <typename Detail>
bool FindDetail(const grpc::Status& status, Detail& detail) {
  google::rpc::Status message;
  if (!message.ParseFromString(status.error_details())) return false;
  for (const google::protobuf::Any& any : message.details()) {
    if (any.UnpackTo(&detail)) return true;
  }
  return false;
}

std::vector<Violation> ManyViolations(int count, size_t length) {
  std::vector<Violation> violations;
  for (int i = 0; i < count; ++i) {
    violations.push_back(
        {absl::StrCat("spec.field", i), "BAD_PARAMETER", std::string(length, 'x')});
  }
  return violations;
}

TEST(ToGrpc, KeepsCodeMessageAndReason) {
  const grpc::Status status = ToGrpc(
      WithReason(absl::NotFoundError("there is no job \"x\""), "JOB_NOT_FOUND", {{"name", "x"}}));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "there is no job \"x\"");
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(FindDetail(status, info));
  EXPECT_EQ(info.reason(), "JOB_NOT_FOUND");
  EXPECT_EQ(info.domain(), "adamant.v1");
  EXPECT_EQ(info.metadata().at("name"), "x");
}

TEST(ToGrpc, IsOkForOk) { EXPECT_TRUE(ToGrpc(absl::OkStatus()).ok()); }

TEST(ToGrpc, ComesBackUnchangedThroughFromGrpc) {
  const absl::Status before = InvalidField("spec.epochs", "INVALID_SPEC", "is missing");
  const absl::Status after = FromGrpc(ToGrpc(before));
  EXPECT_EQ(after.code(), before.code());
  EXPECT_EQ(after.message(), before.message());
  EXPECT_EQ(ReasonOf(after), "INVALID_SPEC");
}

TEST(ToGrpc, HidesTheTextOfInternalErrors) {
  const grpc::Status status = ToGrpc(absl::InternalError("open /srv/data/x: denied"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_EQ(status.error_message().find("/srv"), std::string::npos);
  EXPECT_EQ(ReasonOf(FromGrpc(status)), "INTERNAL");
}

TEST(ToGrpc, GivesEveryStatusAReason) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "text");
    EXPECT_NE(ReasonOf(FromGrpc(ToGrpc(status))), "") << code;
  }
}

TEST(ToGrpc, TellsWhenToRetryWhatIsTemporary) {
  google::rpc::RetryInfo retry;
  EXPECT_TRUE(FindDetail(ToGrpc(DrainingStatus()), retry));
  EXPECT_GT(retry.retry_delay().seconds(), 0);
  EXPECT_FALSE(FindDetail(ToGrpc(absl::InvalidArgumentError("no")), retry));
}

TEST(ToGrpc, NamesTheResourceThatALowerLayerMissed) {
  google::rpc::ResourceInfo resource;
  ASSERT_TRUE(FindDetail(ToGrpc(WithReason(absl::NotFoundError("no model models/a"),
                                           "MODEL_NOT_FOUND", {{"name", "models/a"}})),
                         resource));
  EXPECT_EQ(resource.resource_type(), "model");
  EXPECT_EQ(resource.resource_name(), "models/a");
}

TEST(ToGrpc, CutsWhatAClientWrote) {
  const std::string name(100000, 'x');
  const grpc::Status status =
      ToGrpc(WithReason(absl::NotFoundError("no job " + name), "JOB_NOT_FOUND", {{"name", name}}));
  EXPECT_LT(status.error_message().size(), 1100u);
  EXPECT_LE(status.error_details().size(), kMaxDetailBytes);
  EXPECT_EQ(ReasonOf(FromGrpc(status)), "JOB_NOT_FOUND");
}

TEST(ToGrpc, KeepsDetailsBelowFourKibibytes) {
  const grpc::Status status = ToGrpc(ViolationStatus(ManyViolations(20, 500)));
  EXPECT_LE(status.error_details().size(), kMaxDetailBytes);
  google::rpc::BadRequest bad;
  ASSERT_TRUE(FindDetail(status, bad));
  EXPECT_GE(bad.field_violations_size(), 3);
  EXPECT_THAT(status.error_message(), HasSubstr("(20 problems in all)"));
}

TEST(ToGrpc, KeepsPreconditionsBelowFourKibibytes) {
  const std::vector<std::string> subjects(20, std::string(200, 's'));
  const grpc::Status status =
      ToGrpc(Precondition("BLOB_MISSING", "MISSING", subjects, std::string(500, 'm')));
  EXPECT_LE(status.error_details().size(), kMaxDetailBytes);
  google::rpc::PreconditionFailure failure;
  ASSERT_TRUE(FindDetail(status, failure));
  EXPECT_GT(failure.violations_size(), 0);
}

TEST(ViolationStatus, ListsAtMostTwentyAndCountsAll) {
  const grpc::Status status = ToGrpc(ViolationStatus(ManyViolations(35, 4)));
  google::rpc::BadRequest bad;
  ASSERT_TRUE(FindDetail(status, bad));
  EXPECT_EQ(bad.field_violations_size(), 20);
  EXPECT_EQ(bad.field_violations(0).field(), "spec.field0");
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(FindDetail(status, info));
  EXPECT_EQ(info.metadata().at("violations"), "35");
}

TEST(ViolationStatus, IsOkWithoutViolations) { EXPECT_TRUE(ViolationStatus({}).ok()); }

TEST(Precondition, NamesEverySubject) {
  google::rpc::PreconditionFailure failure;
  ASSERT_TRUE(FindDetail(
      ToGrpc(Precondition("BLOB_MISSING", "MISSING", {"blobs/a/1", "blobs/b/2"}, "upload first")),
      failure));
  ASSERT_EQ(failure.violations_size(), 2);
  EXPECT_EQ(failure.violations(1).type(), "MISSING");
  EXPECT_EQ(failure.violations(1).subject(), "blobs/b/2");
}

}  // namespace
}  // namespace adamant
