// SPDX-License-Identifier: Apache-2.0
#include "core/run/trainer.h"

#include <ATen/Context.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "core/run/fingerprint.h"
#include "core/run/train_checkpoint.h"
#include "core/run/train_evaluation.h"
#include "core/run/train_plan.h"

namespace adamant {
namespace {

constexpr double kProgressSeconds = 0.5;
constexpr int64_t kMetricsPerEpoch = 10;
constexpr int64_t kMaxMetricSteps = 50;
constexpr int64_t kGuardSteps = 50;  // between checks of all parameters
constexpr size_t kLossHistory = 20;

double Seconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

// Names and host values of everything a step measured.
struct StepValues {
  std::vector<std::string> names;
  std::vector<double> values;
  size_t guarded = 0;  // the first so many must be finite
};

StepValues ToHost(const StepOutput& out, const at::Tensor& gradient_norm) {
  StepValues step;
  std::vector<at::Tensor> tensors;
  const auto add = [&](const std::string& name, const at::Tensor& value) {
    step.names.push_back(name);
    tensors.push_back(value.detach());
  };
  add("loss", out.loss);
  add("grad_norm", gradient_norm);
  for (const LossTerm& term : out.terms) add(term.name, term.value);
  step.guarded = tensors.size();
  for (const auto& [name, value] : out.stats) add(name, value);
  const at::Tensor host = at::stack(tensors).to(at::kCPU, at::kDouble);
  step.values.assign(host.data_ptr<double>(), host.data_ptr<double>() + host.numel());
  return step;
}

// Adds what one part of a batch measured: every value is a mean over its images.
void AddWeighted(const StepOutput& part, double weight, StepOutput& whole) {
  if (weight == 1) {
    whole = part;
    return;
  }
  const bool first = !whole.loss.defined();
  const auto add = [weight, first](const at::Tensor& value, at::Tensor& sum) {
    sum = first ? value.detach() * weight : sum + value.detach() * weight;
  };
  add(part.loss, whole.loss);
  if (first) {
    whole.terms = part.terms;
    whole.stats = part.stats;
  }
  for (size_t i = 0; i < part.terms.size(); ++i) add(part.terms[i].value, whole.terms[i].value);
  for (size_t i = 0; i < part.stats.size(); ++i) add(part.stats[i].second, whole.stats[i].second);
}

}  // namespace

Trainer::Trainer(TrainSetup setup, RunContext& context, const RunControl& control)
    : setup_(std::move(setup)),
      context_(context),
      control_(control),
      device_(context.device()),
      fingerprint_(Fingerprint(context.device())),
      optimizer_(setup_.spec.optimizer(), setup_.model->Parameters()),
      started_(Clock::now()),
      last_progress_(started_),
      last_checkpoint_(started_) {
  *state_.mutable_spec() = setup_.spec;
  state_.set_spec_digest(ResumeDigest(setup_.spec));
  state_.set_train_digest(setup_.train_digest);
  state_.set_fingerprint(fingerprint_);
  state_.set_evaluated_step(-1);
  v1::TrainReport& report = *state_.mutable_report();
  report.set_train_digest(setup_.train_digest);
  report.set_fingerprint(fingerprint_);
  report.set_reproducible(true);
}

absl::Status Trainer::Resume(std::shared_ptr<const FileView> file) {
  ASSIGN_OR_RETURN(const LoadedTrainCheckpoint loaded, ReadTrainCheckpoint(std::move(file)));
  const v1::TrainCheckpoint& header = loaded.header;
  if (header.spec_digest() != state_.spec_digest() || header.step() > setup_.length.total_steps) {
    return absl::FailedPreconditionError(
        "the checkpoint was made by another training spec; only evaluation, checkpoint, "
        "register_as "
        "and more epochs may differ");
  }
  if (header.train_digest() != setup_.train_digest) {
    return absl::FailedPreconditionError(
        absl::StrCat("the checkpoint was made with other training data (digest ",
                     header.train_digest(), ", now ", setup_.train_digest, ")"));
  }
  const std::string difference = FingerprintDifference(fingerprint_, header.fingerprint());
  if (!difference.empty() && setup_.spec.require_reproducible()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "require_reproducible: the run cannot be continued bit by bit here: ", difference));
  }
  if (header.report().kept_step() > 0) kept_ = CloneTensors(Weights());
  for (const auto& [name, tensor] : loaded.tensors.tensors) {
    constexpr absl::string_view kMemory = "memory.";
    if (absl::string_view(name).substr(0, kMemory.size()) != kMemory) continue;
    memory_[name.substr(kMemory.size())] = tensor.clone().to(device_);
  }
  RETURN_IF_ERROR(RestoreTensors(loaded.tensors, Tensors()));
  state_ = header;
  *state_.mutable_spec() = setup_.spec;
  v1::TrainReport& report = *state_.mutable_report();
  report.set_resumed(true);
  if (!difference.empty()) {
    report.set_reproducible(false);
    report.set_reproducible_reason(absl::StrCat("resumed with ", difference));
    state_.set_fingerprint(fingerprint_);
  }
  first_step_ = saved_step_ = state_.step();
  return absl::OkStatus();
}

absl::Status Trainer::Run() {
  if (first_step_ == 0) WarnAboutPlan();
  if (setup_.micro_batches > 1) WarnAboutMicroBatches();
  setup_.model->Train(true);
  try {
    while (true) {
      if (EvaluationDue()) RETURN_IF_ERROR(Evaluate());
      if (state_.step() == setup_.length.total_steps) return absl::OkStatus();
      if (CheckpointDue()) SaveCheckpoint();
      RETURN_IF_ERROR(Step());
    }
  } catch (const Stopped&) {
    if (state_.step() != saved_step_) SaveCheckpoint();
    throw;
  }
}

absl::Status Trainer::Step() {
  const Clock::time_point start = Clock::now();
  const int64_t epoch = Epoch();
  const int64_t index = state_.step() % setup_.length.steps_per_epoch;
  const double attack_before = setup_.inner != nullptr ? setup_.inner->seconds() : 0;
  if (index == 0) {
    state_.set_epoch_loss_sum(0);
    state_.set_epoch_steps(0);
  }
  control_.Check();
  const Batch batch = NextBatch(epoch, index);
  const double data_seconds = Seconds(Clock::now() - start);
  optimizer_.ClearGradients();
  const StepOutput out = ForwardAndBackward(batch, epoch);
  const at::Tensor norm = optimizer_.ClipGradients(setup_.spec.max_grad_norm());
  RETURN_IF_ERROR(Record(out, norm, batch));
  const double before_update = Seconds(Clock::now() - start);
  const double lr = LearningRate(setup_.spec.schedule(), setup_.spec.optimizer().lr(),
                                 setup_.length, state_.step());
  optimizer_.Step(lr);
  setup_.objective->AfterOptimizerStep(*setup_.model);
  state_.set_step(state_.step() + 1);

  v1::TrainReport& report = *state_.mutable_report();
  const double seconds = Seconds(Clock::now() - start);
  const double attack_seconds =
      setup_.inner != nullptr ? setup_.inner->seconds() - attack_before : 0;
  report.set_train_seconds(report.train_seconds() + seconds);
  state_.set_attack_seconds(state_.attack_seconds() + attack_seconds);
  ++window_.steps;
  window_.seconds += seconds;
  window_.data += data_seconds;
  window_.attack += attack_seconds;
  window_.forward_backward += std::max(0.0, before_update - data_seconds - attack_seconds);
  EmitMetrics(lr);
  ReportProgress();
  return absl::OkStatus();
}

Batch Trainer::NextBatch(int64_t epoch, int64_t index) {
  if (order_epoch_ != epoch) {
    order_ = EpochOrder(setup_.spec.seed(), epoch, setup_.train.size());
    order_epoch_ = epoch;
  }
  const int64_t size = setup_.spec.batch_size();
  Batch batch = setup_.train.Gather(absl::MakeConstSpan(order_).subspan(index * size, size));
  if (!setup_.augmentations.empty()) {
    batch.images = setup_.augmentations.Apply(batch, setup_.spec.seed(), epoch);
  }
  return {batch.images.to(device_), batch.labels.to(device_), batch.ids};
}

StepOutput Trainer::ForwardAndBackward(const Batch& batch, int64_t epoch) {
  const v1::TrainSpec& spec = setup_.spec;
  const PhiloxKey key = Rng(spec.seed(), absl::StrCat("dropout:", state_.step()), 0).key();
  at::manual_seed(uint64_t{key[1]} << 32 | key[0]);
  // The parts, and attack steps in BN_TRAIN, change buffers: a stop in between must find them as
  // the step began.
  const bool changes = setup_.micro_batches > 1 || spec.attack_bn_mode() == v1::BN_TRAIN;
  const NamedTensors buffers = changes ? CloneTensors(setup_.model->Buffers()) : NamedTensors();
  StepOutput whole;
  try {
    for (int i = 0; i < setup_.micro_batches; ++i) {
      const int64_t begin = batch.size() * i / setup_.micro_batches;
      const int64_t end = batch.size() * (i + 1) / setup_.micro_batches;
      const double weight = static_cast<double>(end - begin) / static_cast<double>(batch.size());
      const Batch part = {batch.images.slice(0, begin, end), batch.labels.slice(0, begin, end),
                          batch.ids.slice(0, begin, end)};
      AddWeighted(MicroStep(part, epoch, weight), weight, whole);
    }
  } catch (const Stopped&) {
    CopyTensors(buffers, setup_.model->Buffers());
    throw;
  }
  setup_.objective->AfterBackward(*setup_.model);
  return whole;
}

StepOutput Trainer::MicroStep(const Batch& batch, int64_t epoch, double weight) {
  const v1::TrainSpec& spec = setup_.spec;
  const int64_t step = state_.step();
  const int64_t total = setup_.length.total_steps;
  Model& model = *setup_.model;
  const int64_t forwards_before = setup_.inner != nullptr ? setup_.inner->forwards() : 0;
  const int64_t backwards_before = setup_.inner != nullptr ? setup_.inner->backwards() : 0;
  StepContext context{.model = model, .batch = batch, .memory = memory_};
  context.seed = spec.seed();
  context.step = step;
  context.total_steps = total;
  context.epoch = epoch;
  context.ramp = Ramp(spec.ramp_frac(), step, total);
  context.label_smoothing = spec.label_smoothing();
  context.craft = [&](const std::string& name, const at::Tensor& images, const at::Tensor& labels,
                      const CraftOptions& options) {
    TORCH_CHECK(name == "inner" && setup_.inner != nullptr, "no inner attack called ", name);
    return setup_.inner->Craft(model, {images, labels, batch.ids},
                               Ramp(spec.eps_warmup_frac(), step, total), epoch, options, control_);
  };
  const StepOutput out = setup_.objective->Step(context);
  (weight == 1 ? out.loss : out.loss * weight).backward();
  v1::TrainReport& report = *state_.mutable_report();
  const int64_t rows = context.forwards;
  const InnerAttack* inner = setup_.inner.get();
  report.set_forwards(report.forwards() + rows +
                      (inner != nullptr ? inner->forwards() - forwards_before : 0));
  report.set_backwards(report.backwards() + rows +
                       (inner != nullptr ? inner->backwards() - backwards_before : 0));
  return out;
}

absl::Status Trainer::Record(const StepOutput& out, const at::Tensor& gradient_norm,
                             const Batch& batch) {
  const StepValues step = ToHost(out, gradient_norm);
  last_losses_.push_back(step.values[0]);
  if (last_losses_.size() > kLossHistory) last_losses_.pop_front();
  std::vector<std::string> bad;
  for (size_t i = 0; i < step.guarded; ++i) {
    if (!std::isfinite(step.values[i])) bad.push_back(step.names[i]);
  }
  if (state_.step() % kGuardSteps == 0) {
    for (const auto& [name, parameter] : setup_.model->Parameters()) {
      if (!std::isfinite(parameter.detach().norm().item<double>())) bad.push_back(name);
    }
  }
  if (!bad.empty()) {
    return WriteDiagnosis(
        absl::StrCat("not finite at step ", state_.step(), ": ", absl::StrJoin(bad, ", "),
                     "; a lower learning rate, warm-up or max_grad_norm helps"),
        batch);
  }
  for (size_t i = 0; i < step.names.size(); ++i) {
    (*state_.mutable_window_sums())[step.names[i]] += step.values[i];
  }
  state_.set_window_steps(state_.window_steps() + 1);
  state_.set_epoch_loss_sum(state_.epoch_loss_sum() + step.values[0]);
  state_.set_epoch_steps(state_.epoch_steps() + 1);
  return absl::OkStatus();
}

absl::Status Trainer::WriteDiagnosis(const std::string& text, const Batch& batch) {
  std::vector<int64_t> ids(batch.ids.data_ptr<int64_t>(),
                           batch.ids.data_ptr<int64_t>() + batch.size());
  v1::Artifact artifact;
  artifact.set_role("diagnostic");
  artifact.set_name("non_finite.txt");
  artifact.set_media_type("text/plain");
  artifact.set_step(state_.step());
  const std::string body = absl::StrCat(text, "\nlast losses: ", absl::StrJoin(last_losses_, " "),
                                        "\nsample ids of the batch: ", absl::StrJoin(ids, " "),
                                        "\nlast checkpoint: step ", saved_step_, "\n");
  if (const auto blob = context_.WriteArtifact(std::move(artifact), body); !blob.ok()) {
    context_.Log("warning", absl::StrCat("diagnosis not stored: ", blob.status().message()));
  }
  return absl::OutOfRangeError(text);
}

void Trainer::EmitMetrics(double lr) {
  const int64_t per_epoch = setup_.length.steps_per_epoch;
  const int64_t every = std::clamp<int64_t>(per_epoch / kMetricsPerEpoch, 1, kMaxMetricSteps);
  const int64_t index = (state_.step() - 1) % per_epoch + 1;
  if (index % every != 0 && index != per_epoch) return;
  std::vector<std::pair<std::string, double>> values = {{"lr", lr}};
  const auto steps = static_cast<double>(state_.window_steps());
  for (const auto& [name, sum] :
       std::map<std::string, double>(state_.window_sums().begin(), state_.window_sums().end())) {
    values.emplace_back(name, sum / steps);
  }
  values.emplace_back("epoch_fraction",
                      static_cast<double>(state_.step()) / static_cast<double>(per_epoch));
  // The window of this attempt may be shorter than the one of the sums after a resume.
  if (window_.seconds > 0) {
    const auto measured = static_cast<double>(window_.steps);
    values.emplace_back("samples_per_second",
                        measured * setup_.spec.batch_size() / window_.seconds);
    values.emplace_back("attack_share_ratio", window_.attack / window_.seconds);
    values.emplace_back("data_seconds", window_.data / measured);
    if (setup_.inner != nullptr) values.emplace_back("attack_seconds", window_.attack / measured);
    values.emplace_back("forward_backward_seconds", window_.forward_backward / measured);
    const double optimizer =
        window_.seconds - window_.data - window_.attack - window_.forward_backward;
    values.emplace_back("optimizer_seconds", std::max(0.0, optimizer) / measured);
  }
  context_.Metrics(state_.step(), values);
  state_.clear_window_sums();
  state_.clear_window_steps();
  window_ = {};
}

void Trainer::ReportProgress() {
  const Clock::time_point now = Clock::now();
  if (Seconds(now - last_progress_) < kProgressSeconds) return;
  last_progress_ = now;
  const int64_t total = setup_.length.total_steps;
  const auto done = static_cast<double>(state_.step() - first_step_);
  v1::Progress progress;
  progress.set_phase(phase_);
  progress.set_step(state_.step());
  progress.set_total_steps(total);
  progress.set_epoch(static_cast<int32_t>(Epoch()));
  progress.set_fraction_ratio(static_cast<double>(state_.step()) / static_cast<double>(total));
  if (done > 0) {
    const double per_step = Seconds(now - started_) / done;
    const double eta = per_step * static_cast<double>(total - state_.step());
    progress.mutable_eta()->set_seconds(static_cast<int64_t>(eta));
    progress.set_samples_per_second(setup_.spec.batch_size() / per_step);
    progress.set_attack_share_ratio(state_.attack_seconds() /
                                    std::max(state_.report().train_seconds(), 1e-9));
  }
  context_.Progress(progress);
}

}  // namespace adamant
