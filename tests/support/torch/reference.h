// SPDX-License-Identifier: Apache-2.0
// The real inputs as tests of core use them. Call only where REQUIRE_TEST_DATA() let the test run.
#pragma once

#include <memory>
#include <string>

#include "core/data/dataset.h"
#include "core/models/model.h"

namespace adamant::testing {

// MNIST's two test files, decompressed.
DataFiles MnistTestFiles();
// Its two training files.
DataFiles MnistTrainFiles();

// The first `count` images of the MNIST test split.
Batch MnistTestBatch(int64_t count);

// checkpoints/{name}.safetensors: "mnist_lenet5_adv", "mnist_lenet5_cln", "mnist_convex".
std::unique_ptr<Model> ReferenceModel(const std::string& name);

}  // namespace adamant::testing
