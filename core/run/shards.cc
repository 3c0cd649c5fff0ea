// SPDX-License-Identifier: Apache-2.0
#include "core/run/shards.h"

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

constexpr int32_t kMaxShards = 32;

bool Belongs(int64_t id, const v1::Shard& shard) { return id % shard.count() == shard.index(); }

absl::Status BadRecords(absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("shard_records: ", why));
}

absl::StatusOr<ShardRecords> ReadHeader(const NamedFile& file) {
  const absl::StatusOr<Safetensors> parsed = ParseSafetensors(file.view);
  if (!parsed.ok()) return BadRecords(parsed.status().message());
  const auto number = [&](const char* key) {
    const auto found = parsed->metadata.find(key);
    int32_t value = -1;
    return found != parsed->metadata.end() && absl::SimpleAtoi(found->second, &value) ? value : -1;
  };
  ShardRecords records;
  records.shard.set_index(number("shard_index"));
  records.shard.set_count(number("shard_count"));
  records.compute_batch = number("compute_batch");
  records.file = file.view;
  if (records.shard.index() < 0 || records.shard.count() < 2 || records.compute_batch < 1) {
    return BadRecords("a file holds no records of a shard; name the artifacts shard_records");
  }
  return records;
}

// The journal of one shard; its positions are those within the shard.
absl::Status ReadJournal(const ShardRecords& records, AttackJournal& journal) {
  const absl::Status status = journal.Restore(records.file);
  if (status.ok()) return status;
  const std::string name = ShardText(records.shard);
  if (!absl::IsFailedPrecondition(status)) {
    return BadRecords(absl::StrCat(name, " cannot be read; run it again"));
  }
  return BadRecords(absl::StrCat(name,
                                 " was run with another model, data, attack, seed or compute_batch "
                                 "than this job asks for"));
}

absl::Status CheckRecord(const AttackRecord& record, size_t samples, const ModelShape& shape) {
  const bool known = record.position >= 0 && static_cast<size_t>(record.position) < samples;
  const std::vector<int64_t> wanted = {shape.channels, shape.height, shape.width};
  const bool whole = record.image.defined() ? record.image.sizes() == wanted : !record.broken;
  return known && whole ? absl::OkStatus() : BadRecords("a record does not fit the data");
}

}  // namespace

std::string ShardText(const v1::Shard& shard) {
  return absl::StrCat("shard ", shard.index() + 1, " of ", shard.count());
}

absl::Status CheckShard(const v1::AttackSpec& spec, const std::vector<AttackInstance>& instances) {
  if (!spec.has_shard()) return absl::OkStatus();
  const v1::Shard& shard = spec.shard();
  if (shard.count() < 2 || shard.count() > kMaxShards || shard.index() < 0 ||
      shard.index() >= shard.count()) {
    return absl::InvalidArgumentError(absl::StrCat("shard: index ", shard.index(), " of ",
                                                   shard.count(), " does not exist; count is 2 to ",
                                                   kMaxShards, ", index 0 to count - 1"));
  }
  if (!spec.shard_records().empty()) {
    return absl::InvalidArgumentError("shard: a job is one shard or merges all of them, not both");
  }
  if (spec.stop().seconds() > 0 || spec.stop().robust_accuracy() > 0) {
    return absl::InvalidArgumentError(
        "stop: limits of time and accuracy look at all samples; leave them out in shards");
  }
  for (const AttackInstance& instance : instances) {
    if (!instance.whole_set) continue;
    return absl::InvalidArgumentError(absl::StrCat("shard: attack ", instance.spec.name(),
                                                   " looks at all samples together; run it whole"));
  }
  return absl::OkStatus();
}

DataSlice ShardOf(const DataSlice& data, const v1::AttackSpec& spec) {
  DataSlice part = data;
  if (spec.has_shard()) {
    std::erase_if(part.ids, [&](int64_t id) { return !Belongs(id, spec.shard()); });
  }
  return part;
}

std::string SerializeShard(const AttackJournal& journal, const v1::Shard& shard,
                           int64_t compute_batch) {
  return journal.Serialize({{"shard_index", absl::StrCat(shard.index())},
                            {"shard_count", absl::StrCat(shard.count())},
                            {"compute_batch", absl::StrCat(compute_batch)}});
}

absl::StatusOr<std::vector<ShardRecords>> OpenShards(const v1::AttackSpec& spec,
                                                     RunContext& context) {
  std::vector<ShardRecords> shards;
  if (spec.shard_records().empty()) return shards;
  ASSIGN_OR_RETURN(const DataInput input, context.data("shard_records"));
  for (const NamedFile& file : input.files) {
    ASSIGN_OR_RETURN(ShardRecords records, ReadHeader(file));
    shards.push_back(std::move(records));
  }
  std::sort(shards.begin(), shards.end(), [](const ShardRecords& a, const ShardRecords& b) {
    return a.shard.index() < b.shard.index();
  });
  for (size_t i = 0; i < shards.size(); ++i) {
    const v1::Shard& shard = shards[i].shard;
    if (shard.count() != static_cast<int32_t>(shards.size())) {
      return BadRecords(absl::StrCat(shards.size(), " files, but one is ", ShardText(shard),
                                     "; name those of every shard"));
    }
    if (shard.index() != static_cast<int32_t>(i)) {
      return BadRecords(absl::StrCat("shard ", i + 1, " of ", shards.size(),
                                     " is missing; name each shard once"));
    }
    if (shards[i].compute_batch != shards[0].compute_batch) {
      return BadRecords(absl::StrCat(ShardText(shard), " was run with compute_batch ",
                                     shards[i].compute_batch, ", shard 1 with ",
                                     shards[0].compute_batch, "; run them with the same"));
    }
  }
  return shards;
}

absl::Status MergeShards(const std::vector<ShardRecords>& shards, const DataSlice& data,
                         const ModelShape& shape, AttackJournal& journal) {
  std::map<std::pair<int64_t, int64_t>, BatchRecord> merged;  // by run and instance
  for (const ShardRecords& records : shards) {
    std::vector<int64_t> positions;  // in `data`
    for (int64_t p = 0; p < data.size(); ++p) {
      if (Belongs(data.ids[p], records.shard)) positions.push_back(p);
    }
    AttackJournal part(journal.config_hash(), {});
    RETURN_IF_ERROR(ReadJournal(records, part));
    journal.AddRepeated(part.work_repeated());
    for (const BatchRecord* batch : part.AllBatches()) {
      BatchRecord& whole = merged[{batch->run, batch->instance}];
      AddTotals(*batch, whole);
      for (const AttackRecord& record : batch->samples) {
        RETURN_IF_ERROR(CheckRecord(record, positions.size(), shape));
        whole.samples.push_back(record);
        whole.samples.back().position = positions[record.position];
      }
    }
  }
  for (auto& [key, whole] : merged) {
    std::sort(whole.samples.begin(), whole.samples.end(),
              [](const AttackRecord& a, const AttackRecord& b) { return a.position < b.position; });
    journal.Take(whole);
  }
  return absl::OkStatus();
}

void DescribeShard(const v1::Shard& shard, v1::AttackReport& report) {
  *report.mutable_shard() = shard;
  report.set_selection(absl::StrCat(report.selection(), ", ", ShardText(shard)));
  report.set_verdict(v1::UNCHECKED);
  report.set_verdict_reason(
      absl::StrCat(ShardText(shard), ": checks and analyses belong to the merged report"));
}

void NoteCohorts(const std::vector<AttackInstance>& instances, v1::AttackReport& report) {
  for (const AttackInstance& instance : instances) {
    if (!instance.cohorts) continue;
    report.add_notes(absl::StrCat(instance.name, ": searched ", kCohortSize,
                                  " samples of one shard at a time; in one piece it divides its "
                                  "passes among other samples"));
  }
}

}  // namespace adamant
