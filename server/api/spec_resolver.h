// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adamant/v1/job.pb.h"
#include "server/store/job_store.h"

namespace adamant {

// Checks what a spec names against what is stored: that models, datasets, checkpoints and blobs
// exist, were not rejected, and fit each other as far as is known. A resource that is still being
// validated passes; its job waits for it. Blocks on the store; not thread-safe.
class SpecResolver {
 public:
  SpecResolver(JobStore& store, std::string tenant) : store_(store), tenant_(std::move(tenant)) {}

  // NOT_FOUND / MODEL_NOT_FOUND, DATASET_NOT_FOUND, JOB_NOT_FOUND; FAILED_PRECONDITION /
  // BLOB_MISSING, MODEL_INCOMPATIBLE, DATA_INCOMPATIBLE; ALREADY_EXISTS / ID_TAKEN.
  absl::Status Resolve(const v1::JobSpec& spec);

  // OK when the tenant has every blob, else FAILED_PRECONDITION / BLOB_MISSING naming the others.
  absl::Status RequireBlobs(std::vector<v1::BlobRef> blobs);

 private:
  absl::Status ResolveTrain(const v1::TrainSpec& spec, const v1::JobSpec& whole);
  // The registered model, or an empty one for other sources.
  absl::StatusOr<v1::Model> ResolveModel(const v1::ModelSource& source, bool training);
  absl::Status ResolveCheckpoint(const v1::ModelSource::Checkpoint& checkpoint);
  absl::Status ResolveData(const v1::DataSource& source, const v1::Model& model, bool exact_shape);
  absl::Status CheckIdFree(const std::string& id, const v1::JobSpec& spec);

  JobStore& store_;
  const std::string tenant_;
};

}  // namespace adamant
