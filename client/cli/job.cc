// SPDX-License-Identifier: Apache-2.0
// `adamant job list|get|watch|wait|logs|cancel`
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "client/cli/command.h"
#include "client/cli/exit_code.h"
#include "client/cli/follow.h"
#include "client/cli/names.h"
#include "client/cli/report.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

struct ListFlags {
  std::string filter, state, kind;
  int limit = 50;
};

std::string ProgressCell(const v1::Job& job) {
  if (IsTerminal(job.state()) || job.state() == v1::QUEUED) return "-";
  return absl::StrCat(static_cast<int>(100 * job.progress().fraction_ratio()), " %");
}

std::string ListText(const v1::ListJobsResponse& list, bool wide) {
  std::vector<std::string> header = {"JOB", "KIND", "STATE", "PROGRESS", "CREATED", "NAME"};
  if (wide) header.insert(header.end(), {"REASON", "ATTEMPT", "ENDED"});
  Table table(header);
  for (const v1::Job& job : list.jobs()) {
    std::vector<std::string> row = {std::string(absl::StripPrefix(job.name(), "jobs/")),
                                    v1::JobKind_Name(job.kind()),
                                    v1::JobState_Name(job.state()),
                                    ProgressCell(job),
                                    TimeText(job.create_time()),
                                    job.options().display_name()};
    if (wide) {
      row.insert(row.end(),
                 {job.state_message(), absl::StrCat(job.attempt()), TimeText(job.end_time())});
    }
    table.Add(std::move(row));
  }
  return table.Render();
}

absl::StatusOr<int> List(const ListFlags& flags, Session& session) {
  std::vector<std::string> terms;
  if (!flags.filter.empty()) terms.push_back(absl::StrCat("(", flags.filter, ")"));
  if (!flags.state.empty()) {
    terms.push_back(absl::StrCat("state = ", absl::AsciiStrToUpper(flags.state)));
  }
  if (!flags.kind.empty()) {
    terms.push_back(absl::StrCat("kind = ", absl::AsciiStrToUpper(flags.kind)));
  }
  ASSIGN_OR_RETURN(Client * client, session.client());
  v1::ListJobsResponse all;
  v1::ListJobsRequest request;
  request.set_filter(absl::StrJoin(terms, " AND "));
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
  return session.Finish(all, ListText(all, session.format() == OutputFormat::kWide), names);
}

absl::StatusOr<int> Get(const std::string& text, const std::string& folder, bool overwrite,
                        Session& session) {
  ASSIGN_OR_RETURN(const std::string name, ResolveJob(session, text));
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(const v1::Job job, client->GetJob(name));
  session.Finish(job, JobText(job, session.format() == OutputFormat::kWide), job.name());
  if (!folder.empty()) RETURN_IF_ERROR(SaveArtifacts(session, job, folder, overwrite));
  return kExitOk;
}

absl::StatusOr<int> Watch(const std::string& text, int64_t from_seq, Session& session) {
  ASSIGN_OR_RETURN(const std::string name, ResolveJob(session, text));
  ASSIGN_OR_RETURN(const v1::Job job, WatchToEnd(session, name, from_seq));
  return FinishWithJob(session, job, true);
}

absl::StatusOr<int> Wait(const std::string& text, double timeout_seconds, Session& session) {
  ASSIGN_OR_RETURN(const std::string name, ResolveJob(session, text));
  const auto job =
      WaitForEnd(session, name,
                 timeout_seconds > 0 ? absl::Seconds(timeout_seconds) : absl::InfiniteDuration());
  if (absl::IsDeadlineExceeded(job.status())) {
    session.Note(absl::StrCat(name, " has not ended; it goes on"));
    return kExitTimeout;
  }
  RETURN_IF_ERROR(job.status());
  return FinishWithJob(session, *job, false);
}

struct LogFlags {
  int64_t tail = 500;
  int64_t offset = -1;
  int32_t attempt = 0;
  bool follow = false;
};

absl::StatusOr<int> Logs(const std::string& text, const LogFlags& flags, Session& session) {
  v1::ReadLogRequest request;
  ASSIGN_OR_RETURN(*request.mutable_name(), ResolveJob(session, text));
  request.set_attempt(flags.attempt);
  request.set_follow(flags.follow);
  if (flags.offset >= 0) {
    request.set_offset(flags.offset);
  } else {
    request.set_tail_lines(flags.tail);
  }
  ASSIGN_OR_RETURN(Client * client, session.client());
  Interrupt::Listen listen(session.interrupt());
  RETURN_IF_ERROR(client->ReadLog(
      request,
      [&](absl::string_view bytes) {
        session.out().write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
        session.out() << std::flush;
      },
      listen.token()));
  return kExitOk;
}

absl::StatusOr<int> Cancel(const std::string& text, Session& session) {
  ASSIGN_OR_RETURN(const std::string name, ResolveJob(session, text));
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(const v1::Job job, client->CancelJob(name));
  return session.Finish(job, absl::StrCat(job.name(), " ", v1::JobState_Name(job.state()), "\n"),
                        job.name());
}

CLI::App* AddVerb(CLI::App& group, const std::string& verb, const std::string& summary,
                  const std::shared_ptr<std::string>& job) {
  CLI::App* app = group.add_subcommand(verb, summary);
  app->add_option("JOB", *job, "jobs/UID, UID, or its first 4 or more characters")->required();
  app->footer(absl::StrCat("Example:\n  adamant job ", verb, " k7qd"));
  return app;
}

void AddReading(CLI::App& group, Commands& commands) {
  auto list_flags = std::make_shared<ListFlags>();
  CLI::App* list = group.add_subcommand("list", "List jobs, newest first");
  list->add_option("--filter", list_flags->filter, "e.g. 'state = RUNNING AND kind = TRAIN'");
  list->add_option("--state", list_flags->state, "e.g. running");
  list->add_option("--kind", list_flags->kind, "train, attack or explain");
  list->add_option("--limit", list_flags->limit, "at most N jobs")->check(CLI::PositiveNumber);
  list->footer("Example:\n  adamant job list --state running");
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

  auto log_flags = std::make_shared<LogFlags>();
  CLI::App* logs = AddVerb(group, "logs", "Print the log of a job", job);
  logs->add_option("--tail", log_flags->tail, "last N lines (default 500; 0 = all)");
  logs->add_option("--offset", log_flags->offset, "from this byte on, instead of --tail");
  logs->add_option("--attempt", log_flags->attempt, "only this attempt");
  logs->add_flag("--follow", log_flags->follow, "go on until the job ends");
  commands.push_back({logs, "read the log", [job, log_flags](Session& session) {
                        return Logs(*job, *log_flags, session);
                      }});
}

}  // namespace

void AddJob(CLI::App& root, Commands& commands) {
  CLI::App* group = root.add_subcommand("job", "List, watch, cancel and read jobs");
  AddReading(*group, commands);
  auto job = std::make_shared<std::string>();

  auto from = std::make_shared<int64_t>(0);
  CLI::App* watch = AddVerb(*group, "watch", "Show live progress until the job ends", job);
  watch->add_option("--from-seq", *from, "events after this one; 1 = from the first");
  commands.push_back({watch, "watch the job",
                      [job, from](Session& session) { return Watch(*job, *from, session); }});

  auto timeout = std::make_shared<double>(0);
  CLI::App* wait = AddVerb(*group, "wait", "Wait silently until the job ends", job);
  wait->add_option("--timeout", *timeout, "seconds; exit code 3 when they are over");
  commands.push_back({wait, "wait for the job",
                      [job, timeout](Session& session) { return Wait(*job, *timeout, session); }});

  CLI::App* cancel = AddVerb(*group, "cancel", "Stop a job", job);
  commands.push_back(
      {cancel, "cancel the job", [job](Session& session) { return Cancel(*job, session); }});
}

}  // namespace adamant
