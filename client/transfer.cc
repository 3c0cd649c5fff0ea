// SPDX-License-Identifier: Apache-2.0
// Upload and Download: identity is the SHA-256, transfers go on where they broke.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "client/call.h"
#include "client/client.h"
#include "client/reconnect.h"
#include "client/stubs.h"
#include "common/files.h"
#include "common/sha256.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

constexpr int64_t kChunk = 256 << 10;
constexpr size_t kMaxDigests = 10000;  // of one FindMissingBlobs
constexpr int kMaxRefusals = 5;

std::string ThisUser() {
  char host[256] = "";
  if (gethostname(host, sizeof(host) - 1) != 0) host[0] = '\0';
  return absl::StrCat(geteuid(), "@", host);
}

// Reads up to kChunk bytes at `offset`; less only at the end of the file.
absl::Status ReadAt(int fd, int64_t offset, std::string& out) {
  out.resize(kChunk);
  size_t filled = 0;
  while (filled < out.size()) {
    const ssize_t n = pread(fd, out.data() + filled, out.size() - filled,
                            static_cast<off_t>(offset + static_cast<int64_t>(filled)));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "cannot read the file");
    if (n == 0) break;
    filled += static_cast<size_t>(n);
  }
  out.resize(filled);
  return absl::OkStatus();
}

// Feeds the first `limit` bytes of the file to `hash`; returns how many there were.
absl::StatusOr<int64_t> HashPrefix(int fd, int64_t limit, Sha256& hash) {
  std::string chunk;
  int64_t size = 0;
  while (size < limit) {
    RETURN_IF_ERROR(ReadAt(fd, size, chunk));
    if (chunk.empty()) break;
    chunk.resize(std::min<size_t>(chunk.size(), static_cast<size_t>(limit - size)));
    hash.Update(chunk);
    size += static_cast<int64_t>(chunk.size());
  }
  return size;
}

absl::StatusOr<Descriptor> OpenForRead(const std::string& path) {
  Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return ErrnoStatus(errno, absl::StrCat("cannot open ", path));
  struct stat info;
  if (fstat(file.get(), &info) != 0) return ErrnoStatus(errno, absl::StrCat("cannot read ", path));
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a regular file"));
  }
  return file;
}

}  // namespace

absl::StatusOr<std::vector<v1::BlobRef>> Client::FindMissingBlobs(
    const std::vector<v1::BlobRef>& blobs) {
  std::vector<v1::BlobRef> missing;
  for (size_t begin = 0; begin < blobs.size(); begin += kMaxDigests) {
    v1::FindMissingBlobsRequest request;
    const size_t end = std::min(blobs.size(), begin + kMaxDigests);
    for (size_t i = begin; i < end; ++i) *request.add_blobs() = blobs[i];
    ASSIGN_OR_RETURN(v1::FindMissingBlobsResponse response,
                     Call(&v1::BlobService::Stub::FindMissingBlobs, *stubs_->blobs, headers_,
                          request, options_.unary_deadline));
    missing.insert(missing.end(), response.missing().begin(), response.missing().end());
  }
  return missing;
}

absl::StatusOr<bool> Client::HasBlob(const v1::BlobRef& blob) {
  ASSIGN_OR_RETURN(const std::vector<v1::BlobRef> missing, FindMissingBlobs({blob}));
  return missing.empty();
}

// How much of the upload is durable; -1 when the server knows no such upload.
absl::StatusOr<int64_t> Client::CommittedSize(const std::string& resource) {
  v1::QueryWriteStatusRequest request;
  request.set_resource_name(resource);
  const auto response = Call(&v1::BlobService::Stub::QueryWriteStatus, *stubs_->blobs, headers_,
                             request, options_.unary_deadline);
  if (response.ok()) return response->committed_size();
  if (absl::IsNotFound(response.status()) || absl::IsUnimplemented(response.status())) return -1;
  return response.status();
}

// `*committed` is the size in the server's reply; below blob.size_bytes() the upload is not
// complete.
grpc::Status Client::WriteOnce(const v1::BlobRef& blob, const std::string& resource, int64_t offset,
                               int fd, const TransferProgress& progress, CancelToken* cancel,
                               int64_t* committed) {
  grpc::ClientContext context;
  headers_.AddTo(context);
  const CancelToken::Scope scope(cancel, &context);
  v1::WriteResponse response;
  const auto stream = stubs_->bulk_blobs->Write(&context, &response);
  v1::WriteRequest request;
  request.set_resource_name(resource);
  do {
    request.set_write_offset(offset);
    if (!ReadAt(fd, offset, *request.mutable_data()).ok()) break;
    request.mutable_data()->resize(
        std::min(request.data().size(), static_cast<size_t>(blob.size_bytes() - offset)));
    offset += static_cast<int64_t>(request.data().size());
    request.set_finish_write(offset == blob.size_bytes());
    if (!stream->Write(request)) break;
    if (progress) progress(offset, blob.size_bytes());
    if (request.data().empty()) break;
    request.clear_resource_name();
  } while (!request.finish_write());
  stream->WritesDone();
  const grpc::Status status = stream->Finish();
  *committed = response.committed_size();
  return status;
}

absl::StatusOr<v1::BlobRef> Client::Upload(const std::string& path,
                                           const TransferProgress& progress, CancelToken* cancel) {
  ASSIGN_OR_RETURN(const Descriptor file, OpenForRead(path));
  Sha256 hash;
  v1::BlobRef blob;
  ASSIGN_OR_RETURN(const int64_t size, HashPrefix(file.get(), INT64_MAX, hash));
  blob.set_size_bytes(size);
  blob.set_sha256(hash.FinishHex());
  ASSIGN_OR_RETURN(const bool present, HasBlob(blob));
  if (present) {
    Debug(absl::StrCat("the server already has ", BlobName(blob)));
    return blob;
  }
  const auto resource_of = [&blob](const std::string& id) {
    return absl::StrCat("uploads/", id, "/", BlobName(blob));
  };
  std::string resource = resource_of(UploadUuid(blob, ThisUser()));
  ASSIGN_OR_RETURN(int64_t offset, CommittedSize(resource));
  offset = std::clamp<int64_t>(offset, 0, size);
  if (offset > 0) {
    Debug(absl::StrCat("the upload goes on at byte ", offset));
    if (progress) progress(offset, size);
  }
  Reconnect reconnect(*this, cancel, "the upload");
  bool restarted = false;
  int refused = 0;
  while (true) {
    int64_t committed = 0;
    absl::Status broken =
        FromGrpcStatus(WriteOnce(blob, resource, offset, file.get(), progress, cancel, &committed));
    if (broken.ok() && committed == size) return blob;
    if (broken.ok()) broken = absl::UnavailableError("the server stored only a part");
    const std::string reason = DecodeError(broken).reason;
    if (reason == "DIGEST_MISMATCH") {
      if (restarted) {
        return absl::DataLossError(
            absl::StrCat(path, " arrives damaged or changes while it is sent; send a copy of it"));
      }
      restarted = true;
      resource = resource_of(NewUuid());
      offset = 0;
      continue;
    }
    const bool taken = absl::IsFailedPrecondition(broken);
    if (reason == "BAD_OFFSET" || taken) broken = absl::UnavailableError(broken.message());
    RETURN_IF_ERROR(reconnect.Next(broken));
    if (const auto present_now = HasBlob(blob); present_now.ok() && *present_now) return blob;
    const absl::StatusOr<int64_t> durable = CommittedSize(resource);
    if (!durable.ok()) continue;  // still unreachable: the next write says so
    const int64_t next = std::clamp<int64_t>(*durable, 0, size);
    refused = taken && next <= offset ? refused + 1 : 0;
    // Another process sends the same file under the same name, and does not get on.
    if (refused >= kMaxRefusals) {
      resource = resource_of(NewUuid());
      offset = 0;
      refused = 0;
      continue;
    }
    if (next > offset) reconnect.Progress();
    offset = next;
    Debug(absl::StrCat("the upload goes on at byte ", offset));
  }
}

absl::Status Client::Fetch(const v1::BlobRef& blob, const std::string& part,
                           const TransferProgress& progress, CancelToken* cancel) {
  Descriptor file(open(part.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!file.valid()) return ErrnoStatus(errno, absl::StrCat("cannot write ", part));
  Sha256 hash;
  ASSIGN_OR_RETURN(int64_t offset, HashPrefix(file.get(), blob.size_bytes(), hash));
  if (ftruncate(file.get(), offset) != 0 || lseek(file.get(), offset, SEEK_SET) < 0) {
    return ErrnoStatus(errno, absl::StrCat("cannot write ", part));
  }
  if (offset > 0) Debug(absl::StrCat("the download goes on at byte ", offset));
  Reconnect reconnect(*this, cancel, "the download");
  while (offset < blob.size_bytes()) {
    v1::ReadRequest request;
    request.set_name(BlobName(blob));
    request.set_offset(offset);
    grpc::ClientContext context;
    headers_.AddTo(context);
    const CancelToken::Scope scope(cancel, &context);
    const auto stream = stubs_->bulk_blobs->Read(&context, request);
    v1::ReadResponse response;
    while (stream->Read(&response)) {
      RETURN_IF_ERROR(WriteAll(file.get(), response.data()));
      hash.Update(response.data());
      offset += static_cast<int64_t>(response.data().size());
      reconnect.Progress();
      if (progress) progress(offset, blob.size_bytes());
    }
    absl::Status status = FromGrpcStatus(stream->Finish());
    if (offset >= blob.size_bytes()) break;
    if (status.ok()) status = absl::UnavailableError("the download ended early");
    RETURN_IF_ERROR(reconnect.Next(status));
  }
  if (offset != blob.size_bytes() || hash.FinishHex() != blob.sha256()) {
    std::remove(part.c_str());
    return absl::DataLossError(absl::StrCat("the bytes of ", BlobName(blob),
                                            " do not have their digest; they were discarded"));
  }
  if (fsync(file.get()) != 0) return ErrnoStatus(errno, absl::StrCat("cannot sync ", part));
  return absl::OkStatus();
}

absl::Status Client::Download(const v1::BlobRef& blob, const std::string& path, bool overwrite,
                              const TransferProgress& progress, CancelToken* cancel) {
  namespace fs = std::filesystem;
  if (fs::is_directory(path)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is a folder; name a file"));
  }
  if (!overwrite && fs::exists(path)) {
    return absl::AlreadyExistsError(absl::StrCat(path, " exists; nothing was written"));
  }
  const std::string part = path + ".part";
  const bool resumed = fs::exists(part);
  absl::Status status = Fetch(blob, part, progress, cancel);
  if (absl::IsDataLoss(status) && resumed && !IsServerError(status)) {
    status = Fetch(blob, part, progress, cancel);  // the old part was of something else
  }
  RETURN_IF_ERROR(status);
  if (std::rename(part.c_str(), path.c_str()) != 0) {
    return ErrnoStatus(errno, absl::StrCat("cannot rename ", part));
  }
  const fs::path folder = fs::path(path).parent_path();
  return SyncFolder(folder.empty() ? "." : folder.string());
}

}  // namespace adamant
