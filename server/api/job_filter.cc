// SPDX-License-Identifier: Apache-2.0
#include "server/api/job_filter.h"

#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/nearest.h"
#include "server/api/status.h"

namespace adamant {
namespace {

constexpr size_t kMaxFilterBytes = 1024;

struct Token {
  std::string text;
  size_t position;
};

std::vector<Token> Tokenize(absl::string_view text) {
  std::vector<Token> tokens;
  size_t i = 0;
  while (i < text.size()) {
    if (absl::ascii_isspace(text[i])) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < text.size() && (absl::ascii_isalnum(text[end]) || text[end] == '_')) ++end;
    if (end == i) ++end;
    tokens.push_back({std::string(text.substr(i, end - i)), i});
    i = end;
  }
  return tokens;
}

absl::Status BadFilter(size_t position, absl::string_view problem) {
  return InvalidField("filter", "BAD_FILTER",
                      absl::StrCat("at position ", position, ": ", problem,
                                   "; write for example: state = RUNNING AND kind = TRAIN"));
}

// The number of an enum value; the error names the nearest.
template <typename Enum>
absl::StatusOr<Enum> EnumValue(const Token& token, absl::string_view what, int first) {
  const google::protobuf::EnumDescriptor& type = *google::protobuf::GetEnumDescriptor<Enum>();
  std::vector<std::string> known;
  for (int i = 0; i < type.value_count(); ++i) {
    if (type.value(i)->number() < first) continue;
    known.push_back(type.value(i)->name());
    if (known.back() == token.text) return static_cast<Enum>(type.value(i)->number());
  }
  return BadFilter(token.position, UnknownNameMessage(what, token.text, known));
}

struct Terms {
  std::vector<v1::JobState> states;
  std::vector<v1::JobKind> kinds;

  bool Matches(const v1::Job& job) const {
    for (const v1::JobState state : states) {
      if (job.state() != state) return false;
    }
    for (const v1::JobKind kind : kinds) {
      if (job.kind() != kind) return false;
    }
    return true;
  }
};

}  // namespace

absl::StatusOr<std::function<bool(const v1::Job&)>> ParseJobFilter(absl::string_view text) {
  if (text.size() > kMaxFilterBytes) return BadFilter(kMaxFilterBytes, "longer than 1024 bytes");
  const std::vector<Token> tokens = Tokenize(text);
  if (tokens.empty()) return nullptr;
  Terms terms;
  size_t i = 0;
  while (true) {
    if (i + 2 >= tokens.size()) return BadFilter(text.size(), "ends inside a term");
    const Token& field = tokens[i];
    if (tokens[i + 1].text != "=") return BadFilter(tokens[i + 1].position, "expected =");
    if (field.text == "state") {
      const auto state = EnumValue<v1::JobState>(tokens[i + 2], "state", v1::QUEUED);
      if (!state.ok()) return state.status();
      terms.states.push_back(*state);
    } else if (field.text == "kind") {
      const auto kind = EnumValue<v1::JobKind>(tokens[i + 2], "kind", v1::TRAIN);
      if (!kind.ok()) return kind.status();
      terms.kinds.push_back(*kind);
    } else {
      return BadFilter(field.position, UnknownNameMessage("field", field.text, {"state", "kind"}));
    }
    i += 3;
    if (i == tokens.size()) break;
    if (tokens[i].text != "AND") return BadFilter(tokens[i].position, "expected AND");
    ++i;
  }
  return [terms](const v1::Job& job) { return terms.Matches(job); };
}

}  // namespace adamant
