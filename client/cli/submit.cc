// SPDX-License-Identifier: Apache-2.0
#include "client/cli/submit.h"

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/cli/duration.h"
#include "client/cli/exit_code.h"
#include "client/cli/follow.h"
#include "client/cli/resource.h"
#include "client/cli/spec_file.h"
#include "client/cli/spec_upload.h"
#include "client/error.h"
#include "common/nearest.h"
#include "common/plugin_check.h"
#include "common/status_macros.h"
#include "google/protobuf/util/json_util.h"

namespace adamant {
namespace {

constexpr size_t kMaxIds = 100000;

absl::Status SetSpan(absl::string_view flag, const std::string& text,
                     google::protobuf::Duration* (v1::SubmitOptions::*field)(),
                     v1::SubmitOptions& options) {
  if (text.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const absl::Duration span, ParseSpan(flag, text));
  *(options.*field)() = ToProto(span);
  return absl::OkStatus();
}

const google::protobuf::Message& SpecOf(const v1::JobSpec& spec) {
  if (spec.has_train()) return spec.train();
  if (spec.has_attack()) return spec.attack();
  return spec.explain();
}

void SayNextSteps(Session& session, const v1::Job& job) {
  const absl::string_view uid = absl::StripPrefix(job.name(), "jobs/");
  if (job.state() == v1::PAUSED) {
    session.Note(absl::StrCat("it is PAUSED; start it: `adamant job resume ", uid, "`"));
  }
  session.Note(absl::StrCat("watch it: `adamant job watch ", uid,
                            "`; its result: `adamant job get ", uid, "`"));
}

}  // namespace

int FinishDryRun(Session& session, const v1::Job& job) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  std::string text;
  (void)google::protobuf::util::MessageToJsonString(SpecOf(job.spec()), &text, options);
  session.Note("the specification is valid; nothing was submitted. With every default filled in:");
  return session.Finish(job, text, "");
}

absl::StatusOr<v1::SubmitOptions> OptionsOf(const SubmitFlags& flags) {
  v1::SubmitOptions options;
  options.set_request_id(flags.request_id);
  options.set_validate_only(flags.dry_run);
  options.set_display_name(flags.display_name);
  options.set_start_paused(flags.start_paused);
  if (flags.priority.has_value()) options.set_priority(*flags.priority);
  if (flags.max_attempts.has_value()) {
    options.mutable_retry_policy()->set_max_attempts(*flags.max_attempts);
  }
  RETURN_IF_ERROR(SetSpan("--max-run-time", flags.max_run_time,
                          &v1::SubmitOptions::mutable_max_run_time, options));
  RETURN_IF_ERROR(SetSpan("--queue-timeout", flags.queue_timeout,
                          &v1::SubmitOptions::mutable_queue_timeout, options));
  RETURN_IF_ERROR(
      SetSpan("--retention", flags.retention, &v1::SubmitOptions::mutable_retention, options));
  RETURN_IF_ERROR(ParseLabels(flags.labels, *options.mutable_labels()));
  return options;
}

void AddOptionFlags(CLI::App& app, SubmitFlags& flags) {
  const std::string group = "Submit";
  app.add_option("--request-id", flags.request_id, "UUID4; the same id submits only once")
      ->group(group);
  app.add_option("--display-name,--name", flags.display_name, "a name to recognise the job by")
      ->group(group);
  app.add_option("--label", flags.labels, "KEY=VALUE; repeatable")
      ->allow_extra_args(false)
      ->group(group);
  app.add_option("--priority", flags.priority, "-100 to 100, lower runs sooner (default 0)")
      ->group(group);
  app.add_option("--max-run-time", flags.max_run_time, "fail the job after e.g. 2h of running")
      ->group(group);
  app.add_option("--queue-timeout", flags.queue_timeout, "fail it when it waits longer, e.g. 1d")
      ->group(group);
  app.add_option("--retention", flags.retention, "keep it so long after its end (default 30d)")
      ->group(group);
  app.add_option("--max-attempts", flags.max_attempts, "starts after lost workers (default 3)")
      ->group(group);
  app.add_flag("--start-paused", flags.start_paused, "wait for `adamant job resume`")->group(group);
}

void AddFollowFlags(CLI::App& app, SubmitFlags& flags) {
  const std::string group = "Follow";
  app.add_flag("--watch", flags.watch, "show live progress until the job ends")->group(group);
  app.add_flag("--wait", flags.wait, "wait silently until the job ends")->group(group);
  app.add_option("--timeout", flags.timeout, "of --wait, e.g. 10m; the job goes on")->group(group);
  app.add_flag("--cancel-on-interrupt", flags.cancel_on_interrupt,
               "Ctrl-C cancels the job instead of detaching")
      ->group(group);
}

void AddSubmitFlags(CLI::App& app, SubmitFlags& flags) {
  const std::string group = "Submit";
  app.add_option("-f,--file", flags.file,
                 "spec file (.json, .yaml, .textproto) or -; see `adamant help specs`")
      ->group(group);
  app.add_option("--set", flags.settings, "set any field, e.g. optimizer.lr=0.1; repeatable")
      ->allow_extra_args(false)
      ->group(group);
  app.add_flag("--dry-run", flags.dry_run, "check on the server, submit nothing")->group(group);
  AddOptionFlags(app, flags);
  AddFollowFlags(app, flags);
}

void AddThreatFlags(CLI::App& app, ThreatFlags& flags) {
  app.add_option("--norm", flags.norm, "linf (default), l2, l1 or l0")->group("Threat model");
  app.add_option("--epsilon", flags.epsilon,
                 "largest change in [0,1] pixel units, e.g. 8/255 or 0.3 (l0: pixels)")
      ->group("Threat model");
}

absl::StatusOr<int> ParseEnum(absl::string_view flag, absl::string_view text,
                              const google::protobuf::EnumDescriptor& type) {
  const auto* value = type.FindValueByName(absl::AsciiStrToUpper(text));
  if (value != nullptr && value->number() != 0) return value->number();
  std::vector<std::string> known;
  for (int i = 0; i < type.value_count(); ++i) {
    if (type.value(i)->number() != 0) {
      known.push_back(absl::AsciiStrToLower(type.value(i)->name()));
    }
  }
  return UsageError(UnknownNameMessage(flag, text, known));
}

absl::Status ApplyThreat(const ThreatFlags& flags, v1::ThreatModel& threat,
                         google::protobuf::RepeatedField<double>* grid) {
  if (!flags.norm.empty()) {
    ASSIGN_OR_RETURN(const int norm, ParseEnum("norm", flags.norm, *v1::Norm_descriptor()));
    threat.set_norm(static_cast<v1::Norm>(norm));
  } else if (!flags.epsilon.empty() && threat.norm() == v1::NORM_UNSPECIFIED) {
    threat.set_norm(v1::LINF);
  }
  if (flags.epsilon.empty()) return absl::OkStatus();
  const std::vector<std::string> parts = absl::StrSplit(flags.epsilon, ',');
  if (parts.size() > 1 && grid == nullptr) {
    return UsageError("--epsilon takes one number here, not a list");
  }
  for (const std::string& part : parts) {
    const auto number = ParseNumber(absl::StripAsciiWhitespace(part));
    if (!number.ok()) return UsageError(absl::StrCat("--epsilon ", number.status().message()));
    if (parts.size() > 1) {
      grid->Add(*number);
    } else {
      threat.set_epsilon(*number);
      threat.set_epsilon_text(part);
    }
  }
  return absl::OkStatus();
}

void AddSelectFlags(CLI::App& app, SelectFlags& flags) {
  app.add_option("--split", flags.split, "part of the data, e.g. test")->group("Data");
  app.add_option("--samples", flags.samples, "the first N samples (from --begin)")->group("Data");
  app.add_option("--begin", flags.begin, "first sample id")->group("Data");
  app.add_option("--ids", flags.ids, "sample ids instead, e.g. 1,5,10..20")->group("Data");
}

absl::StatusOr<std::vector<int64_t>> ParseIds(absl::string_view text) {
  std::vector<int64_t> ids;
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    const std::vector<std::string> ends = absl::StrSplit(part, "..");
    int64_t first = 0;
    int64_t last = 0;
    if (ends.size() > 2 || !absl::SimpleAtoi(ends.front(), &first) ||
        !absl::SimpleAtoi(ends.back(), &last) || first < 0 || last < first) {
      return UsageError(absl::StrCat("--ids: \"", part, "\" is not an id or a range A..B"));
    }
    if (static_cast<uint64_t>(last - first) >= kMaxIds - ids.size()) {
      return UsageError(
          absl::StrCat("--ids names more than ", kMaxIds, " samples; use --begin and --samples"));
    }
    for (int64_t id = first; id <= last; ++id) ids.push_back(id);
  }
  return ids;
}

absl::Status ApplySelection(const SelectFlags& flags, v1::DataSource& data) {
  if (!flags.split.empty()) data.set_split(flags.split);
  if (flags.samples < 0 || flags.begin < 0) {
    return UsageError("--samples and --begin must not be negative");
  }
  if (flags.begin > 0) data.set_begin(flags.begin);
  if (flags.samples > 0) data.set_end(data.begin() + flags.samples);
  if (flags.ids.empty()) return absl::OkStatus();
  if (flags.samples > 0 || flags.begin > 0) {
    return UsageError("--ids stands instead of --begin and --samples");
  }
  ASSIGN_OR_RETURN(const std::vector<int64_t> ids, ParseIds(flags.ids));
  data.mutable_sample_ids()->Assign(ids.begin(), ids.end());
  return absl::OkStatus();
}

absl::Status LoadSpecFile(const SubmitFlags& flags, google::protobuf::Message& spec) {
  return flags.file.empty() ? absl::OkStatus() : LoadSpec(flags.file, spec);
}

absl::StatusOr<v1::SubmitOptions> PrepareSubmit(Session& session, const SubmitFlags& flags,
                                                google::protobuf::Message& spec) {
  if (flags.watch && flags.wait) return UsageError("--watch and --wait exclude each other");
  RETURN_IF_ERROR(ApplySettings(flags.settings, spec));
  ASSIGN_OR_RETURN(const v1::SubmitOptions options, OptionsOf(flags));
  RETURN_IF_ERROR(UploadSpecFiles(
      spec, [&](const std::string& path) { return UploadFile(session, path, path); }));
  return options;
}

absl::StatusOr<int> SubmitJob(Session& session, const SubmitFlags& flags,
                              google::protobuf::Message& spec, v1::JobSpec& job,
                              const OnFinished& finished) {
  ASSIGN_OR_RETURN(const v1::SubmitOptions options, PrepareSubmit(session, flags, spec));
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(const v1::Job submitted, client->Submit(job, options));
  if (flags.dry_run) return FinishDryRun(session, submitted);
  return FollowSubmitted(session, flags, submitted, finished);
}

absl::StatusOr<int> FollowSubmitted(Session& session, const SubmitFlags& flags,
                                    const v1::Job& submitted, const OnFinished& finished) {
  if (flags.watch && flags.wait) return UsageError("--watch and --wait exclude each other");
  if (!flags.watch && !flags.wait) {
    SayNextSteps(session, submitted);
    return session.Finish(submitted, submitted.name() + "\n", submitted.name());
  }
  absl::Duration timeout = absl::InfiniteDuration();
  if (!flags.timeout.empty()) {
    ASSIGN_OR_RETURN(timeout, ParseSpan("--timeout", flags.timeout));
  }
  session.Note(absl::StrCat("submitted ", submitted.name()));
  const OnInterrupt interrupt =
      flags.cancel_on_interrupt ? OnInterrupt::kCancelJob : OnInterrupt::kDetach;
  absl::StatusOr<v1::Job> ended = flags.watch
                                      ? WatchToEnd(session, submitted.name(), interrupt)
                                      : WaitForEnd(session, submitted.name(), interrupt, timeout);
  if (absl::IsDeadlineExceeded(ended.status()) && !IsServerError(ended.status())) {
    session.Note(absl::StrCat(submitted.name(), " has not ended; it goes on"));
    return session.Finish(submitted, submitted.name() + "\n", submitted.name(), kExitTimeout);
  }
  RETURN_IF_ERROR(ended.status());
  const int code = FinishWithJob(session, *ended, flags.watch);
  if (finished) RETURN_IF_ERROR(finished(session, *ended));
  return code;
}

}  // namespace adamant
