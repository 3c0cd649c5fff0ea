// SPDX-License-Identifier: Apache-2.0
// The shell around SchedulerCore: threads, the store, and waiting.
#include "server/jobs/scheduler.h"

#include <algorithm>
#include <deque>
#include <map>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/error_reason.h"
#include "common/failpoint.h"
#include "common/status_macros.h"
#include "server/jobs/housekeeping.h"
#include "server/jobs/job.h"
#include "server/jobs/outcome.h"
#include "server/jobs/run_threads.h"
#include "server/jobs/scheduler_core.h"
#include "server/store/await.h"

namespace adamant {
namespace {

using Verb = absl::Status (*)(JobDraft& draft, absl::Time now);

absl::Status Draining() {
  return WithReason(
      absl::UnavailableError("the server takes no new work now; try again after its start"),
      "DRAINING");
}

std::string UidOf(const v1::Job& job) { return job.name().substr(job.name().find('/') + 1); }

RunObserver& ObserverOf(const SchedulerOptions& options) {
  static RunObserver nobody;
  return options.observer != nullptr ? *options.observer : nobody;
}

}  // namespace

// One thread decides, by asking the core; attempts, validations and probes each have their own.
// What the core wants of the store is done by the deciding thread without the lock.
class Scheduler::Impl final : public StoreObserver, private JobRunner {
 public:
  explicit Impl(JobServices services)
      : services_(std::move(services)),
        clock_(services_.options.clock != nullptr ? *services_.options.clock : Clock::Real()),
        observer_(ObserverOf(services_.options)),
        housekeeping_(services_.store, services_.options, clock_),
        core_(services_.pool.slots(), services_.options, clock_, *this),
        threads_(
            {services_.store, services_.blobs, services_.hub, services_.options, clock_, observer_},
            services_, [this] { Wake(); }) {}
  ~Impl() override;

  absl::Status Start();
  void Change(std::string tenant, std::string uid, std::string etag, Verb verb,
              Reply<v1::Job> reply);
  absl::Status Admit(const std::string& tenant) const {
    absl::MutexLock lock(&mutex_);
    return core_.Admit(tenant);
  }
  bool open() const {
    absl::MutexLock lock(&mutex_);
    return core_.open();
  }
  void Decorate(v1::Job& job);
  SchedulerStatus status() const {
    absl::MutexLock lock(&mutex_);
    return core_.Status();
  }
  std::optional<int> TryHoldSlot(const v1::Resources& needs, std::function<void(int)> wanted);
  void ReleaseSlot(int slot, const AttemptOver& over);
  void SetAdmission(bool open);
  void Requeue(absl::Duration grace);
  void Drain(absl::Duration grace);

  void OnJob(const v1::Job& job, const std::vector<v1::JobEvent>& new_events) override;
  void OnJobGone(const v1::Job& job) override {
    housekeeping_.RemoveLogOf(UidOf(job));
    Wake();
  }
  void OnModel(const std::string& tenant, const v1::Model& model) override;
  void OnDataset(const std::string& tenant, const v1::Dataset& dataset) override;

  JobStore& store() { return services_.store; }

 private:
  absl::Status LoadResources();
  absl::Status RecoverJobs();
  void Loop();
  void Wake() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    dirty_ = true;
  }
  bool Dirty() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return dirty_; }
  bool Idle() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return idle_; }
  void TellCore(RunThreads::Ended ended) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // JobRunner. Called with the lock held.
  void StartAttempt(const std::string& uid, int slot) override { threads_.StartAttempt(uid, slot); }
  void StopAttempt(const std::string& uid, StopReason reason, absl::Duration grace) override {
    threads_.StopAttempt(uid, reason, grace);
  }
  void Probe(int slot) override { threads_.StartProbe(slot); }
  void RenewLease(const std::string& uid, int64_t fence) override;
  void TakeOver(const std::string& uid, int64_t fence) override;
  void FailQueued(const std::string& uid, v1::StateReason reason,
                  const std::string& message) override;
  void Later(std::function<void()> work) {
    mutex_.AssertHeld();
    later_.push_back(std::move(work));
  }

  JobServices services_;
  const Clock& clock_;
  RunObserver& observer_;
  Housekeeping housekeeping_;
  mutable absl::Mutex mutex_;
  SchedulerCore core_ ABSL_GUARDED_BY(mutex_);
  RunThreads threads_;
  std::deque<std::function<void()>> later_ ABSL_GUARDED_BY(mutex_);  // calls of the store
  bool dirty_ ABSL_GUARDED_BY(mutex_) = true;
  bool idle_ ABSL_GUARDED_BY(mutex_) = true;  // no thread works for a job, model or dataset
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

Scheduler::Impl::~Impl() {
  {
    absl::MutexLock lock(&mutex_);
    core_.SetAdmission(false);
    core_.StopAll(StopReason::kAbandon, absl::ZeroDuration());
    threads_.StopValidations();
    stopping_ = true;
    dirty_ = true;
  }
  if (thread_.joinable()) thread_.join();
  // Every commit so far has been announced, and every reply given, when this one comes.
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
    if (!HasWorker(head.job.state()) && head.job.state() != v1::RECOVERING) {
      OnJob(head.job, {});
      continue;
    }
    ADAMANT_FAILPOINT("start.recover");
    JobChange recover{head.uid, "", std::nullopt, {}, [this](JobDraft& draft) {
                        return RecoverJob(draft, clock_.Wall());
                      }};
    RETURN_IF_ERROR(Await<v1::Job>([&](Reply<v1::Job> reply) {
                      store().ChangeJob(std::move(recover), std::move(reply));
                    }).status());
    observer_.OnRecovered();
  }
  return absl::OkStatus();
}

void Scheduler::Impl::OnJob(const v1::Job& job, const std::vector<v1::JobEvent>& /*new_events*/) {
  absl::MutexLock lock(&mutex_);
  if (core_.OnJob(UidOf(job), job)) dirty_ = true;
}

void Scheduler::Impl::OnModel(const std::string& tenant, const v1::Model& model) {
  absl::MutexLock lock(&mutex_);
  core_.OnModel(tenant, model);
  // A trained model is READY at once; what it contains is looked up behind that.
  const bool unknown = model.state() == v1::READY && model.num_classes() == 0;
  if (model.state() == v1::VALIDATING || unknown) threads_.QueueValidation(tenant, model.name());
  dirty_ = true;
}

void Scheduler::Impl::OnDataset(const std::string& tenant, const v1::Dataset& dataset) {
  absl::MutexLock lock(&mutex_);
  core_.OnDataset(tenant, dataset);
  if (dataset.state() == v1::VALIDATING) threads_.QueueValidation(tenant, dataset.name());
  dirty_ = true;
}

void Scheduler::Impl::Loop() {
  absl::Time wake_at = absl::InfinitePast();
  while (true) {
    RunThreads::Ended ended;
    std::deque<std::function<void()>> later;
    bool over;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithTimeout(absl::Condition(this, &Impl::Dirty), wake_at - clock_.Steady());
      dirty_ = false;
      ended = threads_.Collect();
      TellCore(std::move(ended));
      if (core_.open()) threads_.StartValidations();
      wake_at = std::min(core_.Step(), housekeeping_.due());
      later.swap(later_);
      idle_ = threads_.idle();
      over = stopping_ && idle_;
    }
    threads_.JoinEnded();
    for (const std::function<void()>& work : later) work();
    housekeeping_.Run();
    if (over) return;
  }
}

void Scheduler::Impl::TellCore(RunThreads::Ended ended) {
  for (const auto& [uid, over] : ended.attempts) core_.OnAttemptOver(uid, over);
  for (const auto& [slot, verdict] : ended.probes) core_.OnProbe(slot, verdict);
}

void Scheduler::Impl::RenewLease(const std::string& uid, int64_t fence) {
  Later([this, uid, fence] {
    const auto answer = [this, uid, fence](absl::StatusOr<v1::JobState> state) {
      observer_.OnLeaseRenewed(state.ok());
      absl::MutexLock lock(&mutex_);
      core_.OnLease(uid, fence, state);
      dirty_ = true;
    };
    store().RenewLease(uid, fence, services_.options.lease_ttl, answer);
  });
}

void Scheduler::Impl::TakeOver(const std::string& uid, int64_t fence) {
  Later([this, uid, fence] {
    JobChange change{uid, "", std::nullopt, {}, [this, fence](JobDraft& draft) {
                       return TakeOverJob(draft, fence, clock_.Wall());
                     }};
    store().ChangeJob(std::move(change), [](const absl::StatusOr<v1::Job>&) {});
  });
}

void Scheduler::Impl::FailQueued(const std::string& uid, v1::StateReason reason,
                                 const std::string& message) {
  Later([this, uid, reason, message] {
    JobChange fail{uid, "", std::nullopt, {v1::QUEUED}, [this, reason, message](JobDraft& draft) {
                     return FailJob(draft, reason, message, clock_.Wall());
                   }};
    store().ChangeJob(std::move(fail), [this, uid](const absl::StatusOr<v1::Job>& failed) {
      if (failed.ok()) return;
      absl::MutexLock lock(&mutex_);
      core_.OnDecided(uid);
      dirty_ = true;
    });
  });
}

void Scheduler::Impl::Change(std::string tenant, std::string uid, std::string etag, Verb verb,
                             Reply<v1::Job> reply) {
  JobChange change{std::move(uid),
                   std::move(tenant),
                   std::nullopt,
                   {},
                   [this, etag = std::move(etag), verb](JobDraft& draft) {
                     RETURN_IF_ERROR(CheckEtag(draft.job, etag));
                     return verb(draft, clock_.Wall());
                   }};
  store().ChangeJob(std::move(change), std::move(reply));
}

void Scheduler::Impl::Decorate(v1::Job& job) {
  services_.hub.Decorate(job);
  if (job.state() != v1::QUEUED) return;
  absl::MutexLock lock(&mutex_);
  *job.mutable_queue() = core_.Describe(UidOf(job));
}

std::optional<int> Scheduler::Impl::TryHoldSlot(const v1::Resources& needs,
                                                std::function<void(int)> wanted) {
  absl::MutexLock lock(&mutex_);
  return core_.TryHoldSlot(needs, std::move(wanted));
}

void Scheduler::Impl::ReleaseSlot(int slot, const AttemptOver& over) {
  absl::MutexLock lock(&mutex_);
  core_.ReleaseSlot(slot, over);
  dirty_ = true;
}

void Scheduler::Impl::SetAdmission(bool open) {
  ADAMANT_FAILPOINT("drain.each_step");
  absl::MutexLock lock(&mutex_);
  core_.SetAdmission(open);
  dirty_ = true;
}

// Validations go on: they are short.
void Scheduler::Impl::Requeue(absl::Duration grace) {
  ADAMANT_FAILPOINT("drain.each_step");
  absl::MutexLock lock(&mutex_);
  core_.SetAdmission(false);
  core_.StopAll(StopReason::kDrain, grace);
  dirty_ = true;
}

void Scheduler::Impl::Drain(absl::Duration grace) {
  ADAMANT_FAILPOINT("drain.each_step");
  {
    absl::MutexLock lock(&mutex_);
    core_.SetAdmission(false);
    core_.StopAll(StopReason::kDrain, grace);
    threads_.StopValidations();
    idle_ = threads_.idle();
    mutex_.Await(absl::Condition(this, &Impl::Idle));
  }
  ADAMANT_FAILPOINT("drain.each_step");
}

Scheduler::Scheduler(JobStore& store, BlobStore& blobs, WorkerPool& pool, EventHub& hub,
                     SchedulerOptions options)
    : impl_(std::make_unique<Impl>(JobServices{store, blobs, pool, hub, std::move(options)})) {}

Scheduler::~Scheduler() = default;

absl::Status Scheduler::Start() { return impl_->Start(); }

void Scheduler::Submit(NewJob job, Reply<SubmittedJob> reply) {
  if (const absl::Status admitted = impl_->Admit(job.job.tenant()); !admitted.ok())
    return reply(admitted);
  impl_->store().Submit(std::move(job), std::move(reply));
}

void Scheduler::Cancel(std::string tenant, std::string uid, std::string etag,
                       Reply<v1::Job> reply) {
  impl_->Change(std::move(tenant), std::move(uid), std::move(etag), &CancelJob, std::move(reply));
}

void Scheduler::Pause(std::string tenant, std::string uid, std::string etag, Reply<v1::Job> reply) {
  impl_->Change(std::move(tenant), std::move(uid), std::move(etag), &PauseJob, std::move(reply));
}

void Scheduler::Resume(std::string tenant, std::string uid, std::string etag,
                       Reply<v1::Job> reply) {
  if (!impl_->open()) return reply(Draining());
  impl_->Change(std::move(tenant), std::move(uid), std::move(etag), &ResumeJob, std::move(reply));
}

// The logs follow when the store tells that the job is gone.
void Scheduler::Delete(std::string tenant, std::string uid, std::string etag, Reply<Done> reply) {
  impl_->store().DeleteJob(std::move(tenant), std::move(uid), std::move(etag), absl::Now(),
                           std::move(reply));
}

void Scheduler::RegisterModel(std::string tenant, v1::Model model,
                              std::function<bool(const v1::Model&)> same, Reply<v1::Model> reply) {
  if (!impl_->open()) return reply(Draining());
  model.set_state(v1::VALIDATING);
  impl_->store().models().Put(std::move(tenant), std::move(model), std::move(same),
                              std::move(reply));
}

void Scheduler::RegisterDataset(std::string tenant, v1::Dataset dataset,
                                std::function<bool(const v1::Dataset&)> same,
                                Reply<v1::Dataset> reply) {
  if (!impl_->open()) return reply(Draining());
  dataset.set_state(v1::VALIDATING);
  impl_->store().datasets().Put(std::move(tenant), std::move(dataset), std::move(same),
                                std::move(reply));
}

void Scheduler::Decorate(v1::Job& job) const { impl_->Decorate(job); }
SchedulerStatus Scheduler::status() const { return impl_->status(); }
std::optional<int> Scheduler::TryHoldSlot(const v1::Resources& needs,
                                          std::function<void(int)> wanted) {
  return impl_->TryHoldSlot(needs, std::move(wanted));
}
void Scheduler::ReleaseSlot(int slot, const AttemptOver& over) { impl_->ReleaseSlot(slot, over); }
void Scheduler::StopAdmission() { impl_->SetAdmission(false); }
void Scheduler::ResumeAdmission() { impl_->SetAdmission(true); }
void Scheduler::Requeue(absl::Duration grace) { impl_->Requeue(grace); }
void Scheduler::Drain(absl::Duration grace) { impl_->Drain(grace); }

}  // namespace adamant
