// SPDX-License-Identifier: Apache-2.0
#include "core/models/safetensors.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "core/base/canonical_json.h"
#include "core/base/torch.h"
#include "core/models/safetensors_header.h"

namespace adamant {
namespace {

constexpr uint64_t kMaxHeaderBytes = 1 << 20;
constexpr size_t kLengthBytes = 8;
constexpr size_t kAlignment = 64;

struct DtypeName {
  const char* name;
  at::ScalarType type;
};
constexpr DtypeName kDtypes[] = {{"F64", at::kDouble},    {"F32", at::kFloat}, {"F16", at::kHalf},
                                 {"BF16", at::kBFloat16}, {"I64", at::kLong},  {"U8", at::kByte},
                                 {"BOOL", at::kBool}};

absl::StatusOr<at::ScalarType> DtypeOf(const SafetensorsEntry& entry) {
  for (const DtypeName& dtype : kDtypes) {
    if (entry.dtype == dtype.name) return dtype.type;
  }
  return absl::InvalidArgumentError(absl::StrCat("ST-08 BAD_DTYPE: unknown dtype ", entry.dtype,
                                                 " of tensor ", entry.name,
                                                 "; known: F64, F32, F16, BF16, I64, U8, BOOL"));
}

// ST-09. A product that overflows matches no size.
absl::Status CheckSize(const SafetensorsEntry& entry, at::ScalarType type) {
  int64_t bytes = static_cast<int64_t>(c10::elementSize(type));
  bool overflow = false;
  for (int64_t side : entry.shape) overflow |= __builtin_mul_overflow(bytes, side, &bytes);
  if (!overflow && entry.begin <= entry.end && bytes == entry.end - entry.begin) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("ST-09 SIZE_MISMATCH: shape of ", entry.name, " does not match its data size: [",
                   absl::StrJoin(entry.shape, ","), "] of ", entry.dtype, ", offsets ", entry.begin,
                   " to ", entry.end));
}

// ST-10. `entries` are sorted by begin.
absl::Status CheckLayout(const std::vector<SafetensorsEntry>& entries, int64_t data_size) {
  const auto error = [](int64_t offset, const auto&... what) {
    return absl::InvalidArgumentError(
        absl::StrCat("ST-10 LAYOUT: ", what..., " (offset ", offset, ")"));
  };
  const SafetensorsEntry* last = nullptr;
  int64_t end = 0;
  for (const SafetensorsEntry& entry : entries) {
    if (entry.begin < end) {
      return error(entry.begin, "tensors ", last->name, " and ", entry.name, " overlap");
    }
    if (entry.begin > end) return error(end, "unused bytes before tensor ", entry.name);
    if (entry.end > data_size) {
      return error(entry.begin, "tensor ", entry.name, " lies outside the file: it ends at ",
                   entry.end, ", the data at ", data_size);
    }
    last = &entry;
    end = entry.end;
  }
  if (end != data_size) return error(end, "trailing bytes after the last tensor");
  return absl::OkStatus();
}

absl::Status CheckBooleans(const SafetensorsEntry& entry, absl::string_view bytes) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (static_cast<unsigned char>(bytes[i]) > 1) {
      return absl::InvalidArgumentError(absl::StrCat("ST-12 BAD_VALUE: tensor ", entry.name,
                                                     " is BOOL, byte ", i, " is neither 0 nor 1"));
    }
  }
  return absl::OkStatus();
}

at::Tensor TensorOver(absl::string_view bytes, const std::vector<int64_t>& shape,
                      at::ScalarType type, const std::shared_ptr<const FileView>& file) {
  const auto address = reinterpret_cast<uintptr_t>(bytes.data());
  if (bytes.empty() || address % c10::elementSize(type) != 0) {
    at::Tensor copy = torch::empty(shape, type);
    std::memcpy(copy.mutable_data_ptr(), bytes.data(), bytes.size());
    return copy;
  }
  return torch::from_blob(const_cast<char*>(bytes.data()), shape, [file](void*) {}, type);
}

absl::StatusOr<absl::string_view> HeaderOf(absl::string_view bytes) {
  const auto error = [](const auto&... what) {
    return absl::InvalidArgumentError(absl::StrCat("ST-01 HEADER_SIZE: ", what...));
  };
  if (bytes.size() < kLengthBytes + 2)
    return error("a file of ", bytes.size(), " bytes is too short");
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  }
  if (length > bytes.size() - kLengthBytes) {
    return error("header length exceeds the file: ", length, " bytes announced, ",
                 bytes.size() - kLengthBytes, " there (offset 0)");
  }
  if (length < 2 || length > kMaxHeaderBytes) {
    return error("header length ", length, " is not between 2 and ", kMaxHeaderBytes,
                 " (offset 0)");
  }
  return bytes.substr(kLengthBytes, length);
}

}  // namespace

absl::StatusOr<Safetensors> ParseSafetensors(std::shared_ptr<const FileView> file) {
  ASSIGN_OR_RETURN(const absl::string_view text, HeaderOf(file->bytes()));
  ASSIGN_OR_RETURN(SafetensorsHeader header, ParseSafetensorsHeader(text));
  const absl::string_view data = file->bytes().substr(kLengthBytes + text.size());
  for (const SafetensorsEntry& entry : header.entries) {
    ASSIGN_OR_RETURN(const at::ScalarType type, DtypeOf(entry));
    RETURN_IF_ERROR(CheckSize(entry, type));
  }
  std::stable_sort(header.entries.begin(), header.entries.end(), [](const auto& a, const auto& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  RETURN_IF_ERROR(CheckLayout(header.entries, static_cast<int64_t>(data.size())));
  Safetensors out;
  for (const SafetensorsEntry& entry : header.entries) {
    const at::ScalarType type = *DtypeOf(entry);
    const absl::string_view bytes =
        data.substr(static_cast<size_t>(entry.begin), static_cast<size_t>(entry.end - entry.begin));
    if (type == at::kBool) RETURN_IF_ERROR(CheckBooleans(entry, bytes));
    out.tensors[entry.name] = TensorOver(bytes, entry.shape, type, file);
  }
  out.metadata = std::move(header.metadata);
  out.file = std::move(file);
  return out;
}

std::string WriteSafetensors(const std::map<std::string, at::Tensor>& tensors,
                             const std::map<std::string, std::string>& metadata) {
  std::vector<std::string> members;
  std::vector<std::string> pairs;
  for (const auto& [key, value] : metadata) {
    pairs.push_back(absl::StrCat(JsonQuoted(key), ":", JsonQuoted(value)));
  }
  members.push_back(absl::StrCat("\"__metadata__\":{", absl::StrJoin(pairs, ","), "}"));
  std::vector<at::Tensor> values;
  size_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    values.push_back(tensor.detach().to(at::kCPU).contiguous());
    const at::Tensor& value = values.back();
    const auto* dtype = std::find_if(std::begin(kDtypes), std::end(kDtypes),
                                     [&](const auto& d) { return d.type == value.scalar_type(); });
    TORCH_CHECK(dtype != std::end(kDtypes), name, " has a type that safetensors files do not hold");
    members.push_back(absl::StrCat(JsonQuoted(name), ":{\"dtype\":\"", dtype->name,
                                   "\",\"shape\":[", absl::StrJoin(value.sizes(), ","),
                                   "],\"data_offsets\":[", offset, ",", offset + value.nbytes(),
                                   "]}"));
    offset += value.nbytes();
  }
  std::string header = absl::StrCat("{", absl::StrJoin(members, ","), "}");
  const size_t used = kLengthBytes + header.size();
  header.append((kAlignment - used % kAlignment) % kAlignment, ' ');
  std::string out;
  out.reserve(kLengthBytes + header.size() + offset);
  for (size_t i = 0; i < kLengthBytes; ++i) {
    out.push_back(static_cast<char>(header.size() >> (8 * i) & 0xFF));
  }
  out += header;
  for (const at::Tensor& value : values) {
    out.append(static_cast<const char*>(value.const_data_ptr()), value.nbytes());
  }
  return out;
}

}  // namespace adamant
