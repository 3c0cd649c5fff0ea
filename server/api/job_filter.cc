// SPDX-License-Identifier: Apache-2.0
#include "server/api/job_filter.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/nearest.h"
#include "common/status_macros.h"
#include "server/api/status.h"
#include "server/jobs/job.h"

namespace adamant {
namespace {

constexpr size_t kMaxFilterBytes = 1024;
constexpr int kMaxDepth = 8;

using Test = std::function<bool(const v1::Job&)>;

absl::Status BadFilter(size_t position, absl::string_view problem) {
  return InvalidField("filter", "BAD_FILTER",
                      absl::StrCat("at position ", position, ": ", problem,
                                   "; write for example: state = RUNNING AND kind = TRAIN"));
}

bool IsWordCharacter(char c) {
  return absl::ascii_isalnum(c) || absl::StrContains("._:/+-", absl::string_view(&c, 1));
}

struct Token {
  enum Kind { kWord, kText, kSymbol, kEnd };
  Kind kind = kEnd;
  std::string text;
  size_t position = 0;

  bool Is(absl::string_view word) const {
    return (kind == kWord || kind == kSymbol) && text == word;
  }
};

absl::StatusOr<Token> ReadText(absl::string_view all, size_t& i) {
  Token token{Token::kText, "", i};
  for (++i; i < all.size(); ++i) {
    if (all[i] == '"') {
      ++i;
      return token;
    }
    if (all[i] == '\\' && i + 1 < all.size()) ++i;
    token.text += all[i];
  }
  return BadFilter(token.position, "a text without closing quote");
}

absl::StatusOr<std::vector<Token>> Tokenize(absl::string_view all) {
  std::vector<Token> tokens;
  for (size_t i = 0; i < all.size();) {
    if (absl::ascii_isspace(all[i])) {
      ++i;
      continue;
    }
    if (all[i] == '"') {
      ASSIGN_OR_RETURN(Token text, ReadText(all, i));
      tokens.push_back(std::move(text));
      continue;
    }
    size_t end = i;
    while (end < all.size() && IsWordCharacter(all[end])) ++end;
    const Token::Kind kind = end > i ? Token::kWord : Token::kSymbol;
    if (end == i)
      end += absl::StrContains("!<>", all.substr(i, 1)) && all.substr(i + 1, 1) == "=" ? 2 : 1;
    tokens.push_back({kind, std::string(all.substr(i, end - i)), i});
    i = end;
  }
  tokens.push_back({Token::kEnd, "", all.size()});
  return tokens;
}

// The number of an enum value; the error names the nearest.
template <typename Enum>
absl::StatusOr<Enum> EnumValue(const Token& token, absl::string_view what) {
  const google::protobuf::EnumDescriptor& type = *google::protobuf::GetEnumDescriptor<Enum>();
  std::vector<std::string> known;
  for (int i = 0; i < type.value_count(); ++i) {
    if (type.value(i)->number() == 0) continue;
    known.push_back(type.value(i)->name());
    if (known.back() == token.text) return static_cast<Enum>(type.value(i)->number());
  }
  return BadFilter(token.position, UnknownNameMessage(what, token.text, known));
}

bool Holds(absl::string_view op, absl::Time a, absl::Time b) {
  if (op == "=") return a == b;
  if (op == "!=") return a != b;
  if (op == "<") return a < b;
  if (op == ">") return a > b;
  return op == "<=" ? a <= b : a >= b;
}

}  // namespace

struct JobFilter::Node {
  enum Kind { kTest, kNot, kAnd, kOr };
  Kind kind = kTest;
  Test test;
  std::vector<std::shared_ptr<const Node>> parts;

  bool Matches(const v1::Job& job) const {
    switch (kind) {
      case kTest:
        return test(job);
      case kNot:
        return !parts[0]->Matches(job);
      case kAnd:
        for (const auto& part : parts) {
          if (!part->Matches(job)) return false;
        }
        return true;
      default:
        for (const auto& part : parts) {
          if (part->Matches(job)) return true;
        }
        return false;
    }
  }
};

namespace {

using Node = JobFilter::Node;
using NodePtr = std::shared_ptr<const Node>;

// Recursive descent, one method per level of the grammar.
class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  absl::StatusOr<NodePtr> Parse() {
    ASSIGN_OR_RETURN(NodePtr root, ParseList(0, Node::kOr));
    if (Next().kind != Token::kEnd) return BadFilter(Next().position, "expected AND or OR");
    return root;
  }

 private:
  const Token& Next() const { return tokens_[at_]; }
  Token Take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }

  // Terms joined by OR, each of terms joined by AND.
  absl::StatusOr<NodePtr> ParseList(int depth, Node::Kind kind) {
    Node list;
    list.kind = kind;
    while (true) {
      ASSIGN_OR_RETURN(NodePtr part,
                       kind == Node::kOr ? ParseList(depth, Node::kAnd) : ParseTerm(depth));
      list.parts.push_back(std::move(part));
      if (!Next().Is(kind == Node::kOr ? "OR" : "AND")) break;
      Take();
    }
    if (list.parts.size() == 1) return list.parts[0];
    return std::make_shared<const Node>(std::move(list));
  }

  absl::StatusOr<NodePtr> ParseTerm(int depth) {
    if (depth > kMaxDepth)
      return BadFilter(Next().position, absl::StrCat("nested deeper than ", kMaxDepth));
    if (Next().Is("NOT")) {
      Take();
      ASSIGN_OR_RETURN(NodePtr part, ParseTerm(depth + 1));
      return std::make_shared<const Node>(Node{Node::kNot, nullptr, {std::move(part)}});
    }
    if (Next().Is("(")) {
      Take();
      ASSIGN_OR_RETURN(NodePtr inside, ParseList(depth + 1, Node::kOr));
      RETURN_IF_ERROR(Expect(")"));
      return inside;
    }
    ASSIGN_OR_RETURN(Test test, Next().Is("has") ? ParseHas() : ParseComparison());
    return std::make_shared<const Node>(Node{Node::kTest, std::move(test), {}});
  }

  absl::Status Expect(absl::string_view symbol) {
    const Token token = Take();
    if (token.Is(symbol)) return absl::OkStatus();
    if (token.kind == Token::kEnd) return BadFilter(token.position, "ends inside a term");
    return BadFilter(token.position, absl::StrCat("expected ", symbol));
  }

  absl::StatusOr<std::string> LabelKey(const Token& field) {
    absl::string_view key = field.text;
    if (!absl::ConsumePrefix(&key, "label.") || (key.empty() && Next().kind != Token::kText))
      return BadFilter(field.position, "expected label.KEY");
    // label."any key"
    return key.empty() ? Take().text : std::string(key);
  }

  absl::StatusOr<Test> ParseHas() {
    Take();
    RETURN_IF_ERROR(Expect("("));
    ASSIGN_OR_RETURN(const std::string key, LabelKey(Take()));
    RETURN_IF_ERROR(Expect(")"));
    return Test([key](const v1::Job& job) { return job.options().labels().contains(key); });
  }

  absl::StatusOr<Test> ParseComparison() {
    const Token field = Take();
    if (field.kind == Token::kEnd) return BadFilter(field.position, "ends inside a term");
    std::string label;
    if (absl::StartsWith(field.text, "label.")) {
      ASSIGN_OR_RETURN(label, LabelKey(field));
    } else {
      RETURN_IF_ERROR(CheckField(field));
    }
    const bool is_time = field.text == "create_time" || field.text == "end_time";
    const Token op = Take();
    RETURN_IF_ERROR(CheckOperator(op, is_time));
    const Token value = Take();
    if (value.kind == Token::kEnd) return BadFilter(value.position, "ends inside a term");
    if (value.kind == Token::kSymbol) return BadFilter(value.position, "expected a value");
    if (is_time) return TimeTest(field.text, op.text, value);
    ASSIGN_OR_RETURN(Test equal, EqualTest(field.text, label, value));
    if (op.text == "=") return equal;
    return Test([equal = std::move(equal)](const v1::Job& job) { return !equal(job); });
  }

  static absl::Status CheckField(const Token& field) {
    const std::vector<std::string> known = {"state",    "kind",      "reason",
                                            "owner",    "label.KEY", "create_time",
                                            "end_time", "retry_of",  "request_id"};
    for (const std::string& name : known) {
      if (name == field.text && name != "label.KEY") return absl::OkStatus();
    }
    return BadFilter(field.position, UnknownNameMessage("field", field.text, known));
  }

  static absl::Status CheckOperator(const Token& op, bool is_time) {
    if (op.kind == Token::kEnd) return BadFilter(op.position, "ends inside a term");
    const bool equality = op.Is("=") || op.Is("!=");
    const bool order = op.Is("<") || op.Is(">") || op.Is("<=") || op.Is(">=");
    if (equality || (order && is_time)) return absl::OkStatus();
    if (order) return BadFilter(op.position, "this field has no order; use = or !=");
    return BadFilter(op.position, is_time ? "expected = != < > <= >=" : "expected = or !=");
  }

  static absl::StatusOr<Test> TimeTest(const std::string& field, const std::string& op,
                                       const Token& value) {
    absl::Time time;
    std::string error;
    if (!absl::ParseTime(absl::RFC3339_full, value.text, &time, &error)) {
      return BadFilter(value.position,
                       absl::StrCat("\"", value.text, "\" is no time like 2030-01-31T12:00:00Z"));
    }
    const bool created = field == "create_time";
    return Test([=](const v1::Job& job) {
      if (!created && !job.has_end_time()) return op == "!=";
      return Holds(op, FromProto(created ? job.create_time() : job.end_time()), time);
    });
  }

  static absl::StatusOr<Test> EqualTest(const std::string& field, const std::string& label,
                                        const Token& value) {
    const std::string& text = value.text;
    if (field == "state") {
      ASSIGN_OR_RETURN(const auto state, EnumValue<v1::JobState>(value, "state"));
      return Test([=](const v1::Job& job) { return job.state() == state; });
    }
    if (field == "kind") {
      ASSIGN_OR_RETURN(const auto kind, EnumValue<v1::JobKind>(value, "kind"));
      return Test([=](const v1::Job& job) { return job.kind() == kind; });
    }
    if (field == "reason") {
      ASSIGN_OR_RETURN(const auto reason, EnumValue<v1::StateReason>(value, "reason"));
      return Test([=](const v1::Job& job) { return job.state_reason() == reason; });
    }
    if (field == "owner") return Test([=](const v1::Job& job) { return job.owner() == text; });
    if (field == "retry_of")
      return Test([=](const v1::Job& job) { return job.retry_of() == text; });
    if (field == "request_id") {
      return Test([=](const v1::Job& job) { return job.options().request_id() == text; });
    }
    return Test([=](const v1::Job& job) {
      const auto found = job.options().labels().find(label);
      return found != job.options().labels().end() && found->second == text;
    });
  }

  const std::vector<Token> tokens_;
  size_t at_ = 0;
};

}  // namespace

absl::StatusOr<JobFilter> JobFilter::Parse(absl::string_view text) {
  JobFilter filter;
  if (text.size() > kMaxFilterBytes) return BadFilter(kMaxFilterBytes, "longer than 1024 bytes");
  ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokenize(text));
  if (tokens.size() == 1) return filter;
  ASSIGN_OR_RETURN(filter.root_, Parser(std::move(tokens)).Parse());
  return filter;
}

bool JobFilter::Matches(const v1::Job& job) const {
  return root_ == nullptr || root_->Matches(job);
}

}  // namespace adamant
