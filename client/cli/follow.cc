// SPDX-License-Identifier: Apache-2.0
#include "client/cli/follow.h"

#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
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
                                " goes on. Watch it again: `adamant job watch ", uid,
                                "`; stop it: `adamant job cancel ", uid, "`\n")
                << std::flush;
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

absl::StatusOr<v1::Job> WatchToEnd(Session& session, const std::string& job, int64_t from_seq) {
  ASSIGN_OR_RETURN(Client * client, session.client());
  ProgressView view(session.err(), session.bar_width());
  Interrupt::Listen listen(session.interrupt());
  const absl::Status status = client->Watch(
      job, from_seq,
      [&](const v1::JobEvent& event) {
        if (session.format() == OutputFormat::kJsonLines) {
          session.out() << MessageJson(event) << "\n" << std::flush;
        }
        if (!session.options().quiet) view.OnEvent(event);
      },
      listen.token());
  view.Clear();
  if (absl::IsCancelled(status)) SayDetached(session, job);
  RETURN_IF_ERROR(status);
  return client->GetJob(job);
}

absl::StatusOr<v1::Job> WaitForEnd(Session& session, const std::string& job,
                                   absl::Duration timeout) {
  ASSIGN_OR_RETURN(Client * client, session.client());
  Interrupt::Listen listen(session.interrupt());
  auto ended = client->Wait(job, timeout, listen.token());
  if (absl::IsCancelled(ended.status())) SayDetached(session, job);
  return ended;
}

int FinishWithJob(Session& session, const v1::Job& job, bool watched) {
  const int code = IsTerminal(job.state()) ? ExitCodeOf(job) : kExitOk;
  if (watched && session.format() == OutputFormat::kJsonLines) return code;
  return session.Finish(job, JobText(job, session.format() == OutputFormat::kWide), job.name(),
                        code);
}

absl::Status SaveArtifacts(Session& session, const v1::Job& job, const std::string& folder,
                           bool overwrite) {
  ASSIGN_OR_RETURN(Client * client, session.client());
  Interrupt::Listen listen(session.interrupt());
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
    RETURN_IF_ERROR(client->Download(artifact.blob(), path.string(), overwrite,
                                     ShowTransfer(session, name), listen.token()));
    session.Note(
        absl::StrCat("saved ", path.string(), " (", BytesText(artifact.blob().size_bytes()), ")"));
  }
  return absl::OkStatus();
}

TransferProgress ShowTransfer(Session& session, const std::string& what) {
  if (session.bar_width() == 0) return {};
  const absl::Time start = absl::Now();
  auto last = std::make_shared<absl::Time>(absl::InfinitePast());
  return [&session, what, start, last](int64_t done, int64_t total) {
    const absl::Time now = absl::Now();
    if (done >= total) {
      session.err() << "\r\033[K" << std::flush;
      return;
    }
    if (now - *last < absl::Milliseconds(200)) return;
    *last = now;
    const double rate =
        static_cast<double>(done) / std::max(0.001, absl::ToDoubleSeconds(now - start));
    session.err() << absl::StrFormat(
                         "\r%s  %s of %s  %s/s  ETA %s\033[K", what, BytesText(done),
                         BytesText(total), BytesText(static_cast<int64_t>(rate)),
                         SecondsText(static_cast<double>(total - done) / std::max(rate, 1.0)))
                  << std::flush;
  };
}

}  // namespace adamant
