// SPDX-License-Identifier: Apache-2.0
// Evaluations in parts (attacks.md 1.12). A shard attacks the samples whose id modulo the number of
// shards is its index, and publishes its records; a merge takes over the records of all shards and
// attacks nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adamant/v1/attack.pb.h"
#include "core/run/attack_journal.h"
#include "core/run/evaluation.h"
#include "core/run/run_context.h"

namespace adamant {

// INVALID_ARGUMENT for a shard that does not exist, and for attacks and limits that look at all
// samples together.
absl::Status CheckShard(const v1::AttackSpec& spec, const std::vector<AttackInstance>& instances);

// "shard 1 of 4"
std::string ShardText(const v1::Shard& shard);

// What `spec` leaves of the data: its shard, or all.
DataSlice ShardOf(const DataSlice& data, const v1::AttackSpec& spec);

// What one shard published.
struct ShardRecords {
  v1::Shard shard;
  int64_t compute_batch = 0;
  std::shared_ptr<const FileView> file;
};

// The journal of a finished shard as that file.
std::string SerializeShard(const AttackJournal& journal, const v1::Shard& shard,
                           int64_t compute_batch);

// The files that a merge was given, by index; empty when `spec` is no merge. INVALID_ARGUMENT when
// one cannot be read, and when they are not all shards of one evaluation, each once.
absl::StatusOr<std::vector<ShardRecords>> OpenShards(const v1::AttackSpec& spec,
                                                     RunContext& context);

// Takes the records of all shards into `journal`. INVALID_ARGUMENT when they were made with another
// configuration than the journal's, or do not fit the data.
absl::Status MergeShards(const std::vector<ShardRecords>& shards, const DataSlice& data,
                         const ModelShape& shape, AttackJournal& journal);

// Says in the report of a shard what it is of, and what is open until all shards are merged.
void DescribeShard(const v1::Shard& shard, v1::AttackReport& report);

// Notes what a merged report cannot have in common with one of an evaluation in one piece.
void NoteCohorts(const std::vector<AttackInstance>& instances, v1::AttackReport& report);

}  // namespace adamant
