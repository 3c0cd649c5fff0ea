// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "client/client.h"
#include "tests/support/api/api_rig.h"
#include "tests/support/blobs/write_call.h"
#include "tests/support/programs/program.h"
#include "tests/support/slowdown.h"

namespace adamant {
namespace {

using namespace testing;  // NOLINT: rigs and calls

// Sends a blob of `count` equal pieces; `pause` passes on the server's clock after each.
class SlowLink {
 public:
  void Upload(const std::string& piece, int count, absl::Duration pause) {
    Sha256 hash;
    for (int i = 0; i < count; ++i) hash.Update(piece);
    const int64_t size = static_cast<int64_t>(piece.size()) * count;
    WriteCall call(*rig_.blobs, absl::StrCat("blobs/", hash.FinishHex(), "/", size));
    for (int i = 1; i <= count; ++i) {
      ASSERT_TRUE(call.Send(piece, i == count));
      if (i == count) break;
      const double taken = static_cast<double>(piece.size()) * i;
      ASSERT_TRUE(Eventually([&] { return UploadedBytes(rig_.metrics.Text()) == taken; }));
      clock_.Advance(pause);
    }
    const grpc::Status status = call.Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(call.committed(), size);
  }

 private:
  ManualClock clock_;
  ApiRig rig_{{.adjust = [this](ServiceParts& parts) {
    parts.uploads.now = [this] { return clock_.Now(); };
    parts.uploads.check_every = absl::Milliseconds(5);
  }}};
};

// The number in an environment variable; 0 when it is not set.
int64_t Gibibytes(const char* variable) {
  const char* wanted = std::getenv(variable);
  return wanted == nullptr ? 0 : std::atoi(wanted);
}

// The slow link is simulated: the server's clock moves as if the bytes came at 20 MB/s. By default
// these are 2 MiB at 20 kB/s, which is as long (107 s) and as many idle time-outs (1.8) as the 2
// GiB of the contract; ADAMANT_T19_GIB sends so many GiB instead.
TEST(T19, UploadOverASlowLinkSucceeds) {
  const int64_t gib = Gibibytes("ADAMANT_T19_GIB");
  if (gib == 0)
    return SlowLink().Upload(std::string(64 << 10, 's'), 32, absl::Seconds(65536 / 20e3));
  SlowLink().Upload(std::string(1 << 20, 's'), static_cast<int>(gib) << 10,
                    absl::Seconds(1048576 / 20e6));
}

int64_t MemoryKilobytes(pid_t pid, const std::string& field) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  std::string word;
  int64_t value = 0;
  while (status >> word) {
    if (word == field + ":" && status >> value) return value;
  }
  return -1;
}

// ADAMANT_T20_GIB sets the size of the blob; 6 is the size of the contract.
TEST(T20, ALargeUploadDoesNotGrowTheServer) {
  if (Slowdown() > 1) GTEST_SKIP() << "a sanitizer keeps freed memory for a while";
  const int64_t gib = std::max<int64_t>(Gibibytes("ADAMANT_T20_GIB"), 1);
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/sparse";
  std::ofstream(path).close();
  std::filesystem::resize_file(path, static_cast<uintmax_t>(gib) << 30);
  ServerProcess server(
      folder.path() + "/data",
      {"--worker", std::string(ADAMANT_TEST_PROGRAMS) + "/fake_worker", "--warm-spares", "0"});
  std::ofstream("/proc/" + std::to_string(server.pid()) + "/clear_refs") << "5";  // forget the peak
  const int64_t before = MemoryKilobytes(server.pid(), "VmRSS");
  const auto client = Client::Create(server.address());
  ASSERT_TRUE(client.ok()) << client.status();
  const auto blob = (*client)->Upload(path);
  ASSERT_TRUE(blob.ok()) << blob.status();
  EXPECT_EQ(blob->size_bytes(), gib << 30);
  const int64_t growth = MemoryKilobytes(server.pid(), "VmHWM") - before;
  EXPECT_GT(before, 0);
  EXPECT_LT(growth, 64 << 10) << "kilobytes";
}

// 40 messages, 50 s of the server's clock apart: longer than the deadline of any unary call and 33
// times the idle time-out.
TEST(T22, ATrickleLongerThanAnyUnaryDeadlineEndsWell) {
  SlowLink().Upload(std::string(100, 't'), 40, absl::Seconds(50));
}

TEST(T22, ABrokenUploadResumesAtWhatIsDurable) {
  ApiRig rig;
  const std::string bytes(4 << 20, 'r');
  const std::string name = ApiRig::NameOf(bytes);
  {
    WriteCall call(*rig.blobs, name);
    for (size_t i = 0; i < 3; ++i) ASSERT_TRUE(call.Send(bytes.substr(i << 20, 1 << 20)));
    ASSERT_TRUE(Eventually([&] { return UploadedBytes(rig.metrics.Text()) == 3 << 20; }));
    call.Break();
    EXPECT_FALSE(call.AwaitEnd().ok());
  }
  ASSERT_TRUE(Eventually([&] { return CommittedSize(*rig.blobs, name) == 3 << 20; }));
  ASSERT_TRUE(Eventually([&] {  // the server has put the broken call away
    return SampleOf(rig.metrics.Text(),
                    "adamant_blob_transfers_total{direction=\"upload\",result="
                    "\"aborted\"}") == 1;
  }));
  WriteCall rest(*rig.blobs, name);
  rest.GoOnAt(3 << 20);
  rest.Send(bytes.substr(3 << 20), true);
  const grpc::Status status = rest.Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(rest.committed(), 4 << 20);
}

TEST(T22, AKilledServerLosesAtMost64Mebibytes) {
  const TemporaryFolder folder;
  const std::vector<std::string> arguments = {
      "--worker", std::string(ADAMANT_TEST_PROGRAMS) + "/fake_worker", "--warm-spares", "0"};
  const std::string piece(1 << 20, 'k');
  Sha256 hash;
  for (int i = 0; i < 72; ++i) hash.Update(piece);
  const std::string name = absl::StrCat("blobs/", hash.FinishHex(), "/", 72 << 20);
  {
    ServerProcess server(folder.path() + "/data", arguments);
    const auto stub = v1::BlobService::NewStub(
        grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials()));
    WriteCall call(*stub, name);
    for (int i = 0; i < 70; ++i) ASSERT_TRUE(call.Send(piece));
    ASSERT_TRUE(Eventually([&] { return CommittedSize(*stub, name) == 48 << 20; }));
    server.Kill();
    EXPECT_FALSE(call.AwaitEnd().ok());
  }
  ServerProcess server(folder.path() + "/data", arguments);
  const auto stub = v1::BlobService::NewStub(
      grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials()));
  const int64_t durable = CommittedSize(*stub, name);
  ASSERT_GE(durable, 48 << 20);
  WriteCall rest(*stub, name);
  rest.GoOnAt(durable);
  for (int64_t at = durable; at < 72 << 20; at += 1 << 20) {
    const int64_t size = std::min<int64_t>(1 << 20, (72 << 20) - at);
    rest.Send(piece.substr(0, static_cast<size_t>(size)), at + size == 72 << 20);
  }
  const grpc::Status status = rest.Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(rest.committed(), 72 << 20);
}

}  // namespace
}  // namespace adamant
