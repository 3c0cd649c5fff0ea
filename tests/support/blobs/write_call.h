// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "adamant/v1/blob.grpc.pb.h"

namespace adamant::testing {

// A clock that only the test moves. Thread-safe.
class ManualClock {
 public:
  absl::Time Now() const {
    absl::MutexLock lock(&mutex_);
    return now_;
  }
  void Advance(absl::Duration duration) {
    absl::MutexLock lock(&mutex_);
    now_ += duration;
  }

 private:
  mutable absl::Mutex mutex_;
  absl::Time now_ = absl::UnixEpoch();
};

// Looks until the condition holds; only a failing test waits long.
inline bool Eventually(const std::function<bool()>& condition) {
  const absl::Time end = absl::Now() + absl::Seconds(120);
  while (!condition()) {
    if (absl::Now() > end) return false;
    absl::SleepFor(absl::Milliseconds(2));
  }
  return true;
}

// The value of a sample of an exposition text; -1 when it has none.
inline double SampleOf(const std::string& text, const std::string& sample) {
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    double value = 0;
    if (absl::StartsWith(line, sample + " ") &&
        absl::SimpleAtod(line.substr(sample.size() + 1), &value))
      return value;
  }
  return -1;
}

// Bytes that the server has taken from uploads.
inline double UploadedBytes(const std::string& text) {
  return SampleOf(text, "adamant_blob_bytes_total{direction=\"upload\"}");
}

// One Write call, message by message.
class WriteCall {
 public:
  // `name` is blobs/{sha256}/{size}; calls with the same `upload` number are the same upload.
  WriteCall(v1::BlobService::Stub& stub, const std::string& name, int upload = 0)
      : resource_(ResourceName(name, upload)), writer_(stub.Write(&context_, &response_)) {}

  static std::string ResourceName(const std::string& name, int upload = 0) {
    return absl::StrCat("uploads/0123456", upload, "-89ab-4cde-8f01-23456789abcd/", name);
  }

  bool Send(const std::string& bytes, bool finish = false) {
    v1::WriteRequest request;
    if (first_) request.set_resource_name(resource_);
    first_ = false;
    return SendRequest(request, bytes, finish);
  }

  bool SendRequest(v1::WriteRequest request, const std::string& bytes, bool finish = false) {
    request.set_write_offset(offset_);
    request.set_data(bytes);
    request.set_finish_write(finish);
    offset_ += static_cast<int64_t>(bytes.size());
    return writer_->Write(request);
  }

  void GoOnAt(int64_t offset) { offset_ = offset; }
  void Break() { context_.TryCancel(); }
  grpc::Status Finish() {
    writer_->WritesDone();
    return writer_->Finish();
  }
  // Waits for the server's answer without closing the stream.
  grpc::Status AwaitEnd() { return writer_->Finish(); }

  int64_t committed() const { return response_.committed_size(); }

 private:
  grpc::ClientContext context_;
  v1::WriteResponse response_;
  const std::string resource_;
  bool first_ = true;
  int64_t offset_ = 0;
  std::unique_ptr<grpc::ClientWriter<v1::WriteRequest>> writer_;
};

// -1 when nothing is stored.
inline int64_t CommittedSize(v1::BlobService::Stub& stub, const std::string& name, int upload = 0) {
  v1::QueryWriteStatusRequest request;
  v1::QueryWriteStatusResponse response;
  request.set_resource_name(WriteCall::ResourceName(name, upload));
  grpc::ClientContext context;
  return stub.QueryWriteStatus(&context, request, &response).ok() ? response.committed_size() : -1;
}

}  // namespace adamant::testing
