// SPDX-License-Identifier: Apache-2.0
#include "core/run/crafted_set.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "core/base/torch.h"
#include "core/models/safetensors.h"
#include "core/run/samples.h"

namespace adamant {
namespace {

absl::Status Bad(absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("adversarial_set: ", why));
}

absl::StatusOr<at::Tensor> Column(const Safetensors& file, const std::string& name, int64_t dims) {
  const auto found = file.tensors.find(name);
  if (found == file.tensors.end()) return Bad(absl::StrCat("has no tensor ", name));
  if (found->second.dim() != dims) return Bad(absl::StrCat("tensor ", name, " has another shape"));
  return found->second;
}

}  // namespace

absl::StatusOr<CraftedSet> CraftedSet::Read(std::shared_ptr<const FileView> file) {
  absl::StatusOr<Safetensors> parsed = ParseSafetensors(std::move(file));
  if (!parsed.ok()) return Bad(parsed.status().message());
  CraftedSet set;
  set.metadata_ = parsed->metadata;
  if (set.About("schema") != "adamant.adv_set/1") {
    return Bad(
        "is not a file of schema adamant.adv_set/1, as attack jobs write it with output "
        "ADVERSARIAL_EXAMPLES");
  }
  ASSIGN_OR_RETURN(const at::Tensor images, Column(*parsed, "x_adv", 4));
  ASSIGN_OR_RETURN(const at::Tensor ids, Column(*parsed, "sample_id", 1));
  if (images.scalar_type() != at::kFloat || ids.size(0) != images.size(0)) {
    return Bad("x_adv must be float32 with as many rows as sample_id");
  }
  if (!(images >= 0).logical_and(images <= 1).all().item<bool>()) {
    return Bad("holds values outside [0,1]");
  }
  set.images_ = images.contiguous().clone();
  set.ids_ = ids.to(at::kLong).contiguous().clone();
  for (int64_t row = 0; row < set.size(); ++row) {
    const int64_t id = set.ids_.data_ptr<int64_t>()[row];
    if (!set.row_of_.emplace(id, row).second) return Bad(absl::StrCat("sample ", id, " is twice"));
  }
  return set;
}

absl::Status CraftedSet::Holds(absl::Span<const int64_t> ids) const {
  for (const int64_t id : ids) {
    if (!row_of_.contains(id)) return Bad(absl::StrCat("does not hold sample ", id));
  }
  return absl::OkStatus();
}

absl::StatusOr<at::Tensor> CraftedSet::ImagesOf(const at::Tensor& ids) const {
  const at::Tensor host = ids.cpu().contiguous();
  const absl::Span<const int64_t> wanted(host.data_ptr<int64_t>(), host.numel());
  RETURN_IF_ERROR(Holds(wanted));
  std::vector<int64_t> rows;
  for (const int64_t id : wanted) rows.push_back(row_of_.at(id));
  return images_.index_select(0, ToTensor(rows));
}

std::string CraftedSet::About(const std::string& key) const {
  const auto found = metadata_.find(key);
  return found == metadata_.end() ? "" : found->second;
}

}  // namespace adamant
