// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adamant/worker/v1/worker.pb.h"
#include "common/files.h"
#include "server/blobs/blob_store.h"
#include "server/store/job_store.h"

namespace adamant {

// A Start message and the descriptors its input files index.
struct StartPackage {
  worker::v1::Start start;
  std::vector<Descriptor> files;

  std::vector<int> descriptors() const;
};

// Opens everything the job reads: the model, its data, and the newest checkpoint of an earlier
// attempt that is still whole. Device, threads and attempt are left to the caller. A specification
// too long for a frame travels as the input file "spec". FAILED_PRECONDITION when a model, dataset
// or training result is not there; errors of BlobStore::Open. Blocks.
absl::StatusOr<StartPackage> OpenJobInputs(const v1::Job& job, JobStore& store, BlobStore& blobs);

absl::StatusOr<StartPackage> OpenModelInputs(const v1::Model& model, BlobStore& blobs);
absl::StatusOr<StartPackage> OpenDatasetInputs(const v1::Dataset& dataset, BlobStore& blobs);

// The newest artifact of `job` with this role, or nullptr.
const v1::Artifact* NewestArtifact(const v1::Job& job, absl::string_view role);

inline constexpr char kCheckpointRole[] = "checkpoint";
inline constexpr char kWeightsRole[] = "weights";

}  // namespace adamant
