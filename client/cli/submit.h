// SPDX-License-Identifier: Apache-2.0
// What train, attack and explain have in common.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/cli/command.h"

namespace adamant {

struct SubmitFlags {
  std::string file;
  std::vector<std::string> settings;
  bool dry_run = false;
  bool watch = false;
  bool wait = false;
  bool cancel_on_interrupt = false;
  std::string timeout;  // of --wait; "" = none
  std::string request_id;
  std::string display_name;
  std::vector<std::string> labels;
  std::optional<int32_t> priority, max_attempts;
  std::string max_run_time, queue_timeout, retention;
  bool start_paused = false;
};
void AddSubmitFlags(CLI::App& app, SubmitFlags& flags);  // all of them
void AddOptionFlags(CLI::App& app, SubmitFlags& flags);  // those of SubmitOptions
void AddFollowFlags(CLI::App& app, SubmitFlags& flags);  // --watch, --wait and what goes with them

// A usage error for a span of time or a label that cannot be read.
absl::StatusOr<v1::SubmitOptions> OptionsOf(const SubmitFlags& flags);

// --norm and --epsilon; `epsilons` holds a comma list.
struct ThreatFlags {
  std::string norm;
  std::string epsilon;
};
void AddThreatFlags(CLI::App& app, ThreatFlags& flags);
// Sets what was given; keeps the text of epsilon. A list "0.1,0.2" goes to `grid`, or is refused
// when `grid` is null.
absl::Status ApplyThreat(const ThreatFlags& flags, v1::ThreatModel& threat,
                         google::protobuf::RepeatedField<double>* grid);

// Which samples: --split, --samples N, --begin N, --ids 1,5,10..20.
struct SelectFlags {
  std::string split;
  int64_t samples = 0;
  int64_t begin = 0;
  std::string ids;
};
void AddSelectFlags(CLI::App& app, SelectFlags& flags);
absl::Status ApplySelection(const SelectFlags& flags, v1::DataSource& data);
// "1,5,10..12" -> 1 5 10 11 12.
absl::StatusOr<std::vector<int64_t>> ParseIds(absl::string_view text);

// Upper case of `text` as a value of enum E, or a usage error that names the nearest.
absl::StatusOr<int> ParseEnum(absl::string_view flag, absl::string_view text,
                              const google::protobuf::EnumDescriptor& type);

// Loads -f into `spec` when given.
absl::Status LoadSpecFile(const SubmitFlags& flags, google::protobuf::Message& spec);

// Applies --set and uploads the files that the spec names.
absl::StatusOr<v1::SubmitOptions> PrepareSubmit(Session& session, const SubmitFlags& flags,
                                                google::protobuf::Message& spec);
// Prints what --dry-run found.
int FinishDryRun(Session& session, const v1::Job& job);

using OnFinished = std::function<absl::Status(Session&, const v1::Job&)>;

// Prepares, submits, and follows.
absl::StatusOr<int> SubmitJob(Session& session, const SubmitFlags& flags,
                              google::protobuf::Message& spec, v1::JobSpec& job,
                              const OnFinished& finished = {});

// Prints the name of a job that was just submitted, or watches or waits as asked. `finished` runs
// after the job ended.
absl::StatusOr<int> FollowSubmitted(Session& session, const SubmitFlags& flags,
                                    const v1::Job& submitted, const OnFinished& finished = {});

}  // namespace adamant
