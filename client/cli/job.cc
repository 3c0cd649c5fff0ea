// SPDX-License-Identifier: Apache-2.0
// `adamant job list|get|watch|wait|cancel|pause|resume|retry|delete`
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/cli/command.h"
#include "client/cli/duration.h"
#include "client/cli/exit_code.h"
#include "client/cli/follow.h"
#include "client/cli/names.h"
#include "client/cli/report.h"
#include "client/cli/submit.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "client/error.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

struct ListFlags {
  std::string filter, state, kind;
  std::vector<std::string> labels;
  int limit = 50;
};

std::string ProgressCell(const v1::Job& job) {
  if (HasEnded(job.state()) || job.state() == v1::QUEUED) return "-";
  return absl::StrCat(static_cast<int>(100 * job.progress().fraction_ratio()), " %");
}

std::string ListText(const v1::ListJobsResponse& list, bool wide, bool colour) {
  std::vector<std::string> header = {"JOB", "KIND", "STATE", "PROGRESS", "CREATED", "NAME"};
  if (wide) header.insert(header.end(), {"REASON", "ATTEMPT", "ENDED", "PRIORITY", "OWNER"});
  Table table(header);
  for (const v1::Job& job : list.jobs()) {
    std::vector<std::string> row = {std::string(absl::StripPrefix(job.name(), "jobs/")),
                                    v1::JobKind_Name(job.kind()),
                                    StateText(job.state(), colour),
                                    ProgressCell(job),
                                    TimeText(job.create_time()),
                                    job.options().display_name()};
    if (wide) {
      row.insert(row.end(),
                 {job.state_message(), absl::StrCat(job.attempt()), TimeText(job.end_time()),
                  absl::StrCat(job.options().priority()), job.owner()});
    }
    table.Add(std::move(row));
  }
  return table.Render();
}

// A value of a filter in quotes, which it may hold itself.
std::string Quoted(absl::string_view text) {
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"\"", "\\\""}}), "\"");
}

absl::StatusOr<std::string> FilterOf(const ListFlags& flags) {
  std::vector<std::string> terms;
  if (!flags.filter.empty()) terms.push_back(absl::StrCat("(", flags.filter, ")"));
  if (!flags.state.empty()) {
    std::vector<std::string> states;
    for (absl::string_view text : absl::StrSplit(flags.state, ',')) {
      ASSIGN_OR_RETURN(const int state, ParseEnum("state", text, *v1::JobState_descriptor()));
      states.push_back(absl::StrCat("state = ", v1::JobState_Name(state)));
    }
    terms.push_back(absl::StrCat("(", absl::StrJoin(states, " OR "), ")"));
  }
  if (!flags.kind.empty()) {
    ASSIGN_OR_RETURN(const int kind, ParseEnum("kind", flags.kind, *v1::JobKind_descriptor()));
    terms.push_back(absl::StrCat("kind = ", v1::JobKind_Name(kind)));
  }
  for (const std::string& label : flags.labels) {
    const std::vector<std::string> parts = absl::StrSplit(label, absl::MaxSplits('=', 1));
    if (parts[0].empty()) return UsageError(absl::StrCat("--label ", label, " names no key"));
    terms.push_back(parts.size() == 1 ? absl::StrCat("has(label.", parts[0], ")")
                                      : absl::StrCat("label.", parts[0], " = ", Quoted(parts[1])));
  }
  return absl::StrJoin(terms, " AND ");
}

absl::StatusOr<int> List(const ListFlags& flags, Session& session) {
  v1::ListJobsResponse all;
  v1::ListJobsRequest request;
  ASSIGN_OR_RETURN(*request.mutable_filter(), FilterOf(flags));
  ASSIGN_OR_RETURN(Client * client, session.client());
  do {
    request.set_page_size(std::min(flags.limit - all.jobs_size(), 1000));
    ASSIGN_OR_RETURN(v1::ListJobsResponse page, client->ListJobs(request));
    all.mutable_jobs()->MergeFrom(page.jobs());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty() && all.jobs_size() < flags.limit);
  if (!request.page_token().empty()) {
    session.Note(absl::StrCat("the newest ", all.jobs_size(), " jobs; --limit shows more"));
  }
  const std::string names = absl::StrJoin(
      all.jobs(), "\n", [](std::string* out, const v1::Job& job) { out->append(job.name()); });
  return session.FinishRows(
      all, all.jobs(), ListText(all, session.format() == OutputFormat::kWide, session.out_colour()),
      names);
}

absl::StatusOr<int> Get(const std::string& text, const std::string& folder, bool overwrite,
                        Session& session) {
  ASSIGN_OR_RETURN(const std::string name, ResolveJob(session, text));
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(const v1::Job job, client->GetJob(name));
  session.Finish(job, JobText(job, session.format() == OutputFormat::kWide, session.out_colour()),
                 job.name());
  if (!folder.empty()) RETURN_IF_ERROR(SaveArtifacts(session, job, folder, overwrite));
  return kExitOk;
}

absl::StatusOr<int> Watch(const std::string& text, int64_t from_seq, OnInterrupt interrupt,
                          Session& session) {
  ASSIGN_OR_RETURN(const std::string name, ResolveJob(session, text));
  ASSIGN_OR_RETURN(const v1::Job job, WatchToEnd(session, name, interrupt, from_seq));
  return FinishWithJob(session, job, true);
}

absl::StatusOr<int> Wait(const std::string& text, const std::string& timeout, OnInterrupt interrupt,
                         Session& session) {
  absl::Duration limit = absl::InfiniteDuration();
  if (!timeout.empty()) {
    ASSIGN_OR_RETURN(limit, ParseSpan("--timeout", timeout));
  }
  ASSIGN_OR_RETURN(const std::string name, ResolveJob(session, text));
  const auto job = WaitForEnd(session, name, interrupt, limit);
  if (absl::IsDeadlineExceeded(job.status()) && !IsServerError(job.status())) {
    session.Note(absl::StrCat(name, " has not ended; it goes on"));
    if (session.json()) session.FinishJson("", "", "", kExitTimeout);
    return kExitTimeout;
  }
  RETURN_IF_ERROR(job.status());
  return FinishWithJob(session, *job, false);
}

using Verb = absl::StatusOr<v1::Job> (Client::*)(const std::string&, const std::string&);

absl::StatusOr<int> Apply(Verb verb, const std::string& text, Session& session) {
  ASSIGN_OR_RETURN(const std::string name, ResolveJob(session, text));
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(const v1::Job job, (client->*verb)(name, ""));
  return session.Finish(
      job, absl::StrCat(job.name(), " ", StateText(job.state(), session.out_colour()), "\n"),
      job.name());
}

absl::StatusOr<int> Delete(const std::string& text, Session& session) {
  v1::Job deleted;
  ASSIGN_OR_RETURN(*deleted.mutable_name(), ResolveJob(session, text));
  RETURN_IF_ERROR(session.Confirm(
      absl::StrCat("Delete ", deleted.name(), " with its report, log and artifacts?")));
  ASSIGN_OR_RETURN(Client * client, session.client());
  RETURN_IF_ERROR(client->DeleteJob(deleted.name()));
  return session.Finish(deleted, absl::StrCat("deleted ", deleted.name(), "\n"), deleted.name());
}

absl::StatusOr<int> Retry(const std::string& text, const SubmitFlags& flags, Session& session) {
  ASSIGN_OR_RETURN(const v1::SubmitOptions options, OptionsOf(flags));
  ASSIGN_OR_RETURN(const std::string name, ResolveJob(session, text));
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(const v1::Job job, client->RetryJob(name, options));
  return FollowSubmitted(session, flags, job);
}

CLI::App* AddVerb(CLI::App& group, const std::string& verb, const std::string& summary,
                  const std::shared_ptr<std::string>& job) {
  CLI::App* app = group.add_subcommand(verb, summary);
  app->add_option("JOB", *job, "jobs/UID, UID, or its first 4 or more characters")->required();
  app->footer(absl::StrCat("Example:\n  adamant job ", verb, " k7qd"));
  return app;
}

// A verb that changes the state of a job.
void AddStateVerb(CLI::App& group, Commands& commands, const std::string& name,
                  const std::string& summary, Verb verb) {
  auto job = std::make_shared<std::string>();
  CLI::App* app = AddVerb(group, name, summary, job);
  commands.push_back({app, absl::StrCat(name, " the job"),
                      [job, verb](Session& session) { return Apply(verb, *job, session); },
                      Effect::kChanges});
}

void AddReading(CLI::App& group, Commands& commands) {
  auto list_flags = std::make_shared<ListFlags>();
  CLI::App* list = group.add_subcommand("list", "List jobs, newest first");
  list->add_option("--filter", list_flags->filter, "e.g. 'state = RUNNING AND kind = TRAIN'");
  list->add_option("--state", list_flags->state, "e.g. running, or queued,paused");
  list->add_option("--kind", list_flags->kind, "train, attack or explain");
  list->add_option("--label", list_flags->labels, "KEY=VALUE, or KEY for any value; repeatable")
      ->allow_extra_args(false);
  list->add_option("--limit", list_flags->limit, "at most N jobs (default 50)")
      ->check(CLI::PositiveNumber);
  list->footer(
      "Examples:\n  adamant job list --state running\n"
      "  adamant job list --filter 'kind = ATTACK AND label.team = \"red\"' -o name");
  commands.push_back({list, "list the jobs",
                      [list_flags](Session& session) { return List(*list_flags, session); }});

  auto job = std::make_shared<std::string>();
  auto folder = std::make_shared<std::string>();
  auto force = std::make_shared<bool>(false);
  CLI::App* get = AddVerb(group, "get", "Show a job and its report", job);
  get->add_option("--save", *folder, "download all artifacts into this folder");
  get->add_flag("--force", *force, "overwrite files");
  commands.push_back({get, "get the job", [job, folder, force](Session& session) {
                        return Get(*job, *folder, *force, session);
                      }});
}

void AddFollowing(CLI::App& group, Commands& commands) {
  auto job = std::make_shared<std::string>();
  auto cancel = std::make_shared<bool>(false);
  const auto interrupt = [cancel] {
    return *cancel ? OnInterrupt::kCancelJob : OnInterrupt::kDetach;
  };
  const auto add_cancel = [&](CLI::App* app) {
    app->add_flag("--cancel-on-interrupt", *cancel, "Ctrl-C cancels the job instead of detaching");
  };
  auto from = std::make_shared<int64_t>(0);
  CLI::App* watch = AddVerb(group, "watch", "Show live progress until the job ends", job);
  watch->add_option("--from-seq", *from, "events after this one; 1 = from the first");
  add_cancel(watch);
  commands.push_back({watch, "watch the job",
                      [=](Session& session) { return Watch(*job, *from, interrupt(), session); }});

  auto timeout = std::make_shared<std::string>();
  CLI::App* wait = AddVerb(group, "wait", "Wait silently until the job ends", job);
  wait->add_option("--timeout", *timeout, "e.g. 90s, 10m; exit code 3 when it is over");
  add_cancel(wait);
  commands.push_back({wait, "wait for the job", [=](Session& session) {
                        return Wait(*job, *timeout, interrupt(), session);
                      }});
}

void AddEnding(CLI::App& group, Commands& commands) {
  auto flags = std::make_shared<SubmitFlags>();
  auto job = std::make_shared<std::string>();
  CLI::App* retry = AddVerb(group, "retry", "Submit the spec of an ended job as a new one", job);
  AddOptionFlags(*retry, *flags);
  AddFollowFlags(*retry, *flags);
  commands.push_back({retry, "retry the job",
                      [=](Session& session) { return Retry(*job, *flags, session); },
                      Effect::kSubmits});

  CLI::App* remove = AddVerb(group, "delete", "Delete an ended job, its report and log", job);
  remove->footer("Example:\n  adamant job delete k7qd --yes");
  commands.push_back({remove, "delete the job",
                      [job](Session& session) { return Delete(*job, session); },
                      Effect::kDestroys});
}

}  // namespace

void AddJob(CLI::App& root, Commands& commands) {
  CLI::App* group = root.add_subcommand("job", "List, watch, read and steer jobs");
  AddReading(*group, commands);
  AddFollowing(*group, commands);
  AddJobOutput(*group, commands);
  AddStateVerb(*group, commands, "cancel", "Stop a job", &Client::CancelJob);
  AddStateVerb(*group, commands, "pause", "Stop a job at a checkpoint and keep its place",
               &Client::PauseJob);
  AddStateVerb(*group, commands, "resume", "Queue a paused job again", &Client::ResumeJob);
  AddEnding(*group, commands);
}

}  // namespace adamant
