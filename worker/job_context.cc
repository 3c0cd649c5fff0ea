// SPDX-License-Identifier: Apache-2.0
#include "worker/job_context.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/failpoint.h"
#include "common/sha256.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

using worker::v1::Frame;

constexpr absl::Duration kProgressInterval = absl::Milliseconds(100);
constexpr size_t kMaxPointsPerFrame = 500;
constexpr size_t kMaxLogBytes = 16 << 10;

v1::BlobRef BlobOf(absl::string_view bytes) {
  v1::BlobRef blob;
  blob.set_sha256(Sha256Hex(bytes));
  blob.set_size_bytes(static_cast<int64_t>(bytes.size()));
  return blob;
}

ModelShape ShapeOf(const v1::ImageShape& image, int32_t classes) {
  return {image.channels(), image.height(), image.width(), classes};
}

}  // namespace

absl::StatusOr<JobInputs> JobInputs::Open(const worker::v1::Start& start,
                                          std::vector<Descriptor> descriptors) {
  JobInputs inputs;
  const bool validation = start.has_validate_model();
  const auto& resolved = start.model();
  inputs.model_.name = validation ? start.validate_model().name() : resolved.name();
  inputs.model_.architecture =
      validation ? start.validate_model().architecture() : resolved.architecture();
  inputs.model_.shape = validation ? ShapeOf(start.validate_model().input_shape(),
                                             start.validate_model().num_classes())
                                   : ShapeOf(resolved.input_shape(), resolved.num_classes());
  inputs.model_.allow_nonfinite =
      validation || (start.job().has_attack() && start.job().attack().allow_nonfinite());
  for (const auto& data : start.data()) {
    inputs.data_[data.input()] = {data.name(), data.reader(), {}};
  }
  if (start.has_validate_dataset()) {
    const v1::Dataset& dataset = start.validate_dataset();
    inputs.data_["data"] = {dataset.name(), dataset.reader(), {}};
  }
  for (const auto& file : start.inputs()) {
    if (file.fd_index() < 0 || static_cast<size_t>(file.fd_index()) >= descriptors.size()) {
      return absl::InvalidArgumentError(absl::StrCat("input ", file.input(), " has no descriptor"));
    }
    ASSIGN_OR_RETURN(auto view, FileView::Map(descriptors[file.fd_index()].get()));
    if (file.input() == "model") {
      inputs.model_.sha256 = file.blob().sha256();
      inputs.model_.file = std::move(view);
    } else if (file.input() == "resume") {
      inputs.resume_ = std::move(view);
    } else {
      inputs.data_[file.input()].files.push_back({file.name(), std::move(view)});
    }
  }
  return inputs;
}

absl::StatusOr<DataInput> JobInputs::data(absl::string_view role) const {
  const auto found = data_.find(role);
  if (found == data_.end()) {
    return absl::NotFoundError(absl::StrCat("the job has no input \"", role, "\""));
  }
  return found->second;
}

void JobContext::Progress(const v1::Progress& progress) {
  const absl::Time now = absl::Now();
  if (progress.phase() == last_phase_ && now - last_progress_ < kProgressInterval) return;
  last_progress_ = now;
  last_phase_ = progress.phase();
  Frame frame;
  *frame.mutable_progress() = progress;
  ADAMANT_FAILPOINT("progress.before");
  link_.Send(std::move(frame));
}

void JobContext::Metrics(int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  for (size_t begin = 0; begin < values.size(); begin += kMaxPointsPerFrame) {
    Frame frame;
    const size_t end = std::min(values.size(), begin + kMaxPointsPerFrame);
    for (size_t i = begin; i < end; ++i) {
      v1::MetricPoint* point = frame.mutable_metric()->add_points();
      point->set_name(values[i].first);
      point->set_step(step);
      point->set_value(values[i].second);
    }
    link_.Send(std::move(frame));
  }
}

void JobContext::Warn(absl::string_view code, absl::string_view text) {
  Frame frame;
  frame.mutable_warning()->set_code(std::string(code));
  frame.mutable_warning()->set_text(std::string(text));
  link_.Send(std::move(frame));
}

void JobContext::Log(absl::string_view level, absl::string_view text) {
  Frame frame;
  frame.mutable_log()->set_level(std::string(level));
  frame.mutable_log()->set_text(std::string(text.substr(0, kMaxLogBytes)));
  link_.Send(std::move(frame));
}

absl::StatusOr<v1::BlobRef> JobContext::WriteArtifact(v1::Artifact artifact,
                                                      absl::string_view bytes) {
  *artifact.mutable_blob() = BlobOf(bytes);
  const v1::BlobRef blob = artifact.blob();
  RETURN_IF_ERROR(link_.Publish("artifact", bytes, [&](int64_t output_id) {
    Frame frame;
    frame.mutable_artifact()->set_output_id(output_id);
    *frame.mutable_artifact()->mutable_artifact() = artifact;
    return frame;
  }));
  return blob;
}

absl::Status JobContext::SaveCheckpoint(int64_t step, absl::string_view bytes) {
  return link_.Publish("checkpoint", bytes, [&](int64_t output_id) {
    Frame frame;
    frame.mutable_checkpoint()->set_output_id(output_id);
    frame.mutable_checkpoint()->set_step(step);
    *frame.mutable_checkpoint()->mutable_blob() = BlobOf(bytes);
    return frame;
  });
}

}  // namespace adamant
