// SPDX-License-Identifier: Apache-2.0
// Query attacks, written for one sample: a script is a coroutine that asks the model about images,
// one or several at a time, and goes on with the answers. RunScripts evaluates the questions of all
// samples in common calls.
#pragma once

#include <coroutine>
#include <cstdint>
#include <exception>
#include <functional>
#include <utility>
#include <vector>

#include "core/attacks/search.h"
#include "core/attacks/square_pixels.h"

namespace adamant {

using Pixels = std::vector<float>;  // one image, or several behind each other, in CHW order

// A script, or a part of one that others co_await.
class Script {
 public:
  struct promise_type {
    struct Final {
      bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(
          std::coroutine_handle<promise_type> done) const noexcept {
        const std::coroutine_handle<> next = done.promise().next;
        return next ? next : std::noop_coroutine();
      }
      void await_resume() const noexcept {}
    };

    Script get_return_object() {
      return Script(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    Final final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() { error = std::current_exception(); }

    std::coroutine_handle<> next;  // who awaits this one
    std::exception_ptr error;
  };
  using Handle = std::coroutine_handle<promise_type>;

  Script() = default;
  explicit Script(Handle handle) : handle_(handle) {}
  Script(Script&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Script& operator=(Script&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Script() {
    if (handle_) handle_.destroy();
  }

  Handle handle() const { return handle_; }
  bool done() const { return handle_.done(); }
  void Rethrow() const {
    if (handle_.promise().error) std::rethrow_exception(handle_.promise().error);
  }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) const noexcept {
    handle_.promise().next = caller;
    return handle_;
  }
  void await_resume() const { Rethrow(); }

 private:
  Handle handle_;
};

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
  int64_t count() const { return shape.size(); }

  PlaneShape shape;
  absl::Span<const float> clean;
  int64_t num_classes = 0;
  int64_t label = 0;
  ThreatModel threat;
  Rng rng;
  int64_t left = 0;  // images that may still be asked about

  bool probes = false;
  absl::Span<const float> asked;  // between RunScripts and Question
  std::vector<Answer> answers;
  std::coroutine_handle<> asker;
};

struct ScriptOptions {
  int64_t queries = 0;  // images that one sample may ask about
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
