// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <memory>
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
// family never has more than `cap` members: past that, and for label values that must be known, the
// member whose labels all say "other" counts. Thread-safe.
template <typename Metric>
class Labelled {
 public:
  Labelled(prometheus::Family<Metric>& family, std::vector<std::string> labels, size_t cap,
           Buckets buckets = {})
      : family_(family), labels_(std::move(labels)), cap_(cap), buckets_(std::move(buckets)) {}

  // At start: the member, made for good.
  Metric& Make(const std::vector<std::string>& values) {
    absl::MutexLock lock(&mutex_);
    Metric* found = FindLocked(values);
    return found != nullptr ? *found : Add(values);
  }

  // The member, made when it is new and there is room for it and the overflow.
  Metric& At(const std::vector<std::string>& values) {
    absl::MutexLock lock(&mutex_);
    if (Metric* found = FindLocked(values)) return *found;
    const size_t kept_free = FindLocked(Others()) != nullptr ? 0 : 1;
    if (members_.size() + kept_free < cap_) return Add(values);
    return Overflow();
  }

  // The member when it was made at start, else the overflow.
  Metric& Known(const std::vector<std::string>& values) {
    absl::MutexLock lock(&mutex_);
    if (Metric* found = FindLocked(values)) return *found;
    return Overflow();
  }

  // Null when it was never made.
  Metric* Find(const std::vector<std::string>& values) {
    absl::MutexLock lock(&mutex_);
    return FindLocked(values);
  }

  Metric& MakeOverflow() {
    absl::MutexLock lock(&mutex_);
    return Overflow();
  }

  void Remove(const std::vector<std::string>& values) {
    absl::MutexLock lock(&mutex_);
    const auto found = members_.find(absl::StrJoin(values, "\n"));
    if (found == members_.end()) return;
    family_.Remove(found->second);
    members_.erase(found);
  }

 private:
  std::vector<std::string> Others() const {
    return std::vector<std::string>(labels_.size(), "other");
  }

  Metric& Overflow() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Metric* found = FindLocked(Others());
    return found != nullptr ? *found : Add(Others());
  }

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

using Counters = std::unique_ptr<Labelled<prometheus::Counter>>;
using Gauges = std::unique_ptr<Labelled<prometheus::Gauge>>;
using Histograms = std::unique_ptr<Labelled<prometheus::Histogram>>;

inline Counters MakeCounters(prometheus::Registry& registry, const std::string& name,
                             const std::string& help, std::vector<std::string> labels, size_t cap) {
  return std::make_unique<Labelled<prometheus::Counter>>(
      prometheus::BuildCounter().Name(name).Help(help).Register(registry), std::move(labels), cap);
}

inline Gauges MakeGauges(prometheus::Registry& registry, const std::string& name,
                         const std::string& help, std::vector<std::string> labels, size_t cap) {
  return std::make_unique<Labelled<prometheus::Gauge>>(
      prometheus::BuildGauge().Name(name).Help(help).Register(registry), std::move(labels), cap);
}

inline Histograms MakeHistograms(prometheus::Registry& registry, const std::string& name,
                                 const std::string& help, std::vector<std::string> labels,
                                 size_t cap, Buckets buckets) {
  return std::make_unique<Labelled<prometheus::Histogram>>(
      prometheus::BuildHistogram().Name(name).Help(help).Register(registry), std::move(labels), cap,
      std::move(buckets));
}

// Metrics without labels.
inline prometheus::Counter& MakeCounter(prometheus::Registry& registry, const std::string& name,
                                        const std::string& help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add({});
}

inline prometheus::Gauge& MakeGauge(prometheus::Registry& registry, const std::string& name,
                                    const std::string& help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add({});
}

inline prometheus::Histogram& MakeHistogram(prometheus::Registry& registry, const std::string& name,
                                            const std::string& help, const Buckets& buckets) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add({}, buckets);
}

}  // namespace adamant
