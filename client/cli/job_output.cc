// SPDX-License-Identifier: Apache-2.0
// `adamant job logs|metrics`
#include <map>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "client/cli/command.h"
#include "client/cli/duration.h"
#include "client/cli/exit_code.h"
#include "client/cli/log_lines.h"
#include "client/cli/names.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

constexpr int64_t kDefaultTail = 500;
constexpr size_t kTableRows = 40;

struct LogFlags {
  std::optional<int64_t> tail, offset;
  int32_t attempt = 0;
  std::string since, level;
  bool follow = false, no_follow = false;
};

absl::StatusOr<v1::ReadLogRequest> RequestOf(const LogFlags& flags, const Session& session) {
  if (flags.follow && flags.no_follow)
    return UsageError("--follow and --no-follow exclude each other");
  if (flags.tail.has_value() && flags.offset.has_value()) {
    return UsageError("--tail and --offset exclude each other");
  }
  if (flags.tail.value_or(0) < 0 || flags.offset.value_or(0) < 0) {
    return UsageError("--tail and --offset must not be negative");
  }
  v1::ReadLogRequest request;
  request.set_attempt(flags.attempt);
  request.set_follow(flags.follow || (session.out_terminal() && !flags.no_follow));
  request.set_min_level(flags.level);
  if (flags.offset.has_value()) {
    request.set_offset(*flags.offset);
  } else if (flags.tail.has_value() || flags.since.empty()) {
    request.set_tail_lines(flags.tail.value_or(kDefaultTail));
  }
  return request;
}

void SayWhatWasCut(Session& session, const LogLines& lines, bool tailed) {
  if (tailed && lines.first_offset() > 0) {
    session.Note(absl::StrCat("cut: ", BytesText(lines.first_offset()),
                              " before the first line shown; --tail 0 shows all"));
  }
  if (lines.skipped() > 0) {
    session.Note(absl::StrCat("left out: ", lines.skipped(), " lines before --since"));
  }
}

// After following to the end the exit code is the job's.
absl::StatusOr<int> FinishFollowed(Session& session, const std::string& name) {
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(const v1::Job job, client->GetJob(name));
  const int code = ExitCodeOf(job);
  if (code != kExitOk) {
    session.Note(absl::StrCat(name, " ", v1::JobState_Name(job.state()),
                              job.state_message().empty() ? "" : ": ", job.state_message()));
  }
  return code;
}

absl::StatusOr<int> Logs(const std::string& text, const LogFlags& flags, Session& session) {
  ASSIGN_OR_RETURN(v1::ReadLogRequest request, RequestOf(flags, session));
  absl::Time since = absl::InfinitePast();
  if (!flags.since.empty()) {
    ASSIGN_OR_RETURN(since, ParseSince("--since", flags.since, absl::Now()));
  }
  ASSIGN_OR_RETURN(*request.mutable_name(), ResolveJob(session, text));
  std::string whole;
  bool any = false;
  LogLines lines(since, [&](int64_t offset, absl::string_view line) {
    any = true;
    if (session.format() == OutputFormat::kJson) {
      whole.append(line.data(), line.size());
    } else if (session.json()) {
      session.out() << "{\"offset\":" << offset
                    << ",\"line\":" << JsonString(absl::StripSuffix(line, "\n")) << "}\n"
                    << std::flush;
    } else {
      session.out().write(line.data(), static_cast<std::streamsize>(line.size()));
      session.out() << std::flush;
    }
  });
  ASSIGN_OR_RETURN(Client * client, session.client());
  Interrupt::Listen listen(session.interrupt());
  const absl::Status status = client->ReadLog(
      request, [&](int64_t offset, absl::string_view bytes) { lines.Add(offset, bytes); },
      listen.token());
  lines.Flush();
  RETURN_IF_ERROR(status);
  SayWhatWasCut(session, lines, request.tail_lines() > 0);
  if (!any && !request.follow()) session.Note(absl::StrCat(request.name(), " has no such lines"));
  int code = kExitOk;
  if (request.follow()) {
    ASSIGN_OR_RETURN(code, FinishFollowed(session, request.name()));
  }
  if (!session.json()) return code;
  return session.FinishJson(session.format() == OutputFormat::kJson
                                ? absl::StrCat("{\"text\":", JsonString(whole), "}")
                                : "",
                            "", "", code);
}

struct MetricFlags {
  std::vector<std::string> names;
  int32_t max_points = 0;
  int32_t attempt = 0;
  bool csv = false;
};

std::string Csv(const std::vector<v1::MetricPoint>& points) {
  std::string text = "attempt,step,name,value\n";
  for (const v1::MetricPoint& point : points) {
    absl::StrAppendFormat(&text, "%d,%d,%s,%.17g\n", point.attempt(), point.step(), point.name(),
                          point.value());
  }
  return text;
}

// One row per step, one column per metric; at most `limit` rows, evenly spaced with both ends.
std::string MetricTable(const std::vector<v1::MetricPoint>& points, size_t limit, size_t& rows) {
  std::map<std::string, size_t> columns;
  for (const v1::MetricPoint& point : points) columns.emplace(point.name(), 0);
  std::vector<std::string> header = {"ATTEMPT", "STEP"};
  for (auto& [name, column] : columns) {
    column = header.size();
    header.push_back(name);
  }
  std::map<std::pair<int32_t, int64_t>, std::vector<std::string>> by_step;
  for (const v1::MetricPoint& point : points) {
    std::vector<std::string>& row = by_step[{point.attempt(), point.step()}];
    row.resize(header.size(), "-");
    row[columns[point.name()]] = NumberText(point.value());
  }
  rows = by_step.size();
  Table table(header);
  size_t index = 0;
  size_t shown = 0;
  for (auto& [key, row] : by_step) {
    const bool wanted = rows <= limit || limit == 1 || index * (limit - 1) >= shown * (rows - 1);
    if (wanted && shown < limit) {
      row[0] = absl::StrCat(key.first);
      row[1] = absl::StrCat(key.second);
      table.Add(std::move(row));
      ++shown;
    }
    ++index;
  }
  return table.Render();
}

absl::StatusOr<int> Metrics(const std::string& text, const MetricFlags& flags, Session& session) {
  if (flags.csv && session.json()) return UsageError("--csv and -o exclude each other");
  v1::ListMetricPointsRequest request;
  ASSIGN_OR_RETURN(*request.mutable_job(), ResolveJob(session, text));
  request.mutable_names()->Assign(flags.names.begin(), flags.names.end());
  request.set_attempt(flags.attempt);
  const bool for_programs = flags.csv || session.json();
  if (for_programs) request.set_max_points(flags.max_points);
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(const std::vector<v1::MetricPoint> points, client->ListMetricPoints(request));
  if (points.empty()) session.Note(absl::StrCat(request.job(), " has no such metrics"));
  if (flags.csv) {
    session.out() << Csv(points) << std::flush;
    return kExitOk;
  }
  v1::ListMetricPointsResponse all;
  if (session.json()) {
    all.mutable_points()->Assign(points.begin(), points.end());
    return session.FinishRows(all, all.points(), "", "");
  }
  size_t rows = 0;
  const size_t limit = flags.max_points > 0 ? static_cast<size_t>(flags.max_points) : kTableRows;
  const std::string table = points.empty() ? "" : MetricTable(points, limit, rows);
  if (rows > limit) {
    session.Note(absl::StrCat(limit, " of ", rows,
                              " steps; --max-points N shows more, --csv and -o json all"));
  }
  std::map<std::string, int> names;
  for (const v1::MetricPoint& point : points) ++names[point.name()];
  std::string list;
  for (const auto& [name, count] : names) absl::StrAppend(&list, list.empty() ? "" : "\n", name);
  return session.FinishRows(all, all.points(), table, list);
}

}  // namespace

void AddJobOutput(CLI::App& group, Commands& commands) {
  auto job = std::make_shared<std::string>();
  const char* kJob = "jobs/UID, UID, or its first 4 or more characters";
  auto flags = std::make_shared<LogFlags>();
  CLI::App* logs = group.add_subcommand("logs", "Print the log of a job, in every state");
  logs->add_option("JOB", *job, kJob)->required();
  logs->add_option("--tail", flags->tail, "the last N lines (default 500; 0 = all)");
  logs->add_option("--since", flags->since, "lines of the last 10m, 2h, 1d, or since a time");
  logs->add_option("--level", flags->level, "debug, info, warning or error and above");
  logs->add_option("--offset", flags->offset, "from this byte on, instead of --tail");
  logs->add_option("--attempt", flags->attempt, "only this attempt");
  logs->add_flag("--follow", flags->follow,
                 "go on until the job ends, and exit as it did (default on a terminal)");
  logs->add_flag("--no-follow", flags->no_follow, "only what is there");
  logs->footer(
      "Examples:\n  adamant job logs k7qd --follow\n"
      "  adamant job logs k7qd --since 10m --level warning");
  commands.push_back(
      {logs, "read the log", [=](Session& session) { return Logs(*job, *flags, session); }});

  auto metric_flags = std::make_shared<MetricFlags>();
  CLI::App* metrics = group.add_subcommand("metrics", "Show how the metrics of a job developed");
  metrics->add_option("JOB", *job, kJob)->required();
  metrics->add_option("--name", metric_flags->names, "only this metric; repeatable")
      ->allow_extra_args(false);
  metrics
      ->add_option("--max-points", metric_flags->max_points,
                   "thin to N points a metric (the table: N rows, default 40)")
      ->check(CLI::NonNegativeNumber);
  metrics->add_option("--attempt", metric_flags->attempt, "only this attempt");
  metrics->add_flag("--csv", metric_flags->csv, "attempt,step,name,value");
  metrics->footer(
      "Examples:\n  adamant job metrics k7qd --name loss\n"
      "  adamant job metrics k7qd --csv > metrics.csv");
  commands.push_back({metrics, "read the metrics",
                      [=](Session& session) { return Metrics(*job, *metric_flags, session); }});
}

}  // namespace adamant
