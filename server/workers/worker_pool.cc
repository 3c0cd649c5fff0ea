// SPDX-License-Identifier: Apache-2.0
#include "server/workers/worker_pool.h"

#include <sys/wait.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

constexpr int kProtocolVersion = 1;
constexpr absl::Duration kTendEvery = absl::Seconds(1);   // spares send a heartbeat a second
constexpr absl::Duration kSpareRetry = absl::Seconds(5);  // after a spare died

std::string DescribeExit(std::optional<int> wait_status) {
  if (!wait_status.has_value()) return "it is still running";
  if (WIFSIGNALED(*wait_status)) return absl::StrCat("signal ", WTERMSIG(*wait_status));
  return absl::StrCat("exit code ", WEXITSTATUS(*wait_status));
}

// Waits for the verdict of a worker that was asked to probe its device.
absl::Status AwaitProbe(WorkerProcess& process, absl::Time deadline) {
  while (true) {
    const WorkerNews news = process.Next(deadline);
    switch (news.kind) {
      case WorkerNews::kFrame:
        process.Acknowledge(news.received.frame.number());
        if (!news.received.frame.has_result()) break;
        if (news.received.frame.result().probed()) return absl::OkStatus();
        return absl::UnavailableError(absl::StrCat(
            "the probe failed: ", news.received.frame.result().error().message().substr(0, 512)));
      case WorkerNews::kWoken:
        break;
      case WorkerNews::kTimeout:
        return absl::UnavailableError("the probe gave no answer in time");
      case WorkerNews::kBroken:
        return absl::UnavailableError("the probe broke the protocol");
      case WorkerNews::kExited:
        return absl::UnavailableError(absl::StrCat("the probe ended without an answer: ",
                                                   DescribeExit(process.wait_status())));
    }
  }
}

}  // namespace

WorkerPool::WorkerPool(WorkerPoolOptions options)
    : options_(std::move(options)), thread_([this] { Loop(); }) {}

WorkerPool::~WorkerPool() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

int WorkerPool::idle_spares() const {
  absl::MutexLock lock(&mutex_);
  int count = 0;
  for (const Spare& spare : spares_) count += spare.hello.has_value() ? 1 : 0;
  return count;
}

void WorkerPool::Loop() {
  while (true) {
    std::deque<std::function<void()>> tasks;
    bool stopping;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithTimeout(
          absl::Condition(
              +[](WorkerPool* pool) ABSL_EXCLUSIVE_LOCKS_REQUIRED(pool->mutex_) {
                return pool->stopping_ || !pool->tasks_.empty() || pool->SpareWanted();
              },
              this),
          kTendEvery);
      tasks.swap(tasks_);
      stopping = stopping_;
    }
    for (const std::function<void()>& task : tasks) task();
    if (stopping) break;
    TendSpares();
  }
  absl::MutexLock lock(&mutex_);
  spares_.clear();
}

bool WorkerPool::SpareWanted() const {
  return static_cast<int>(spares_.size()) < options_.warm_spares && absl::Now() >= retry_spares_at_;
}

void WorkerPool::TendSpares() {
  absl::MutexLock lock(&mutex_);
  for (auto spare = spares_.begin(); spare != spares_.end();) {
    if (IsAlive(*spare)) {
      ++spare;
    } else {
      retry_spares_at_ = absl::Now() + kSpareRetry;
      spare = spares_.erase(spare);
    }
  }
  while (SpareWanted()) {
    Spawned process = WorkerProcess::Spawn(options_.command);
    if (process.ok()) {
      spares_.push_back({*std::move(process), std::nullopt});
    } else {
      retry_spares_at_ = absl::Now() + kSpareRetry;
    }
  }
}

// Takes in what the spare sent meanwhile.
bool WorkerPool::IsAlive(Spare& spare) {
  while (true) {
    WorkerNews news = spare.process->Next(absl::InfinitePast());
    if (news.kind == WorkerNews::kTimeout) return true;
    if (news.kind == WorkerNews::kExited || news.kind == WorkerNews::kBroken) return false;
    if (news.kind != WorkerNews::kFrame) continue;
    if (news.received.frame.has_hello()) spare.hello = news.received.frame.hello();
    spare.process->Acknowledge(news.received.frame.number());
  }
}

WorkerPool::Spawned WorkerPool::SpawnOnPoolThread(WorkerCommand command) {
  absl::Notification done;
  Spawned process;
  {
    absl::MutexLock lock(&mutex_);
    tasks_.push_back([&] {
      process = WorkerProcess::Spawn(command);
      done.Notify();
    });
  }
  done.WaitForNotification();
  return process;
}

absl::StatusOr<ReadyWorker> WorkerPool::AwaitHello(Spare spare) const {
  const absl::Time deadline = absl::Now() + options_.hello_limit;
  while (!spare.hello.has_value()) {
    WorkerNews news = spare.process->Next(deadline);
    if (news.kind == WorkerNews::kFrame && news.received.frame.has_hello()) {
      spare.hello = news.received.frame.hello();
    } else if (news.kind != WorkerNews::kFrame && news.kind != WorkerNews::kWoken) {
      return absl::UnavailableError(absl::StrCat("the worker did not get ready: ",
                                                 DescribeExit(spare.process->wait_status())));
    }
  }
  if (spare.hello->protocol_version() != kProtocolVersion)
    return absl::UnavailableError(absl::StrCat("the worker speaks protocol ",
                                               spare.hello->protocol_version(), ", expected ",
                                               kProtocolVersion));
  return ReadyWorker{std::move(spare.process), *std::move(spare.hello)};
}

absl::StatusOr<ReadyWorker> WorkerPool::Take() {
  std::optional<Spare> taken;
  {
    absl::MutexLock lock(&mutex_);
    while (!spares_.empty() && !taken.has_value()) {
      Spare spare = std::move(spares_.front());
      spares_.pop_front();
      if (IsAlive(spare)) taken = std::move(spare);
    }
  }
  if (taken.has_value()) return AwaitHello(*std::move(taken));
  ASSIGN_OR_RETURN(std::unique_ptr<WorkerProcess> process, SpawnOnPoolThread(options_.command));
  return AwaitHello({std::move(process), std::nullopt});
}

absl::StatusOr<ReadyWorker> WorkerPool::TakeLimited(int threads, int64_t memory_bytes) {
  WorkerCommand command = options_.command;
  command.threads = threads;
  ASSIGN_OR_RETURN(std::unique_ptr<WorkerProcess> process, SpawnOnPoolThread(std::move(command)));
  ASSIGN_OR_RETURN(ReadyWorker worker, AwaitHello({std::move(process), std::nullopt}));
  RETURN_IF_ERROR(worker.process->LimitMemory(memory_bytes));
  return worker;
}

absl::Status WorkerPool::Probe(int slot) {
  WorkerCommand command = options_.command;
  command.threads = 1;
  ASSIGN_OR_RETURN(std::unique_ptr<WorkerProcess> process, SpawnOnPoolThread(std::move(command)));
  ASSIGN_OR_RETURN(ReadyWorker worker, AwaitHello({std::move(process), std::nullopt}));
  worker::v1::Frame frame;
  worker::v1::Start& start = *frame.mutable_start();
  start.set_probe(true);
  start.set_device(options_.slots[static_cast<size_t>(slot)].device);
  start.set_threads(command.threads);
  RETURN_IF_ERROR(worker.process->Send(std::move(frame)));
  return AwaitProbe(*worker.process, absl::Now() + options_.probe_limit);
}

}  // namespace adamant
