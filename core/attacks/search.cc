// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/search.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

#include "core/attacks/loss_record.h"
#include "core/base/rng.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The r-th class after removing the label from the ranking of the logits.
at::Tensor RankTarget(const at::Tensor& logits, const at::Tensor& labels, int64_t rank) {
  const at::Tensor ranked = RankedClasses(logits);
  const at::Tensor others =
      ranked.masked_select(ranked != labels.unsqueeze(1)).view({ranked.size(0), -1});
  return others.select(1, std::min(rank, others.size(1)) - 1);
}

at::Tensor RandomTarget(const at::Tensor& labels, const at::Tensor& ids, int64_t num_classes,
                        const AttackSettings& settings) {
  const at::Tensor host_ids = ids.cpu();
  const at::Tensor drawn = at::empty({ids.size(0)}, at::kLong);
  for (int64_t i = 0; i < ids.size(0); ++i) {
    const Rng rng(settings.seed, settings.stream, host_ids.data_ptr<int64_t>()[i]);
    drawn.data_ptr<int64_t>()[i] =
        rng.Below({.purpose = Purpose::kTarget}, static_cast<uint32_t>(num_classes - 1));
  }
  const at::Tensor other = drawn.to(labels.device());
  return other + (other >= labels).to(at::kLong);
}

SampleCounts ZeroCounts(const at::Tensor& like) {
  const auto zeros = [&] { return at::zeros({like.size(0)}, like.options().dtype(at::kLong)); };
  return {zeros(), zeros(), zeros(), zeros(), zeros(), zeros()};
}

// Rows `chosen` of `all` become `values`.
void PutRows(at::Tensor& all, const at::Tensor& chosen, const at::Tensor& values) {
  all.index_copy_(0, chosen, values);
}

at::Tensor Rows(const at::Tensor& values, const at::Tensor& keep) {
  return values.defined() ? values.index_select(0, keep) : values;
}

// A judge may want the losses too.
LossRecord* RecordOf(const AttackSettings& settings) {
  return dynamic_cast<LossRecord*>(settings.judge);
}

at::Tensor Positions(const at::Tensor& mask) { return mask.nonzero().squeeze(1); }

}  // namespace

bool NothingToSearch(const Victim& victim, const Batch& batch, const ThreatModel& threat) {
  return batch.size() == 0 || threat.epsilon <= 0 || victim.info().shape.num_classes < 2;
}

AttackResult Unchanged(const Batch& batch) {
  return {batch.images.clone(), ZeroCounts(batch.images)};
}

Search::Search(Victim& victim, const Batch& batch, const ThreatModel& threat,
               const AttackSettings& settings, const RunControl& control,
               const SearchOptions& options)
    : victim_(victim),
      settings_(settings),
      control_(control),
      options_(options),
      loss_(MakeLoss(options.loss, options.target != "none", options.numerics)),
      images_(batch.images.contiguous()),
      labels_(batch.labels.to(batch.images.device())),
      ids_(batch.ids),
      full_set_(images_, threat),
      accepted_(at::zeros({batch.size()}, images_.options().dtype(at::kBool))),
      best_loss_(at::full({batch.size()}, -kInfinity, images_.options().dtype(at::kDouble))),
      result_{images_.clone(), ZeroCounts(images_)},
      set_(full_set_) {
  victim_.set_before_call([this] { control_.Check(); });
  SetRows(at::arange(batch.size(), labels_.options().dtype(at::kLong)));
  SetAims();
}

Search::~Search() {
  victim_.set_before_call({});
  victim_.set_noise({});
}

at::Tensor Search::AllCleanLogits() {
  if (!clean_logits_.defined()) {
    clean_logits_ = settings_.clean_logits;
    if (!clean_logits_.defined()) {
      clean_logits_ = victim_.Logits(images_);
      result_.counts.forwards.add_(1);
    }
  }
  return clean_logits_;
}

void Search::SetAims() {
  at::Tensor logits;
  const bool ranked = options_.target == "least_likely" || TargetRank(options_.target) > 0;
  if (options_.predicted_label || ranked) logits = AllCleanLogits();
  all_aims_.labels = options_.predicted_label ? Predictions(logits) : labels_;
  if (options_.target != "none") all_aims_.targets = Targets(logits);
  aims_ = all_aims_.Select(rows_);
}

void Search::AimAt(const at::Tensor& targets) { aims_.targets = targets; }

void Search::AimAt(int64_t rank) {
  all_aims_.targets = RankTarget(AllCleanLogits(), labels_, rank);
  aims_ = all_aims_.Select(rows_);
}

at::Tensor Search::Targets(const at::Tensor& logits) const {
  const int64_t num_classes = victim_.info().shape.num_classes;
  if (options_.target == "next") return (labels_ + 1).remainder(num_classes);
  if (options_.target == "random_wrong") return RandomTarget(labels_, ids_, num_classes, settings_);
  if (options_.target == "least_likely") {
    return LeastLikely(logits, labels_);
  }
  if (const int64_t rank = TargetRank(options_.target); rank > 0) {
    return RankTarget(logits, labels_, rank);
  }
  if (!settings_.targets.defined()) {
    throw std::invalid_argument("target = given, but no targets were given");
  }
  const at::Tensor targets = settings_.targets.to(labels_.device());
  if ((targets == labels_).any().item<bool>()) {
    throw std::invalid_argument("a given target equals the sample's label");
  }
  return targets;
}

void Search::SetRows(const at::Tensor& rows) {
  rows_ = rows;
  set_ = full_set_.Select(rows);
  row_labels_ = labels_.index_select(0, rows);
  if (all_aims_.labels.defined()) aims_ = all_aims_.Select(rows);
}

bool Search::BeginRestart(int64_t restart, int64_t slot, const at::Tensor& among) {
  restart_ = restart;
  slot_ = slot;
  const at::Tensor rows =
      among.defined() ? among : at::arange(images_.size(0), labels_.options().dtype(at::kLong));
  // A search for distances that goes on to its end takes the accepted rows as well.
  const bool leave = !result_.min_norm.defined() || (options_.early_stop && !settings_.nearest);
  SetRows(leave ? rows.index_select(0, Positions(accepted_.index_select(0, rows).logical_not()))
                : rows);
  if (LossRecord* record = RecordOf(settings_)) record->Begin(rows_);
  return !empty();
}

at::Tensor Search::Start(bool random) const {
  if (settings_.start.defined()) {
    return set_.Project(settings_.start.index_select(0, rows_));
  }
  if (!random) return set_.origin();
  return RandomStart(set_, ids(), settings_.seed, settings_.stream, Draw(Purpose::kStart, 0));
}

at::Tensor Search::SurfaceStart(double times) const {
  if (settings_.start.defined()) return Start(false);
  ThreatModel threat = set_.threat();
  threat.epsilon *= times;
  return adamant::SurfaceStart(FeasibleSet(set_.origin(), threat), ids(), settings_.seed,
                               settings_.stream, Draw(Purpose::kStart, 0));
}

void Search::Count(const at::Tensor& counter, const at::Tensor& amount) const {
  at::Tensor(counter).index_add_(0, rows_, amount.to(at::kLong));
}

LossGradient Search::Gradient(const at::Tensor& images) { return Gradient(images, loss_); }

LossGradient Search::Gradient(const at::Tensor& images, const LossFunction& loss,
                              const at::Tensor& slopes) {
  LossGradient seen = victim_.Gradient(images, aims_, loss, slopes);
  Count(result_.counts.forwards, at::ones_like(rows_));
  CountGradient(seen, at::ones_like(rows_, at::kBool), rows_);
  return seen;
}

RecordedPass Search::Record(const at::Tensor& images) {
  Count(result_.counts.forwards, at::ones_like(rows_));
  return victim_.Record(images);
}

LossGradient Search::Gradient(RecordedPass& pass, const LossFunction& loss, bool last,
                              const at::Tensor& wanted) {
  LossGradient seen = pass.Gradient(loss, aims_, last, wanted);
  CountGradient(seen, wanted.defined() ? wanted : at::ones_like(rows_, at::kBool), rows_);
  return seen;
}

at::Tensor Search::Logits(const at::Tensor& images) {
  Count(result_.counts.forwards, at::ones_like(rows_));
  return victim_.Logits(images);
}

LossGradient Search::Loss(const at::Tensor& images) {
  LossGradient seen;
  seen.logits = Logits(images);
  seen.loss = LossOf(seen.logits);
  return seen;
}

at::Tensor Search::LossOf(const at::Tensor& logits) const {
  const at::Tensor bad = at::isfinite(logits).all(1).logical_not();
  return loss_(logits, aims_).to(at::kDouble).masked_fill(bad, -kInfinity);
}

LossGradient Search::Gradient(const at::Tensor& images, const TapLoss& loss) {
  LossGradient seen = victim_.Gradient(images, aims_, rows_, loss);
  seen.loss = LossOf(seen.logits);
  Count(result_.counts.forwards, at::ones_like(rows_));
  CountGradient(seen, at::ones_like(rows_, at::kBool), rows_);
  Count(result_.counts.backwards, at::full_like(rows_, loss.backwards - 1));
  return seen;
}

std::vector<at::Tensor> Search::Values(const at::Tensor& images, const TapLoss& values) {
  std::vector<at::Tensor> seen = victim_.Values(images, aims_, rows_, values);
  Count(result_.counts.forwards, at::ones_like(rows_));
  Count(result_.counts.backwards, at::full_like(rows_, values.backwards));
  return seen;
}

void Search::Observe(at::Tensor& images, LossGradient& seen, int64_t step,
                     absl::Span<at::Tensor* const> state) {
  if (step > 0) Count(result_.counts.steps, at::ones_like(rows_));
  if (LossRecord* record = RecordOf(settings_)) record->Add(rows_, seen.loss);
  const at::Tensor bad = seen.loss == -kInfinity;
  Count(result_.counts.nonfinite_logits, bad);
  const bool judged = settings_.judge != nullptr;
  if (judged || options_.keep == Keep::kBestLoss) TakeBest(images, seen.loss);
  if (!judged && options_.keep != Keep::kFirstSuccess) return;

  const at::Tensor decided =
      seen.wrong.defined() ? seen.wrong : Predictions(seen.logits) != row_labels_;
  const at::Tensor wrong = decided.logical_and(bad.logical_not())
                               .logical_and(accepted_.index_select(0, rows_).logical_not());
  if (!wrong.any().item<bool>()) return;
  if (!judged) return TakeFirst(images, wrong);
  const at::Tensor chosen = Positions(wrong);
  const at::Tensor keep = Remaining(chosen, Submit(chosen, images, step));
  if (!options_.early_stop || !keep.defined()) return;
  KeepRows(keep, images, state);
  for (at::Tensor* part :
       {&seen.gradient, &seen.loss, &seen.logits, &seen.nonfinite, &seen.wrong}) {
    *part = Rows(*part, keep);
  }
}

void Search::CountUntested(const LossGradient& seen, bool moved) {
  if (moved) Count(result_.counts.steps, at::ones_like(rows_));
  Count(result_.counts.nonfinite_logits, seen.loss == -kInfinity);
}

at::Tensor Search::Remaining(const at::Tensor& chosen, const at::Tensor& accepted) const {
  const at::Tensor gone = chosen.masked_select(accepted);
  if (gone.size(0) == 0) return {};
  return Positions(at::ones_like(rows_, at::kBool).index_fill_(0, gone, at::Scalar(false)));
}

void Search::KeepRows(const at::Tensor& keep, at::Tensor& images,
                      absl::Span<at::Tensor* const> state) {
  rows_ = rows_.index_select(0, keep);
  set_ = set_.Select(keep);
  row_labels_ = row_labels_.index_select(0, keep);
  aims_ = aims_.Select(keep);
  images = images.index_select(0, keep);
  for (at::Tensor* part : state) *part = Rows(*part, keep);
}

at::Tensor Search::ids() const { return ids_.index_select(0, rows_.to(ids_.device())); }

at::Tensor Search::clean_logits() { return AllCleanLogits().index_select(0, rows_); }

DrawAt Search::Draw(Purpose purpose, int64_t step, int64_t draw) const {
  return {.step = static_cast<uint32_t>(step),
          .restart = static_cast<uint16_t>(restart_),
          .target_slot = static_cast<uint16_t>(slot_),
          .purpose = purpose,
          .draw = static_cast<uint16_t>(draw)};
}

at::Tensor Search::DrawEach(const std::function<void(const Rng&, absl::Span<float>)>& draw) const {
  return DrawRows(set_.origin(), ids(), settings_.seed, settings_.stream, draw);
}

at::Tensor Search::Uniform(int64_t values, const DrawAt& at) const {
  return DrawRows(images_.new_empty({rows_.size(0), values}), ids(), settings_.seed,
                  settings_.stream,
                  [&](const Rng& rng, absl::Span<float> out) { rng.Uniform(at, out); });
}

void Search::SetNoise(const DrawAt& at) {
  if (!victim_.random()) return;
  victim_.set_noise(ModelNoise{settings_.seed, settings_.stream, ids(), at});
}

void Search::SilenceNoise() {
  if (victim_.random()) victim_.set_noise(ModelNoise{.silent = true});
}

Rng Search::RngOf(int64_t id) const { return Rng(settings_.seed, settings_.stream, id); }

at::Tensor Search::Submit(const at::Tensor& chosen, const at::Tensor& images, int64_t step) {
  Claims claims{.rows = rows_.index_select(0, chosen),
                .images = images.index_select(0, chosen),
                .step = step,
                .restart = restart_};
  if (aims_.targets.defined()) claims.targets = aims_.targets.index_select(0, chosen);
  const at::Tensor accepted = settings_.judge->Submit(claims).to(chosen.device());
  const at::Tensor which = Positions(accepted);
  const at::Tensor rows = claims.rows.index_select(0, which);
  accepted_.index_fill_(0, rows, at::Scalar(true));
  PutRows(result_.images, rows, claims.images.index_select(0, which));
  return accepted;
}

void Search::TakeBest(const at::Tensor& images, const at::Tensor& loss) {
  const at::Tensor before = best_loss_.index_select(0, rows_);
  const at::Tensor better =
      (loss > before).logical_and(accepted_.index_select(0, rows_).logical_not());
  PutRows(best_loss_, rows_, at::where(better, loss, before));
  PutRows(result_.images, rows_,
          at::where(PerRow(better), images, result_.images.index_select(0, rows_)));
}

void Search::TakeFirst(const at::Tensor& images, const at::Tensor& wrong) {
  const at::Tensor chosen = Positions(wrong);
  const at::Tensor rows = rows_.index_select(0, chosen);
  accepted_.index_fill_(0, rows, at::Scalar(true));
  PutRows(result_.images, rows, images.index_select(0, chosen));
}

void Search::ClaimAll(const at::Tensor& images, int64_t step) {
  Count(result_.counts.steps, at::ones_like(rows_));
  const at::Tensor open = Positions(accepted_.index_select(0, rows_).logical_not());
  PutRows(result_.images, rows_.index_select(0, open), images.index_select(0, open));
  if (settings_.judge != nullptr && open.size(0) > 0) Submit(open, images, step);
}

bool Search::wants_last() const {
  return settings_.judge != nullptr || options_.keep != Keep::kLast || options_.restarts > 1;
}

void Search::EndRestart(const at::Tensor& images, const at::Tensor& loss) {
  if (settings_.judge != nullptr || options_.keep == Keep::kBestLoss) return;
  if (options_.keep == Keep::kLast && loss.defined()) return TakeBest(images, loss);
  const at::Tensor open = Positions(accepted_.index_select(0, rows_).logical_not());
  PutRows(result_.images, rows_.index_select(0, open), images.index_select(0, open));
}

AttackResult Search::Result() && { return std::move(result_); }

}  // namespace adamant
