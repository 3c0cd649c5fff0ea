// SPDX-License-Identifier: Apache-2.0
// Query attacks, written for one sample.
//
// Such an attack is a program of its own for every sample: what it asks the model next depends on
// the answers before, within loops in loops (a bisection in a walk in a restart). The network, on
// the other hand, wants many rows in one call, so hundreds of samples must be in the middle of
// their programs at the same time. As coroutines the programs stay plain loops:
//
//   const std::vector<Answer>& answers = co_await subject.Ask(images);
//
// suspends the script of one sample; RunScripts collects what all samples ask, evaluates it in
// common calls, and lets each script go on with its answers. Nothing runs in parallel. Attacks that
// take the same step for every row need none of this: they use Search alone.
//
// What a script takes by reference must outlive it: the attack's members do, temporaries do not.
#pragma once

#include <coroutine>
#include <cstdint>
#include <functional>
#include <vector>

#include "core/attacks/coroutine.h"
#include "core/attacks/search.h"
#include "core/attacks/square_pixels.h"

namespace adamant {

using Pixels = std::vector<float>;  // one image, or several behind each other, in CHW order

struct Answer {
  bool wrong = false;  // misclassified, with finite logits
  double loss = 0;     // larger is better for the attacker; -inf where a logit is not finite
};

// A sample as its script sees it. The image lives on the host.
class Subject {
 public:
  struct Question {
    Subject& subject;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> asker) const noexcept { subject.asker = asker; }
    const std::vector<Answer>& await_resume() const noexcept { return subject.answers; }
  };

  // Answers for images that must stay alive until then. What exceeds the budget is cut off, and the
  // script then does not go on.
  Question Ask(const Pixels& images) {
    asked = absl::MakeConstSpan(images);
    probes = false;
    return {*this};
  }
  // The same for images that only inform the script: outside the ball, never claimed. Minimum-norm
  // attacks have no use for it.
  Question Probe(const Pixels& images) {
    asked = absl::MakeConstSpan(images);
    probes = true;
    return {*this};
  }

  Pixels Clean() const { return {clean.begin(), clean.end()}; }
  int64_t count() const { return shape.size(); }  // values of one image

  PlaneShape shape;
  absl::Span<const float> clean;  // the image that is attacked
  ThreatModel threat;
  Rng rng;
  int64_t left = 0;  // images that may still be asked about

  // Between RunScripts and Question.
  absl::Span<const float> asked;
  bool probes = false;
  std::vector<Answer> answers;
  std::coroutine_handle<> asker;  // who goes on with them
};

struct ScriptOptions {
  int64_t queries = 0;           // images that one sample may ask about
  int64_t largest_question = 1;  // images in one Ask or Probe, for the memory of many samples
  std::string loss = "margin";
  Numerics numerics = Numerics::kStrong;
  // What counts besides a claim: the image of highest loss, the nearest misclassified one, or the
  // first that is misclassified.
  enum class Aim { kBestLoss, kNearest, kFirst } aim = Aim::kBestLoss;
};

// Runs `write(subject)` for every sample until its claim is accepted, it ends, or the budget is
// used up. Every image that a script asks about is tested, but probes.
AttackResult RunScripts(Victim& victim, const Batch& batch, const ThreatModel& threat,
                        const AttackSettings& settings, const RunControl& control,
                        const ScriptOptions& options,
                        const std::function<Script(Subject& subject)>& write);

// Where attacks without a ball may go: the whole box.
ThreatModel WholeBox(const ThreatModel& threat);

// Size of a - b in the norm; L0 counts pixels.
double Distance(const Subject& subject, absl::Span<const float> a, absl::Span<const float> b);
void ClipToBox(const Subject& subject, absl::Span<float> image);
// Into the ball of LINF or L2, then the box.
void ProjectImage(const Subject& subject, absl::Span<float> image);
double EuclideanNorm(absl::Span<const float> values);

}  // namespace adamant
