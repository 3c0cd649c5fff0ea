// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "adamant/v1/job.pb.h"

namespace adamant {

// What a JobStore that keeps jobs in memory can also do. Thread-safe.
class JobMemory {
 public:
  virtual ~JobMemory() = default;

  // The job as of the latest announced commit, without a copy. Null when it is not in memory, is
  // that of another tenant, or the store has failed: JobStore::GetJob tells which.
  virtual std::shared_ptr<const v1::Job> FindInMemory(const std::string& tenant,
                                                      const std::string& uid) const = 0;
};

}  // namespace adamant
