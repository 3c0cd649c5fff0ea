// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/validation.h"

#include <sys/wait.h>

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/jobs/outcome.h"
#include "server/store/await.h"

namespace adamant {
namespace {

constexpr int64_t kMaxLayers = 10000;
constexpr int64_t kMaxParameters = int64_t{1} << 40;
constexpr int64_t kMaxActivationBytes = int64_t{1} << 44;  // a sample
constexpr int64_t kMaxFlops = int64_t{1} << 56;            // a sample
constexpr int kStartTries = 3;

absl::Status OutOfMemory(int64_t limit) {
  return absl::InvalidArgumentError(
      absl::StrCat("loading took more than ", limit >> 20, " MiB of memory"));
}

// Why a resource is bad whose worker left without a word.
absl::Status VerdictOfExit(int wait_status, int64_t memory_limit) {
  const AttemptEnd end = EndOfSilentWorker(wait_status);
  if (end.outcome == v1::ATTEMPT_OUT_OF_MEMORY) return OutOfMemory(memory_limit);
  return absl::InvalidArgumentError(absl::StrCat("reading it failed: ", end.message));
}

// Copies what the worker found; what the user gave stays.
void Accept(const v1::Model& found, v1::Model& model) {
  if (found.has_architecture()) *model.mutable_architecture() = found.architecture();
  if (found.format() != v1::MODEL_FORMAT_UNSPECIFIED) model.set_format(found.format());
  model.set_num_classes(found.num_classes());
  *model.mutable_input_shape() = found.input_shape();
  model.set_normalisation(found.normalisation());
  *model.mutable_layers() = found.layers();
  model.set_parameter_count(found.parameter_count());
  model.set_activation_bytes(found.activation_bytes());
  model.set_forward_flops(found.forward_flops());
  model.set_state(v1::READY);
  model.set_state_message(found.state_message());
}

void Accept(const v1::Dataset& found, v1::Dataset& dataset) {
  if (found.has_reader()) *dataset.mutable_reader() = found.reader();
  *dataset.mutable_splits() = found.splits();
  dataset.set_num_classes(found.num_classes());
  *dataset.mutable_image_shape() = found.image_shape();
  *dataset.mutable_class_names() = found.class_names();
  dataset.set_has_masks(found.has_masks());
  dataset.set_has_boxes(found.has_boxes());
  dataset.set_digest(found.digest());
  dataset.set_summary(found.summary());
  dataset.set_state(v1::READY);
  dataset.set_state_message(found.state_message());
}

bool Within(int64_t value, int64_t most) { return value >= 0 && value <= most; }

absl::Status CheckFound(const v1::Model& model) {
  const v1::ImageShape& shape = model.input_shape();
  if (model.num_classes() <= 0 || shape.channels() <= 0 || shape.height() <= 0 ||
      shape.width() <= 0 || model.layers_size() > kMaxLayers)
    return absl::InvalidArgumentError("the model has no usable input shape or class count");
  if (!Within(model.parameter_count(), kMaxParameters) ||
      !Within(model.activation_bytes(), kMaxActivationBytes) ||
      !Within(model.forward_flops(), kMaxFlops))
    return absl::InvalidArgumentError("the model is larger than any device could hold");
  return absl::OkStatus();
}

absl::Status CheckFound(const v1::Dataset& dataset) {
  if (dataset.num_classes() > 0 && dataset.splits_size() > 0) return absl::OkStatus();
  return absl::InvalidArgumentError("the dataset has no samples");
}

template <typename Resource>
absl::StatusOr<Resource> Usable(Resource found) {
  RETURN_IF_ERROR(CheckFound(found));
  return found;
}

// What `found` or its absence does to the stored resource.
template <typename Resource>
void ApplyVerdict(const absl::StatusOr<Resource>& found, Resource& resource) {
  if (found.ok()) {
    Accept(*found, resource);
  } else {
    resource.set_state(v1::REJECTED);
    resource.set_state_message(std::string(found.status().message().substr(0, 1024)));
  }
}

}  // namespace

void Validation::Stop() {
  stopped_ = true;
  absl::MutexLock lock(&mutex_);
  if (running_ != nullptr) running_->Wake();
}

void Validation::Run() {
  if (absl::StartsWith(name_, "models/")) {
    RunModel();
  } else {
    RunDataset();
  }
}

void Validation::RunModel() {
  const auto stored = Await<v1::Model>([&](Reply<v1::Model> reply) {
    services_.store.models().Get(tenant_, name_, std::move(reply));
  });
  if (!stored.ok()) return;
  absl::StatusOr<worker::v1::Result> result = AskWorker(OpenModelInputs(*stored, services_.blobs));
  absl::StatusOr<v1::Model> found = absl::UnknownError("");
  if (result.ok()) {
    found = Usable(std::move(*result->mutable_model()));
  } else {
    found = result.status();
  }
  if (absl::IsCancelled(found.status()) || (!found.ok() && stored->state() == v1::READY)) return;
  Await<v1::Model>([&](Reply<v1::Model> reply) {
    services_.store.models().Change(
        tenant_, name_, [&](v1::Model& model) { ApplyVerdict(found, model); }, std::move(reply));
  }).IgnoreError();
}

void Validation::RunDataset() {
  const auto stored = Await<v1::Dataset>([&](Reply<v1::Dataset> reply) {
    services_.store.datasets().Get(tenant_, name_, std::move(reply));
  });
  if (!stored.ok()) return;
  absl::StatusOr<worker::v1::Result> result =
      AskWorker(OpenDatasetInputs(*stored, services_.blobs));
  absl::StatusOr<v1::Dataset> found = absl::UnknownError("");
  if (result.ok()) {
    found = Usable(std::move(*result->mutable_dataset()));
  } else {
    found = result.status();
  }
  if (absl::IsCancelled(found.status())) return;
  Await<v1::Dataset>([&](Reply<v1::Dataset> reply) {
    services_.store.datasets().Change(
        tenant_, name_, [&](v1::Dataset& dataset) { ApplyVerdict(found, dataset); },
        std::move(reply));
  }).IgnoreError();
}

// A worker that does not start says nothing about the resource: try again before giving up.
absl::StatusOr<ReadyWorker> Validation::TakeWorker() {
  absl::StatusOr<ReadyWorker> worker = absl::CancelledError("the server stops");
  for (int i = 0; i < kStartTries && !worker.ok() && !stopped_; ++i)
    worker = services_.pool.TakeLimited(1, services_.options.validation_memory_bytes);
  return worker;
}

absl::StatusOr<worker::v1::Result> Validation::AskWorker(absl::StatusOr<StartPackage> package) {
  if (!package.ok()) return package.status();
  ASSIGN_OR_RETURN(ReadyWorker worker, TakeWorker());
  {
    absl::MutexLock lock(&mutex_);
    running_ = worker.process.get();
  }
  const absl::Cleanup forget = [this] {
    absl::MutexLock lock(&mutex_);
    running_ = nullptr;
  };
  worker::v1::Frame frame;
  *frame.mutable_start() = std::move(package->start);
  frame.mutable_start()->set_device("cpu");
  frame.mutable_start()->set_threads(1);
  frame.mutable_start()->set_memory_limit_bytes(services_.options.validation_memory_bytes);
  RETURN_IF_ERROR(worker.process->Send(std::move(frame), package->descriptors()));
  return AwaitResult(*worker.process);
}

absl::StatusOr<worker::v1::Result> Validation::AwaitResult(WorkerProcess& process) {
  const int64_t memory_limit = services_.options.validation_memory_bytes;
  const absl::Time deadline = absl::Now() + services_.options.validation_limit;
  while (!stopped_) {
    WorkerNews news = process.Next(deadline);
    switch (news.kind) {
      case WorkerNews::kExited:
        return VerdictOfExit(*process.wait_status(), memory_limit);
      case WorkerNews::kBroken:
        return absl::InvalidArgumentError("reading it failed: the worker broke the protocol");
      case WorkerNews::kTimeout:
        return absl::InvalidArgumentError(
            absl::StrCat("loading took too long: no answer within ",
                         absl::FormatDuration(services_.options.validation_limit)));
      case WorkerNews::kWoken:
        continue;
      case WorkerNews::kFrame:
        break;
    }
    const worker::v1::Frame& frame = news.received.frame;
    process.Acknowledge(frame.number());
    if (frame.has_heartbeat() && frame.heartbeat().rss_bytes() > memory_limit)
      return OutOfMemory(memory_limit);
    if (!frame.has_result()) continue;
    if (frame.result().has_error())
      return absl::InvalidArgumentError(frame.result().error().message());
    return frame.result();
  }
  return absl::CancelledError("the server stops");
}

}  // namespace adamant
