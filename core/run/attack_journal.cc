// SPDX-License-Identifier: Apache-2.0
#include "core/run/attack_journal.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "core/base/torch.h"
#include "core/models/safetensors.h"

namespace adamant {
namespace {

constexpr char kSchema[] = "adamant.attack_journal/2";
constexpr int64_t kSamplesPerSave = 256;
constexpr std::chrono::seconds kLongestInterval(5);
constexpr std::chrono::seconds kShortestInterval(1);
constexpr int kCostShare = 10;

// The order of the columns; `put` and `get` below name them once each.
template <class Record, class Visit>
void VisitIntegers(Record& record, Visit visit) {
  visit(record.position);
  visit(record.broken);
  visit(record.step);
  visit(record.restart);
  visit(record.target);
  visit(record.judged);
  visit(record.verification.accepted);
  visit(record.verification.inside);
  visit(record.verification.decision.finite);
  visit(record.verification.decision.predicted);
  visit(record.verification.distances.l0);
  visit(record.verification.distances.pixels);
  visit(record.claims);
  visit(record.rejected);
  visit(record.steps);
  visit(record.forwards);
  visit(record.backwards);
  visit(record.zero_grads);
  visit(record.nonfinite_grads);
  visit(record.nonfinite_logits);
  visit(record.extra_forwards);
  visit(record.empty_maps);
}

template <class Record, class Visit>
void VisitReals(Record& record, Visit visit) {
  visit(record.verification.decision.margin);
  visit(record.verification.distances.linf);
  visit(record.verification.distances.l2);
  visit(record.verification.distances.l1);
  visit(record.min_norm);
}

template <class Batch, class Visit>
void VisitCounts(Batch& batch, Visit visit) {
  visit(batch.run);
  visit(batch.instance);
  visit(batch.forwards);
  visit(batch.backwards);
  visit(batch.padded_rows);
  visit(batch.judge_forwards);
  visit(batch.judge_padded_rows);
}

at::Tensor Table(const std::vector<int64_t>& values, int64_t rows) {
  const at::Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), out.data_ptr<int64_t>());
  return out.view({rows, rows > 0 ? -1 : 0});
}

at::Tensor Table(const std::vector<double>& values, int64_t rows) {
  const at::Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::kDouble);
  std::copy(values.begin(), values.end(), out.data_ptr<double>());
  return out.view({rows, rows > 0 ? -1 : 0});
}

// Columns of a record, in the order of the visit.
template <class T, class Record, class Visitor>
std::vector<T> Columns(const std::vector<Record>& records, Visitor visitor) {
  std::vector<T> values;
  for (const Record& record : records) {
    visitor(record, [&](const auto& field) { values.push_back(static_cast<T>(field)); });
  }
  return values;
}

// Fills `record` from row `row`; false when the table has another number of columns.
template <class T, class Record, class Visitor>
bool ReadRow(const at::Tensor& table, int64_t row, Record& record, Visitor visitor) {
  const T* values = table.data_ptr<T>() + row * table.size(1);
  int64_t column = 0;
  visitor(record, [&](auto& field) {
    if (column < table.size(1)) field = static_cast<std::decay_t<decltype(field)>>(values[column]);
    ++column;
  });
  return column == table.size(1);
}

absl::Status Unreadable(absl::string_view why) {
  return absl::DataLossError(absl::StrCat("the journal of the attack run cannot be read: ", why,
                                          "; start the job again from the beginning"));
}

struct Tables {
  at::Tensor batches, seconds, integers, reals, image_of, images;
};

absl::StatusOr<Tables> FindTables(const Safetensors& file) {
  Tables out;
  const std::vector<std::tuple<const char*, at::Tensor*, at::ScalarType, int64_t>> wanted = {
      {"batches", &out.batches, at::kLong, 2},   {"seconds", &out.seconds, at::kDouble, 1},
      {"integers", &out.integers, at::kLong, 2}, {"reals", &out.reals, at::kDouble, 2},
      {"image_of", &out.image_of, at::kLong, 1}, {"images", &out.images, at::kFloat, 4}};
  for (const auto& [name, to, type, dims] : wanted) {
    const auto found = file.tensors.find(name);
    if (found == file.tensors.end() || found->second.scalar_type() != type ||
        found->second.dim() != dims) {
      return Unreadable(absl::StrCat("table ", name, " is missing or has another form"));
    }
    *to = found->second.contiguous();
  }
  const int64_t records = out.integers.size(0);
  if (out.reals.size(0) != records || out.image_of.size(0) != records ||
      out.seconds.size(0) != out.batches.size(0)) {
    return Unreadable("its tables have different lengths");
  }
  return out;
}

}  // namespace

void AttackJournal::Keep(const BatchRecord& batch) {
  auto part = std::make_unique<Part>();
  part->batch = batch;
  const auto rows = static_cast<int64_t>(batch.samples.size());
  std::vector<int64_t> counts;
  VisitCounts(batch, [&](int64_t value) { counts.push_back(value); });
  counts.push_back(rows);
  part->counts = Table(counts, 1);
  part->integers =
      Table(Columns<int64_t>(batch.samples, [](auto& r, auto v) { VisitIntegers(r, v); }), rows);
  part->reals =
      Table(Columns<double>(batch.samples, [](auto& r, auto v) { VisitReals(r, v); }), rows);
  std::vector<at::Tensor> images;
  for (const AttackRecord& record : batch.samples) {
    if (record.image.defined()) images.push_back(record.image);
  }
  if (!images.empty()) part->images = at::stack(images);
  samples_ += rows;
  unsaved_ += rows;
  parts_.push_back(std::move(part));
}

std::string AttackJournal::Serialize(const std::map<std::string, std::string>& about) const {
  std::vector<at::Tensor> batches, integers, reals, images;
  std::vector<double> seconds;
  std::vector<int64_t> image_of;
  int64_t image = 0;
  for (const auto& part : parts_) {
    batches.push_back(part->counts);
    seconds.push_back(part->batch.seconds);
    if (part->images.defined()) images.push_back(part->images);
    if (part->batch.samples.empty()) continue;
    integers.push_back(part->integers);
    reals.push_back(part->reals);
    for (const AttackRecord& record : part->batch.samples) {
      image_of.push_back(record.image.defined() ? image++ : -1);
    }
  }
  const auto joined = [](const std::vector<at::Tensor>& parts, at::ScalarType type) {
    return parts.empty() ? at::empty({0, 0}, type) : at::cat(parts);
  };
  std::map<std::string, std::string> metadata = about;
  metadata["schema"] = kSchema;
  metadata["config_hash"] = config_hash_;
  metadata["work_repeated"] = absl::StrCat(work_repeated_);
  return WriteSafetensors(
      {{"batches", joined(batches, at::kLong)},
       {"seconds", Table(seconds, static_cast<int64_t>(seconds.size())).flatten()},
       {"integers", joined(integers, at::kLong)},
       {"reals", joined(reals, at::kDouble)},
       {"image_of", Table(image_of, static_cast<int64_t>(image_of.size())).flatten()},
       {"images", images.empty() ? at::empty({0, 1, 1, 1}) : at::cat(images)}},
      metadata);
}

absl::Status AttackJournal::Restore(std::shared_ptr<const FileView> file) {
  const absl::Status status = Read(std::move(file));
  unsaved_ = 0;
  restored_ = status.ok();
  if (status.ok()) return status;
  parts_.clear();
  samples_ = 0;
  work_repeated_ = 0;
  return status;
}

absl::Status AttackJournal::Read(std::shared_ptr<const FileView> file) {
  absl::StatusOr<Safetensors> parsed = ParseSafetensors(std::move(file));
  if (!parsed.ok()) return Unreadable(parsed.status().message());
  std::map<std::string, std::string>& about = parsed->metadata;
  if (about["schema"] != kSchema) return Unreadable("it was not written by this version");
  if (about["config_hash"] != config_hash_) {
    return absl::FailedPreconditionError(
        absl::StrCat("the journal belongs to another configuration (", about["config_hash"],
                     ", this run has ", config_hash_, "); submit a new job"));
  }
  if (!absl::SimpleAtoi(about["work_repeated"], &work_repeated_)) return Unreadable("its header");
  ASSIGN_OR_RETURN(const Tables tables, FindTables(*parsed));
  int64_t record = 0;
  for (int64_t b = 0; b < tables.batches.size(0); ++b) {
    BatchRecord batch;
    int64_t size = 0;
    const bool whole = ReadRow<int64_t>(tables.batches, b, batch, [&](auto& to, auto visit) {
      VisitCounts(to, visit);
      visit(size);
    });
    if (!whole || size < 0 || record + size > tables.integers.size(0)) {
      return Unreadable("a batch is incomplete");
    }
    batch.seconds = tables.seconds.data_ptr<double>()[b];
    for (int64_t i = 0; i < size; ++i, ++record) {
      AttackRecord& to = batch.samples.emplace_back();
      const int64_t image = tables.image_of.data_ptr<int64_t>()[record];
      const auto integers = [](auto& r, auto v) { VisitIntegers(r, v); };
      const auto reals = [](auto& r, auto v) { VisitReals(r, v); };
      if (!ReadRow<int64_t>(tables.integers, record, to, integers) ||
          !ReadRow<double>(tables.reals, record, to, reals) || image >= tables.images.size(0)) {
        return Unreadable("a record is incomplete");
      }
      if (image >= 0) to.image = tables.images[image].clone();
    }
    Keep(batch);
  }
  return absl::OkStatus();
}

std::vector<const BatchRecord*> AttackJournal::Batches(int64_t run, int64_t instance) const {
  std::vector<const BatchRecord*> out;
  for (const auto& part : parts_) {
    if (part->batch.run == run && part->batch.instance == instance) out.push_back(&part->batch);
  }
  return out;
}

std::vector<const BatchRecord*> AttackJournal::AllBatches() const {
  std::vector<const BatchRecord*> out;
  for (const auto& part : parts_) out.push_back(&part->batch);
  return out;
}

void AttackJournal::Take(const BatchRecord& batch) {
  Keep(batch);
  unsaved_ -= static_cast<int64_t>(batch.samples.size());
}

bool AttackJournal::Due() const {
  const Clock::duration since = Clock::now() - saved_;
  if (since < kCostShare * save_cost_) return false;
  return since >= kLongestInterval || (unsaved_ >= kSamplesPerSave && since >= kShortestInterval);
}

absl::Status AttackJournal::Append(const BatchRecord& batch) {
  Keep(batch);
  return Due() ? Flush() : absl::OkStatus();
}

absl::Status AttackJournal::Flush() {
  if (unsaved_ == 0 && !dirty_) return absl::OkStatus();
  const Clock::time_point start = Clock::now();
  RETURN_IF_ERROR(save_(samples_, Serialize()));
  unsaved_ = 0;
  dirty_ = false;
  saved_ = Clock::now();
  save_cost_ = saved_ - start;
  return absl::OkStatus();
}

}  // namespace adamant
