// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/search_options.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace adamant {

void CheckTarget(const std::string& target) {
  for (const char* known : {"none", "least_likely", "next", "random_wrong", "given"}) {
    if (target == known) return;
  }
  if (TargetRank(target) >= 1) return;
  throw std::invalid_argument(absl::StrCat(
      "unknown target \"", target,
      "\"; known: none, least_likely, next, random_wrong, rank:1, rank:2, ..., given"));
}

int64_t TargetRank(absl::string_view target) {
  int64_t rank = 0;
  if (!absl::ConsumePrefix(&target, "rank:") || !absl::SimpleAtoi(target, &rank)) return 0;
  return rank;
}

std::vector<Param> SearchParams(const SearchDefaults& defaults) {
  std::vector<Param> params = {
      Choice("loss", defaults.loss, LossNames()).Doc("loss to ascend"),
      Choice("keep", "last", {"last", "best_loss", "first_success"})
          .Doc("which iterate is returned when crafting"),
      Choice("numerics", "strong", {"strong", "reference"})
          .Doc("reference: float32 cross-entropy as published code computes it"),
      Bool("early_stop", true).Doc("broken samples leave the batch"),
      Int("restarts", defaults.restarts)
          .Range(static_cast<double>(std::min<int64_t>(defaults.restarts, 1)), 1000)
          .Doc(defaults.restarts > 0 ? "independent tries"
                                     : "independent tries; 0: 1, but 5 under L1"),
  };
  if (!defaults.chooses_targets) {
    params.push_back(Text("target", "none")
                         .Doc("none, least_likely, next, random_wrong, rank:r or given; fixed at "
                              "the clean image"));
  }
  return params;
}

SearchOptions ParseSearch(const Params& params) {
  SearchOptions options;
  options.loss = params.Text("loss");
  options.target = params.Has("target") ? params.Text("target") : "rank:1";
  CheckTarget(options.target);
  const std::string& keep = params.Text("keep");
  options.keep = keep == "last"        ? Keep::kLast
                 : keep == "best_loss" ? Keep::kBestLoss
                                       : Keep::kFirstSuccess;
  options.numerics = params.Text("numerics") == "strong" ? Numerics::kStrong : Numerics::kReference;
  options.early_stop = params.Bool("early_stop");
  options.restarts = params.Int("restarts");
  MakeLoss(options.loss, options.target != "none", options.numerics);
  return options;
}

std::vector<std::string> LossNotes(const SearchOptions& options, int64_t num_classes) {
  const std::string note = LossNote(options.loss, num_classes);
  return note.empty() ? std::vector<std::string>{} : std::vector<std::string>{note};
}

std::vector<Param> Joined(std::vector<Param> first, std::vector<Param> second) {
  for (Param& param : second) first.push_back(std::move(param));
  return first;
}

}  // namespace adamant
