// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/serialize.h"
#include "server/store/commit_queue.h"
#include "server/store/job_store.h"
#include "server/store/sqlite_database.h"

namespace adamant {

// What the tables of the SQLite store share: the connection, its writer, who is told of commits.
struct SqliteSession {
  SqliteDatabase database;  // once the queue runs: writer thread only
  std::vector<StoreObserver*> observers;
  std::unique_ptr<CommitQueue> queue;

  // Queues `work`, which returns the value of the reply or an error of the request, after its
  // checks and before any write. `announce(value)` runs after the commit and before the reply.
  template <typename T>
  void Run(bool writes, std::function<absl::StatusOr<T>()> work, Reply<T> reply,
           std::function<void(const T&)> announce = nullptr) {
    auto result = std::make_shared<absl::StatusOr<T>>(absl::UnknownError("not run"));
    StoreCommand command;
    command.writes = writes;
    command.run = [this, result, work = std::move(work)] {
      *result = work();
      return database.status();
    };
    command.finish = [result, reply = std::move(reply),
                      announce = std::move(announce)](const absl::Status& commit) {
      if (!commit.ok()) return reply(commit);
      if (result->ok() && announce) announce(**result);
      reply(std::move(*result));
    };
    queue->Add(std::move(command));
  }
};

template <typename Message>
Message ParseStored(absl::string_view bytes) {
  Message message;
  message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  return message;
}

// NOT_FOUND with `reason`: `no job jobs/...`.
absl::Status NotFoundStatus(absl::string_view noun, absl::string_view reason,
                            absl::string_view name);

}  // namespace adamant
