// SPDX-License-Identifier: Apache-2.0
#include "client/cli/follow.h"

#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cli/exit_code.h"
#include "client/cli/progress.h"
#include "client/cli/report.h"
#include "client/cli/text.h"
#include "common/files.h"
#include "common/sha256.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

namespace fs = std::filesystem;

void SayDetached(Session& session, const std::string& job) {
  const absl::string_view uid = absl::StripPrefix(job, "jobs/");
  session.err() << absl::StrCat("\ndetached: ", job,
                                " goes on\nwatch it again: `adamant job watch ", uid,
                                "`\nstop it:        `adamant job cancel ", uid, "`\n")
                << std::flush;
}

// What to do after the first Ctrl-C: OK to go on until the job is CANCELLED.
absl::Status Interrupted(Session& session, const std::string& job, OnInterrupt interrupt) {
  if (interrupt == OnInterrupt::kDetach) {
    SayDetached(session, job);
    return absl::CancelledError("interrupted");
  }
  ASSIGN_OR_RETURN(Client * client, session.client());
  session.err() << absl::StrCat("\ncancelling ", job, "; Ctrl-C again leaves at once\n")
                << std::flush;
  return client->CancelJob(job).status();
}

// A path inside the folder: no "..", not absolute.
absl::StatusOr<fs::path> SafePath(const std::string& name) {
  const fs::path path = fs::path(name).lexically_normal();
  if (path.empty() || path.is_absolute() || *path.begin() == "..") {
    return absl::InvalidArgumentError(
        absl::StrCat("the artifact is called \"", name, "\", which is no name inside a folder"));
  }
  return path;
}

bool HasContent(const std::string& path, const v1::BlobRef& blob) {
  std::error_code error;
  if (fs::file_size(path, error) != static_cast<uintmax_t>(blob.size_bytes()) || error)
    return false;
  const auto view = FileView::Open(path);
  return view.ok() && Sha256Hex((*view)->bytes()) == blob.sha256();
}

}  // namespace

absl::StatusOr<v1::Job> WatchToEnd(Session& session, const std::string& job, OnInterrupt interrupt,
                                   int64_t from_seq) {
  ASSIGN_OR_RETURN(Client * client, session.client());
  ProgressView view(session.err(), session.bar_width());
  int64_t last_seq = from_seq;
  const auto show = [&](const v1::JobEvent& event) {
    last_seq = std::max(last_seq, event.seq());
    if (session.format() == OutputFormat::kJsonLines) {
      session.out() << MessageJson(event) << "\n" << std::flush;
    }
    if (!session.options().quiet) view.OnEvent(event);
  };
  Interrupt::Listen listen(session.interrupt());
  absl::Status status = client->Watch(job, from_seq, show, listen.token());
  view.Clear();
  if (absl::IsCancelled(status)) {
    RETURN_IF_ERROR(Interrupted(session, job, interrupt));
    status = client->Watch(job, last_seq, show);
    view.Clear();
  }
  RETURN_IF_ERROR(status);
  return client->GetJob(job);
}

absl::StatusOr<v1::Job> WaitForEnd(Session& session, const std::string& job, OnInterrupt interrupt,
                                   absl::Duration timeout) {
  ASSIGN_OR_RETURN(Client * client, session.client());
  Interrupt::Listen listen(session.interrupt());
  auto ended = client->Wait(job, timeout, listen.token());
  if (!absl::IsCancelled(ended.status())) return ended;
  RETURN_IF_ERROR(Interrupted(session, job, interrupt));
  return client->Wait(job, timeout);
}

int FinishWithJob(Session& session, const v1::Job& job, bool watched) {
  const int code = HasEnded(job.state()) ? ExitCodeOf(job) : kExitOk;
  if (watched && session.format() == OutputFormat::kJsonLines) return code;
  return session.Finish(job,
                        JobText(job, session.format() == OutputFormat::kWide, session.out_colour()),
                        job.name(), code);
}

absl::Status SaveArtifacts(Session& session, const v1::Job& job, const std::string& folder,
                           bool overwrite) {
  std::set<std::string> taken;
  for (const v1::Artifact& artifact : job.artifacts()) {
    std::string name = artifact.name().empty() ? artifact.role() : artifact.name();
    if (!taken.insert(name).second) name = absl::StrCat("step-", artifact.step(), "-", name);
    ASSIGN_OR_RETURN(const fs::path relative, SafePath(name));
    const fs::path path = fs::path(folder) / relative;
    std::error_code error;
    fs::create_directories(path.parent_path(), error);
    if (error) {
      return absl::UnknownError(absl::StrCat("cannot make the folder ", path.parent_path().string(),
                                             ": ", error.message()));
    }
    if (HasContent(path.string(), artifact.blob())) continue;
    RETURN_IF_ERROR(DownloadFile(session, artifact.blob(), path.string(), overwrite));
  }
  return absl::OkStatus();
}

}  // namespace adamant
