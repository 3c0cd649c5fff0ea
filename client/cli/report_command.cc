// SPDX-License-Identifier: Apache-2.0
// `adamant report`
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "client/cli/command.h"
#include "client/cli/exit_code.h"
#include "client/cli/html_report.h"
#include "client/cli/names.h"
#include "client/cli/text.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "common/version.h"

extern char** environ;

namespace adamant {
namespace {

namespace fs = std::filesystem;

constexpr int32_t kCurvePoints = 1000;
constexpr size_t kMaxPictures = 24;
constexpr int64_t kMaxPictureBytes = 8 << 20;  // of all together

struct ReportFlags {
  std::vector<std::string> jobs;
  std::string out;
  bool open = false, images = false, force = false;
};

// A folder that is removed with its content.
class Scratch {
 public:
  Scratch() : path_(fs::temp_directory_path() / absl::StrCat("adamant-report-", NewUuid())) {
    fs::create_directory(path_);
    fs::permissions(path_, fs::perms::owner_all);
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  std::string File(size_t index) const { return (path_ / absl::StrCat(index)).string(); }

 private:
  const fs::path path_;
};

absl::StatusOr<std::vector<ReportPicture>> FetchPictures(Session& session, const v1::Job& job) {
  ASSIGN_OR_RETURN(Client * client, session.client());
  const Scratch scratch;
  std::vector<ReportPicture> pictures;
  int64_t bytes = 0;
  size_t left_out = 0;
  for (const v1::Artifact& artifact : job.artifacts()) {
    if (artifact.media_type() != "image/png" && artifact.media_type() != "image/jpeg") continue;
    bytes += artifact.blob().size_bytes();
    if (pictures.size() == kMaxPictures || bytes > kMaxPictureBytes) {
      ++left_out;
      continue;
    }
    const std::string file = scratch.File(pictures.size());
    RETURN_IF_ERROR(client->Download(artifact.blob(), file));
    ASSIGN_OR_RETURN(std::string content, ReadFile(file));
    pictures.push_back({artifact.name().empty() ? artifact.role() : artifact.name(),
                        artifact.media_type(), std::move(content)});
  }
  if (left_out > 0) {
    session.Note(absl::StrCat(job.name(), ": ", left_out, " pictures left out; `adamant job get ",
                              absl::StripPrefix(job.name(), "jobs/"), " --save DIR` saves all"));
  }
  return pictures;
}

absl::StatusOr<ReportJob> Fetch(Session& session, const std::string& text, bool images) {
  ReportJob entry;
  ASSIGN_OR_RETURN(const std::string name, ResolveJob(session, text));
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(entry.job, client->GetJob(name));
  if (!HasEnded(entry.job.state())) {
    return RefusedError(absl::StrCat(name, " is ", v1::JobState_Name(entry.job.state()),
                                     "; a report needs a job that has ended (`adamant job wait ",
                                     absl::StripPrefix(name, "jobs/"), "`)"));
  }
  v1::ListMetricPointsRequest request;
  request.set_job(name);
  request.set_max_points(kCurvePoints);
  auto points = client->ListMetricPoints(request);
  if (points.ok()) {
    entry.points = *std::move(points);
  } else {
    session.Note(absl::StrCat(name, ": no curves: ", points.status().message()));
  }
  if (images) {
    ASSIGN_OR_RETURN(entry.pictures, FetchPictures(session, entry.job));
  }
  return entry;
}

// Starts the user's browser and does not wait for it.
void Open(Session& session, const std::string& path) {
  std::string program = "xdg-open";
  std::string file = path;
  char* argv[] = {program.data(), file.data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (int fd : {0, 1, 2}) {
    posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
  }
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, program.c_str(), &actions, nullptr, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) session.Note(absl::StrCat("no browser could be opened; the report is in ", path));
}

absl::StatusOr<int> Report(const ReportFlags& flags, Session& session) {
  std::vector<ReportJob> jobs;
  for (const std::string& text : flags.jobs) {
    ASSIGN_OR_RETURN(ReportJob entry, Fetch(session, text, flags.images));
    jobs.push_back(std::move(entry));
  }
  const std::string made =
      absl::StrCat("Made by adamant ", kVersion, " on ",
                   absl::FormatTime("%Y-%m-%d %H:%M %Z", absl::Now(), absl::LocalTimeZone()),
                   " from ", session.server(),
                   ". An accuracy under attack is an upper bound on "
                   "robust accuracy.");
  const std::string html = HtmlReport(jobs, made);
  if (flags.out == "-") {
    session.out() << html << std::flush;
    return kExitOk;
  }
  const std::string uid(absl::StripPrefix(jobs[0].job.name(), "jobs/"));
  const std::string path =
      flags.out.empty() ? absl::StrCat("adamant-report-", uid.substr(0, 8), ".html") : flags.out;
  if (!flags.force && fs::exists(path)) {
    return absl::AlreadyExistsError(absl::StrCat(path, " exists; nothing was written"));
  }
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << html << std::flush;
  if (!file) return absl::UnknownError(absl::StrCat("cannot write ", path));
  if (flags.open) Open(session, path);
  return session.FinishJson(
      absl::StrCat("{\"file\":", JsonString(path), ",\"bytes\":", html.size(), "}"),
      absl::StrCat(path, "\n"), path);
}

}  // namespace

void AddReport(CLI::App& root, Commands& commands) {
  auto flags = std::make_shared<ReportFlags>();
  CLI::App* app = root.add_subcommand("report", "Write ended jobs as one HTML page");
  app->add_option("JOB", flags->jobs, "jobs/UID, UID, or its first characters; one or more")
      ->required();
  app->add_option("--out", flags->out, "file, or - for standard output");
  app->add_flag("--images", flags->images, "with the pictures of the jobs");
  app->add_flag("--open", flags->open, "show it in the browser");
  app->add_flag("--force", flags->force, "overwrite the file");
  app->footer("Example:\n  adamant report k7qd m2x4 --images --out report.html --open");
  commands.push_back(
      {app, "write the report", [flags](Session& session) { return Report(*flags, session); }});
}

}  // namespace adamant
