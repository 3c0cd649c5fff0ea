// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/event_ring.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <utility>

namespace adamant {

SharedEvent ShareEvent(const v1::JobEvent& event) {
  return {event.seq(), event.type(), event.terminal(),
          std::make_shared<const std::string>(event.SerializeAsString())};
}

SharedEvent ShareEventBytes(std::string bytes) {
  using google::protobuf::internal::WireFormatLite;
  SharedEvent event;
  event.bytes = std::make_shared<const std::string>(std::move(bytes));
  google::protobuf::io::CodedInputStream input(
      reinterpret_cast<const uint8_t*>(event.bytes->data()), static_cast<int>(event.bytes->size()));
  while (const uint32_t tag = input.ReadTag()) {
    const int field = WireFormatLite::GetTagFieldNumber(tag);
    uint64_t value = 0;
    if (field > v1::JobEvent::kTerminalFieldNumber) break;  // fields are in the order of numbers
    if (WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_VARINT) {
      if (!WireFormatLite::SkipField(&input, tag)) break;
      continue;
    }
    if (!input.ReadVarint64(&value)) break;
    if (field == v1::JobEvent::kTypeFieldNumber) event.type = static_cast<v1::EventType>(value);
    if (field == v1::JobEvent::kSeqFieldNumber) event.seq = static_cast<int64_t>(value);
    if (field == v1::JobEvent::kTerminalFieldNumber) event.terminal = value != 0;
  }
  return event;
}

void EventRing::Add(const v1::JobEvent& event) {
  SharedEvent shared = ShareEvent(event);
  absl::MutexLock lock(&mutex_);
  if (!events_.empty() && shared.seq != events_.back().seq + 1) {
    events_.clear();
    event_bytes_ = 0;
  }
  event_bytes_ += shared.bytes->size();
  events_.push_back(std::move(shared));
  while (event_bytes_ > kMaxEventBytes && events_.size() > 1) {
    event_bytes_ -= events_.front().bytes->size();
    events_.pop_front();
  }
}

EventRing::Found EventRing::Next(int64_t after, SharedEvent& event) const {
  absl::MutexLock lock(&mutex_);
  if (events_.empty() || after + 1 < events_.front().seq) return Found::kOlder;
  const auto index = static_cast<size_t>(after + 1 - events_.front().seq);
  if (index >= events_.size()) return Found::kNothing;
  event = events_[index];
  return Found::kEvent;
}

int64_t EventRing::first_seq() const {
  absl::MutexLock lock(&mutex_);
  return events_.empty() ? 0 : events_.front().seq;
}

int64_t EventRing::last_seq() const {
  absl::MutexLock lock(&mutex_);
  return events_.empty() ? 0 : events_.back().seq;
}

void EventRing::AddLog(const v1::JobEvent& event) {
  const int64_t begin = event.log().offset();
  const int64_t end = begin + static_cast<int64_t>(event.log().data().size());
  SharedEvent shared = ShareEvent(event);
  absl::MutexLock lock(&mutex_);
  log_bytes_ += shared.bytes->size();
  log_.push_back({begin, end, std::move(shared)});
  while (log_bytes_ > kMaxLogBytes && log_.size() > 1) {
    log_bytes_ -= log_.front().event.bytes->size();
    log_.pop_front();
  }
}

std::optional<SharedEvent> EventRing::NextLog(int64_t& offset) const {
  absl::MutexLock lock(&mutex_);
  const auto found = std::partition_point(
      log_.begin(), log_.end(), [&](const LogChunk& chunk) { return chunk.begin < offset; });
  if (found == log_.end()) return std::nullopt;
  offset = found->end;
  return found->event;
}

void EventRing::SetProgress(const v1::JobEvent& event) {
  SharedEvent shared = ShareEvent(event);
  absl::MutexLock lock(&mutex_);
  progress_ = Progress{std::move(shared), next_version_++};
}

void EventRing::ClearProgress() {
  absl::MutexLock lock(&mutex_);
  progress_.reset();
}

std::optional<EventRing::Progress> EventRing::LatestProgress() const {
  absl::MutexLock lock(&mutex_);
  return progress_;
}

}  // namespace adamant
