// SPDX-License-Identifier: Apache-2.0
#include "core/run/fingerprint.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/version.h>

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace adamant {

std::string Fingerprint(absl::string_view device) {
  const at::Context& context = at::globalContext();
  return absl::StrCat(
      "libtorch=", TORCH_VERSION, "; cpu=", at::get_cpu_capability(),
      "; threads=", at::get_num_threads(), "; interop_threads=", at::get_num_interop_threads(),
      "; onednn=", at::hasMKLDNN() && context.userEnabledMkldnn() ? 1 : 0,
      "; deterministic=", context.deterministicAlgorithms() ? 1 : 0, "; device=", device);
}

std::string FingerprintDifference(absl::string_view now, absl::string_view before) {
  const std::vector<absl::string_view> a = absl::StrSplit(now, "; ");
  const std::vector<absl::string_view> b = absl::StrSplit(before, "; ");
  for (size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    const absl::string_view left = i < a.size() ? a[i] : "nothing";
    const absl::string_view right = i < b.size() ? b[i] : "nothing";
    if (left != right) return absl::StrCat(left, " instead of ", right);
  }
  return "";
}

}  // namespace adamant
