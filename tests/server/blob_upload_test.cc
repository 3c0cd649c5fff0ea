// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include "google/rpc/error_details.pb.h"
#include "server/api/blob_chunk.h"
#include "server/api/crc32c.h"
#include "server/store/await.h"
#include "tests/support/api/api_rig.h"
#include "tests/support/blobs/write_call.h"

namespace adamant {
namespace {

using namespace testing;  // NOLINT: rigs and calls

// A rig whose idle time-out follows a clock of the test.
class BlobUploadTest : public ::testing::Test {
 protected:
  bool Counted(const std::string& result, int count) {
    const std::string sample =
        "adamant_blob_transfers_total{direction=\"upload\",result=\"" + result + "\"}";
    return Eventually([&] { return SampleOf(rig_.metrics.Text(), sample) == count; });
  }
  // Until the server has taken so many bytes of uploads.
  bool Taken(int64_t bytes) {
    return Eventually(
        [&] { return UploadedBytes(rig_.metrics.Text()) == static_cast<double>(bytes); });
  }
  absl::StatusOr<std::vector<v1::BlobRef>> Missing(const std::string& tenant,
                                                   const std::string& bytes) {
    return adamant::Await<std::vector<v1::BlobRef>>([&](auto reply) {
      rig_.jobs.store().FindMissingBlobs(tenant, {ApiRig::RefOf(bytes)}, absl::Now(), reply);
    });
  }

  ManualClock clock_;
  DiskSpace space_{1000, 1000};
  DiskLedger ledger_{{.folder = "/", .reserve_bytes = 0, .space = [this] { return space_; }}};
  ApiRig rig_{{.blobs = {.ledger = &ledger_}, .adjust = [this](ServiceParts& parts) {
                 parts.uploads.now = [this] { return clock_.Now(); };
                 parts.uploads.check_every = absl::Milliseconds(5);
                 parts.uploads.admit_tenant = [this](int64_t bytes) {
                   return ledger_.AdmitTenant(bytes);
                 };
               }}};
};

TEST_F(BlobUploadTest, EndsAfterAMinuteWithoutBytesAndKeepsWhatCame) {
  WriteCall call(*rig_.blobs, ApiRig::NameOf("hello"));
  ASSERT_TRUE(call.Send("hel"));
  ASSERT_TRUE(Taken(3));
  clock_.Advance(absl::Seconds(59));
  ASSERT_TRUE(call.Send("l"));
  ASSERT_TRUE(Taken(4));
  clock_.Advance(absl::Seconds(59));
  ASSERT_TRUE(call.Send(""));  // the last byte counts, not the first
  clock_.Advance(absl::Seconds(61));
  const grpc::Status status = call.AwaitEnd();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED) << status.error_message();
  EXPECT_EQ(CommittedSize(*rig_.blobs, ApiRig::NameOf("hello")), 4);
  EXPECT_TRUE(Counted("aborted", 1));
}

TEST_F(BlobUploadTest, TakesAtMostFourAtATimeAndSaysWhenToTryAgain) {
  std::vector<std::unique_ptr<WriteCall>> calls;
  for (int i = 0; i < 4; ++i) {
    calls.push_back(
        std::make_unique<WriteCall>(*rig_.blobs, ApiRig::NameOf("b" + std::to_string(i)), i));
    ASSERT_TRUE(calls.back()->Send("b"));
  }
  ASSERT_TRUE(Taken(4));
  WriteCall fifth(*rig_.blobs, ApiRig::NameOf("fifth"), 5);
  fifth.Send("f");
  const grpc::Status refused = fifth.AwaitEnd();
  EXPECT_EQ(Reason(refused), "QUOTA_UPLOADS");
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(refused.error_details()));
  EXPECT_TRUE(std::any_of(details.details().begin(), details.details().end(), [](const auto& any) {
    return any.template Is<google::rpc::RetryInfo>();
  }));
  calls[0]->Send("0", true);
  EXPECT_TRUE(calls[0]->Finish().ok());
  WriteCall again(*rig_.blobs, ApiRig::NameOf("fifth"), 5);
  again.Send("fifth", true);
  EXPECT_TRUE(again.Finish().ok());
}

TEST_F(BlobUploadTest, AnswersAtOnceWhenTheBlobBecomesCompleteMeanwhile) {
  WriteCall slow(*rig_.blobs, ApiRig::NameOf("hello"), 1);
  ASSERT_TRUE(slow.Send("he"));
  ASSERT_TRUE(Taken(2));
  WriteCall quick(*rig_.blobs, ApiRig::NameOf("hello"), 2);
  quick.Send("hello", true);
  ASSERT_TRUE(quick.Finish().ok());
  const grpc::Status status = slow.AwaitEnd();  // without another byte
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(slow.committed(), 5);
  EXPECT_TRUE(Counted("dedup", 1));
  EXPECT_TRUE(Counted("ok", 1));
}

TEST_F(BlobUploadTest, LetsAClientThatCameBackTakeOverFromItsOldCall) {
  WriteCall old(*rig_.blobs, ApiRig::NameOf("hello"));
  ASSERT_TRUE(old.Send("he"));
  ASSERT_TRUE(Taken(2));
  const auto resume = [&] {
    WriteCall call(*rig_.blobs, ApiRig::NameOf("hello"));
    call.GoOnAt(std::max<int64_t>(CommittedSize(*rig_.blobs, ApiRig::NameOf("hello")), 0));
    call.Send("llo", true);
    return call.Finish();
  };
  EXPECT_EQ(Reason(resume()), "RESOURCE_IN_USE");
  EXPECT_EQ(old.AwaitEnd().error_code(), grpc::StatusCode::ABORTED);
  grpc::Status status;
  EXPECT_TRUE(Eventually([&] { return (status = resume()).ok(); })) << status.error_message();
  EXPECT_TRUE(Counted("resumed", 1));
}

TEST_F(BlobUploadTest, RefusesADamagedChunkByItsChecksum) {
  WriteCall call(*rig_.blobs, ApiRig::NameOf("hello"));
  v1::WriteRequest first;
  first.set_resource_name(WriteCall::ResourceName(ApiRig::NameOf("hello")));
  first.set_crc32c(Crc32c("hel"));
  ASSERT_TRUE(call.SendRequest(first, "hel"));
  v1::WriteRequest damaged;
  damaged.set_crc32c(Crc32c("lo"));
  call.SendRequest(damaged, "lO", true);
  EXPECT_EQ(Reason(call.Finish()), "DIGEST_MISMATCH");
  EXPECT_EQ(CommittedSize(*rig_.blobs, ApiRig::NameOf("hello")), 3);
  EXPECT_TRUE(Counted("mismatch", 1));
}

TEST_F(BlobUploadTest, RefusesWhenTheDiskIsFullAndTakesTheSameUploadLater) {
  space_.free_bytes = 54;  // 50 are kept, 5 are wanted
  EXPECT_EQ(Reason(rig_.Upload("hello")), "STORAGE_FULL");
  space_.free_bytes = 55;
  EXPECT_TRUE(rig_.Upload("hello").ok());
}

TEST_F(BlobUploadTest, RefusesMoreThanHalfOfTheVolumeToOneTenant) {
  EXPECT_EQ(Reason(rig_.Upload(std::string(501, 'x'))), "QUOTA_BYTES");
  EXPECT_TRUE(rig_.Upload(std::string(500, 'x')).ok());
}

TEST_F(BlobUploadTest, ShowsADigestOnlyToTheTenantThatUploadedIt) {
  const v1::BlobRef blob = rig_.jobs.blobs().PutBytes("secret").value();
  ASSERT_TRUE(adamant::Await<Done>([&](auto reply) {
                rig_.jobs.store().PutBlobs("other", {blob}, absl::Now(), reply);
              }).ok());
  v1::ReadRequest read;
  read.set_name(ApiRig::NameOf("secret"));
  v1::ReadResponse chunk;
  grpc::ClientContext context;
  const auto reader = rig_.blobs->Read(&context, read);
  EXPECT_FALSE(reader->Read(&chunk));
  EXPECT_EQ(Reason(reader->Finish()), "BLOB_NOT_FOUND");
  EXPECT_EQ(Missing("local", "secret").value().size(), 1u);
  EXPECT_EQ(CommittedSize(*rig_.blobs, ApiRig::NameOf("secret")), -1);
  // Not answered from the other tenant's copy: the bytes must come, and be the right ones.
  EXPECT_EQ(Reason(rig_.Upload("sec", ApiRig::NameOf("secret"))), "DIGEST_MISMATCH");
  EXPECT_EQ(Missing("local", "secret").value().size(), 1u);
  EXPECT_TRUE(rig_.Upload("secret").ok());
  EXPECT_EQ(Missing("local", "secret").value().size(), 0u);
  EXPECT_EQ(rig_.jobs.blobs().totals().count, 1);
}

grpc::ByteBuffer BufferOf(const std::string& wire, size_t slice_bytes) {
  std::vector<grpc::Slice> slices;
  for (size_t i = 0; i < wire.size(); i += slice_bytes)
    slices.emplace_back(wire.substr(i, slice_bytes));
  return grpc::ByteBuffer(slices.data(), slices.size());
}

TEST(BlobChunk, ReadsWhatProtobufWritesHoweverItIsSliced) {
  v1::WriteRequest request;
  request.set_resource_name("uploads/x");
  request.set_write_offset(int64_t{1} << 40);
  request.set_data(std::string(300, 'd') + "end");
  request.set_crc32c(0xFFFFFFFE);
  request.set_finish_write(true);
  for (const size_t slice_bytes : {1, 2, 7, 100, 1000}) {
    grpc::ByteBuffer buffer = BufferOf(request.SerializeAsString(), slice_bytes);
    const absl::StatusOr<BlobChunk> chunk = ParseBlobChunk(buffer);
    ASSERT_TRUE(chunk.ok()) << chunk.status();
    EXPECT_EQ(chunk->resource_name, request.resource_name());
    EXPECT_EQ(chunk->write_offset, request.write_offset());
    EXPECT_EQ(chunk->crc32c, request.crc32c());
    EXPECT_TRUE(chunk->finish_write);
    std::string data;
    for (const absl::string_view piece : chunk->pieces) data += std::string(piece);
    EXPECT_EQ(data, request.data());
    EXPECT_EQ(chunk->data_bytes, 303);
    EXPECT_EQ(Crc32c(chunk->pieces), Crc32c(request.data()));
  }
}

TEST(BlobChunk, TakesAnEmptyMessageAndSkipsFieldsItDoesNotKnow) {
  grpc::ByteBuffer nothing = BufferOf("", 1);
  const absl::StatusOr<BlobChunk> empty = ParseBlobChunk(nothing);
  ASSERT_TRUE(empty.ok()) << empty.status();
  EXPECT_FALSE(empty->crc32c.has_value());
  EXPECT_EQ(empty->data_bytes, 0);
  grpc::ByteBuffer unknown = BufferOf(std::string("\x7A\x02hi\x28\x01", 6), 3);  // field 15
  EXPECT_TRUE(ParseBlobChunk(unknown)->finish_write);
}

TEST(BlobChunk, RefusesBytesThatAreNoMessage) {
  for (const std::string& wire : {std::string("\x1A\x7F short", 8), std::string("\x25\x01", 2),
                                  std::string("\x10", 1), std::string("\x07", 1)}) {
    grpc::ByteBuffer buffer = BufferOf(wire, 4);
    EXPECT_EQ(ReasonOf(ParseBlobChunk(buffer).status()), "INVALID_SPEC");
  }
}

TEST(BlobChunk, HasTheChecksumOfTheTableWhateverTheLength) {
  // Bit by bit, as RFC 3720 defines it.
  const auto slowly = [](const std::string& bytes) {
    uint32_t crc = 0xFFFFFFFF;
    for (const char c : bytes) {
      crc ^= static_cast<uint8_t>(c);
      for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? (crc >> 1) ^ 0x82F63B78 : crc >> 1;
    }
    return ~crc;
  };
  std::string bytes;
  for (int i = 0; i < 40; ++i) {
    EXPECT_EQ(Crc32c(bytes), slowly(bytes)) << bytes.size();
    bytes += static_cast<char>(i * 37);
  }
}

}  // namespace
}  // namespace adamant
