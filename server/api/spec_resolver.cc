// SPDX-License-Identifier: Apache-2.0
#include "server/api/spec_resolver.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/blob_name.h"
#include "common/nearest.h"
#include "common/status_macros.h"
#include "server/api/status.h"
#include "server/jobs/job.h"
#include "server/store/await.h"

namespace adamant {
namespace {

std::string ShapeText(const v1::ImageShape& shape) {
  return absl::StrCat(shape.channels(), "x", shape.height(), "x", shape.width());
}

bool IsKnown(const v1::ImageShape& shape) { return shape.height() > 0 && shape.width() > 0; }

bool Differ(const v1::ImageShape& a, const v1::ImageShape& b) {
  return a.channels() != b.channels() || a.height() != b.height() || a.width() != b.width();
}

absl::Status ModelUnfit(const std::string& name, absl::string_view message) {
  return Precondition("MODEL_INCOMPATIBLE", "MODEL", {name}, message);
}

absl::Status DataUnfit(const std::string& name, absl::string_view message) {
  return Precondition("DATA_INCOMPATIBLE", "DATA", {name}, message);
}

absl::Status CheckSelection(const v1::DataSource& source, const v1::Dataset& dataset) {
  std::vector<std::string> known;
  for (const v1::DataSplit& split : dataset.splits()) {
    known.push_back(split.name());
    if (split.name() != source.split()) continue;
    int64_t last = source.end() - 1;
    for (const int64_t id : source.sample_ids()) last = std::max(last, id);
    last = std::max(last, source.begin());
    if (last < split.num_samples()) return absl::OkStatus();
    return DataUnfit(dataset.name(), absl::StrCat("sample ", last, " is beyond the end: split \"",
                                                  split.name(), "\" of ", dataset.name(), " has ",
                                                  split.num_samples(), " samples"));
  }
  return DataUnfit(dataset.name(), UnknownNameMessage(absl::StrCat("split of ", dataset.name()),
                                                      source.split(), known));
}

absl::Status CheckFit(const v1::Dataset& dataset, const v1::Model& model, bool exact_shape) {
  if (model.state() != v1::READY) return absl::OkStatus();
  if (exact_shape && IsKnown(dataset.image_shape()) && IsKnown(model.input_shape()) &&
      Differ(dataset.image_shape(), model.input_shape())) {
    return DataUnfit(
        dataset.name(),
        absl::StrCat(dataset.name(), " has images of ", ShapeText(dataset.image_shape()), ", ",
                     model.name(), " takes ", ShapeText(model.input_shape())));
  }
  if (dataset.num_classes() > 0 && model.num_classes() > 0 &&
      dataset.num_classes() > model.num_classes()) {
    return DataUnfit(dataset.name(),
                     absl::StrCat(dataset.name(), " has ", dataset.num_classes(), " classes, ",
                                  model.name(), " knows ", model.num_classes()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SpecResolver::Resolve(const v1::JobSpec& spec) {
  if (spec.has_train()) return ResolveTrain(spec.train(), spec);
  if (spec.has_attack()) {
    std::vector<v1::BlobRef> given(spec.attack().shard_records().begin(),
                                   spec.attack().shard_records().end());
    if (spec.attack().has_adversarial_set()) given.push_back(spec.attack().adversarial_set());
    RETURN_IF_ERROR(RequireBlobs(std::move(given)));
    ASSIGN_OR_RETURN(const v1::Model model, ResolveModel(spec.attack().model(), false));
    return ResolveData(spec.attack().data(), model, /*exact_shape=*/true);
  }
  ASSIGN_OR_RETURN(const v1::Model model, ResolveModel(spec.explain().model(), false));
  if (!spec.explain().has_data()) return absl::OkStatus();
  return ResolveData(spec.explain().data(), model, /*exact_shape=*/false);
}

absl::Status SpecResolver::RequireBlobs(std::vector<v1::BlobRef> blobs) {
  ASSIGN_OR_RETURN(const std::vector<v1::BlobRef> missing,
                   Await<std::vector<v1::BlobRef>>([&](Reply<std::vector<v1::BlobRef>> reply) {
                     store_.FindMissingBlobs(tenant_, std::move(blobs), absl::Now(),
                                             std::move(reply));
                   }));
  if (missing.empty()) return absl::OkStatus();
  std::vector<std::string> names;
  for (const v1::BlobRef& blob : missing) names.push_back(BlobName(blob));
  return Precondition(
      "BLOB_MISSING", "MISSING", names,
      absl::StrCat(
          names.front(), " is not stored; upload it first",
          names.size() > 1 ? absl::StrCat(" (", names.size(), " blobs are missing)") : ""));
}

absl::Status SpecResolver::ResolveTrain(const v1::TrainSpec& spec, const v1::JobSpec& whole) {
  ASSIGN_OR_RETURN(const v1::Model model, ResolveModel(spec.model(), true));
  RETURN_IF_ERROR(ResolveData(spec.train(), model, /*exact_shape=*/true));
  if (spec.has_validation())
    RETURN_IF_ERROR(ResolveData(spec.validation(), model, /*exact_shape=*/true));
  return spec.register_as().empty() ? absl::OkStatus() : CheckIdFree(spec.register_as(), whole);
}

absl::StatusOr<v1::Model> SpecResolver::ResolveModel(const v1::ModelSource& source, bool training) {
  if (source.has_weights()) {
    RETURN_IF_ERROR(RequireBlobs({source.weights().blob()}));
  } else if (source.has_checkpoint()) {
    RETURN_IF_ERROR(ResolveCheckpoint(source.checkpoint()));
  }
  if (source.source_case() != v1::ModelSource::kModel) return v1::Model();
  ASSIGN_OR_RETURN(v1::Model model, Await<v1::Model>([&](Reply<v1::Model> reply) {
                     store_.models().Get(tenant_, source.model(), std::move(reply));
                   }));
  if (model.state() == v1::REJECTED) {
    return ModelUnfit(model.name(),
                      absl::StrCat(model.name(), " was rejected: ", model.state_message()));
  }
  if (training && model.format() == v1::TORCHSCRIPT) {
    return ModelUnfit(model.name(), absl::StrCat(model.name(),
                                                 " is a TorchScript program, which cannot be "
                                                 "trained; start from an architecture or from "
                                                 "safetensors weights"));
  }
  return model;
}

absl::Status SpecResolver::ResolveCheckpoint(const v1::ModelSource::Checkpoint& checkpoint) {
  ASSIGN_OR_RETURN(const std::string uid, JobUid(checkpoint.job()));
  ASSIGN_OR_RETURN(const v1::Job job, Await<v1::Job>([&](Reply<v1::Job> reply) {
                     store_.GetJob(tenant_, uid, std::move(reply));
                   }));
  if (job.kind() != v1::TRAIN)
    return ModelUnfit(job.name(), absl::StrCat(job.name(), " is not a training job"));
  for (const v1::Artifact& artifact : job.artifacts()) {
    if (artifact.role() == "weights" &&
        (!checkpoint.has_step() || artifact.step() == checkpoint.step())) {
      return absl::OkStatus();
    }
  }
  return ModelUnfit(
      job.name(), absl::StrCat(job.name(), " has kept no weights",
                               checkpoint.has_step() ? absl::StrCat(" of step ", checkpoint.step())
                                                     : " yet; wait until it has succeeded"));
}

absl::Status SpecResolver::ResolveData(const v1::DataSource& source, const v1::Model& model,
                                       bool exact_shape) {
  if (source.source_case() != v1::DataSource::kDataset) return absl::OkStatus();
  ASSIGN_OR_RETURN(const v1::Dataset dataset, Await<v1::Dataset>([&](Reply<v1::Dataset> reply) {
                     store_.datasets().Get(tenant_, source.dataset(), std::move(reply));
                   }));
  if (dataset.state() == v1::REJECTED) {
    return DataUnfit(dataset.name(),
                     absl::StrCat(dataset.name(), " was rejected: ", dataset.state_message()));
  }
  if (dataset.state() != v1::READY) return absl::OkStatus();
  RETURN_IF_ERROR(CheckSelection(source, dataset));
  return CheckFit(dataset, model, exact_shape);
}

absl::Status SpecResolver::CheckIdFree(const std::string& id, const v1::JobSpec& spec) {
  const std::string name = absl::StrCat("models/", id);
  const absl::StatusOr<v1::Model> taken = Await<v1::Model>(
      [&](Reply<v1::Model> reply) { store_.models().Get(tenant_, name, std::move(reply)); });
  if (absl::IsNotFound(taken.status())) return absl::OkStatus();
  RETURN_IF_ERROR(taken.status());
  // The same submit sent again after its job has registered the model must reach the store, which
  // answers with that job.
  if (const absl::StatusOr<std::string> uid = JobUid(taken->training_job()); uid.ok()) {
    const absl::StatusOr<v1::Job> job = Await<v1::Job>(
        [&](Reply<v1::Job> reply) { store_.GetJob(tenant_, *uid, std::move(reply)); });
    if (job.ok() && job->spec_digest() == SpecDigest(spec)) return absl::OkStatus();
  }
  return ResourceExists("model", name, "ID_TAKEN",
                        absl::StrCat(name,
                                     " exists; choose another id for register_as, or delete "
                                     "that model"));
}

}  // namespace adamant
