// SPDX-License-Identifier: Apache-2.0
#include "core/data/tar_file.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <memory>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "common/status_macros.h"
#include "core/data/records.h"

namespace adamant {
namespace {

constexpr size_t kBlock = 512;
constexpr size_t kMaxEntries = 2000000;
constexpr size_t kMaxName = 255;

bool GoodCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '/' ||
         c == ' ' || c == '-';
}

// Why a name is refused, or "".
std::string NameFault(const std::string& name) {
  if (name.size() > kMaxName) return "the name is longer than 255 bytes";
  if (!std::all_of(name.begin(), name.end(), GoodCharacter)) {
    return "names are made of A-Z a-z 0-9 . _ / space and -";
  }
  for (absl::string_view part : absl::StrSplit(name, '/')) {
    if (part.empty() || part == "." || part == "..") {
      return "a name is relative and has no empty, . or .. part";
    }
  }
  return "";
}

class TarReader {
 public:
  explicit TarReader(const NamedFile& file)
      : file_(file), bytes_(file.view->bytes()), reader_(archive_read_new(), archive_read_free) {}

  absl::StatusOr<std::vector<TarEntry>> Read() {
    archive_read_support_format_tar(reader_.get());
    if (archive_read_open_memory(reader_.get(), bytes_.data(), bytes_.size()) != ARCHIVE_OK) {
      return Error("not a tar archive");
    }
    for (;;) {
      archive_entry* entry = nullptr;
      const int result = archive_read_next_header(reader_.get(), &entry);
      if (result == ARCHIVE_EOF) break;
      if (result != ARCHIVE_OK) {
        const char* why = archive_error_string(reader_.get());
        return Error(why != nullptr ? why : "bad header");
      }
      RETURN_IF_ERROR(Add(entry));
    }
    RETURN_IF_ERROR(CheckEnd());
    return std::move(entries_);
  }

 private:
  template <class... Text>
  absl::Status Error(const Text&... what) const {
    return DataError("TAR_INVALID", file_.name, static_cast<int64_t>(end_), what...);
  }

  absl::Status Add(archive_entry* entry) {
    const char* path = archive_entry_pathname(entry);
    std::string name = path != nullptr ? path : "";
    const auto type = archive_entry_filetype(entry);
    if (type == AE_IFDIR && !name.empty() && name.back() == '/') name.pop_back();
    if (const std::string fault = NameFault(name); !fault.empty()) return Error(name, ": ", fault);
    const bool link =
        archive_entry_hardlink(entry) != nullptr || archive_entry_symlink(entry) != nullptr;
    if (link || (type != AE_IFREG && type != AE_IFDIR) || archive_entry_sparse_count(entry) > 0) {
      return Error(name, ": only regular files and folders are accepted");
    }
    if (!names_.insert(name).second) return Error(name, " occurs twice");
    if (entries_.size() == kMaxEntries) return Error("more than ", kMaxEntries, " entries");
    end_ = static_cast<size_t>(archive_filter_bytes(reader_.get(), 0));
    entries_.push_back({name, type == AE_IFDIR, {}});
    return type == AE_IFREG ? AddData(archive_entry_size(entry)) : absl::OkStatus();
  }

  // Points the last entry at its bytes, which lie within the archive in one piece.
  absl::Status AddData(int64_t size) {
    if (size == 0) return absl::OkStatus();
    const void* block = nullptr;
    size_t block_size = 0;
    la_int64_t offset = 0;
    const int result = archive_read_data_block(reader_.get(), &block, &block_size, &offset);
    if (result != ARCHIVE_OK || offset != 0 || block_size != static_cast<size_t>(size)) {
      return Error(entries_.back().name, ": size mismatch (expected ", size, ", got ", block_size,
                   ")");
    }
    const auto at = static_cast<size_t>(static_cast<const char*>(block) - bytes_.data());
    if (at > bytes_.size() || block_size > bytes_.size() - at)
      return Error("data outside the file");
    entries_.back().data = bytes_.substr(at, block_size);
    end_ = at + (block_size + kBlock - 1) / kBlock * kBlock;
    return absl::OkStatus();
  }

  absl::Status CheckEnd() const {
    if (end_ > bytes_.size() || bytes_.size() - end_ < 2 * kBlock) {
      return Error("the archive must end with two blocks of zeros: truncated?");
    }
    const absl::string_view rest = bytes_.substr(end_);
    if (rest.find_first_not_of('\0') != absl::string_view::npos) {
      return Error("trailing bytes behind the end of the archive");
    }
    return absl::OkStatus();
  }

  const NamedFile& file_;
  absl::string_view bytes_;
  std::unique_ptr<archive, int (*)(archive*)> reader_;
  std::vector<TarEntry> entries_;
  std::set<std::string> names_;
  size_t end_ = 0;  // one past what has been read, whole blocks
};

}  // namespace

absl::StatusOr<std::vector<TarEntry>> ReadTar(const NamedFile& file) {
  return TarReader(file).Read();
}

}  // namespace adamant
