// SPDX-License-Identifier: Apache-2.0
#include "core/run/probe.h"

#include "absl/strings/str_cat.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr int64_t kNumbers = int64_t{8} << 20;  // int64: 64 MiB
constexpr int64_t kSide = 256;

// 0 - 1 + 2 - 3 ... = -n / 2 for an even n.
int64_t AlternatingSum(const c10::Device& device) {
  const at::Tensor numbers = at::arange(kNumbers, at::TensorOptions(device).dtype(at::kLong));
  const at::Tensor signs = 1 - 2 * numbers.bitwise_and(1);
  return (numbers * signs).sum().item<int64_t>();
}

// Each of kSide^2 products is kSide * 0.5 * 2: exact in float32, also with TF32.
int64_t ProductSum(const c10::Device& device) {
  const at::TensorOptions options = at::TensorOptions(device).dtype(at::kFloat);
  const at::Tensor product =
      at::full({kSide, kSide}, 0.5, options).mm(at::full({kSide, kSide}, 2.0, options));
  return product.to(at::kLong).sum().item<int64_t>();
}

absl::Status Expect(absl::string_view what, int64_t found, int64_t expected) {
  if (found == expected) return absl::OkStatus();
  return absl::AbortedError(
      absl::StrCat("the device computes wrong: ", what, " is ", found, ", expected ", expected));
}

}  // namespace

absl::Status ProbeDevice(const std::string& device) {
  const c10::Device probed(device);
  const absl::Status sum = Expect("the sum", AlternatingSum(probed), -kNumbers / 2);
  if (!sum.ok()) return sum;
  return Expect("the product", ProductSum(probed), kSide * kSide * kSide);
}

}  // namespace adamant
