// SPDX-License-Identifier: Apache-2.0
// AutoAttack (Croce and Hein 2020, arXiv 2003.01690; L1: Croce and Hein 2021, arXiv 2103.01208):
// attacks without free parameters, each on the samples that the ones before it left robust and each
// from the clean image.
//   standard = apgd_ce, apgd_t, fab_t, square
//   plus     = apgd_ce x5, apgd_dlr x5, fab x5, square, apgd_t, fab_t   (x5: restarts)
//   rand     = apgd_ce, apgd_dlr with 20 draws per gradient, for random models
// Under L1 apgd_ce has 5 restarts and apgd_t 5 targets.
//
// Differs from the reference: with fewer than four classes each stage replaces its loss and limits
// its targets, where the reference ends with an index error; the rest is named at the stages.
#include <algorithm>
#include <stdexcept>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/attacks/stages.h"

namespace adamant {
namespace {

constexpr double kRandomDraws = 20;

google::protobuf::Value ValueOf(const std::string& text) {
  double number = 0;
  if (absl::SimpleAtod(text, &number)) return ToValue(number);
  if (text == "true" || text == "false") return ToValue(text == "true");
  return ToValue(text);
}

// "pgd" or "pgd:steps=50,step_size=0.01".
v1::PluginSpec ParseStage(const std::string& text) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
  v1::PluginSpec spec;
  spec.set_name(parts.first);
  for (const absl::string_view param : absl::StrSplit(parts.second, ',', absl::SkipEmpty())) {
    const std::vector<std::string> pair = absl::StrSplit(param, absl::MaxSplits('=', 1));
    if (pair.size() != 2) {
      throw std::invalid_argument(
          absl::StrCat("attacks: \"", text, "\" is not of the form name:param=value,..."));
    }
    (*spec.mutable_params()->mutable_fields())[pair[0]] = ValueOf(pair[1]);
  }
  return spec;
}

bool Declares(const std::string& attack, const std::string& param) {
  const auto entry = Registry<Attack>::All().find(attack);
  if (entry == Registry<Attack>::All().end()) return false;
  const auto& params = entry->second.declaration.params;
  return std::any_of(params.begin(), params.end(),
                     [&](const Param& declared) { return declared.name() == param; });
}

class AutoAttack final : public CompositeAttack {
 public:
  explicit AutoAttack(const Params& params)
      : version_(params.Text("version")),
        square_queries_(static_cast<double>(params.Int("square_queries"))),
        n_targets_(params.Int("n_targets")),
        numerics_(params.Text("numerics")) {
    for (const std::string& text : params.TextList("attacks")) custom_.push_back(ParseStage(text));
    if ((version_ == "custom") == custom_.empty()) {
      throw std::invalid_argument("attacks: the stages of version custom, and of it alone");
    }
    for (const v1::PluginSpec& stage : Stages(Norm::kLinf)) {
      if (stage.name() == "autoattack") throw std::invalid_argument("a stage cannot be autoattack");
      const absl::Status made = MakePlugin<Attack>(stage).status();
      if (!made.ok()) {
        throw std::invalid_argument(absl::StrCat("version ", version_, " cannot run stage \"",
                                                 stage.name(), "\": ", made.message()));
      }
    }
  }

  std::vector<v1::PluginSpec> Stages(Norm norm) const override {
    std::vector<v1::PluginSpec> stages = custom_;
    if (version_ == "standard") stages = Standard(norm);
    if (version_ == "plus") stages = Plus(norm);
    if (version_ == "rand") {
      stages = {Stage("apgd_ce", {{"eot", kRandomDraws}}),
                Stage("apgd_dlr", {{"eot", kRandomDraws}})};
    }
    return stages;
  }

 private:
  using Values = std::vector<std::pair<std::string, Param::Default>>;

  v1::PluginSpec Stage(const std::string& name, const Values& values = {}) const {
    v1::PluginSpec spec;
    spec.set_name(name);
    auto& fields = *spec.mutable_params()->mutable_fields();
    for (const auto& [param, value] : values) fields[param] = ToValue(value);
    if (Declares(name, "numerics")) fields["numerics"] = ToValue(numerics_);
    return spec;
  }

  double Targets(double by_default) const {
    return n_targets_ > 0 ? static_cast<double>(n_targets_) : by_default;
  }

  v1::PluginSpec TargetedApgd(Norm norm) const {
    return Stage("apgd_t", {{"n_targets", Targets(norm == Norm::kL1 ? 5 : 9)}, {"restarts", 1.0}});
  }

  std::vector<v1::PluginSpec> Standard(Norm norm) const {
    return {Stage("apgd_ce", {{"restarts", norm == Norm::kL1 ? 5.0 : 1.0}}), TargetedApgd(norm),
            Stage("fab_t", {{"n_targets", Targets(9)}}),
            Stage("square", {{"queries", square_queries_}})};
  }

  std::vector<v1::PluginSpec> Plus(Norm norm) const {
    return {Stage("apgd_ce", {{"restarts", 5.0}}),
            Stage("apgd_dlr", {{"restarts", 5.0}}),
            Stage("fab", {{"restarts", 5.0}}),
            Stage("square", {{"queries", square_queries_}}),
            TargetedApgd(norm),
            Stage("fab_t", {{"n_targets", Targets(9)}})};
  }

  const std::string version_;
  const double square_queries_;
  const int64_t n_targets_;
  const std::string numerics_;
  std::vector<v1::PluginSpec> custom_;
};

const Registration<Attack> kAutoAttack{
    {.name = "autoattack",
     .summary = "an ensemble of four attacks without free parameters, the usual yardstick",
     .paper = "Croce and Hein 2020, arXiv 2003.01690; 2021, arXiv 2103.01208",
     .params = {Choice("version", "standard", {"standard", "plus", "rand", "custom"})
                    .Doc("standard; plus: more restarts, untargeted ones too; rand: for random "
                         "models; custom: see attacks"),
                TextList("attacks", {})
                    .Doc("version custom: the stages, each \"name\" or \"name:param=value,...\""),
                Int("square_queries", 5000).Range(1, 1e6).Doc("of stage square"),
                Int("n_targets", 0)
                    .Range(0, 1e6)
                    .Doc("classes that apgd_t and fab_t aim at; 0: 9, for apgd_t under L1 5"),
                Choice("numerics", "strong", {"strong", "reference"}).Doc("of every stage")},
     .norms = {"linf", "l2", "l1"},
     .traits = {"composite"},
     .test_params = {{"square_queries", 20}, {"n_targets", 2}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<AutoAttack>(params);
    }};

}  // namespace
}  // namespace adamant
