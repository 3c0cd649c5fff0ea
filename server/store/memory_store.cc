// SPDX-License-Identifier: Apache-2.0
#include "server/store/memory_store.h"

#include <deque>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/store/basic_store.h"
#include "server/store/memory_tables.h"

namespace adamant {
namespace {

// Runs commands one after the other on the threads that bring them.
class InlineExecutor final : public StoreExecutor {
 public:
  void Add(StoreCommand command) override {
    {
      absl::MutexLock lock(&mutex_);
      queue_.push_back(std::move(command));
      if (running_) return;
      running_ = true;
    }
    while (RunNext()) {
    }
  }

  absl::Status failure() const override { return absl::OkStatus(); }

 private:
  bool RunNext() {
    StoreCommand command;
    {
      absl::MutexLock lock(&mutex_);
      running_ = !queue_.empty();
      if (!running_) return false;
      command = std::move(queue_.front());
      queue_.pop_front();
    }
    StoreEffect effect;
    command.run(effect);
    command.finish(absl::OkStatus());
    return true;
  }

  absl::Mutex mutex_;
  std::deque<StoreCommand> queue_ ABSL_GUARDED_BY(mutex_);
  bool running_ ABSL_GUARDED_BY(mutex_) = false;
};

class MemoryStore final : public BasicStore {
 public:
  explicit MemoryStore(MemoryStoreOptions options) : BasicStore(tables_, std::move(options.clock)) {
    Start(executor_);
  }

  void Backup(std::string /*path*/, Reply<Done> reply) override {
    reply(absl::UnimplementedError("a store in memory has no backup"));
  }

 private:
  MemoryTables tables_;
  InlineExecutor executor_;
};

}  // namespace

std::unique_ptr<JobStore> NewMemoryStore(MemoryStoreOptions options) {
  return std::make_unique<MemoryStore>(std::move(options));
}

}  // namespace adamant
