// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/scheduler.h"

#include <algorithm>
#include <deque>
#include <filesystem>
#include <map>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/error_reason.h"
#include "common/status_macros.h"
#include "server/jobs/attempt.h"
#include "server/jobs/job.h"
#include "server/jobs/outcome.h"
#include "server/jobs/queue.h"
#include "server/jobs/validation.h"
#include "server/store/await.h"

namespace adamant {
namespace {

absl::Status Draining() {
  return WithReason(absl::UnavailableError("the server is going down; try again after its start"),
                    "DRAINING");
}

// The uid is one the store gave us: no path can hide in it.
void RemoveJobLog(const std::string& log_folder, const std::string& uid) {
  std::error_code ignored;
  std::filesystem::remove_all(absl::StrCat(log_folder, "/", uid), ignored);
}

constexpr absl::string_view kHeldSlot = "-";  // instead of a uid

std::string UidOf(const v1::Job& job) { return job.name().substr(job.name().find('/') + 1); }

}  // namespace

// One thread decides; attempts and validations each have their own and report by setting `done`.
class Scheduler::Impl final : public StoreObserver {
 public:
  explicit Impl(JobServices services)
      : services_(std::move(services)), busy_(services_.pool.slots().size()) {}
  ~Impl() override;

  absl::Status Start();
  absl::Status Admit() const;
  using Verb = absl::Status (*)(JobDraft& draft, absl::Time now);
  void Change(std::string tenant, std::string uid, std::string etag, Verb verb,
              Reply<v1::Job> reply);
  bool draining() const {
    absl::MutexLock lock(&mutex_);
    return draining_;
  }
  void Decorate(v1::Job& job) const;
  SchedulerStatus status() const;
  std::optional<int> TryHoldSlot(std::function<void(int)> wanted);
  void ReleaseSlot(int slot);
  void StopAdmission();
  void Requeue(absl::Duration grace);
  void ResumeAdmission();
  void Drain(absl::Duration grace);

  void OnJob(const v1::Job& job, const std::vector<v1::JobEvent>& new_events) override;
  void OnJobGone(const v1::Job& job) override;
  void OnModel(const std::string& tenant, const v1::Model& model) override;
  void OnDataset(const std::string& tenant, const v1::Dataset& dataset) override;

  JobStore& store() { return services_.store; }

 private:
  template <typename Work>
  struct Running {
    std::unique_ptr<Work> work;
    std::thread thread;
    bool done = false;
    int slot = -1;
  };
  using Resource = JobQueue::Resource;

  absl::Status LoadResources();
  absl::Status RecoverJobs();
  void Loop();
  bool Dirty() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return dirty_ || stopping_; }
  absl::Time Dispatch(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void StartAttempt(const std::string& uid, int slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void StartValidations() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Fail(const std::string& uid, v1::StateReason reason, const std::string& message)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes out what is done; the threads have to be joined without the lock.
  std::vector<std::thread> CollectDone() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void QueueValidation(const std::string& tenant, const std::string& name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void StopAttempts(StopReason reason, absl::Duration grace) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RecallHeldSlots() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (const auto& [slot, wanted] : held_) wanted(slot);
  }
  bool Idle() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return attempts_.empty() && validations_.empty();
  }

  JobServices services_;
  mutable absl::Mutex mutex_;
  JobQueue queue_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> busy_ ABSL_GUARDED_BY(mutex_);                 // uid per slot, "" = free
  std::map<int, std::function<void(int)>> held_ ABSL_GUARDED_BY(mutex_);  // what wants them back
  std::map<std::string, Running<Attempt>> attempts_ ABSL_GUARDED_BY(mutex_);  // by uid
  std::deque<Resource> to_validate_ ABSL_GUARDED_BY(mutex_);
  std::map<Resource, Running<Validation>> validations_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> gone_ ABSL_GUARDED_BY(mutex_);  // deleted jobs; their logs follow
  bool dirty_ ABSL_GUARDED_BY(mutex_) = true;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

Scheduler::Impl::~Impl() {
  {
    absl::MutexLock lock(&mutex_);
    draining_ = true;
    StopAttempts(StopReason::kAbandon, absl::ZeroDuration());
    if (thread_.joinable()) mutex_.Await(absl::Condition(this, &Impl::Idle));
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
  // Every commit so far has been announced when this reply comes.
  Await<int64_t>([&](Reply<int64_t> reply) { store().CountJobs(std::move(reply)); }).IgnoreError();
}

absl::Status Scheduler::Impl::Start() {
  services_.store.AddObserver(&services_.hub);
  services_.store.AddObserver(this);
  RETURN_IF_ERROR(LoadResources());
  RETURN_IF_ERROR(RecoverJobs());
  absl::MutexLock lock(&mutex_);
  thread_ = std::thread([this] { Loop(); });
  return absl::OkStatus();
}

absl::Status Scheduler::Impl::LoadResources() {
  ASSIGN_OR_RETURN(const auto models, Await<std::vector<Owned<v1::Model>>>([&](auto reply) {
                     store().models().LoadAll(std::move(reply));
                   }));
  ASSIGN_OR_RETURN(const auto datasets, Await<std::vector<Owned<v1::Dataset>>>([&](auto reply) {
                     store().datasets().LoadAll(std::move(reply));
                   }));
  for (const auto& [tenant, model] : models) OnModel(tenant, model);
  for (const auto& [tenant, dataset] : datasets) OnDataset(tenant, dataset);
  return absl::OkStatus();
}

absl::Status Scheduler::Impl::RecoverJobs() {
  ASSIGN_OR_RETURN(const std::vector<JobHead> heads, Await<std::vector<JobHead>>([&](auto reply) {
                     store().LoadLiveJobs(std::move(reply));
                   }));
  for (const JobHead& head : heads) {
    OnJob(head.job, {});
    if (!HasWorker(head.job.state()) && head.job.state() != v1::RECOVERING) continue;
    JobChange recover{head.uid, "", std::nullopt, {}, [](JobDraft& draft) {
                        return RecoverJob(draft, absl::Now());
                      }};
    RETURN_IF_ERROR(Await<v1::Job>([&](Reply<v1::Job> reply) {
                      store().ChangeJob(std::move(recover), std::move(reply));
                    }).status());
  }
  return absl::OkStatus();
}

void Scheduler::Impl::OnJob(const v1::Job& job, const std::vector<v1::JobEvent>& /*new_events*/) {
  const std::string uid = UidOf(job);
  absl::MutexLock lock(&mutex_);
  queue_.Update(uid, job);
  const auto found = attempts_.find(uid);
  if (found != attempts_.end() && job.state() == v1::CANCELLING)
    found->second.work->Stop(StopReason::kCancel, services_.options.cancel_grace);
  if (found != attempts_.end() && job.state() == v1::PAUSING)
    found->second.work->Stop(StopReason::kPause, services_.options.pause_grace);
  dirty_ = true;
}

void Scheduler::Impl::OnJobGone(const v1::Job& job) {
  absl::MutexLock lock(&mutex_);
  gone_.push_back(UidOf(job));
  dirty_ = true;
}

void Scheduler::Impl::OnModel(const std::string& tenant, const v1::Model& model) {
  absl::MutexLock lock(&mutex_);
  queue_.SetResource(tenant, model.name(), model.state());
  // A trained model is READY at once; what it contains is looked up behind that.
  const bool unknown = model.state() == v1::READY && model.num_classes() == 0;
  if (model.state() == v1::VALIDATING || unknown) QueueValidation(tenant, model.name());
  dirty_ = true;
}

void Scheduler::Impl::OnDataset(const std::string& tenant, const v1::Dataset& dataset) {
  absl::MutexLock lock(&mutex_);
  queue_.SetResource(tenant, dataset.name(), dataset.state());
  if (dataset.state() == v1::VALIDATING) QueueValidation(tenant, dataset.name());
  dirty_ = true;
}

void Scheduler::Impl::QueueValidation(const std::string& tenant, const std::string& name) {
  const Resource resource(tenant, name);
  const bool known = validations_.count(resource) > 0 ||
                     std::count(to_validate_.begin(), to_validate_.end(), resource) > 0;
  if (!known) to_validate_.push_back(resource);
}

void Scheduler::Impl::Loop() {
  absl::Time wake_at = absl::InfinitePast();
  while (true) {
    std::vector<std::thread> ended;
    std::vector<std::string> gone;
    bool over;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithDeadline(absl::Condition(this, &Impl::Dirty), wake_at);
      dirty_ = false;
      ended = CollectDone();
      gone.swap(gone_);
      over = stopping_ && Idle();
      wake_at = draining_ ? absl::InfiniteFuture() : Dispatch(absl::Now());
    }
    for (std::thread& thread : ended) thread.join();
    for (const std::string& uid : gone) RemoveJobLog(services_.options.log_folder, uid);
    if (over) return;
  }
}

std::vector<std::thread> Scheduler::Impl::CollectDone() {
  std::vector<std::thread> threads;
  for (auto entry = attempts_.begin(); entry != attempts_.end();) {
    if (!entry->second.done) {
      ++entry;
      continue;
    }
    threads.push_back(std::move(entry->second.thread));
    busy_[static_cast<size_t>(entry->second.slot)].clear();
    if (const auto job = queue_.jobs().find(entry->first); job != queue_.jobs().end()) {
      job->second.held = false;
      job->second.not_before = entry->second.work->retry_at();
    }
    entry = attempts_.erase(entry);
  }
  for (auto entry = validations_.begin(); entry != validations_.end();) {
    if (!entry->second.done) {
      ++entry;
      continue;
    }
    threads.push_back(std::move(entry->second.thread));
    entry = validations_.erase(entry);
  }
  return threads;
}

// Starts what can start; returns when to look again if nothing happens before.
absl::Time Scheduler::Impl::Dispatch(absl::Time now) {
  StartValidations();
  absl::Time wake_at = absl::InfiniteFuture();
  for (const std::string& uid : queue_.Waiting()) {
    const LiveJob& job = queue_.jobs().at(uid);
    const Readiness inputs = queue_.CheckInputs(job);
    if (inputs.kind == Readiness::kImpossible) {
      Fail(uid, inputs.reason, inputs.message);
      continue;
    }
    if (now >= job.queue_deadline) {
      Fail(uid, v1::QUEUE_TIMEOUT, "no slot became free within queue_timeout");
      continue;
    }
    wake_at = std::min(wake_at, job.queue_deadline);
    if (job.not_before > now) wake_at = std::min(wake_at, job.not_before);
    if (inputs.kind == Readiness::kWaiting || job.not_before > now) continue;
    const auto slot = std::find(busy_.begin(), busy_.end(), "");
    if (slot != busy_.end()) {
      StartAttempt(uid, static_cast<int>(slot - busy_.begin()));
    } else {
      RecallHeldSlots();
    }
  }
  return wake_at;
}

void Scheduler::Impl::StartAttempt(const std::string& uid, int slot) {
  queue_.jobs().at(uid).held = true;
  busy_[static_cast<size_t>(slot)] = uid;
  Running<Attempt>& running = attempts_[uid];
  running.slot = slot;
  running.work = std::make_unique<Attempt>(services_, uid, slot);
  running.thread = std::thread([this, uid, attempt = running.work.get()] {
    attempt->Run();
    absl::MutexLock lock(&mutex_);
    attempts_.at(uid).done = true;
    dirty_ = true;
  });
}

void Scheduler::Impl::StartValidations() {
  while (!to_validate_.empty() &&
         static_cast<int>(validations_.size()) < services_.options.max_validations) {
    const Resource resource = std::move(to_validate_.front());
    to_validate_.pop_front();
    Running<Validation>& running = validations_[resource];
    running.work = std::make_unique<Validation>(services_, resource.first, resource.second);
    running.thread = std::thread([this, resource, validation = running.work.get()] {
      validation->Run();
      absl::MutexLock lock(&mutex_);
      validations_.at(resource).done = true;
      dirty_ = true;
    });
  }
}

void Scheduler::Impl::Fail(const std::string& uid, v1::StateReason reason,
                           const std::string& message) {
  queue_.jobs().at(uid).held = true;
  JobChange fail{uid, "", std::nullopt, {v1::QUEUED}, [reason, message](JobDraft& draft) {
                   draft.job.mutable_error()->set_code(
                       static_cast<int>(absl::StatusCode::kFailedPrecondition));
                   draft.job.mutable_error()->set_message(message);
                   return MoveJob(draft, v1::FAILED, reason, message, absl::Now());
                 }};
  store().ChangeJob(std::move(fail), [](const absl::StatusOr<v1::Job>&) {});
}

absl::Status Scheduler::Impl::Admit() const {
  absl::MutexLock lock(&mutex_);
  if (draining_) return Draining();
  const int queued = queue_.CountState([](v1::JobState state) { return state == v1::QUEUED; });
  if (queued < services_.options.max_queued_jobs) return absl::OkStatus();
  return WithReason(
      absl::ResourceExhaustedError(absl::StrCat(queued, " jobs are queued; try again later")),
      "QUEUE_FULL");
}

void Scheduler::Impl::Change(std::string tenant, std::string uid, std::string etag, Verb verb,
                             Reply<v1::Job> reply) {
  JobChange change{std::move(uid),
                   std::move(tenant),
                   std::nullopt,
                   {},
                   [etag = std::move(etag), verb](JobDraft& draft) {
                     RETURN_IF_ERROR(CheckEtag(draft.job, etag));
                     return verb(draft, absl::Now());
                   }};
  store().ChangeJob(std::move(change), std::move(reply));
}

void Scheduler::Impl::Decorate(v1::Job& job) const {
  services_.hub.Decorate(job);
  if (job.state() != v1::QUEUED) return;
  absl::MutexLock lock(&mutex_);
  *job.mutable_queue() = queue_.Describe(UidOf(job), draining_, absl::Now());
}

SchedulerStatus Scheduler::Impl::status() const {
  absl::MutexLock lock(&mutex_);
  SchedulerStatus status;
  for (size_t i = 0; i < busy_.size(); ++i) {
    v1::SlotStatus& slot = status.slots.emplace_back();
    slot.set_slot(static_cast<int>(i));
    slot.set_device(services_.pool.slots()[i].device);
    if (!busy_[i].empty() && busy_[i] != kHeldSlot) slot.set_job(JobName(busy_[i]));
  }
  status.queued_jobs = queue_.CountState([](v1::JobState state) { return state == v1::QUEUED; });
  status.running_jobs = queue_.CountState(&HasWorker);
  status.draining = draining_;
  return status;
}

std::optional<int> Scheduler::Impl::TryHoldSlot(std::function<void(int)> wanted) {
  absl::MutexLock lock(&mutex_);
  const auto free = std::find(busy_.begin(), busy_.end(), "");
  if (draining_ || free == busy_.end()) return std::nullopt;
  *free = std::string(kHeldSlot);
  const int slot = static_cast<int>(free - busy_.begin());
  held_[slot] = std::move(wanted);
  return slot;
}

void Scheduler::Impl::ReleaseSlot(int slot) {
  absl::MutexLock lock(&mutex_);
  held_.erase(slot);
  busy_[static_cast<size_t>(slot)].clear();
  dirty_ = true;
}

void Scheduler::Impl::StopAdmission() {
  absl::MutexLock lock(&mutex_);
  draining_ = true;
  RecallHeldSlots();
  dirty_ = true;
}

// Attempts that wait for their claim are stopped as soon as they have it.
void Scheduler::Impl::Requeue(absl::Duration grace) {
  absl::MutexLock lock(&mutex_);
  draining_ = true;
  for (auto& [uid, running] : attempts_) running.work->Stop(StopReason::kDrain, grace);
  dirty_ = true;
}

void Scheduler::Impl::ResumeAdmission() {
  absl::MutexLock lock(&mutex_);
  draining_ = false;
  dirty_ = true;
}

void Scheduler::Impl::StopAttempts(StopReason reason, absl::Duration grace) {
  for (auto& [uid, running] : attempts_) running.work->Stop(reason, grace);
  for (auto& [resource, running] : validations_) running.work->Stop();
}

void Scheduler::Impl::Drain(absl::Duration grace) {
  absl::MutexLock lock(&mutex_);
  draining_ = true;
  StopAttempts(StopReason::kDrain, grace);
  mutex_.Await(absl::Condition(this, &Impl::Idle));
}

Scheduler::Scheduler(JobStore& store, BlobStore& blobs, WorkerPool& pool, EventHub& hub,
                     SchedulerOptions options)
    : impl_(std::make_unique<Impl>(JobServices{store, blobs, pool, hub, std::move(options)})) {}

Scheduler::~Scheduler() = default;

absl::Status Scheduler::Start() { return impl_->Start(); }

void Scheduler::Submit(NewJob job, Reply<SubmittedJob> reply) {
  if (const absl::Status admitted = impl_->Admit(); !admitted.ok()) return reply(admitted);
  impl_->store().Submit(std::move(job), std::move(reply));
}

void Scheduler::Cancel(std::string tenant, std::string uid, std::string etag,
                       Reply<v1::Job> reply) {
  impl_->Change(std::move(tenant), std::move(uid), std::move(etag), &CancelJob, std::move(reply));
}

void Scheduler::RegisterModel(std::string tenant, v1::Model model,
                              std::function<bool(const v1::Model&)> same, Reply<v1::Model> reply) {
  if (const absl::Status admitted = impl_->Admit(); !admitted.ok()) return reply(admitted);
  model.set_state(v1::VALIDATING);
  impl_->store().models().Put(std::move(tenant), std::move(model), std::move(same),
                              std::move(reply));
}

void Scheduler::RegisterDataset(std::string tenant, v1::Dataset dataset,
                                std::function<bool(const v1::Dataset&)> same,
                                Reply<v1::Dataset> reply) {
  if (const absl::Status admitted = impl_->Admit(); !admitted.ok()) return reply(admitted);
  dataset.set_state(v1::VALIDATING);
  impl_->store().datasets().Put(std::move(tenant), std::move(dataset), std::move(same),
                                std::move(reply));
}

void Scheduler::Decorate(v1::Job& job) const { impl_->Decorate(job); }
SchedulerStatus Scheduler::status() const { return impl_->status(); }
std::optional<int> Scheduler::TryHoldSlot(std::function<void(int)> wanted) {
  return impl_->TryHoldSlot(std::move(wanted));
}
void Scheduler::ReleaseSlot(int slot) { impl_->ReleaseSlot(slot); }
void Scheduler::StopAdmission() { impl_->StopAdmission(); }
void Scheduler::Pause(std::string tenant, std::string uid, std::string etag, Reply<v1::Job> reply) {
  impl_->Change(std::move(tenant), std::move(uid), std::move(etag), &PauseJob, std::move(reply));
}
void Scheduler::Resume(std::string tenant, std::string uid, std::string etag,
                       Reply<v1::Job> reply) {
  if (impl_->draining()) return reply(Draining());
  impl_->Change(std::move(tenant), std::move(uid), std::move(etag), &ResumeJob, std::move(reply));
}
void Scheduler::Delete(std::string tenant, std::string uid, std::string etag, Reply<Done> reply) {
  impl_->store().DeleteJob(std::move(tenant), std::move(uid), std::move(etag), absl::Now(),
                           std::move(reply));
}
void Scheduler::Requeue(absl::Duration grace) { impl_->Requeue(grace); }
void Scheduler::ResumeAdmission() { impl_->ResumeAdmission(); }
void Scheduler::Drain(absl::Duration grace) { impl_->Drain(grace); }

}  // namespace adamant
