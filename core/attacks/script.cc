// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/script.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Pixels in the questions of all samples whose scripts run at the same time: 256 MiB of floats.
constexpr int64_t kMostPixels = int64_t{1} << 26;

Keep KeepOf(ScriptOptions::Aim aim) {
  return aim == ScriptOptions::Aim::kFirst ? Keep::kFirstSuccess : Keep::kBestLoss;
}

// All scripts of one Run.
class Stage {
 public:
  Stage(Victim& victim, const Batch& batch, const ThreatModel& threat,
        const AttackSettings& settings, const RunControl& control, const ScriptOptions& options)
      : options_(options),
        images_(batch.images.cpu().contiguous()),
        device_(batch.images.device()),
        search_(victim, batch, threat, settings, control,
                {.loss = options.loss, .keep = KeepOf(options.aim), .numerics = options.numerics}),
        subjects_(static_cast<size_t>(batch.size()), SubjectOf(threat)),
        scripts_(subjects_.size()) {
    const at::Tensor ids = batch.ids.cpu();
    for (int64_t i = 0; i < batch.size(); ++i) {
      Subject& subject = subjects_[static_cast<size_t>(i)];
      subject.clean = {images_.const_data_ptr<float>() + i * subject.count(),
                       static_cast<size_t>(subject.count())};
      subject.rng = search_.RngOf(ids.const_data_ptr<int64_t>()[i]);
    }
  }

  // So many samples at a time as their questions leave memory for.
  void Run(const std::function<Script(Subject& subject)>& write) {
    const int64_t pixels = options_.largest_question * subjects_[0].count();
    const int64_t most = std::max<int64_t>(kMostPixels / pixels, 1);
    const at::Tensor all = search_.rows();
    for (int64_t begin = 0; begin < all.size(0); begin += most) {
      const int64_t count = std::min(most, all.size(0) - begin);
      if (search_.BeginRestart(0, 0, all.narrow(0, begin, count))) RunSome(begin, count, write);
    }
  }

  AttackResult Result() && { return std::move(search_).Result(); }

 private:
  Subject SubjectOf(const ThreatModel& threat) const {
    return {.shape = {images_.size(1), images_.size(2), images_.size(3)},
            .threat = threat,
            .rng = Rng(0, "", 0),
            .left = options_.queries};
  }

  void RunSome(int64_t begin, int64_t count, const std::function<Script(Subject&)>& write) {
    for (int64_t row = begin; row < begin + count; ++row) {
      Subject& subject = subjects_[static_cast<size_t>(row)];
      scripts_[static_cast<size_t>(row)] = write(subject);
      subject.asker = scripts_[static_cast<size_t>(row)].handle();
    }
    Resume();
    for (int64_t step = 0; !search_.empty(); ++step) {
      AskAll();
      TakeAnswers(step);
      if (!search_.empty()) Resume();
    }
    for (int64_t row = begin; row < begin + count; ++row) scripts_[static_cast<size_t>(row)] = {};
  }

  // Lets every script in search go on to its next question; those that end leave.
  void Resume() {
    const at::Tensor rows = search_.rows().cpu();
    const at::Tensor goes_on = at::zeros({rows.size(0)}, at::kBool);
    bool* stays = goes_on.data_ptr<bool>();
    for (int64_t i = 0; i < rows.size(0); ++i) {
      const auto row = static_cast<size_t>(rows.const_data_ptr<int64_t>()[i]);
      if (subjects_[row].left <= 0) continue;
      subjects_[row].asker.resume();
      scripts_[row].Rethrow();
      stays[i] = !scripts_[row].done();
    }
    at::Tensor none = search_.rows();
    search_.KeepOnly(goes_on.to(device_), none, {});
  }

  void AskAll() {
    rows_ = search_.rows().cpu();
    std::vector<int64_t> of;
    const int64_t count = subjects_[0].count();
    for (int64_t i = 0; i < rows_.size(0); ++i) {
      Subject& subject = subjects_[Row(i)];
      const int64_t asked =
          std::min(static_cast<int64_t>(subject.asked.size()) / count, subject.left);
      subject.left -= asked;
      subject.answers.assign(static_cast<size_t>(asked), {});
      of.insert(of.end(), static_cast<size_t>(asked), i);
    }
    std::vector<int64_t> shape = images_.sizes().vec();
    shape[0] = static_cast<int64_t>(of.size());
    const at::Tensor images = at::empty(shape, at::kFloat);
    float* out = images.data_ptr<float>();
    for (int64_t i = 0; i < rows_.size(0); ++i) {
      const Subject& subject = subjects_[Row(i)];
      out = std::copy_n(subject.asked.data(), subject.answers.size() * count, out);
    }
    asked_ = images.to(device_);
    of_ = at::tensor(of, at::kLong).to(device_);
    seen_ = search_.Ask(asked_, of_);
  }

  size_t Row(int64_t i) const { return static_cast<size_t>(rows_.const_data_ptr<int64_t>()[i]); }

  // Gives each script its answers, and the search the one image of each row that counts most.
  void TakeAnswers(int64_t step) {
    const at::Tensor labels = search_.labels().index_select(0, of_);
    const at::Tensor finite = seen_.loss > -kInfinity;
    const at::Tensor wrong = (Predictions(seen_.logits) != labels).logical_and(finite).cpu();
    const at::Tensor loss = seen_.loss.cpu();
    std::vector<int64_t> chosen;
    const at::Tensor tested = at::ones({rows_.size(0)}, at::kBool);
    int64_t at = 0;
    for (int64_t i = 0; i < rows_.size(0); ++i) {
      Subject& subject = subjects_[Row(i)];
      for (size_t k = 0; k < subject.answers.size(); ++k) {
        subject.answers[k] = {wrong.const_data_ptr<bool>()[at + static_cast<int64_t>(k)],
                              loss.const_data_ptr<double>()[at + static_cast<int64_t>(k)]};
      }
      chosen.push_back(at + Chosen(subject));
      tested.data_ptr<bool>()[i] = !subject.probes;
      at += static_cast<int64_t>(subject.answers.size());
    }
    const at::Tensor index = at::tensor(chosen, at::kLong).to(device_);
    at::Tensor images = asked_.index_select(0, index);
    if (options_.aim == ScriptOptions::Aim::kNearest) {
      search_.ObserveNearest(images, wrong.to(device_).index_select(0, index), step);
      return;
    }
    LossGradient seen;
    // For probes, and for logits that are not finite, which Ask has counted, Observe sees a correct
    // answer of the lowest loss.
    const at::Tensor good = finite.index_select(0, index).logical_and(tested.to(device_));
    seen.logits = at::where(good.unsqueeze(1), seen_.logits.index_select(0, index),
                            at::one_hot(search_.labels(), seen_.logits.size(1)));
    seen.loss =
        at::where(good, seen_.loss.index_select(0, index), std::numeric_limits<double>::lowest());
    search_.Observe(images, seen, step);
  }

  int64_t Chosen(const Subject& subject) const {
    size_t chosen = 0;
    double best = kInfinity;
    const auto count = static_cast<size_t>(subject.count());
    for (size_t k = 0; k < subject.answers.size(); ++k) {
      double value = kInfinity;
      if (options_.aim == ScriptOptions::Aim::kBestLoss) value = -subject.answers[k].loss;
      if (options_.aim == ScriptOptions::Aim::kFirst && subject.answers[k].wrong) {
        value = static_cast<double>(k);
      }
      if (options_.aim == ScriptOptions::Aim::kNearest && subject.answers[k].wrong) {
        value = Distance(subject, subject.asked.subspan(k * count, count), subject.clean);
      }
      if (value < best) {
        best = value;
        chosen = k;
      }
    }
    return static_cast<int64_t>(chosen);
  }

  const ScriptOptions options_;
  const at::Tensor images_;  // on the host
  const at::Device device_;
  Search search_;
  std::vector<Subject> subjects_;
  std::vector<Script> scripts_;

  at::Tensor rows_;   // on the host: who asked
  at::Tensor asked_;  // [R,C,H,W]
  at::Tensor of_;     // int64 [R]
  LossGradient seen_;
};

}  // namespace

AttackResult RunScripts(Victim& victim, const Batch& batch, const ThreatModel& threat,
                        const AttackSettings& settings, const RunControl& control,
                        const ScriptOptions& options,
                        const std::function<Script(Subject& subject)>& write) {
  if (NothingToSearch(victim, batch, threat)) {
    AttackResult result = Unchanged(batch);
    if (options.aim == ScriptOptions::Aim::kNearest) {
      result.min_norm =
          at::full({batch.size()}, kInfinity, batch.images.options().dtype(at::kDouble));
    }
    return result;
  }
  Stage stage(victim, batch, threat, settings, control, options);
  stage.Run(write);
  return std::move(stage).Result();
}

ThreatModel WholeBox(const ThreatModel& threat) {
  return {Norm::kLinf, threat.clip_max - threat.clip_min, threat.clip_min, threat.clip_max};
}

double EuclideanNorm(absl::Span<const float> values) {
  double sum = 0;
  for (const float v : values) sum += static_cast<double>(v) * v;
  return std::sqrt(sum);
}

double Distance(const Subject& subject, absl::Span<const float> a, absl::Span<const float> b) {
  double largest = 0;
  double sum = 0;
  double squares = 0;
  int64_t pixels = 0;
  const int64_t plane = subject.shape.plane();
  for (int64_t p = 0; p < plane; ++p) {
    bool changed = false;
    for (int64_t i = p; i < subject.count(); i += plane) {
      const double change = std::abs(static_cast<double>(a[i]) - b[i]);
      largest = std::max(largest, change);
      sum += change;
      squares += change * change;
      changed |= change > 0;
    }
    pixels += changed;
  }
  switch (subject.threat.norm) {
    case Norm::kLinf:
      return largest;
    case Norm::kL2:
      return std::sqrt(squares);
    case Norm::kL1:
      return sum;
    case Norm::kL0:
      return static_cast<double>(pixels);
  }
  return kInfinity;
}

void ClipToBox(const Subject& subject, absl::Span<float> image) {
  const auto low = static_cast<float>(subject.threat.clip_min);
  const auto high = static_cast<float>(subject.threat.clip_max);
  for (float& v : image) v = std::clamp(v, low, high);
}

void ProjectImage(const Subject& subject, absl::Span<float> image) {
  const double epsilon = subject.threat.epsilon;
  double scale = 1;
  if (subject.threat.norm == Norm::kL2) {
    scale = std::min(1.0, epsilon / std::max(Distance(subject, image, subject.clean), 1e-12));
  }
  for (size_t i = 0; i < image.size(); ++i) {
    const float x = subject.clean[i];
    const auto reach = static_cast<float>(epsilon);
    image[i] = subject.threat.norm == Norm::kLinf
                   ? std::clamp(image[i], x - reach, x + reach)
                   : static_cast<float>(x + (static_cast<double>(image[i]) - x) * scale);
  }
  ClipToBox(subject, image);
}

}  // namespace adamant
