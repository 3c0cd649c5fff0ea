// SPDX-License-Identifier: Apache-2.0
#include "client/cli/resource.h"

#include "absl/strings/str_split.h"

namespace adamant {

absl::Status ParseLabels(const std::vector<std::string>& texts,
                         google::protobuf::Map<std::string, std::string>& labels) {
  for (const std::string& text : texts) {
    const std::vector<std::string> parts = absl::StrSplit(text, absl::MaxSplits('=', 1));
    if (parts.size() != 2 || parts[0].empty()) {
      return UsageError(absl::StrCat("--label ", text, " is not KEY=VALUE"));
    }
    labels[parts[0]] = parts[1];
  }
  return absl::OkStatus();
}

}  // namespace adamant
