// SPDX-License-Identifier: Apache-2.0
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/support/api/api_rig.h"

namespace adamant {
namespace {

grpc::StatusCode CallUnknown(ApiServer& api, const std::string& method) {
  grpc::GenericStub stub(api.InProcessChannel());
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareUnaryCall(&context, method, grpc::ByteBuffer(), &queue);
  call->StartCall();
  grpc::ByteBuffer answer;
  grpc::Status status;
  call->Finish(&answer, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  EXPECT_TRUE(queue.Next(&tag, &ok));
  return status.error_code();
}

// Released by the allocator of contexts though it had not made it, such a call ended the server.
TEST(UnknownMethod, IsUnimplementedAndTheServerGoesOn) {
  testing::ApiRig rig;
  for (const char* method : {"/adamant.v1.RobustnessService/NoSuchMethod", "/other.Service/Call"}) {
    for (int i = 0; i < 3; ++i)
      EXPECT_EQ(CallUnknown(*rig.api, method), grpc::StatusCode::UNIMPLEMENTED);
  }
  rig.Submit(testing::kSucceed);
}

}  // namespace
}  // namespace adamant
