// SPDX-License-Identifier: Apache-2.0
// MNIST (LeCun et al. 1998) from its IDX files, decompressed. Ten classes, one channel.
#include "core/data/idx.h"

namespace adamant {
namespace {

const Registration<Dataset> kMnist{
    {.name = "mnist", .summary = "handwritten digits, IDX files", .paper = "LeCun et al. 1998"},
    [](const Params&, const DataFiles& files) {
      return OpenIdx(files, {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"});
    }};

}  // namespace
}  // namespace adamant
