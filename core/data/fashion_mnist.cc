// SPDX-License-Identifier: Apache-2.0
// Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747): the format and file names of MNIST.
#include "core/data/idx.h"

namespace adamant {
namespace {

const Registration<Dataset> kFashionMnist{
    {.name = "fashion_mnist",
     .summary = "articles of clothing, IDX files",
     .paper = "Xiao et al. 2017, arXiv 1708.07747"},
    [](const Params&, const DataFiles& files) {
      return OpenIdx(files, {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal",
                             "Shirt", "Sneaker", "Bag", "Ankle boot"});
    }};

}  // namespace
}  // namespace adamant
