// SPDX-License-Identifier: Apache-2.0
// gRPC's health service, whose messages no library here declares: a request without fields, a reply
// with the status as field 1.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"

namespace adamant::testing {

// "SERVING", "NOT_SERVING" or the code of the error.
inline std::string HealthOf(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::GenericStub stub(channel);
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(120));
  grpc::Slice empty;
  auto call = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check",
                                    grpc::ByteBuffer(&empty, 1), &queue);
  call->StartCall();
  grpc::ByteBuffer reply;
  grpc::Status status;
  call->Finish(&reply, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  grpc::Slice bytes;
  if (!status.ok() || !reply.DumpToSingleSlice(&bytes).ok() || bytes.size() != 2)
    return absl::StrCat("code ", status.error_code());
  return bytes.begin()[1] == 1 ? "SERVING" : "NOT_SERVING";
}

// A watch of the health that never ends by itself.
class HealthWatch {
 public:
  // Returns when the server has answered once.
  explicit HealthWatch(const std::shared_ptr<grpc::Channel>& channel) : stub_(channel) {
    call_ = stub_.PrepareCall(&context_, "/grpc.health.v1.Health/Watch", &queue_);
    call_->StartCall(nullptr);
    Next();
    grpc::Slice empty;
    call_->WriteLast(grpc::ByteBuffer(&empty, 1), {}, nullptr);
    Next();
    call_->Read(&reply_, nullptr);
    Next();
  }

  grpc::Status AwaitEnd() {
    grpc::Status status;
    do {
      call_->Read(&reply_, nullptr);
    } while (Next());
    call_->Finish(&status, nullptr);
    Next();
    return status;
  }

 private:
  bool Next() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }

  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  grpc::ByteBuffer reply_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

}  // namespace adamant::testing
