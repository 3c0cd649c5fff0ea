// SPDX-License-Identifier: Apache-2.0
#include "core/explainers/selection.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/nearest.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr size_t kListedLayers = 60;

// `values` with column classes[n] of row n set to `value`.
at::Tensor Without(const at::Tensor& values, const at::Tensor& classes, double value) {
  return values.scatter(1, classes.unsqueeze(1), value);
}

absl::Status CheckClass(absl::string_view what, int64_t index, int64_t num_classes) {
  if (index >= 0 && index < num_classes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(what, ": class ", index, " is outside [0, ",
                                                 num_classes - 1, "]; the model has ", num_classes,
                                                 " classes"));
}

bool IsNamed(const Tap& tap, const std::string& name) {
  return tap.name == name ||
         std::find(tap.aliases.begin(), tap.aliases.end(), name) != tap.aliases.end();
}

std::string ListLayers(const ModelInfo& info) {
  std::vector<std::string> layers;
  for (const Tap& tap : info.taps) {
    if (tap.height == 0) continue;
    layers.push_back(
        absl::StrCat(tap.name, " [", tap.channels, ",", tap.height, ",", tap.width, "]"));
  }
  const size_t count = layers.size();
  if (count > kListedLayers) {
    layers.resize(kListedLayers);
    layers.push_back(absl::StrCat("and ", count - kListedLayers, " more"));
  }
  return absl::StrJoin(layers, ", ");
}

absl::Status UnknownLayer(const ModelInfo& info, const std::string& name) {
  std::vector<std::string> known;
  for (const Tap& tap : info.taps) {
    known.push_back(tap.name);
    known.insert(known.end(), tap.aliases.begin(), tap.aliases.end());
  }
  std::string text = absl::StrCat("layers: unknown layer \"", name, "\"");
  const std::string nearest = NearestName(name, known);
  if (!nearest.empty()) absl::StrAppend(&text, "; did you mean \"", nearest, "\"?");
  return absl::InvalidArgumentError(absl::StrCat(text, " layers: ", ListLayers(info)));
}

}  // namespace

absl::StatusOr<at::Tensor> ResolveClasses(const TargetPolicy& policy, const at::Tensor& logits,
                                          const at::Tensor& labels, const at::Tensor& ids) {
  const int64_t num_classes = logits.size(1);
  switch (policy.rule) {
    case TargetRule::kTrueLabel:
      for (int64_t i = 0; i < labels.size(0); ++i) {
        const auto label = labels[i].item<int64_t>();
        const std::string sample = absl::StrCat("sample ", ids[i].item<int64_t>());
        if (label < 0) {
          return absl::InvalidArgumentError(
              absl::StrCat("target TRUE_LABEL: ", sample, " has no label; choose PREDICTED"));
        }
        const absl::Status status = CheckClass(sample, label, num_classes);
        if (!status.ok()) return status;
      }
      return labels.to(logits.device());
    case TargetRule::kSecond:
      return Without(logits, logits.argmax(1), -std::numeric_limits<double>::infinity()).argmax(1);
    case TargetRule::kLeastLikely:
      return logits.argmin(1);
    case TargetRule::kGiven: {
      const absl::Status status = CheckClass("class_index", policy.class_index, num_classes);
      if (!status.ok()) return status;
      return at::full({logits.size(0)}, policy.class_index, logits.options().dtype(at::kLong));
    }
    case TargetRule::kPredicted:
      break;
  }
  return logits.argmax(1);
}

at::Tensor ScoreOf(const Score& score, const at::Tensor& logits, const at::Tensor& classes) {
  const auto of_class = [&](const at::Tensor& values) {
    return values.gather(1, classes.unsqueeze(1)).squeeze(1);
  };
  switch (score.kind) {
    case ScoreKind::kProbability:
      return of_class(logits.softmax(1));
    case ScoreKind::kLogProbability:
      return of_class(logits.log_softmax(1));
    case ScoreKind::kMargin:
      return of_class(logits) -
             Without(logits, classes, -std::numeric_limits<double>::infinity()).amax(1);
    case ScoreKind::kContrast:
      return of_class(logits) - logits.select(1, score.contrast_class);
    case ScoreKind::kLogit:
      break;
  }
  return of_class(logits);
}

absl::Status CheckScore(const Score& score, int64_t num_classes) {
  if (score.kind != ScoreKind::kContrast) return absl::OkStatus();
  return CheckClass("contrast_class", score.contrast_class, num_classes);
}

absl::StatusOr<std::vector<Tap>> SelectLayers(const ModelInfo& info,
                                              const std::vector<std::string>& names) {
  if (info.taps.empty() || (names.empty() && info.default_tap.empty())) {
    return absl::FailedPreconditionError(
        "this model has no named layers (TorchScript models have none in this release): register "
        "its weights as safetensors of a built-in architecture, or use an explainer that needs no "
        "layer");
  }
  std::vector<Tap> chosen;
  for (const std::string& name :
       names.empty() ? std::vector<std::string>{info.default_tap} : names) {
    const auto tap = std::find_if(info.taps.begin(), info.taps.end(),
                                  [&](const Tap& t) { return IsNamed(t, name); });
    if (tap == info.taps.end()) return UnknownLayer(info, name);
    if (tap->height == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("layers: \"", name, "\" is [", tap->channels,
                       "], features without a place in the image; layers: ", ListLayers(info)));
    }
    const bool repeated = std::any_of(chosen.begin(), chosen.end(),
                                      [&](const Tap& t) { return t.name == tap->name; });
    if (!repeated) chosen.push_back(*tap);
  }
  return chosen;
}

}  // namespace adamant
