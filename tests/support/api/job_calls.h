// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/api/api_rig.h"

namespace adamant::testing {

// A server with the calls on jobs as functions.
class JobCalls : public ::testing::Test {
 protected:
  explicit JobCalls(const ApiRigOptions& options = {}) : rig_(options) {}

  // Every message of a watch until the stream ends.
  std::vector<v1::JobEvent> Watch(const v1::WatchJobRequest& request, grpc::Status& end) {
    grpc::ClientContext context;
    const auto reader = rig_.robustness->WatchJob(&context, request);
    std::vector<v1::JobEvent> events;
    v1::JobEvent event;
    while (reader->Read(&event)) events.push_back(event);
    end = reader->Finish();
    return events;
  }

  std::vector<v1::JobEvent> Watch(const std::string& name, int64_t from_seq = 0) {
    v1::WatchJobRequest request;
    request.set_name(name);
    request.set_from_seq(from_seq);
    grpc::Status end;
    std::vector<v1::JobEvent> events = Watch(request, end);
    EXPECT_TRUE(end.ok()) << end.error_message();
    return events;
  }

  static std::vector<int64_t> Sequence(const std::vector<v1::JobEvent>& events) {
    std::vector<int64_t> seqs;
    for (const v1::JobEvent& event : events) {
      if (event.seq() > 0 && event.type() != v1::BOOKMARK) seqs.push_back(event.seq());
    }
    return seqs;
  }

  v1::Job Wait(const std::string& name, int64_t seconds = 60) {
    v1::WaitJobRequest request;
    request.set_name(name);
    request.mutable_timeout()->set_seconds(seconds);
    v1::Job job;
    grpc::ClientContext context;
    const grpc::Status status = rig_.robustness->WaitJob(&context, request, &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return job;
  }

  std::string ReadLog(const v1::ReadLogRequest& request, grpc::Status& end) {
    grpc::ClientContext context;
    const auto reader = rig_.robustness->ReadLog(&context, request);
    std::string text;
    v1::ReadLogResponse chunk;
    while (reader->Read(&chunk)) text += chunk.data();
    end = reader->Finish();
    return text;
  }

  grpc::Status Cancel(const std::string& name, v1::Job& job) {
    v1::JobVerbRequest request;
    request.set_name(name);
    grpc::ClientContext context;
    return rig_.robustness->CancelJob(&context, request, &job);
  }

  ApiRig rig_;
};

}  // namespace adamant::testing
