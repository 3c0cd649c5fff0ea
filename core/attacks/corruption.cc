// SPDX-License-Identifier: Apache-2.0
// Common corruptions (Hendrycks and Dietterich 2019, arXiv 1903.12261): one type at one severity,
// one image, no search and no norm. Constants of the public table for 32 pixels (CIFAR-10-C), or
// for 224 (ImageNet-C) where a side exceeds 64. Snow, frost, spatter and glass blur are not
// offered.
//
// Differs from the published files: the result is not rounded to 8 bits (jpeg is); elastic bends
// and interpolates once instead of twice.
#include "core/attacks/corruption_pixels.h"
#include "core/attacks/script.h"

namespace adamant {
namespace {

Script ShowOnce(Subject& subject, const std::string& type, int64_t severity) {
  Pixels image = subject.Clean();
  Corrupt(type, severity, subject.shape, subject.rng, image.data());
  ClipToBox(subject, absl::MakeSpan(image));
  co_await subject.Ask(image);
}

class Corruption final : public Attack {
 public:
  explicit Corruption(const Params& params)
      : type_(params.Text("type")), severity_(params.Int("severity")) {}

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    return RunScripts(victim, batch, WholeBox(threat), settings, control, {.queries = 1},
                      [this](Subject& subject) { return ShowOnce(subject, type_, severity_); });
  }

 private:
  const std::string type_;
  const int64_t severity_;
};

const Registration<Attack> kCorruption{
    {.name = "corruption",
     .summary = "noise, blur, weather and digital corruptions at five severities",
     .paper = "Hendrycks and Dietterich 2019, arXiv 1903.12261",
     .params = {Choice("type", "gaussian_noise", CorruptionTypes())
                    .Doc("saturate needs 3 channels, jpeg 1 or 3; others stay as they are"),
                Int("severity", 3).Range(1, 5).Doc("strength")},
     .traits = {"forward_only", "no_ball"},
     .test_params = {{"severity", 5}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<Corruption>(params);
    }};

}  // namespace
}  // namespace adamant
