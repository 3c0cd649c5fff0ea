// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/interactive_pool.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/error_reason.h"
#include "common/serialize.h"
#include "common/status_macros.h"
#include "server/jobs/estimate.h"
#include "server/jobs/inputs.h"
#include "server/store/await.h"

namespace adamant {
namespace {

constexpr size_t kMoreThreads = 2;  // than slots: they open inputs and wait for a slot
constexpr absl::Duration kLookAgain = absl::Milliseconds(20);

absl::Status Draining() {
  return WithReason(absl::UnavailableError("the server is going down; try again after its start"),
                    "DRAINING");
}

absl::Status NoSlot() {
  return WithReason(
      absl::ResourceExhaustedError("every slot is busy, or what runs leaves too little memory; try "
                                   "again, or submit an explain job, which waits for its turn"),
      "NO_INTERACTIVE_SLOT");
}

// What the worker needs to load the model, and nothing of the request.
absl::StatusOr<StartPackage> OpenModel(const std::string& tenant, const v1::ExplainSpec& spec,
                                       JobStore& store, BlobStore& blobs) {
  v1::Job job;
  job.set_tenant(tenant);
  *job.mutable_spec()->mutable_explain()->mutable_model() = spec.model();
  absl::StatusOr<StartPackage> package = OpenJobInputs(job, store, blobs);
  if (package.ok() || !ReasonOf(package.status()).empty() ||
      !absl::IsFailedPrecondition(package.status()))
    return package;
  return WithReason(package.status(), "MODEL_INCOMPATIBLE");
}

// The same model, registered again under its name with other bytes, has another key.
std::string KeyOf(const std::string& tenant, const StartPackage& package) {
  std::string key = absl::StrCat(tenant, "\n", SerializeStably(package.start.model()));
  for (const worker::v1::InputFile& input : package.start.inputs())
    absl::StrAppend(&key, "\n", input.input(), " ", input.blob().sha256());
  return key;
}

}  // namespace

InteractivePool::InteractivePool(JobStore& store, BlobStore& blobs, WorkerPool& workers,
                                 Scheduler& scheduler, InteractiveOptions options)
    : store_(store), blobs_(blobs), workers_(workers), scheduler_(scheduler), options_(options) {
  for (size_t i = 0; i < workers.slots().size() + kMoreThreads; ++i)
    threads_.emplace_back([this] { Work(); });
  threads_.emplace_back([this] { Tend(); });
}

std::shared_ptr<InteractiveCall> InteractivePool::Explain(std::string tenant,
                                                          v1::ExplainRequest request,
                                                          absl::Time deadline,
                                                          Reply<v1::ExplainResponse> reply) {
  auto call = std::make_shared<InteractiveCall>();
  absl::Status refused;
  {
    absl::MutexLock lock(&mutex_);
    if (closed_) {
      refused = Draining();
    } else if (waiting_.size() >= options_.max_waiting) {
      refused = NoSlot();
    } else {
      running_.insert(call);
      waiting_.push_back(
          {call, std::move(tenant), std::move(request), absl::Now(), deadline, std::move(reply)});
    }
  }
  if (!refused.ok()) reply(refused);
  return call;
}

void InteractivePool::Close() {
  std::vector<std::unique_ptr<Lease>> leases;
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    for (const auto& call : running_) call->Stop(Draining());
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  {
    absl::MutexLock lock(&mutex_);
    leases.swap(leases_);
  }
  for (auto& lease : leases) Drop(std::move(lease));
}

int InteractivePool::warm_workers() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int>(std::count_if(leases_.begin(), leases_.end(),
                                        [](const auto& lease) { return !lease->busy; }));
}

// Serves one task after the other; at the end those that still wait, which are stopped by then.
void InteractivePool::Work() {
  while (true) {
    std::optional<Task> task;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(
          +[](InteractivePool* pool) ABSL_EXCLUSIVE_LOCKS_REQUIRED(pool->mutex_) {
            return pool->closed_ || !pool->waiting_.empty();
          },
          this));
      if (waiting_.empty()) return;
      task = std::move(waiting_.front());
      waiting_.pop_front();
    }
    absl::StatusOr<v1::ExplainResponse> response = Serve(*task);
    {
      absl::MutexLock lock(&mutex_);
      running_.erase(task->call);
    }
    task->reply(std::move(response));
  }
}

absl::StatusOr<v1::ExplainResponse> InteractivePool::Serve(const Task& task) {
  RETURN_IF_ERROR(task.call->stop());
  ASSIGN_OR_RETURN(StartPackage package,
                   OpenModel(task.tenant, task.request.spec(), store_, blobs_));
  ASSIGN_OR_RETURN(const v1::Resources needs, NeedsOf(task));
  ASSIGN_OR_RETURN(Lease * lease, Acquire(KeyOf(task.tenant, package), needs, task));
  absl::StatusOr<v1::ExplainResponse> response = AskLease(*lease, task, std::move(package));
  PutBack(lease);
  return response;
}

// Those of a job that explains with this model: the worker serves calls of every size.
absl::StatusOr<v1::Resources> InteractivePool::NeedsOf(const Task& task) {
  if (options_.estimate == nullptr) return v1::Resources();
  v1::JobSpec spec;
  const v1::ModelSource& source = *spec.mutable_explain()->mutable_model() =
      task.request.spec().model();
  if (!source.has_model()) return options_.estimate(spec, nullptr, nullptr);
  ASSIGN_OR_RETURN(const v1::Model model, Await<v1::Model>([&](Reply<v1::Model> reply) {
                     store_.models().Get(task.tenant, source.model(), std::move(reply));
                   }));
  return options_.estimate(spec, &model, nullptr);
}

absl::StatusOr<v1::ExplainResponse> InteractivePool::AskLease(Lease& lease, const Task& task,
                                                              StartPackage package) {
  const Slot& slot = workers_.slots()[static_cast<size_t>(lease.slot)];
  const auto ask = [&] {
    return lease.worker->Ask(task.request, *task.call, task.deadline, options_.cancel_grace);
  };
  const absl::Duration queued = absl::Now() - task.arrived;
  const bool warm = lease.worker != nullptr;
  absl::StatusOr<v1::ExplainResponse> response = absl::UnknownError("");
  if (warm) response = ask();
  // A warm worker may have died while it was idle.
  const bool died = warm && !lease.worker->usable() && absl::IsUnavailable(response.status()) &&
                    task.call->stop().ok();
  if (!warm || died) {
    lease.worker.reset();
    ASSIGN_OR_RETURN(lease.worker, InteractiveWorker::Start(workers_, slot, std::move(package),
                                                            LimitsOf(lease.needs, slot.device)));
    response = ask();
  }
  if (!response.ok()) return response;
  response->set_warm(warm && !died);
  response->set_queue_seconds(absl::ToDoubleSeconds(queued));
  return response;
}

WorkerLimits InteractivePool::LimitsOf(const v1::Resources& needs,
                                       const std::string& device) const {
  if (device == "cpu") return {.resident_bytes = needs.host_memory_bytes()};
  const auto total = options_.device_memory_bytes.find(device);
  if (total == options_.device_memory_bytes.end()) return {};
  return {.device_fraction = DeviceShare(needs.gpu_memory_bytes(), total->second)};
}

absl::StatusOr<InteractivePool::Lease*> InteractivePool::Acquire(const std::string& key,
                                                                 const v1::Resources& needs,
                                                                 const Task& task) {
  const absl::Time until = std::min(task.arrived + options_.slot_wait, task.deadline);
  while (true) {
    RETURN_IF_ERROR(task.call->stop());
    {
      absl::MutexLock lock(&mutex_);
      if (Lease* lease = TakeIdle(key); lease != nullptr) return lease;
    }
    const std::optional<int> slot =
        scheduler_.TryHoldSlot(needs, [this](int held) { OnSlotWanted(held); });
    std::unique_ptr<Lease> other;
    {
      absl::MutexLock lock(&mutex_);
      if (slot.has_value()) {
        Lease& lease = *leases_.emplace_back(std::make_unique<Lease>());
        lease.key = key;
        lease.needs = needs;
        lease.slot = *slot;
        return &lease;
      }
      other = TakeOldestIdle();
    }
    if (other != nullptr) {
      Drop(std::move(other));
      continue;
    }
    if (absl::Now() >= until) return NoSlot();
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(&closed_), kLookAgain);
  }
}

InteractivePool::Lease* InteractivePool::TakeIdle(const std::string& key) {
  for (const auto& lease : leases_) {
    if (lease->busy || lease->key != key || wanted_.count(lease->slot) > 0) continue;
    lease->busy = true;
    return lease.get();
  }
  return nullptr;
}

std::unique_ptr<InteractivePool::Lease> InteractivePool::TakeOldestIdle() {
  auto oldest = leases_.end();
  for (auto lease = leases_.begin(); lease != leases_.end(); ++lease) {
    if ((*lease)->busy || wanted_.count((*lease)->slot) > 0) continue;
    if (oldest == leases_.end() || (*lease)->idle_since < (*oldest)->idle_since) oldest = lease;
  }
  if (oldest == leases_.end()) return nullptr;
  std::unique_ptr<Lease> taken = std::move(*oldest);
  leases_.erase(oldest);
  return taken;
}

// A lease without a usable worker gives its slot back.
void InteractivePool::PutBack(Lease* lease) {
  std::unique_ptr<Lease> dropped;
  {
    absl::MutexLock lock(&mutex_);
    if (lease->worker != nullptr && lease->worker->usable()) {
      lease->busy = false;
      lease->idle_since = absl::Now();
      changed_ = true;
      return;
    }
    const auto found = std::find_if(leases_.begin(), leases_.end(),
                                    [lease](const auto& one) { return one.get() == lease; });
    dropped = std::move(*found);
    leases_.erase(found);
  }
  Drop(std::move(dropped));
}

void InteractivePool::Drop(std::unique_ptr<Lease> lease) {
  const int slot = lease->slot;
  const AttemptOver over = lease->worker == nullptr ? AttemptOver() : lease->worker->over();
  lease.reset();  // the process is gone before its slot is free
  {
    absl::MutexLock lock(&mutex_);
    wanted_.erase(slot);
  }
  scheduler_.ReleaseSlot(slot, over);
}

bool InteractivePool::Expired(const Lease& lease, absl::Time now) const {
  return !lease.busy &&
         (wanted_.count(lease.slot) > 0 || now >= lease.idle_since + options_.idle_limit);
}

void InteractivePool::OnSlotWanted(int slot) {
  absl::MutexLock lock(&mutex_);
  wanted_.insert(slot);
  changed_ = true;
}

// Gives back the slots of idle workers whose time is over or whose slot is wanted.
void InteractivePool::Tend() {
  absl::Time wake_at = absl::InfiniteFuture();
  while (true) {
    std::vector<std::unique_ptr<Lease>> over;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithDeadline(absl::Condition(
                                   +[](InteractivePool* pool) ABSL_EXCLUSIVE_LOCKS_REQUIRED(
                                        pool->mutex_) { return pool->closed_ || pool->changed_; },
                                   this),
                               wake_at);
      if (closed_) return;
      changed_ = false;
      wake_at = absl::InfiniteFuture();
      const absl::Time now = absl::Now();
      for (auto lease = leases_.begin(); lease != leases_.end();) {
        if (!(*lease)->busy)
          wake_at = std::min(wake_at, (*lease)->idle_since + options_.idle_limit);
        if (!Expired(**lease, now)) {
          ++lease;
          continue;
        }
        over.push_back(std::move(*lease));
        lease = leases_.erase(lease);
      }
    }
    for (auto& lease : over) Drop(std::move(lease));
  }
}

}  // namespace adamant
