// SPDX-License-Identifier: Apache-2.0
#include "tests/fault/history.h"

#include <fcntl.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/serialize.h"
#include "common/sha256.h"
#include "common/status_macros.h"

namespace adamant::testing {
namespace {

// Calls `visit(name, field)` for each field; the same list writes and reads.
template <typename EntryType, typename Visit>
void VisitFields(EntryType& entry, Visit visit) {
  visit("op", entry.op);
  visit("request_id", entry.request_id);
  visit("job", entry.job);
  visit("watch", entry.watch);
  visit("state", entry.state);
  visit("digest", entry.digest);
  visit("seq", entry.seq);
  visit("size", entry.size);
  visit("fence", entry.fence);
}

struct Writer {
  google::protobuf::Struct& fields;
  void operator()(const char* name, const std::string& value) {
    if (!value.empty()) (*fields.mutable_fields())[name].set_string_value(value);
  }
  void operator()(const char* name, int64_t value) {
    if (value != 0) (*fields.mutable_fields())[name].set_number_value(static_cast<double>(value));
  }
};

struct Reader {
  const google::protobuf::Struct& fields;
  const google::protobuf::Value* Find(const char* name) const {
    const auto found = fields.fields().find(name);
    return found == fields.fields().end() ? nullptr : &found->second;
  }
  void operator()(const char* name, std::string& value) {
    if (const auto* found = Find(name)) value = found->string_value();
  }
  void operator()(const char* name, int64_t& value) {
    if (const auto* found = Find(name)) value = static_cast<int64_t>(found->number_value());
  }
};

}  // namespace

std::string ToJsonLine(const Entry& entry) {
  google::protobuf::Struct fields;
  VisitFields(entry, Writer{fields});
  std::string line;
  EXPECT_TRUE(google::protobuf::util::MessageToJsonString(fields, &line).ok());
  return line + "\n";
}

absl::StatusOr<Entry> ParseEntry(const std::string& line) {
  google::protobuf::Struct fields;
  if (!google::protobuf::util::JsonStringToMessage(line, &fields).ok())
    return absl::InvalidArgumentError(absl::StrCat("no history line: ", line));
  Entry entry;
  VisitFields(entry, Reader{fields});
  return entry;
}

std::string ResultDigest(const v1::Job& job) {
  return job.has_result() ? Sha256Hex(SerializeStably(job.result())) : "";
}

std::string EventDigest(const v1::JobEvent& event) { return Sha256Hex(SerializeStably(event)); }

Entry SeenEntry(const v1::Job& job) {
  Entry entry{.op = "seen", .job = job.name(), .state = v1::JobState_Name(job.state())};
  entry.digest = ResultDigest(job);
  if (!job.attempts().empty()) entry.fence = job.attempts(job.attempts_size() - 1).fence();
  return entry;
}

History::History(const std::string& path)
    : file_(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {
  EXPECT_TRUE(file_.valid()) << path;
}

void History::Add(const Entry& entry) {
  const std::string line = ToJsonLine(entry);
  absl::MutexLock lock(&mutex_);
  EXPECT_TRUE(WriteAll(file_.get(), line).ok());
  EXPECT_EQ(fdatasync(file_.get()), 0);
  entries_.push_back(entry);
}

std::vector<Entry> History::entries() const {
  absl::MutexLock lock(&mutex_);
  return entries_;
}

absl::StatusOr<std::vector<Entry>> ReadHistory(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  std::vector<Entry> entries;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    ASSIGN_OR_RETURN(entries.emplace_back(), ParseEntry(std::string(line)));
  }
  return entries;
}

}  // namespace adamant::testing
