// SPDX-License-Identifier: Apache-2.0
// What an attack run has finished, as bytes that survive it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/files.h"
#include "core/run/attack_record.h"

namespace adamant {

// Keeps every finished batch and saves all of them at least every 5 s, after 256 samples at the
// earliest every second, and never for more than a tenth of the time; RunEvaluation also saves at
// its end and at a stop. The bytes are safetensors,
// schema adamant.attack_journal/2. Not thread-safe; one per run.
class AttackJournal {
 public:
  using Save = std::function<absl::Status(int64_t step, absl::string_view bytes)>;

  // `config_hash` names the configuration that the records belong to.
  AttackJournal(std::string config_hash, Save save)
      : config_hash_(std::move(config_hash)), save_(std::move(save)) {}

  // Takes over the records of an earlier attempt. FAILED_PRECONDITION when they belong to another
  // configuration, DATA_LOSS when they cannot be read.
  absl::Status Restore(std::shared_ptr<const FileView> file);

  // Takes over a batch that another job finished.
  void Take(const BatchRecord& batch);

  // Finished batches of one instance, in order.
  std::vector<const BatchRecord*> Batches(int64_t run, int64_t instance) const;
  std::vector<const BatchRecord*> AllBatches() const;
  // Whether an earlier attempt of this job finished a part of `run`.
  bool Resumes(int64_t run) const { return restored_ && !Batches(run, 0).empty(); }

  absl::Status Append(const BatchRecord& batch);
  absl::Status Flush();  // saves what is new
  // Rows that were computed for batches that did not finish.
  void AddRepeated(int64_t rows) {
    work_repeated_ += rows;
    dirty_ = true;
  }

  // What is saved, with `about` beside what the journal says of itself.
  std::string Serialize(const std::map<std::string, std::string>& about = {}) const;

  const std::string& config_hash() const { return config_hash_; }
  int64_t work_repeated() const { return work_repeated_; }

 private:
  using Clock = std::chrono::steady_clock;

  struct Part {
    BatchRecord batch;
    at::Tensor counts, integers, reals, images;
  };

  absl::Status Read(std::shared_ptr<const FileView> file);
  void Keep(const BatchRecord& batch);
  bool Due() const;

  const std::string config_hash_;
  const Save save_;
  std::vector<std::unique_ptr<Part>> parts_;
  bool restored_ = false;
  bool dirty_ = false;
  int64_t samples_ = 0;
  int64_t unsaved_ = 0;
  int64_t work_repeated_ = 0;
  Clock::time_point saved_ = Clock::now();
  Clock::duration save_cost_{};
};

}  // namespace adamant
