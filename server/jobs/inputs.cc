// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/inputs.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/jobs/job.h"
#include "server/store/await.h"

namespace adamant {
namespace {

constexpr size_t kMaxSpecInFrame = 900 << 10;

absl::Status AddFile(StartPackage& package, absl::string_view input, absl::string_view name,
                     const v1::BlobRef& blob, BlobStore& blobs) {
  ASSIGN_OR_RETURN(Descriptor file, blobs.Open(blob));
  worker::v1::InputFile& entry = *package.start.add_inputs();
  entry.set_input(std::string(input));
  entry.set_name(std::string(name));
  *entry.mutable_blob() = blob;
  entry.set_fd_index(static_cast<int>(package.files.size()));
  package.files.push_back(std::move(file));
  return absl::OkStatus();
}

absl::Status NotReady(absl::string_view name, absl::string_view why) {
  return absl::FailedPreconditionError(absl::StrCat(name, " ", why));
}

absl::Status AddRegisteredModel(StartPackage& package, const v1::Job& job, JobStore& store,
                                BlobStore& blobs, const std::string& name) {
  ASSIGN_OR_RETURN(const v1::Model model, Await<v1::Model>([&](Reply<v1::Model> reply) {
                     store.models().Get(job.tenant(), name, std::move(reply));
                   }));
  if (model.state() != v1::READY) return NotReady(name, "is not ready");
  worker::v1::ResolvedModel& resolved = *package.start.mutable_model();
  resolved.set_name(name);
  resolved.set_format(model.format());
  if (model.has_architecture()) *resolved.mutable_architecture() = model.architecture();
  resolved.set_num_classes(model.num_classes());
  *resolved.mutable_input_shape() = model.input_shape();
  return AddFile(package, "model", "", model.blob(), blobs);
}

absl::Status AddTrainedModel(StartPackage& package, const v1::Job& job, JobStore& store,
                             BlobStore& blobs, const v1::ModelSource::Checkpoint& source) {
  ASSIGN_OR_RETURN(const std::string uid, JobUid(source.job()));
  ASSIGN_OR_RETURN(const v1::Job training, Await<v1::Job>([&](Reply<v1::Job> reply) {
                     store.GetJob(job.tenant(), uid, std::move(reply));
                   }));
  const v1::Artifact* weights = nullptr;
  for (const v1::Artifact& artifact : training.artifacts()) {
    const bool wanted = !source.has_step() || artifact.step() == source.step();
    if (artifact.role() == kWeightsRole && wanted) weights = &artifact;
  }
  if (weights == nullptr) return NotReady(source.job(), "kept no weights of that step");
  worker::v1::ResolvedModel& resolved = *package.start.mutable_model();
  resolved.set_name(source.job());
  resolved.set_format(v1::SAFETENSORS);
  return AddFile(package, "model", "", weights->blob(), blobs);
}

absl::Status AddModel(StartPackage& package, const v1::Job& job, JobStore& store,
                      BlobStore& blobs) {
  const v1::ModelSource& source = ModelSourceOf(job.spec());
  switch (source.source_case()) {
    case v1::ModelSource::kModel:
      return AddRegisteredModel(package, job, store, blobs, source.model());
    case v1::ModelSource::kCheckpoint:
      return AddTrainedModel(package, job, store, blobs, source.checkpoint());
    case v1::ModelSource::kWeights: {
      worker::v1::ResolvedModel& resolved = *package.start.mutable_model();
      resolved.set_name(absl::StrCat("blobs/", source.weights().blob().sha256()));
      if (source.weights().has_architecture())
        *resolved.mutable_architecture() = source.weights().architecture();
      return AddFile(package, "model", "", source.weights().blob(), blobs);
    }
    case v1::ModelSource::kArchitecture:
      package.start.mutable_model()->set_name(source.architecture().name());
      *package.start.mutable_model()->mutable_architecture() = source.architecture();
      return absl::OkStatus();
    default:
      return absl::InvalidArgumentError("the specification names no model");
  }
}

absl::Status AddData(StartPackage& package, const v1::Job& job, JobStore& store, BlobStore& blobs,
                     absl::string_view input, const v1::DataSource& source) {
  worker::v1::ResolvedData data;
  data.set_input(std::string(input));
  if (source.has_builtin()) {
    data.set_name(source.builtin().name());
    *data.mutable_reader() = source.builtin();
  } else if (!source.dataset().empty()) {
    ASSIGN_OR_RETURN(const v1::Dataset dataset, Await<v1::Dataset>([&](Reply<v1::Dataset> reply) {
                       store.datasets().Get(job.tenant(), source.dataset(), std::move(reply));
                     }));
    if (dataset.state() != v1::READY) return NotReady(dataset.name(), "is not ready");
    data.set_name(dataset.name());
    *data.mutable_reader() = dataset.reader();
    for (const v1::DataFile& file : dataset.files())
      RETURN_IF_ERROR(AddFile(package, input, file.name(), file.blob(), blobs));
  } else {
    return absl::OkStatus();
  }
  *package.start.add_data() = std::move(data);
  return absl::OkStatus();
}

// A checkpoint that no longer opens is passed over for an older one, in the end for none.
void AddCheckpoint(StartPackage& package, const v1::Job& job, BlobStore& blobs) {
  for (auto artifact = job.artifacts().rbegin(); artifact != job.artifacts().rend(); ++artifact) {
    if (artifact->role() != kCheckpointRole) continue;
    if (AddFile(package, "resume", "", artifact->blob(), blobs).ok()) return;
  }
}

absl::Status AddSpec(StartPackage& package, const v1::JobSpec& spec) {
  if (spec.ByteSizeLong() <= kMaxSpecInFrame) {
    *package.start.mutable_job() = spec;
    return absl::OkStatus();
  }
  Descriptor file(memfd_create("spec", MFD_CLOEXEC));
  if (!file.valid()) return ErrnoStatus(errno, "memfd_create");
  RETURN_IF_ERROR(WriteAll(file.get(), spec.SerializeAsString()));
  lseek(file.get(), 0, SEEK_SET);
  worker::v1::InputFile& entry = *package.start.add_inputs();
  entry.set_input("spec");
  entry.set_fd_index(static_cast<int>(package.files.size()));
  package.files.push_back(std::move(file));
  return absl::OkStatus();
}

}  // namespace

std::vector<int> StartPackage::descriptors() const {
  std::vector<int> numbers;
  for (const Descriptor& file : files) numbers.push_back(file.get());
  return numbers;
}

const v1::Artifact* NewestArtifact(const v1::Job& job, absl::string_view role) {
  for (auto artifact = job.artifacts().rbegin(); artifact != job.artifacts().rend(); ++artifact) {
    if (artifact->role() == role) return &*artifact;
  }
  return nullptr;
}

absl::StatusOr<StartPackage> OpenJobInputs(const v1::Job& job, JobStore& store, BlobStore& blobs) {
  StartPackage package;
  const v1::JobSpec& spec = job.spec();
  RETURN_IF_ERROR(AddSpec(package, spec));
  RETURN_IF_ERROR(AddModel(package, job, store, blobs));
  if (spec.has_train()) {
    RETURN_IF_ERROR(AddData(package, job, store, blobs, "train", spec.train().train()));
    RETURN_IF_ERROR(AddData(package, job, store, blobs, "validation", spec.train().validation()));
  } else {
    const v1::DataSource& data = spec.has_attack() ? spec.attack().data() : spec.explain().data();
    RETURN_IF_ERROR(AddData(package, job, store, blobs, "data", data));
  }
  if (spec.attack().has_adversarial_set()) {
    RETURN_IF_ERROR(
        AddFile(package, "adversarial_set", "", spec.attack().adversarial_set(), blobs));
  }
  for (const v1::BlobRef& records : spec.attack().shard_records())
    RETURN_IF_ERROR(AddFile(package, "shard_records", "", records, blobs));
  AddCheckpoint(package, job, blobs);
  package.start.set_spec_digest(job.spec_digest());
  return package;
}

absl::StatusOr<StartPackage> OpenModelInputs(const v1::Model& model, BlobStore& blobs) {
  StartPackage package;
  *package.start.mutable_validate_model() = model;
  RETURN_IF_ERROR(AddFile(package, "model", "", model.blob(), blobs));
  return package;
}

absl::StatusOr<StartPackage> OpenDatasetInputs(const v1::Dataset& dataset, BlobStore& blobs) {
  StartPackage package;
  *package.start.mutable_validate_dataset() = dataset;
  for (const v1::DataFile& file : dataset.files())
    RETURN_IF_ERROR(AddFile(package, "data", file.name(), file.blob(), blobs));
  return package;
}

}  // namespace adamant
