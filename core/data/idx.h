// SPDX-License-Identifier: Apache-2.0
// IDX files: {train,t10k}-{images-idx3,labels-idx1}-ubyte, as MNIST and Fashion-MNIST come.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/dataset.h"

namespace adamant {

// Splits `train` and `test`, each from a complete pair; at least one. Errors: IDX_INVALID.
absl::StatusOr<std::unique_ptr<Dataset>> OpenIdx(const DataFiles& files,
                                                 std::vector<std::string> class_names);

}  // namespace adamant
