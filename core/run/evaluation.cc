// SPDX-License-Identifier: Apache-2.0
#include "core/run/evaluation.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "core/base/torch.h"
#include "core/run/attack_journal.h"
#include "core/run/crafted_set.h"
#include "core/run/evaluation_state.h"
#include "core/run/judge.h"
#include "core/run/samples.h"

namespace adamant {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kCallsInFlight = 8;  // samples in flight = this many calls, by default

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// One (seed, list of instances): computes the batches that the journal does not hold yet.
class Evaluation {
 public:
  Evaluation(Model& model, const Samples& samples, const std::vector<AttackInstance>& instances,
             const EvaluationOptions& options, const RunControl& control)
      : model_(model),
        samples_(samples),
        instances_(instances),
        options_(options),
        control_(control),
        frozen_(model),
        compute_batch_(ComputeBatch(options, model)),
        batch_size_(options.batch_size > 0 ? options.batch_size : kCallsInFlight * compute_batch_),
        device_(options.device),
        caller_(model, compute_batch_, [this] { control_.Check(); }),
        verifier_(model, VerifyRows(compute_batch_), [this] { control_.Check(); }),
        state_(samples.size, instances, options) {}

  absl::StatusOr<EvaluationResult> Run();

 private:
  absl::Status CleanPass();
  void LookForNoise(const at::Tensor& images, const at::Tensor& logits);
  absl::Status RunInstance(int index);
  size_t SamplesAtOnce(const AttackInstance& instance, size_t open) const;
  // Takes what the journal holds of an instance; returns how many of `open` it covers.
  absl::StatusOr<size_t> Replay(int index, const std::vector<int64_t>& open);
  absl::StatusOr<BatchRecord> RunBatch(int index, absl::Span<const int64_t> positions,
                                       Victim& victim);
  // What an attack that replays a set is to replay.
  absl::StatusOr<at::Tensor> CraftedFor(const Batch& clean) const;
  absl::Status JudgeReturned(int index, const AttackResult& done, const Batch& clean,
                             std::vector<AttackRecord>& records);
  absl::Status FinalCheck();
  absl::Status CheckFound(int index, absl::Span<const int64_t> positions);
  bool ShouldStop();
  JudgeRule RuleOf(int index) const {
    return {.ball = !instances_[index].no_ball, .draws = draws_};
  }
  void Observe(const std::string& phase, double fraction, double rate, int index = -1);

  Model& model_;
  const Samples& samples_;
  const std::vector<AttackInstance>& instances_;
  const EvaluationOptions& options_;
  const RunControl& control_;
  const FrozenModel frozen_;
  const int64_t compute_batch_;
  const int64_t batch_size_;
  const c10::Device device_;
  FixedCaller caller_;       // of clean images
  FixedCaller verifier_;     // of claims and results
  at::Tensor clean_logits_;  // [n,K], CPU
  EvaluationState state_;
  int draws_ = 1;
  bool stopped_ = false;  // by a limit of the job
  const Clock::time_point start_ = Clock::now();
  double earlier_seconds_ = 0;  // of batches from the journal
};

absl::StatusOr<EvaluationResult> Evaluation::Run() {
  EvaluationResult& result = state_.result();
  result.compute_batch = compute_batch_;
  RETURN_IF_ERROR(CleanPass());
  for (int i = 0; i < static_cast<int>(instances_.size()); ++i) RETURN_IF_ERROR(RunInstance(i));
  const Clock::time_point start = Clock::now();
  const int64_t forwards = verifier_.forwards();
  const int64_t padded = verifier_.padded_rows();
  RETURN_IF_ERROR(FinalCheck());
  state_.CountRows(verifier_.forwards() - forwards, verifier_.padded_rows() - padded);
  result.final_check_seconds = SecondsSince(start);
  if (options_.journal != nullptr) result.work_repeated = options_.journal->work_repeated();
  return std::move(result);
}

absl::Status Evaluation::CleanPass() {
  const int64_t num_classes = model_.info().shape.num_classes;
  clean_logits_ = at::empty({samples_.size, num_classes}, at::kFloat);
  for (int64_t begin = 0; begin < samples_.size; begin += batch_size_) {
    std::vector<int64_t> positions;
    for (int64_t p = begin; p < std::min(begin + batch_size_, samples_.size); ++p) {
      positions.push_back(p);
    }
    ASSIGN_OR_RETURN(const Batch batch, samples_.read(positions));
    RETURN_IF_ERROR(CheckSamples(batch, num_classes));
    const at::Tensor logits = caller_.Logits(batch.images.to(device_));
    clean_logits_.narrow(0, begin, batch.size()).copy_(logits);
    if (begin == 0) LookForNoise(batch.images, logits);
    const std::vector<int64_t> labels = Labels(batch);
    for (size_t i = 0; i < positions.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      state_.TakeClean(
          positions[i], batch.ids[row].item<int64_t>(), labels[i],
          Decide(logits.data_ptr<float>() + row * num_classes, num_classes, labels[i]));
    }
    Observe("clean", 0.05 * static_cast<double>(begin + batch.size()) / samples_.size, 0);
  }
  // A resume needs the clean pass again: the same rows, counted once.
  state_.CountRows(caller_.forwards(), caller_.padded_rows());
  if (options_.journal != nullptr && options_.journal->Resumes(options_.run)) {
    options_.journal->AddRepeated(caller_.forwards());
  }
  return absl::OkStatus();
}

// A model whose second answer differs is random: its decisions take several draws.
void Evaluation::LookForNoise(const at::Tensor& images, const at::Tensor& logits) {
  if (options_.decision_draws <= 1 || images.size(0) == 0) return;
  const int64_t rows = std::min(compute_batch_, images.size(0));
  const at::Tensor again = caller_.Logits(images.narrow(0, 0, rows).to(device_));
  if (at::allclose(again, logits.narrow(0, 0, rows), 0, 0, /*equal_nan=*/true)) return;
  draws_ = options_.decision_draws;
  state_.result().notes.push_back(
      absl::StrCat("the model is random: every verification takes ", draws_, " draws"));
}

absl::StatusOr<size_t> Evaluation::Replay(int index, const std::vector<int64_t>& open) {
  size_t done = 0;
  if (options_.journal == nullptr) return done;
  for (const BatchRecord* batch : options_.journal->Batches(options_.run, index)) {
    for (const AttackRecord& record : batch->samples) {
      if (done >= open.size() || record.position != open[done++]) {
        return absl::DataLossError(
            absl::StrCat("the journal of the attack run does not fit instance ",
                         instances_[index].name, "; start the job again from the beginning"));
      }
    }
    earlier_seconds_ += batch->seconds;
    state_.Apply(*batch);
  }
  return done;
}

size_t Evaluation::SamplesAtOnce(const AttackInstance& instance, size_t open) const {
  if (instance.whole_set) return open;
  return static_cast<size_t>(instance.cohorts ? kCohortSize : batch_size_);
}

absl::Status Evaluation::RunInstance(int index) {
  const Clock::time_point start = Clock::now();
  const std::vector<int64_t> open = state_.Open(index);
  ASSIGN_OR_RETURN(size_t begin, Replay(index, open));
  const size_t replayed = begin;
  Model& searched = options_.search_model != nullptr ? *options_.search_model : model_;
  // What a cohort gives depends on its samples anyway, and most of its search has few rows.
  Victim victim(searched, BatchNormMode::kEval, compute_batch_,
                instances_[index].cohorts ? Tail::kShrunk : Tail::kExact);
  const size_t most = SamplesAtOnce(instances_[index], open.size());
  const auto observe = [&] {
    const double done = static_cast<double>(begin) / static_cast<double>(open.size());
    Observe("attack " + instances_[index].name,
            0.05 + 0.9 * (index + done) / static_cast<double>(instances_.size()),
            static_cast<double>(begin - replayed) / std::max(SecondsSince(start), 1e-9), index);
  };
  if (replayed > 0) observe();
  while (begin < open.size() && !ShouldStop()) {
    const size_t count = std::min(most, open.size() - begin);
    ASSIGN_OR_RETURN(const BatchRecord batch,
                     RunBatch(index, absl::MakeConstSpan(open).subspan(begin, count), victim));
    state_.Apply(batch);
    if (options_.journal != nullptr) RETURN_IF_ERROR(options_.journal->Append(batch));
    begin += count;
    observe();
  }
  state_.Finish(index);
  return absl::OkStatus();
}

// Between batches: the limits that the job gave itself.
bool Evaluation::ShouldStop() {
  if (stopped_) return true;
  const v1::AttackStop& stop = options_.stop;
  const double seconds = earlier_seconds_ + SecondsSince(start_);
  const double robust = static_cast<double>(state_.robust()) /
                        static_cast<double>(std::max<int64_t>(1, samples_.size));
  std::string reason;
  if (stop.seconds() > 0 && seconds > stop.seconds()) {
    reason = absl::StrCat("stop.seconds = ", stop.seconds(), " were over");
  } else if (stop.robust_accuracy() > 0 && robust < stop.robust_accuracy()) {
    reason =
        absl::StrCat("robust accuracy fell below stop.robust_accuracy = ", stop.robust_accuracy());
  }
  stopped_ = !reason.empty();
  if (stopped_) {
    state_.result().notes.push_back(
        absl::StrCat("stopped early: ", reason, "; the attacks did not see every sample"));
  }
  return stopped_;
}

absl::StatusOr<at::Tensor> Evaluation::CraftedFor(const Batch& clean) const {
  if (options_.crafted == nullptr) {
    return absl::InvalidArgumentError("an attack replays a crafted set, and there is none");
  }
  ASSIGN_OR_RETURN(const at::Tensor images, options_.crafted->ImagesOf(clean.ids));
  if (images.sizes() != clean.images.sizes()) {
    return absl::InvalidArgumentError("adversarial_set: holds images of another shape");
  }
  return images.to(device_);
}

absl::StatusOr<BatchRecord> Evaluation::RunBatch(int index, absl::Span<const int64_t> positions,
                                                 Victim& victim) {
  const Clock::time_point start = Clock::now();
  const AttackInstance& instance = instances_[index];
  const int64_t forwards = victim.forwards();
  const int64_t backwards = victim.backwards();
  const int64_t padded = victim.padded_rows();
  const int64_t judged = verifier_.forwards();
  const int64_t judge_padded = verifier_.padded_rows();
  ASSIGN_OR_RETURN(const Batch clean, samples_.read(positions));
  ASSIGN_OR_RETURN(Batch given, samples_.read(positions));
  given = {given.images.to(device_), given.labels.to(device_), given.ids};
  VerifyingJudge judge(verifier_, clean, instance.threat, RuleOf(index));
  AttackSettings settings;
  settings.seed = options_.seed;
  settings.stream = instance.stream;
  settings.judge = options_.craft ? nullptr : &judge;
  settings.nearest = options_.nearest;
  settings.clean_logits = clean_logits_.index_select(0, ToTensor(positions)).to(device_);
  if (instance.replays_set) {
    ASSIGN_OR_RETURN(settings.start, CraftedFor(clean));
  }
  AttackResult done;
  try {
    done = instance.attack->Run(victim, given, instance.threat, settings, control_);
  } catch (const Stopped&) {
    if (options_.journal != nullptr) {
      options_.journal->AddRepeated(victim.forwards() - forwards + verifier_.forwards() - judged);
    }
    throw;
  }
  if (options_.craft) {
    judge.Submit({.rows = at::arange(clean.size(), at::kLong), .images = done.images});
  }
  BatchRecord batch;
  batch.run = options_.run;
  batch.instance = index;
  batch.samples = Records(done, judge, positions);
  RETURN_IF_ERROR(JudgeReturned(index, done, clean, batch.samples));
  batch.forwards = victim.forwards() - forwards;
  batch.backwards = victim.backwards() - backwards;
  batch.padded_rows = victim.padded_rows() - padded;
  batch.judge_forwards = verifier_.forwards() - judged;
  batch.judge_padded_rows = verifier_.padded_rows() - judge_padded;
  batch.seconds = SecondsSince(start);
  return batch;
}

// Looks at the images that the attack returned where they matter: of samples that stayed robust to
// the last instance, and of those for which a search for distances found something.
absl::Status Evaluation::JudgeReturned(int index, const AttackResult& done, const Batch& clean,
                                       std::vector<AttackRecord>& records) {
  const bool last = index + 1 == static_cast<int>(instances_.size());
  std::vector<int64_t> rows;
  std::vector<int64_t> labels;
  for (size_t i = 0; i < records.size(); ++i) {
    const v1::SampleOutcome& outcome = state_.result().outcomes[records[i].position];
    const bool robust = last && !records[i].broken && outcome.state() == v1::ROBUST;
    if (!robust && !options_.nearest) continue;
    rows.push_back(static_cast<int64_t>(i));
    labels.push_back(outcome.label());
  }
  if (rows.empty()) return absl::OkStatus();
  const at::Tensor chosen = ToTensor(rows);
  const at::Tensor kept = done.images.index_select(0, chosen.to(done.images.device()));
  const std::vector<Verification> found =
      VerifyImages(verifier_, kept, clean.images.index_select(0, chosen), labels,
                   instances_[index].threat, RuleOf(index));
  const at::Tensor host = kept.to(at::kCPU);
  for (size_t i = 0; i < rows.size(); ++i) {
    AttackRecord& record = records[rows[i]];
    // A minimum-norm attack may end farther away: that image is no result of this threat model.
    if (!found[i].inside && done.min_norm.defined()) continue;
    if (!found[i].inside) {
      return absl::InternalError(absl::StrCat(
          "attack ", instances_[index].name, " returned an image outside the threat model for ",
          "sample ", state_.result().outcomes[record.position].sample_id()));
    }
    const at::Tensor image = host[static_cast<int64_t>(i)];
    if (options_.nearest) {
      TakeNearest(found[i], image, instances_[index].threat.norm, record);
      if (record.broken) continue;
    }
    record.judged = last;
    record.verification = found[i];
    if (options_.keep_images && last) record.image = image.clone();
  }
  return absl::OkStatus();
}

absl::Status Evaluation::FinalCheck() {
  const EvaluationResult& result = state_.result();
  for (int index = 0; index < static_cast<int>(instances_.size()); ++index) {
    std::vector<int64_t> found;
    for (int64_t p = 0; p < samples_.size; ++p) {
      if (result.instance_of[p] == index) found.push_back(p);
    }
    for (size_t begin = 0; begin < found.size(); begin += batch_size_) {
      const size_t count = std::min(static_cast<size_t>(batch_size_), found.size() - begin);
      RETURN_IF_ERROR(CheckFound(index, absl::MakeConstSpan(found).subspan(begin, count)));
    }
  }
  Observe("final_check", 1, 0);
  return absl::OkStatus();
}

absl::Status Evaluation::CheckFound(int index, absl::Span<const int64_t> positions) {
  const EvaluationResult& result = state_.result();
  std::vector<at::Tensor> parts;
  for (const int64_t p : positions) parts.push_back(result.images[p]);
  const at::Tensor images = at::stack(parts).to(device_);
  ASSIGN_OR_RETURN(const Batch clean, samples_.read(positions));
  const std::vector<int64_t> labels = Labels(clean);
  const std::vector<Verification> again = VerifyImages(verifier_, images, clean.images, labels,
                                                       instances_[index].threat, RuleOf(index));
  const at::Tensor logits = verifier_.Logits((images * 255).round_().div_(255));
  for (size_t i = 0; i < positions.size(); ++i) {
    const v1::SampleOutcome& outcome = result.outcomes[positions[i]];
    // A random model may decide the other way by chance.
    if (!again[i].accepted && draws_ == 1) {
      return absl::DataLossError(absl::StrCat(
          "final check: the adversarial image of sample ", outcome.sample_id(), " (found by ",
          outcome.broken_by(), ") is no longer one; the model or the data changed during the run"));
    }
    const Decision rounded =
        Decide(logits.data_ptr<float>() + static_cast<int64_t>(i) * logits.size(1), logits.size(1),
               labels[i]);
    state_.TakeRounded(positions[i], rounded.finite && rounded.predicted != labels[i]);
  }
  return absl::OkStatus();
}

void Evaluation::Observe(const std::string& phase, double fraction, double rate, int index) {
  if (!options_.observe) return;
  EvaluationProgress now{.phase = phase, .fraction = fraction, .samples_per_second = rate};
  now.attacked = state_.attacked();
  now.robust = state_.robust();
  now.broken = state_.broken();
  if (fraction > 0.05 && fraction < 1) {
    now.seconds_left = SecondsSince(start_) / fraction * (1 - fraction);
  }
  if (index >= 0) state_.Describe(index, now);
  options_.observe(now);
}

}  // namespace

absl::StatusOr<EvaluationResult> RunEvaluation(Model& model, const Samples& samples,
                                               const std::vector<AttackInstance>& instances,
                                               const EvaluationOptions& options,
                                               const RunControl& control) {
  if (model.info().shape.num_classes < 2) {
    return absl::InvalidArgumentError(absl::StrCat("model has ", model.info().shape.num_classes,
                                                   " output class; robustness is not defined"));
  }
  for (const AttackInstance& instance : instances) {
    RETURN_IF_ERROR(instance.attack->CheckModel(model));
  }
  try {
    ASSIGN_OR_RETURN(EvaluationResult result,
                     Evaluation(model, samples, instances, options, control).Run());
    // What follows in the job (further seeds, validity checks, analyses) may be stopped as well.
    if (options.journal != nullptr) RETURN_IF_ERROR(options.journal->Flush());
    return result;
  } catch (const Stopped&) {
    // Without it the next attempt does more again; the stop goes on whatever happens.
    if (options.journal != nullptr) options.journal->Flush().IgnoreError();
    throw;
  }
}

}  // namespace adamant
