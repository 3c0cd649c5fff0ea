// SPDX-License-Identifier: Apache-2.0
// Blobs: upload, upload_resume, upload_dedup.
#include <fcntl.h>
#include <unistd.h>

#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "common/sha256.h"
#include "tests/bench/service/bench.h"

namespace adamant::bench {
namespace {

constexpr int64_t kChunk = 256 << 10;
constexpr int64_t kMegabyte = 1 << 20;

// Bytes that do not compress and that any part of can be made again.
class Content {
 public:
  Content(uint64_t seed, int64_t size) : size_(size), block_(static_cast<size_t>(kPeriod), '\0') {
    std::mt19937_64 random(seed);
    for (size_t i = 0; i < block_.size(); i += 8) {
      const uint64_t bits = random();
      block_.replace(i, 8, reinterpret_cast<const char*>(&bits), 8);
    }
    Sha256 hash;
    for (int64_t offset = 0; offset < size_; offset += kChunk) hash.Update(At(offset));
    blob_.set_sha256(hash.FinishHex());
    blob_.set_size_bytes(size_);
  }

  absl::string_view At(int64_t offset) const {
    const int64_t length = std::min(kChunk, size_ - offset);
    return absl::string_view(block_).substr(static_cast<size_t>(offset % kPeriod),
                                            static_cast<size_t>(length));
  }
  const v1::BlobRef& blob() const { return blob_; }
  std::string Resource() const {
    return absl::StrCat("uploads/01234567-89ab-4cde-8f01-23456789abcd/blobs/", blob_.sha256(), "/",
                        size_);
  }

 private:
  static constexpr int64_t kPeriod = 64 * kMegabyte;
  const int64_t size_;
  std::string block_;
  v1::BlobRef blob_;
};

constexpr int64_t kBroken = -1;
constexpr int64_t kRefused = -2;  // an earlier call may still be ending

// Sends from `offset`; breaks the connection at `stop_at`. The committed size, kBroken or kRefused.
int64_t Send(Stubs& stubs, const Content& content, int64_t offset, int64_t stop_at) {
  grpc::ClientContext context;
  v1::WriteResponse response;
  const auto writer = stubs.blobs->Write(&context, &response);
  v1::WriteRequest request;
  request.set_resource_name(content.Resource());
  const int64_t size = content.blob().size_bytes();
  while (offset < size) {
    const absl::string_view bytes = content.At(offset);
    request.set_write_offset(offset);
    request.set_data(bytes.data(), bytes.size());
    offset += static_cast<int64_t>(bytes.size());
    request.set_finish_write(offset == size);
    if (!writer->Write(request)) break;
    request.clear_resource_name();
    if (offset < stop_at) continue;
    context.TryCancel();
    const bool refused = writer->Finish().error_code() != grpc::StatusCode::CANCELLED;
    return refused ? kRefused : kBroken;
  }
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  const bool moved = status.error_code() == grpc::StatusCode::INVALID_ARGUMENT;  // BAD_OFFSET
  if (moved || status.error_code() == grpc::StatusCode::UNAVAILABLE) return kRefused;
  if (!status.ok()) Die(absl::StrCat("Write: ", status.error_message()));
  return response.committed_size();
}

int64_t Committed(Stubs& stubs, const Content& content) {
  v1::QueryWriteStatusRequest request;
  request.set_resource_name(content.Resource());
  v1::QueryWriteStatusResponse response;
  grpc::ClientContext context;
  return stubs.blobs->QueryWriteStatus(&context, request, &response).ok()
             ? response.committed_size()
             : 0;
}

double ThreadSeconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// CPU seconds that SHA-256 alone takes for a gigabyte.
double HashSeconds(int64_t size) {
  const std::string block(static_cast<size_t>(kMegabyte), 'x');
  const double start = ThreadSeconds();
  Sha256 hash;
  for (int64_t done = 0; done < size; done += kMegabyte) hash.Update(block);
  hash.Finish();
  return (ThreadSeconds() - start) / (1e-9 * static_cast<double>(size));
}

struct DiskCost {
  double speed = 0;        // gigabytes per second
  double cpu_seconds = 0;  // per gigabyte
};

// Of a plain synced write into the same file system.
DiskCost MeasureDisk(const std::string& folder, int64_t size) {
  const std::string path = folder + "/disk-speed";
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const std::string block(static_cast<size_t>(kMegabyte), 'x');
  const double start = Now();
  const double cpu_start = ThreadSeconds();
  for (int64_t done = 0; done < size; done += kMegabyte) {
    if (write(fd, block.data(), block.size()) < 0) Die("the disk is full");
  }
  fsync(fd);
  const double gigabytes = 1e-9 * static_cast<double>(size);
  const DiskCost cost{gigabytes / (Now() - start), (ThreadSeconds() - cpu_start) / gigabytes};
  close(fd);
  unlink(path.c_str());
  return cost;
}

BenchResult RunUpload(const BenchOptions& options) {
  const int64_t size = (options.n > 0 ? options.n : 4096) * kMegabyte;
  const Content content(options.seed, size);
  BenchServer server;
  Stubs stubs(server.address());
  const DiskCost disk = MeasureDisk(server.data_dir(), size / 4);
  const double cpu_before = CpuSeconds(server.pid());
  const double start = Now();
  if (Send(stubs, content, 0, size + 1) != size) Die("the upload is not complete");
  const double wall = Now() - start;
  const double cpu = CpuSeconds(server.pid()) - cpu_before;
  BenchResult result;
  result.n = size / kMegabyte;
  const double gigabytes = 1e-9 * static_cast<double>(size);
  result.value = gigabytes / cpu;
  result.unit = "GB per server CPU-second";
  result.note = absl::StrFormat(
      "%.2f GB/s of wall time, %.2f x a plain synced write of a quarter of it (%.2f GB/s); CPU "
      "seconds per GB: %.2f, of which hashing alone takes %.2f and such a write %.2f",
      gigabytes / wall, gigabytes / wall / disk.speed, disk.speed, cpu / gigabytes,
      HashSeconds(size / 4), disk.cpu_seconds);
  return result;
}

BenchResult RunUploadResume(const BenchOptions& options) {
  const int64_t breaks = options.n > 0 ? options.n : 20;
  constexpr int64_t kSize = 512 * kMegabyte;
  const Content content(options.seed, kSize);
  BenchServer server;
  std::mt19937_64 random(options.seed);
  int64_t worst = 0;
  int64_t committed = 0;
  for (int64_t i = 0; i < breaks; ++i) {
    const int64_t step = (kSize - committed) / (breaks - i + 1);
    const int64_t stop_at =
        committed + kChunk + static_cast<int64_t>(random() % static_cast<uint64_t>(2 * step));
    if (stop_at >= kSize) break;
    for (int64_t sent = kRefused; sent == kRefused;) {
      Stubs stubs(server.address());
      sent = Send(stubs, content, Committed(stubs, content), stop_at);
    }
    Stubs stubs(server.address());
    const int64_t now = Committed(stubs, content);
    if (now < committed) Die("the committed size decreased");
    worst = std::max(worst, stop_at - now);
    committed = now;
  }
  Stubs stubs(server.address());
  // An earlier call may still be ending, and commit more.
  while (Send(stubs, content, Committed(stubs, content), kSize + 1) != kSize)
    absl::SleepFor(absl::Milliseconds(20));
  BenchResult result;
  result.n = breaks;
  result.value = static_cast<double>(worst) / kMegabyte;
  result.unit = "MiB lost by the worst break";
  result.note = "sent bytes minus committed ones; bytes still in the sockets count as lost";
  return result;
}

BenchResult RunUploadDedup(const BenchOptions& options) {
  const Content content(options.seed, 1000 * kMegabyte);
  BenchServer server;
  Stubs stubs(server.address());
  Send(stubs, content, 0, content.blob().size_bytes() + 1);
  std::vector<double> seconds;
  for (int64_t i = 0; i < (options.n > 0 ? options.n : 20); ++i) {
    v1::FindMissingBlobsRequest request;
    *request.add_blobs() = content.blob();
    v1::FindMissingBlobsResponse response;
    grpc::ClientContext context;
    const double start = Now();
    if (!stubs.blobs->FindMissingBlobs(&context, request, &response).ok() ||
        response.missing_size() > 0)
      Die("the blob is missing");
    v1::TrainJobRequest training = FakeTraining(testing::kSucceed);
    training.mutable_spec()->mutable_model()->mutable_weights()->mutable_architecture()->set_name(
        "mini_gap");
    *training.mutable_spec()->mutable_model()->mutable_weights()->mutable_blob() = content.blob();
    Submit(stubs, training);
    seconds.push_back(Now() - start);
  }
  BenchResult result = Milliseconds(std::move(seconds));
  result.note = "FindMissingBlobs and a submit that names the blob, after hashing";
  return result;
}

}  // namespace

std::vector<BenchRow> TransferRows() {
  return {{"upload", ">= 1.0 GB per server CPU-second, >= 0.8 x disk speed", RunUpload},
          {"upload_resume", "a break loses <= 64 MiB", RunUploadResume},
          {"upload_dedup", "p99 < 1000 ms", RunUploadDedup}};
}

}  // namespace adamant::bench
