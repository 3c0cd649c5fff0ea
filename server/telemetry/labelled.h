// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <prometheus/family.h>
#include <prometheus/histogram.h>

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"

namespace adamant {

using Buckets = prometheus::Histogram::BucketBoundaries;

// The members of one metric family by their label values, made once and then found by a hash. The
// family has at most `cap` members; further label values count as "other". Thread-safe.
template <typename Metric>
class Labelled {
 public:
  Labelled(prometheus::Family<Metric>& family, std::vector<std::string> labels, size_t cap,
           Buckets buckets = {})
      : family_(family), labels_(std::move(labels)), cap_(cap), buckets_(std::move(buckets)) {}

  // The member, made when it is new.
  Metric& At(std::vector<std::string> values) {
    absl::MutexLock lock(&mutex_);
    if (Metric* found = FindLocked(values)) return *found;
    if (members_.size() >= cap_) values.back() = "other";
    if (Metric* found = FindLocked(values)) return *found;
    return Add(values);
  }

  // The member, or the one with the last label "other" when `values` was not made at start.
  Metric& Known(std::vector<std::string> values) {
    if (Metric* found = Find(values)) return *found;
    values.back() = "other";
    return At(std::move(values));
  }

  Metric* Find(const std::vector<std::string>& values) {
    absl::MutexLock lock(&mutex_);
    return FindLocked(values);
  }

 private:
  Metric* FindLocked(const std::vector<std::string>& values) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto found = members_.find(absl::StrJoin(values, "\n"));
    return found == members_.end() ? nullptr : found->second;
  }

  Metric& Add(const std::vector<std::string>& values) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    prometheus::Labels labels;
    for (size_t i = 0; i < labels_.size(); ++i) labels[labels_[i]] = values[i];
    Metric*& member = members_[absl::StrJoin(values, "\n")];
    if constexpr (std::is_same_v<Metric, prometheus::Histogram>) {
      member = &family_.Add(labels, buckets_);
    } else {
      member = &family_.Add(labels);
    }
    return *member;
  }

  prometheus::Family<Metric>& family_;
  const std::vector<std::string> labels_;
  const size_t cap_;
  const Buckets buckets_;
  absl::Mutex mutex_;
  absl::flat_hash_map<std::string, Metric*> members_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace adamant
