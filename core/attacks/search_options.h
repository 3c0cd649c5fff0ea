// SPDX-License-Identifier: Apache-2.0
// The parameters that every gradient attack accepts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "core/attacks/losses.h"
#include "core/base/params.h"

namespace adamant {

enum class Keep { kLast, kBestLoss, kFirstSuccess };

struct SearchOptions {
  std::string loss = "ce";
  std::string target = "none";  // none, least_likely, next, random_wrong, rank:r, given
  Keep keep = Keep::kLast;      // craft mode
  Numerics numerics = Numerics::kStrong;
  bool early_stop = true;
  bool predicted_label = false;  // ascend away from the clean prediction instead of the label
  int64_t restarts = 1;
};

// Where an attack differs from the common defaults.
struct SearchDefaults {
  std::string loss = "ce";
  int64_t restarts = 1;          // 0: 1, but 5 under L1
  bool chooses_targets = false;  // the attack aims by itself: there is no parameter `target`
};

std::vector<Param> SearchParams(const SearchDefaults& defaults = {});
// Throws std::invalid_argument for a target or a combination that does not exist. For attacks that
// choose their targets, `target` is rank:1.
SearchOptions ParseSearch(const Params& params);
void CheckTarget(const std::string& target);  // throws std::invalid_argument for an unknown one
// What the attack substitutes for a model of few classes, for Attack::Notes.
std::vector<std::string> LossNotes(const SearchOptions& options, int64_t num_classes);
std::vector<Param> Joined(std::vector<Param> first, std::vector<Param> second);

// The rank r of the target "rank:r"; 0 when it is not of that form.
int64_t TargetRank(absl::string_view target);

}  // namespace adamant
