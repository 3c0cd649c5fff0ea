// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/store/store_executor.h"
#include "server/store/store_rules.h"

namespace adamant {

// What the operations of a store share: where they run, on which tables, and who is told of
// commits. Tables and rules belong to the executor's thread once it runs.
struct StoreSession {
  StoreSession(StoreTables& tables, LeaseClock clock) : tables(tables), rules(tables, clock) {}

  StoreTables& tables;
  StoreRules rules;
  std::vector<StoreObserver*> observers;
  StoreExecutor* executor = nullptr;

  template <typename T>
  using Work = std::function<absl::StatusOr<T>(StoreEffect&)>;

  // Queues `work`, which returns the value of the reply or an error of the request, after its
  // checks and before any write. `announce(value)` runs after the commit and before the reply.
  template <typename T>
  void Run(bool writes, Work<T> work, Reply<T> reply,
           std::function<void(const T&)> announce = nullptr, bool may_linger = false) {
    auto result = std::make_shared<absl::StatusOr<T>>(absl::UnknownError("not run"));
    StoreCommand command;
    command.writes = writes;
    command.may_linger = may_linger;
    command.run = [result, work = std::move(work)](StoreEffect& effect) { *result = work(effect); };
    command.finish = [result, reply = std::move(reply),
                      announce = std::move(announce)](const absl::Status& commit) {
      if (!commit.ok()) return reply(commit);
      if (result->ok() && announce) announce(**result);
      reply(std::move(*result));
    };
    executor->Add(std::move(command));
  }
};

}  // namespace adamant
