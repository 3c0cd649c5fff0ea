// SPDX-License-Identifier: Apache-2.0
#include "core/run/evaluation.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "core/base/torch.h"
#include "core/run/judge.h"

namespace adamant {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kFragileMargin = 1e-4;
constexpr int64_t kCallsInFlight = 8;  // samples in flight = this many calls, by default

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

at::Tensor ToTensor(absl::Span<const int64_t> values) {
  const at::Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), out.data_ptr<int64_t>());
  return out;
}

std::vector<int64_t> Labels(const Batch& batch) {
  const at::Tensor labels = batch.labels.to(at::kLong).contiguous();
  return {labels.data_ptr<int64_t>(), labels.data_ptr<int64_t>() + labels.numel()};
}

absl::Status CheckSamples(const Batch& batch, int64_t num_classes) {
  const std::vector<int64_t> labels = Labels(batch);
  const at::Tensor rows = batch.images.flatten(1);
  const at::Tensor good = (rows >= 0).logical_and(rows <= 1).all(1);  // false for NaN
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto id = batch.ids[static_cast<int64_t>(i)].item<int64_t>();
    if (labels[i] < 0 || labels[i] >= num_classes) {
      return absl::InvalidArgumentError(
          absl::StrCat("sample ", id, " has label ", labels[i], ", outside 0..", num_classes - 1,
                       " of the model; check the data or the model's number of classes"));
    }
    if (!good[static_cast<int64_t>(i)].item<bool>()) {
      return absl::InvalidArgumentError(
          absl::StrCat("sample ", id,
                       " has a value outside [0,1]; images are in [0,1] before any normalisation"));
    }
  }
  return absl::OkStatus();
}

// Whether a success of `earlier` counts as one of `later`: not when it may lie outside of its ball.
bool Covers(const ThreatModel& earlier, const ThreatModel& later) {
  return earlier.norm != later.norm || earlier.epsilon <= later.epsilon;
}

void SetImageFields(const Verification& found, v1::SampleOutcome& outcome) {
  outcome.set_adv_pred(static_cast<int32_t>(found.decision.predicted));
  outcome.set_final_margin(found.decision.margin);
  outcome.set_fragile(std::abs(found.decision.margin) < kFragileMargin);
  outcome.set_dist_linf(found.distances.linf);
  outcome.set_dist_l2(found.distances.l2);
  outcome.set_dist_l1(found.distances.l1);
  outcome.set_dist_l0(found.distances.l0);
}

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
        compute_batch_(
            options.compute_batch > 0
                ? options.compute_batch
                : std::max<int64_t>(1, AutoComputeBatch(model.info().shape, options.device) /
                                           options.micro_batch_divisor)),
        batch_size_(options.batch_size > 0 ? options.batch_size : kCallsInFlight * compute_batch_),
        device_(options.device),
        caller_(model, compute_batch_, [this] { control_.Check(); }) {}

  absl::StatusOr<EvaluationResult> Run();

 private:
  absl::Status CleanPass();
  absl::Status RunInstance(int index);
  absl::Status RunBatch(int index, absl::Span<const int64_t> positions, Victim& victim);
  absl::Status FinalCheck();
  absl::Status CheckFound(int index, absl::Span<const int64_t> positions);

  std::vector<int64_t> Open(int index) const;
  bool Broken(int index, int64_t position) const;
  void Record(int index, int64_t position, int64_t row, const VerifyingJudge& judge);
  void AddCounts(const SampleCounts& counts, absl::Span<const int64_t> positions,
                 InstanceOutcome& totals);
  absl::Status RecordRobust(int index, absl::Span<const int64_t> positions, const Batch& clean,
                            const at::Tensor& images);
  void MarkBroken(int index);
  void Observe(const std::string& phase, double fraction, double rate);

  Model& model_;
  const Samples& samples_;
  const std::vector<AttackInstance>& instances_;
  const EvaluationOptions& options_;
  const RunControl& control_;
  const FrozenModel frozen_;
  const int64_t compute_batch_;
  const int64_t batch_size_;
  const c10::Device device_;
  FixedCaller caller_;
  at::Tensor clean_logits_;             // [n,K], CPU
  std::vector<std::vector<bool>> hit_;  // per instance and sample: verified success
  EvaluationResult result_;
  int64_t attacked_ = 0;
  int64_t robust_ = 0;

  struct AttackTotals {
    int64_t samples = 0;
    int64_t successes = 0;
    int64_t queries = 0;
  };
  std::map<std::string, AttackTotals> attack_totals_;  // by plug-in
  std::string current_attack_;
};

absl::StatusOr<EvaluationResult> Evaluation::Run() {
  result_.compute_batch = compute_batch_;
  result_.outcomes.resize(samples_.size);
  result_.instance_of.assign(samples_.size, -1);
  result_.images.resize(samples_.size);
  result_.instances.resize(instances_.size());
  hit_.assign(instances_.size(), std::vector<bool>(samples_.size, false));
  RETURN_IF_ERROR(CleanPass());
  for (int i = 0; i < static_cast<int>(instances_.size()); ++i) RETURN_IF_ERROR(RunInstance(i));
  const Clock::time_point start = Clock::now();
  RETURN_IF_ERROR(FinalCheck());
  result_.final_check_seconds = SecondsSince(start);
  result_.forwards += caller_.forwards();
  result_.padded_rows += caller_.padded_rows();
  return std::move(result_);
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
    const std::vector<int64_t> labels = Labels(batch);
    for (size_t i = 0; i < positions.size(); ++i) {
      const Decision clean = Decide(
          logits.data_ptr<float>() + static_cast<int64_t>(i) * num_classes, num_classes, labels[i]);
      v1::SampleOutcome& outcome = result_.outcomes[positions[i]];
      outcome.set_sample_id(batch.ids[static_cast<int64_t>(i)].item<int64_t>());
      outcome.set_label(static_cast<int32_t>(labels[i]));
      outcome.set_clean_pred(static_cast<int32_t>(clean.predicted));
      outcome.set_clean_margin(clean.margin);
      outcome.set_target(-1);
      SetImageFields({.decision = clean}, outcome);
      outcome.set_state(!clean.finite                  ? v1::ERROR
                        : clean.predicted == labels[i] ? v1::ROBUST
                                                       : v1::CLEAN_WRONG);
      robust_ += outcome.state() == v1::ROBUST;
    }
    Observe("clean", 0.05 * static_cast<double>(begin + batch.size()) / samples_.size, 0);
  }
  return absl::OkStatus();
}

// Whether the sample is not robust under instance `index`, as far as instances up to it know.
bool Evaluation::Broken(int index, int64_t position) const {
  for (int i = 0; i <= index; ++i) {
    const bool same_entry = instances_[i].position == instances_[index].position;
    if (hit_[i][position] && (options_.cascade || same_entry) &&
        Covers(instances_[i].threat, instances_[index].threat)) {
      return true;
    }
  }
  return false;
}

std::vector<int64_t> Evaluation::Open(int index) const {
  std::vector<int64_t> open;
  for (int64_t p = 0; p < samples_.size; ++p) {
    const v1::SampleState state = result_.outcomes[p].state();
    if ((state == v1::ROBUST || state == v1::BROKEN) && !Broken(index, p)) open.push_back(p);
  }
  return open;
}

absl::Status Evaluation::RunInstance(int index) {
  const Clock::time_point start = Clock::now();
  const std::vector<int64_t> open = Open(index);
  InstanceOutcome& totals = result_.instances[index];
  totals.attacked = static_cast<int64_t>(open.size());
  Victim victim(model_, BatchNormMode::kEval, compute_batch_);
  int64_t backwards_seen = 0;
  current_attack_ = instances_[index].spec.name();
  const double share = 0.9 / static_cast<double>(instances_.size());
  for (size_t begin = 0; begin < open.size(); begin += batch_size_) {
    const size_t count = std::min(static_cast<size_t>(batch_size_), open.size() - begin);
    RETURN_IF_ERROR(RunBatch(index, absl::MakeConstSpan(open).subspan(begin, count), victim));
    attacked_ += static_cast<int64_t>(count);
    AttackTotals& totals_so_far = attack_totals_[instances_[index].spec.name()];
    totals_so_far.samples += static_cast<int64_t>(count);
    totals_so_far.queries += victim.backwards() - std::exchange(backwards_seen, victim.backwards());
    const auto done = static_cast<double>(begin + count);
    Observe("attack " + instances_[index].name,
            0.05 + share * (index + done / static_cast<double>(open.size())),
            done / std::max(SecondsSince(start), 1e-9));
  }
  current_attack_.clear();
  MarkBroken(index);
  totals.forwards = victim.forwards();
  totals.backwards = victim.backwards();
  totals.padded_rows = victim.padded_rows();
  totals.seconds = SecondsSince(start);
  result_.forwards += victim.forwards();
  result_.backwards += victim.backwards();
  result_.padded_rows += victim.padded_rows();
  return absl::OkStatus();
}

void Evaluation::MarkBroken(int index) {
  InstanceOutcome& totals = result_.instances[index];
  totals.broken_at.resize(samples_.size);
  for (int64_t p = 0; p < samples_.size; ++p) {
    totals.broken_at[p] = Broken(index, p);
    totals.broken += hit_[index][p];
  }
}

absl::Status Evaluation::RunBatch(int index, absl::Span<const int64_t> positions, Victim& victim) {
  const AttackInstance& instance = instances_[index];
  ASSIGN_OR_RETURN(const Batch clean, samples_.read(positions));
  ASSIGN_OR_RETURN(Batch given, samples_.read(positions));
  given = {given.images.to(device_), given.labels.to(device_), given.ids};
  VerifyingJudge judge(caller_, clean, instance.threat);
  AttackSettings settings;
  settings.seed = options_.seed;
  settings.stream = instance.stream;
  settings.judge = options_.craft ? nullptr : &judge;
  settings.clean_logits = clean_logits_.index_select(0, ToTensor(positions)).to(device_);
  const AttackResult done =
      instance.attack->Run(victim, given, instance.threat, settings, control_);
  if (options_.craft) {
    judge.Submit({.rows = at::arange(clean.size(), at::kLong), .images = done.images});
  }
  AddCounts(done.counts, positions, result_.instances[index]);
  for (size_t row = 0; row < positions.size(); ++row) {
    Record(index, positions[row], static_cast<int64_t>(row), judge);
  }
  if (index + 1 < static_cast<int>(instances_.size())) return absl::OkStatus();
  return RecordRobust(index, positions, clean, done.images);
}

void Evaluation::AddCounts(const SampleCounts& counts, absl::Span<const int64_t> positions,
                           InstanceOutcome& totals) {
  const at::Tensor all =
      at::stack({counts.steps, counts.forwards, counts.backwards, counts.zero_grads,
                 counts.nonfinite_grads, counts.nonfinite_logits})
          .cpu();
  const auto at = all.accessor<int64_t, 2>();
  for (size_t i = 0; i < positions.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    v1::SampleOutcome& outcome = result_.outcomes[positions[i]];
    outcome.set_steps_done(outcome.steps_done() + at[0][row]);
    outcome.set_forwards(outcome.forwards() + at[1][row]);
    outcome.set_backwards(outcome.backwards() + at[2][row]);
    outcome.set_zero_grads(outcome.zero_grads() + at[3][row]);
    outcome.set_nonfinite_grads(outcome.nonfinite_grads() + at[4][row]);
    outcome.set_nonfinite_logits(outcome.nonfinite_logits() + at[5][row]);
    totals.zero_grads += at[3][row];
    totals.nonfinite_grads += at[4][row];
    totals.nonfinite_logits += at[5][row];
  }
}

void Evaluation::Record(int index, int64_t position, int64_t row, const VerifyingJudge& judge) {
  v1::SampleOutcome& outcome = result_.outcomes[position];
  outcome.set_claims(outcome.claims() + judge.claims(row));
  outcome.set_rejected_claims(outcome.rejected_claims() + judge.rejected(row));
  result_.instances[index].rejected_claims += judge.rejected(row);
  const std::optional<Finding>& finding = judge.finding(row);
  if (!finding.has_value()) return;
  hit_[index][position] = true;
  ++attack_totals_[instances_[index].spec.name()].successes;
  if (result_.instance_of[position] >= 0) return;  // the first instance in list order counts
  result_.instance_of[position] = index;
  result_.images[position] = finding->image;
  --robust_;
  outcome.set_state(v1::BROKEN);
  outcome.set_broken_by(instances_[index].name);
  outcome.set_restart(static_cast<int32_t>(finding->restart));
  outcome.set_target(static_cast<int32_t>(finding->target));
  outcome.set_step(static_cast<int32_t>(finding->step));
  SetImageFields(finding->verification, outcome);
  outcome.set_hit_target(finding->target >= 0 && finding->target == outcome.adv_pred());
}

// The returned images of samples that stayed robust, after the last instance.
absl::Status Evaluation::RecordRobust(int index, absl::Span<const int64_t> positions,
                                      const Batch& clean, const at::Tensor& images) {
  std::vector<int64_t> rows;
  std::vector<int64_t> labels;
  for (size_t i = 0; i < positions.size(); ++i) {
    const v1::SampleOutcome& outcome = result_.outcomes[positions[i]];
    if (outcome.state() != v1::ROBUST) continue;
    rows.push_back(static_cast<int64_t>(i));
    labels.push_back(outcome.label());
  }
  if (rows.empty()) return absl::OkStatus();
  const at::Tensor chosen = ToTensor(rows);
  const at::Tensor kept = images.index_select(0, chosen.to(images.device()));
  const std::vector<Verification> found = VerifyImages(
      caller_, kept, clean.images.index_select(0, chosen), labels, instances_[index].threat);
  const at::Tensor host = kept.to(at::kCPU);
  for (size_t i = 0; i < rows.size(); ++i) {
    const int64_t position = positions[rows[i]];
    if (!found[i].inside) {
      return absl::InternalError(absl::StrCat("attack ", instances_[index].name,
                                              " returned an image outside the threat model for ",
                                              "sample ", result_.outcomes[position].sample_id()));
    }
    SetImageFields(found[i], result_.outcomes[position]);
    if (options_.keep_images) result_.images[position] = host[static_cast<int64_t>(i)].clone();
  }
  return absl::OkStatus();
}

absl::Status Evaluation::FinalCheck() {
  for (int index = 0; index < static_cast<int>(instances_.size()); ++index) {
    std::vector<int64_t> found;
    for (int64_t p = 0; p < samples_.size; ++p) {
      if (result_.instance_of[p] == index) found.push_back(p);
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
  std::vector<at::Tensor> parts;
  for (const int64_t p : positions) parts.push_back(result_.images[p]);
  const at::Tensor images = at::stack(parts).to(device_);
  ASSIGN_OR_RETURN(const Batch clean, samples_.read(positions));
  const std::vector<int64_t> labels = Labels(clean);
  const std::vector<Verification> again =
      VerifyImages(caller_, images, clean.images, labels, instances_[index].threat);
  const at::Tensor logits = caller_.Logits((images * 255).round_().div_(255));
  for (size_t i = 0; i < positions.size(); ++i) {
    v1::SampleOutcome& outcome = result_.outcomes[positions[i]];
    if (!again[i].accepted) {
      return absl::DataLossError(absl::StrCat(
          "final check: the adversarial image of sample ", outcome.sample_id(), " (found by ",
          outcome.broken_by(), ") is no longer one; the model or the data changed during the run"));
    }
    const Decision rounded =
        Decide(logits.data_ptr<float>() + static_cast<int64_t>(i) * logits.size(1), logits.size(1),
               labels[i]);
    outcome.set_broken_8bit(rounded.finite && rounded.predicted != labels[i]);
  }
  return absl::OkStatus();
}

void Evaluation::Observe(const std::string& phase, double fraction, double rate) {
  if (!options_.observe) return;
  EvaluationProgress now{phase, fraction, rate, attacked_, robust_, current_attack_};
  if (!current_attack_.empty()) {
    const AttackTotals& totals = attack_totals_[current_attack_];
    now.attack_samples = totals.samples;
    now.attack_successes = totals.successes;
    now.attack_gradient_queries = totals.queries;
  }
  options_.observe(now);
}

}  // namespace

Samples SamplesOf(const DataSlice& slice) {
  return {slice.size(), [&slice](absl::Span<const int64_t> positions) {
            std::vector<int64_t> ids;
            for (const int64_t p : positions) ids.push_back(slice.ids[p]);
            return slice.dataset->Read(slice.split, ids);
          }};
}

Samples SamplesOf(const Batch& batch) {
  return {batch.size(), [batch](absl::Span<const int64_t> positions) -> absl::StatusOr<Batch> {
            const at::Tensor index = ToTensor(positions);
            return Batch{batch.images.cpu().index_select(0, index),
                         batch.labels.cpu().index_select(0, index),
                         batch.ids.cpu().index_select(0, index)};
          }};
}

int64_t AutoComputeBatch(const ModelShape& shape, const std::string& device) {
  constexpr int64_t kLargeImage = 3 * 96 * 96;  // values per row that the default still allows
  int64_t rows = device == "cpu" ? 64 : 256;
  const int64_t values = shape.channels * shape.height * shape.width;
  for (int64_t size = values; size > kLargeImage && rows > 1; size /= 2) rows /= 2;
  return rows;
}

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
  return Evaluation(model, samples, instances, options, control).Run();
}

}  // namespace adamant
