// SPDX-License-Identifier: Apache-2.0
#include "client/cli/pack.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cli/exit_code.h"
#include "common/files.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBuffer = 256 << 10;
constexpr size_t kMaxFiles = 16;  // of one dataset

bool IsHidden(const fs::path& path) { return absl::StartsWith(path.filename().string(), "."); }

// Paths relative to `folder`, in byte order.
absl::StatusOr<std::vector<std::string>> ListTree(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  fs::recursive_directory_iterator at(folder, error);
  for (; !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
    if (IsHidden(at->path())) {
      if (at->is_directory()) at.disable_recursion_pending();
      continue;
    }
    if (at->is_symlink()) {
      return absl::InvalidArgumentError(
          absl::StrCat(at->path().string(), " is a symbolic link; replace it by the file"));
    }
    if (at->is_regular_file()) names.push_back(at->path().lexically_relative(folder).string());
  }
  if (error) return absl::UnknownError(absl::StrCat("cannot read ", folder, ": ", error.message()));
  if (names.empty()) return absl::InvalidArgumentError(absl::StrCat(folder, " holds no files"));
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status ArchiveError(archive* tar, const std::string& name) {
  const char* text = archive_error_string(tar);
  return absl::UnknownError(absl::StrCat("cannot pack ", name, ": ", text == nullptr ? "" : text));
}

absl::Status AddEntry(archive* tar, const std::string& folder, const std::string& name) {
  const std::string path = absl::StrCat(folder, "/", name);
  ASSIGN_OR_RETURN(const std::shared_ptr<const FileView> file, FileView::Open(path));
  archive_entry* entry = archive_entry_new();
  const absl::Cleanup free_entry = [entry] { archive_entry_free(entry); };
  archive_entry_set_pathname(entry, name.c_str());
  archive_entry_set_size(entry, static_cast<la_int64_t>(file->bytes().size()));
  archive_entry_set_filetype(entry, AE_IFREG);
  archive_entry_set_perm(entry, 0644);
  archive_entry_set_mtime(entry, 0, 0);
  if (archive_write_header(tar, entry) != ARCHIVE_OK) return ArchiveError(tar, path);
  const la_ssize_t size = static_cast<la_ssize_t>(file->bytes().size());
  if (size > 0 && archive_write_data(tar, file->bytes().data(), file->bytes().size()) != size) {
    return ArchiveError(tar, path);
  }
  return absl::OkStatus();
}

absl::StatusOr<PackedFile> PackFile(const std::string& reader, const std::string& path) {
  PackedFile packed{.name = fs::path(path).filename().string(), .path = path};
  if (reader == "image_folder" && absl::EndsWith(packed.name, ".tar")) packed.name = "data.tar";
  if (!absl::EndsWith(packed.name, ".gz")) return packed;
  packed.name = std::string(absl::StripSuffix(packed.name, ".gz"));
  ASSIGN_OR_RETURN(packed.temporary, TempFile::Create());
  RETURN_IF_ERROR(Gunzip(path, packed.temporary->path()));
  packed.path = packed.temporary->path();
  return packed;
}

absl::StatusOr<std::vector<std::string>> FilesOf(const std::string& reader,
                                                 const std::string& folder) {
  std::vector<std::string> paths;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file() || IsHidden(entry.path())) continue;
    if (reader == "cifar10" && !absl::EndsWith(name, ".bin") && name != "batches.meta.txt")
      continue;
    paths.push_back(entry.path().string());
  }
  if (paths.empty()) {
    return UsageError(absl::StrCat(folder, " holds no file for the reader ", reader));
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TempFile>> TempFile::Create() {
  std::string path = (fs::temp_directory_path() / "adamant-XXXXXX").string();
  const Descriptor file(mkostemp(path.data(), O_CLOEXEC));
  if (!file.valid()) return ErrnoStatus(errno, absl::StrCat("cannot write to ", path));
  return std::unique_ptr<TempFile>(new TempFile(path));
}

TempFile::~TempFile() { unlink(path_.c_str()); }

absl::Status Gunzip(const std::string& from, const std::string& to) {
  gzFile in = gzopen(from.c_str(), "rb");
  if (in == nullptr) return ErrnoStatus(errno, absl::StrCat("cannot open ", from));
  const absl::Cleanup close_in = [&in] {
    if (in != nullptr) gzclose(in);
  };
  const Descriptor out(open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!out.valid()) return ErrnoStatus(errno, absl::StrCat("cannot write ", to));
  std::string buffer(kBuffer, '\0');
  while (true) {
    const int n = gzread(in, buffer.data(), static_cast<unsigned>(buffer.size()));
    if (n < 0) break;
    RETURN_IF_ERROR(WriteAll(out.get(), absl::string_view(buffer).substr(0, n)));
    if (n == 0) break;
  }
  int code = Z_OK;
  const std::string text = gzerror(in, &code);
  const bool plain = gzdirect(in) == 1;
  const int closed = gzclose_r(in);  // Z_BUF_ERROR: the file ends inside the stream
  in = nullptr;
  if (plain) return absl::InvalidArgumentError(absl::StrCat(from, " is not a gzip file"));
  if (code != Z_OK || closed != Z_OK) {
    return absl::DataLossError(
        absl::StrCat(from, " is a damaged or truncated gzip file", text.empty() ? "" : ": ", text));
  }
  return absl::OkStatus();
}

absl::Status PackFolder(const std::string& folder, const std::string& to) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListTree(folder));
  archive* tar = archive_write_new();
  const absl::Cleanup free_tar = [tar] { archive_write_free(tar); };
  archive_write_set_format_pax_restricted(tar);
  archive_write_add_filter_none(tar);
  if (archive_write_open_filename(tar, to.c_str()) != ARCHIVE_OK) return ArchiveError(tar, folder);
  for (const std::string& name : names) RETURN_IF_ERROR(AddEntry(tar, folder, name));
  return archive_write_close(tar) == ARCHIVE_OK ? absl::OkStatus() : ArchiveError(tar, folder);
}

absl::StatusOr<std::vector<PackedFile>> PackDataset(const std::string& reader,
                                                    const std::vector<std::string>& paths) {
  std::vector<std::string> files = paths;
  std::vector<PackedFile> packed;
  const bool folder = paths.size() == 1 && fs::is_directory(paths[0]);
  if (folder && reader == "image_folder") {
    packed.push_back({.name = "data.tar"});
    ASSIGN_OR_RETURN(packed[0].temporary, TempFile::Create());
    packed[0].path = packed[0].temporary->path();
    RETURN_IF_ERROR(PackFolder(paths[0], packed[0].path));
    return packed;
  }
  if (folder) {
    ASSIGN_OR_RETURN(files, FilesOf(reader, paths[0]));
  }
  if (files.size() > kMaxFiles) {
    return UsageError(absl::StrCat(files.size(), " files, but a dataset has at most ", kMaxFiles,
                                   "; a folder of images needs --reader image_folder"));
  }
  std::set<std::string> names;
  for (const std::string& path : files) {
    ASSIGN_OR_RETURN(PackedFile file, PackFile(reader, path));
    if (!names.insert(file.name).second) {
      return UsageError(absl::StrCat("two files are called ", file.name, "; give one of them"));
    }
    packed.push_back(std::move(file));
  }
  return packed;
}

}  // namespace adamant
