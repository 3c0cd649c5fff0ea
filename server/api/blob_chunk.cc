// SPDX-License-Identifier: Apache-2.0
#include "server/api/blob_chunk.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <algorithm>

#include "adamant/v1/blob.pb.h"
#include "server/api/status.h"

namespace adamant {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using Request = v1::WriteRequest;

constexpr uint32_t kResourceName = WireFormatLite::MakeTag(
    Request::kResourceNameFieldNumber, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
constexpr uint32_t kWriteOffset =
    WireFormatLite::MakeTag(Request::kWriteOffsetFieldNumber, WireFormatLite::WIRETYPE_VARINT);
constexpr uint32_t kData =
    WireFormatLite::MakeTag(Request::kDataFieldNumber, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
constexpr uint32_t kCrc32c =
    WireFormatLite::MakeTag(Request::kCrc32CFieldNumber, WireFormatLite::WIRETYPE_FIXED32);
constexpr uint32_t kFinishWrite =
    WireFormatLite::MakeTag(Request::kFinishWriteFieldNumber, WireFormatLite::WIRETYPE_VARINT);

bool ReadName(CodedInputStream& input, BlobChunk& chunk) {
  uint32_t size = 0;
  return input.ReadVarint32(&size) &&
         input.ReadString(&chunk.resource_name, static_cast<int>(size));
}

bool ReadPieces(CodedInputStream& input, BlobChunk& chunk) {
  uint32_t left = 0;
  if (!input.ReadVarint32(&left)) return false;
  chunk.pieces.clear();  // of several values of a field the last one counts
  chunk.data_bytes = left;
  while (left > 0) {
    const void* bytes = nullptr;
    int size = 0;
    if (!input.GetDirectBufferPointer(&bytes, &size)) return false;
    size = static_cast<int>(std::min<uint32_t>(left, static_cast<uint32_t>(size)));
    chunk.pieces.emplace_back(static_cast<const char*>(bytes), static_cast<size_t>(size));
    if (!input.Skip(size)) return false;
    left -= static_cast<uint32_t>(size);
  }
  return true;
}

bool ReadOffset(CodedInputStream& input, BlobChunk& chunk) {
  uint64_t value = 0;
  if (!input.ReadVarint64(&value)) return false;
  chunk.write_offset = static_cast<int64_t>(value);
  return true;
}

bool ReadCrc(CodedInputStream& input, BlobChunk& chunk) {
  uint32_t value = 0;
  if (!input.ReadLittleEndian32(&value)) return false;
  chunk.crc32c = value;
  return true;
}

bool ReadFinish(CodedInputStream& input, BlobChunk& chunk) {
  uint64_t value = 0;
  if (!input.ReadVarint64(&value)) return false;
  chunk.finish_write = value != 0;
  return true;
}

bool ReadField(uint32_t tag, CodedInputStream& input, BlobChunk& chunk) {
  switch (tag) {
    case kResourceName:
      return ReadName(input, chunk);
    case kWriteOffset:
      return ReadOffset(input, chunk);
    case kData:
      return ReadPieces(input, chunk);
    case kCrc32c:
      return ReadCrc(input, chunk);
    case kFinishWrite:
      return ReadFinish(input, chunk);
    default:
      return WireFormatLite::SkipField(&input, tag);
  }
}

}  // namespace

absl::StatusOr<BlobChunk> ParseBlobChunk(grpc::ByteBuffer& buffer) {
  grpc::ProtoBufferReader reader(&buffer);
  BlobChunk chunk;
  bool good = reader.status().ok();
  if (good) {
    CodedInputStream input(&reader);
    uint32_t tag;
    while (good && (tag = input.ReadTag()) != 0) good = ReadField(tag, input, chunk);
    good = good && input.ConsumedEntireMessage();
  }
  if (!good) return InvalidField("", "INVALID_SPEC", "the message is not a WriteRequest");
  return chunk;
}

}  // namespace adamant
