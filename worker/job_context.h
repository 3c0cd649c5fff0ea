// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "core/engine.h"
#include "worker/server_link.h"

namespace adamant {

// The inputs of a Start frame, mapped. Immutable, thread-safe.
class JobInputs {
 public:
  // INVALID_ARGUMENT when the frame and its descriptors do not match.
  static absl::StatusOr<JobInputs> Open(const worker::v1::Start& start,
                                        std::vector<Descriptor> descriptors);

  const ModelInput& model() const { return model_; }
  absl::StatusOr<DataInput> data(absl::string_view role) const;
  std::shared_ptr<const FileView> resume() const { return resume_; }

 private:
  ModelInput model_;
  std::map<std::string, DataInput, std::less<>> data_;
  std::shared_ptr<const FileView> resume_;
};

// RunContext over the channel to the server. Used by the thread that runs the job.
class JobContext final : public RunContext {
 public:
  JobContext(ServerLink& link, const JobInputs& inputs, const worker::v1::Start& start,
             std::string device)
      : link_(link),
        inputs_(inputs),
        device_(std::move(device)),
        micro_batch_divisor_(std::max(1, start.micro_batch_divisor())),
        memory_limit_(start.memory_limit_bytes()) {}

  const ModelInput& model() const override { return inputs_.model(); }
  absl::StatusOr<DataInput> data(absl::string_view role) const override {
    return inputs_.data(role);
  }
  std::shared_ptr<const FileView> resume() const override { return inputs_.resume(); }
  std::string device() const override { return device_; }
  int micro_batch_divisor() const override { return micro_batch_divisor_; }
  int64_t memory_limit() const override { return memory_limit_; }

  // At most ten per second reach the server; a change of phase always does.
  void Progress(const v1::Progress& progress) override;
  void Metrics(int64_t step, const std::vector<std::pair<std::string, double>>& values) override;
  void Warn(absl::string_view code, absl::string_view text) override;
  void Log(absl::string_view level, absl::string_view text) override;
  absl::StatusOr<v1::BlobRef> WriteArtifact(v1::Artifact artifact,
                                            absl::string_view bytes) override;
  absl::Status SaveCheckpoint(int64_t step, absl::string_view bytes) override;
  bool StopRequested() const override { return link_.stop_requested(); }
  void Tick() override { link_.Tick(); }

 private:
  ServerLink& link_;
  const JobInputs& inputs_;
  const std::string device_;
  const int micro_batch_divisor_;
  const int64_t memory_limit_;
  absl::Time last_progress_ = absl::InfinitePast();
  std::string last_phase_;
};

}  // namespace adamant
