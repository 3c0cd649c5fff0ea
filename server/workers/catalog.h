// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "adamant/worker/v1/worker.pb.h"
#include "server/workers/launch.h"

namespace adamant {

// What `adamant-worker --catalog` prints. Kept in `cache_folder` under the digest of the worker
// binary, so that a restart does not wait for LibTorch. Blocks for up to 60 s. FAILED_PRECONDITION
// when the worker cannot be run or prints something else.
absl::StatusOr<worker::v1::Catalog> LoadCatalog(const WorkerCommand& command,
                                                const std::string& cache_folder);

}  // namespace adamant
