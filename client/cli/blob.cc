// SPDX-License-Identifier: Apache-2.0
// `adamant blob put|get|stat`
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/exit_code.h"
#include "client/cli/follow.h"
#include "client/cli/names.h"
#include "client/cli/text.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

absl::StatusOr<int> Put(const std::string& path, Session& session) {
  ASSIGN_OR_RETURN(const v1::BlobRef blob, UploadFile(session, path, path));
  return session.Finish(blob, BlobName(blob) + "\n", BlobName(blob));
}

// A blob name, or `models/ID` for the file of a registered model.
absl::StatusOr<v1::BlobRef> Resolve(const std::string& text, Session& session) {
  if (absl::StartsWith(text, "models/")) {
    ASSIGN_OR_RETURN(Client * client, session.client());
    ASSIGN_OR_RETURN(const v1::Model model, client->GetModel(text));
    return model.blob();
  }
  auto blob = ParseBlobName(text);
  if (!blob.ok()) return UsageError(blob.status().message());
  return blob;
}

absl::StatusOr<int> Get(const std::string& text, const std::string& path, bool force,
                        Session& session) {
  ASSIGN_OR_RETURN(const v1::BlobRef blob, Resolve(text, session));
  RETURN_IF_ERROR(DownloadFile(session, blob, path, force));
  return session.Finish(
      blob,
      absl::StrCat(path, "  ", BytesText(blob.size_bytes()), "  sha256 ", blob.sha256(), "\n"),
      path);
}

absl::StatusOr<int> Stat(const std::string& text, Session& session) {
  ASSIGN_OR_RETURN(const v1::BlobRef blob, Resolve(text, session));
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(const bool present, client->HasBlob(blob));
  if (!present) return RefusedError(absl::StrCat("the server has no ", BlobName(blob)));
  return session.Finish(
      blob, absl::StrCat(BlobName(blob), "  ", BytesText(blob.size_bytes()), "\n"), BlobName(blob));
}

}  // namespace

void AddBlob(CLI::App& root, Commands& commands) {
  CLI::App* group = root.add_subcommand("blob", "Upload and download files by their digest");
  auto path = std::make_shared<std::string>();
  auto name = std::make_shared<std::string>();
  auto force = std::make_shared<bool>(false);

  CLI::App* put = group->add_subcommand("put", "Upload a file; prints its blob name");
  put->add_option("FILE", *path, "file to upload")->required();
  put->footer("Example:\n  adamant blob put weights.safetensors");
  commands.push_back({put, "upload the file",
                      [path](Session& session) { return Put(*path, session); }, Effect::kChanges});

  CLI::App* get = group->add_subcommand("get", "Download a blob; resumes and checks the digest");
  get->add_option("BLOB", *name, "blobs/SHA256/SIZE, or models/ID for its weights")->required();
  get->add_option("FILE", *path, "file to write")->required();
  get->add_flag("--force", *force, "overwrite the file");
  get->footer("Example:\n  adamant blob get models/mnist-robust weights.safetensors");
  commands.push_back({get, "download the blob", [name, path, force](Session& session) {
                        return Get(*name, *path, *force, session);
                      }});

  CLI::App* stat = group->add_subcommand("stat", "Tell whether the server has a blob");
  stat->add_option("BLOB", *name, "blobs/SHA256/SIZE, or models/ID")->required();
  stat->footer("Example:\n  adamant blob stat models/mnist-robust");
  commands.push_back(
      {stat, "look up the blob", [name](Session& session) { return Stat(*name, session); }});
}

}  // namespace adamant
