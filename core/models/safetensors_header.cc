// SPDX-License-Identifier: Apache-2.0
#include "core/models/safetensors_header.h"

#include <limits>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

constexpr size_t kMaxTensors = 4096;
constexpr size_t kMaxRank = 8;
constexpr size_t kMaxMetadata = 64;
constexpr size_t kMaxMetadataBytes = 16 << 10;
constexpr size_t kMaxName = 128;

// Length of the valid UTF-8 sequence at the start of `s`, 0 when it is not one (RFC 3629).
size_t Utf8Length(absl::string_view s) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(s[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                        : lead >= 0xE0 && lead <= 0xEF ? 3
                        : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                       : 0;
  if (length == 0 || s.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const bool overlong = (lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xF0 && byte(1) < 0x90);
  const bool surrogate = lead == 0xED && byte(1) > 0x9F;
  const bool too_large = lead == 0xF4 && byte(1) > 0x8F;
  return overlong || surrogate || too_large ? 0 : length;
}

void AppendUtf8(std::string& out, uint32_t code) {
  const auto tail = [&](int shift) {
    out.push_back(static_cast<char>(0x80 | (code >> shift & 0x3F)));
  };
  if (code < 0x80) {
    out.push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    out.push_back(static_cast<char>(0xC0 | code >> 6));
    tail(0);
  } else if (code < 0x10000) {
    out.push_back(static_cast<char>(0xE0 | code >> 12));
    tail(6), tail(0);
  } else {
    out.push_back(static_cast<char>(0xF0 | code >> 18));
    tail(12), tail(6), tail(0);
  }
}

bool GoodName(absl::string_view name) {
  for (char c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '_' && c != '.') return false;
  }
  return !name.empty() && name.size() <= kMaxName;
}

class Scanner {
 public:
  explicit Scanner(absl::string_view text) : text_(text) {}

  absl::StatusOr<SafetensorsHeader> Header() {
    RETURN_IF_ERROR(CheckUtf8());
    RETURN_IF_ERROR(Expect('{'));
    if (!Accept('}')) {
      do {
        RETURN_IF_ERROR(Member());
      } while (Accept(','));
      RETURN_IF_ERROR(Expect('}'));
    }
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
    if (at_ != text_.size()) return Syntax("only spaces may follow the last }");
    if (header_.entries.empty()) return Error("ST-07 TOO_MANY: the file holds no tensors");
    return std::move(header_);
  }

 private:
  absl::Status Error(absl::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat(what, " (offset ", 8 + at_, ")"));
  }
  absl::Status Syntax(absl::string_view what) const {
    return Error(absl::StrCat("ST-02 HEADER_SYNTAX: ", what));
  }
  absl::Status Grammar(absl::string_view what) const {
    return Error(absl::StrCat("ST-03 HEADER_SYNTAX: ", what));
  }

  absl::Status CheckUtf8() {
    if (text_.empty() || text_[0] != '{') return Syntax("the header must start with {");
    for (size_t length = 0; at_ < text_.size(); at_ += length) {
      length = Utf8Length(text_.substr(at_));
      if (length == 0) return Syntax("the header is not valid UTF-8");
    }
    at_ = 0;
    return absl::OkStatus();
  }

  void SkipSpace() {
    while (at_ < text_.size() && absl::StrContains(" \t\n\r", text_.substr(at_, 1))) ++at_;
  }
  bool Accept(char c) {
    SkipSpace();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  absl::Status Expect(char c) {
    if (Accept(c)) return absl::OkStatus();
    return Grammar(absl::StrFormat("expected '%c'", c));
  }

  absl::StatusOr<uint32_t> Hex4() {
    uint32_t code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      if (at_ >= text_.size() || !absl::ascii_isxdigit(static_cast<unsigned char>(text_[at_]))) {
        return Grammar("bad \\u escape");
      }
      const char c = absl::ascii_tolower(static_cast<unsigned char>(text_[at_]));
      code = code * 16 + static_cast<uint32_t>(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return code;
  }

  absl::Status Unicode(std::string& out) {
    ASSIGN_OR_RETURN(uint32_t code, Hex4());
    if (code >= 0xDC00 && code <= 0xDFFF) return Grammar("lone surrogate");
    if (code >= 0xD800 && code <= 0xDBFF) {
      if (text_.substr(at_, 2) != "\\u") return Grammar("lone surrogate");
      at_ += 2;
      ASSIGN_OR_RETURN(const uint32_t low, Hex4());
      if (low < 0xDC00 || low > 0xDFFF) return Grammar("lone surrogate");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    AppendUtf8(out, code);
    return absl::OkStatus();
  }

  absl::Status Escape(std::string& out) {
    static constexpr absl::string_view kFrom = "\"\\/bfnrt";
    static constexpr absl::string_view kTo = "\"\\/\b\f\n\r\t";
    if (at_ >= text_.size()) return Grammar("the header ends inside a string");
    const char c = text_[at_++];
    if (c == 'u') return Unicode(out);
    const size_t known = kFrom.find(c);
    if (known == absl::string_view::npos) return Grammar("unknown escape");
    out.push_back(kTo[known]);
    return absl::OkStatus();
  }

  // A JSON string; one with escapes is refused unless `escapes`.
  absl::StatusOr<std::string> String(bool escapes) {
    RETURN_IF_ERROR(Expect('"'));
    std::string out;
    while (at_ < text_.size() && text_[at_] != '"') {
      const char c = text_[at_];
      if (static_cast<unsigned char>(c) < 0x20) return Grammar("control character in a string");
      ++at_;
      if (c != '\\') {
        out.push_back(c);
      } else {
        if (!escapes) return Error("ST-04 BAD_NAME: names have no escapes");
        RETURN_IF_ERROR(Escape(out));
      }
    }
    if (at_ >= text_.size()) return Grammar("the header ends inside a string");
    ++at_;
    return out;
  }

  absl::StatusOr<int64_t> Integer() {
    SkipSpace();
    const size_t start = at_;
    int64_t value = 0;
    for (; at_ < text_.size() && absl::ascii_isdigit(static_cast<unsigned char>(text_[at_]));
         ++at_) {
      const int digit = text_[at_] - '0';
      if (value > (std::numeric_limits<int64_t>::max() - digit) / 10) {
        return Error("ST-06 BAD_INTEGER: an integer exceeds 2^63-1");
      }
      value = value * 10 + digit;
    }
    const bool leading_zero = at_ - start > 1 && text_[start] == '0';
    const bool more = at_ < text_.size() && absl::StrContains(".eE+-", text_.substr(at_, 1));
    if (at_ == start || leading_zero || more) {
      return Error(
          "ST-06 BAD_INTEGER: expected a non-negative integer without leading zero, "
          "fraction or exponent");
    }
    return value;
  }

  absl::StatusOr<std::vector<int64_t>> IntegerList(size_t most) {
    RETURN_IF_ERROR(Expect('['));
    std::vector<int64_t> values;
    if (Accept(']')) return values;
    do {
      if (values.size() == most) {
        return Error(absl::StrCat("ST-07 TOO_MANY: more than ", most, " numbers in a list"));
      }
      ASSIGN_OR_RETURN(const int64_t value, Integer());
      values.push_back(value);
    } while (Accept(','));
    RETURN_IF_ERROR(Expect(']'));
    return values;
  }

  absl::Status Field(SafetensorsEntry& entry, std::set<std::string>& seen) {
    ASSIGN_OR_RETURN(const std::string key, String(false));
    if (!seen.insert(key).second) {
      return Error(absl::StrCat("ST-05 DUPLICATE_KEY: ", key, " of tensor ", entry.name));
    }
    RETURN_IF_ERROR(Expect(':'));
    if (key == "dtype") {
      ASSIGN_OR_RETURN(entry.dtype, String(false));
    } else if (key == "shape") {
      ASSIGN_OR_RETURN(entry.shape, IntegerList(kMaxRank));
    } else if (key == "data_offsets") {
      ASSIGN_OR_RETURN(const std::vector<int64_t> offsets, IntegerList(2));
      if (offsets.size() != 2) return Grammar("data_offsets takes two numbers");
      entry.begin = offsets[0];
      entry.end = offsets[1];
    } else {
      return Grammar(absl::StrCat("unknown key ", key, " of tensor ", entry.name,
                                  "; known: dtype, shape, data_offsets"));
    }
    return absl::OkStatus();
  }

  absl::Status Entry(std::string name) {
    SafetensorsEntry entry;
    entry.name = std::move(name);
    std::set<std::string> seen;
    RETURN_IF_ERROR(Expect('{'));
    do {
      RETURN_IF_ERROR(Field(entry, seen));
    } while (Accept(','));
    RETURN_IF_ERROR(Expect('}'));
    if (seen.size() != 3) {
      return Grammar(absl::StrCat("tensor ", entry.name, " needs dtype, shape and data_offsets"));
    }
    if (header_.entries.size() == kMaxTensors) {
      return Error(absl::StrCat("ST-07 TOO_MANY: more than ", kMaxTensors, " tensors"));
    }
    header_.entries.push_back(std::move(entry));
    return absl::OkStatus();
  }

  absl::Status Metadata() {
    RETURN_IF_ERROR(Expect('{'));
    if (Accept('}')) return absl::OkStatus();
    do {
      ASSIGN_OR_RETURN(std::string key, String(true));
      RETURN_IF_ERROR(Expect(':'));
      ASSIGN_OR_RETURN(std::string value, String(true));
      metadata_bytes_ += key.size() + value.size();
      if (metadata_bytes_ > kMaxMetadataBytes || header_.metadata.size() == kMaxMetadata) {
        return Error("ST-07 TOO_MANY: metadata exceeds 64 entries or 16 KiB");
      }
      if (!header_.metadata.emplace(key, std::move(value)).second) {
        return Error(absl::StrCat("ST-05 DUPLICATE_KEY: metadata key ", key));
      }
    } while (Accept(','));
    return Expect('}');
  }

  absl::Status Member() {
    ASSIGN_OR_RETURN(std::string name, String(false));
    if (!names_.insert(name).second) {
      return Error(absl::StrCat("ST-05 DUPLICATE_KEY: ", name));
    }
    RETURN_IF_ERROR(Expect(':'));
    if (name == "__metadata__") return Metadata();
    if (!GoodName(name)) {
      return Error("ST-04 BAD_NAME: tensor names are 1 to 128 of the characters A-Z a-z 0-9 _ .");
    }
    return Entry(std::move(name));
  }

  absl::string_view text_;
  size_t at_ = 0;
  SafetensorsHeader header_;
  std::set<std::string> names_;
  size_t metadata_bytes_ = 0;
};

}  // namespace

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view text) {
  return Scanner(text).Header();
}

}  // namespace adamant
