// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/world.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/jobs/outcome.h"

namespace adamant::testing {
namespace {

constexpr absl::Duration kTrouble = absl::Minutes(10);
constexpr absl::Duration kQuiet = absl::Hours(3);

v1::JobSpec Training() {
  v1::JobSpec spec;
  spec.mutable_train()->mutable_model()->mutable_architecture()->set_name("mini_gap");
  spec.mutable_train()->mutable_train()->mutable_builtin()->set_name("shapes");
  return spec;
}

}  // namespace

World::World(uint64_t seed, Options options) : options_(std::move(options)), random_(seed) {
  // No such folder: attempts write neither logs nor, unless there is shared memory, outputs.
  scheduler_options_.log_folder = "/nonexistent/simulation";
  scheduler_options_.scratch_folder = "/dev/shm";
  scheduler_options_.clock = &clock_;
  scheduler_options_.host_memory_bytes = int64_t{100} << 20;
  const int slots = 1 + Pick(3);
  for (int i = 0; i < slots; ++i)
    slots_.push_back({.device = Draw() < 0.5 ? absl::StrCat("cuda:", i) : "cpu", .threads = 1});
  store_.AddObserver(this);
  StartServer();
}

World::~World() { store_.DropObservers(); }

void World::At(absl::Duration delay, std::function<void()> event) {
  queue_.emplace(clock_.Steady() + delay, std::move(event));
}

void World::AtServer(absl::Duration delay, std::function<void()> event) {
  At(delay, [this, born = incarnation_, event = std::move(event)] {
    if (born == incarnation_) event();
  });
}

void World::AskForStep(absl::Time at) {
  if (at >= server_->step_at) return;
  server_->step_at = at;
  AtServer(std::max(at - clock_.Steady(), absl::ZeroDuration()), [this, at] {
    if (server_->step_at != at) return;
    server_->step_at = absl::InfiniteFuture();
    AskForStep(server_->core->Step());
  });
}

void World::StartServer() {
  server_ = std::make_unique<Server>();
  server_->hub = std::make_unique<EventHub>(store_);
  server_->core = std::make_unique<SchedulerCore>(slots_, scheduler_options_, clock_,
                                                  *static_cast<JobRunner*>(this));
  for (const auto& [uid, stored] : store_.jobs()) {
    const v1::JobState state = stored.job.state();
    if (IsTerminal(state)) continue;
    if (!HasWorker(state) && state != v1::RECOVERING) {
      server_->core->OnJob(uid, stored.job);
      continue;
    }
    if (options_.bug == "no_recovery") continue;
    JobChange recover{uid, "", std::nullopt, {}, [this](JobDraft& draft) {
                        return RecoverJob(draft, clock_.Wall());
                      }};
    store_.ChangeJob(std::move(recover), [](const absl::StatusOr<v1::Job>&) {});
  }
  AskForStep(clock_.Steady());
}

// SIGKILL: workers die with it, nothing is written.
void World::RestartServer() {
  ++incarnation_;
  for (const auto& [uid, running] : server_->attempts) graveyard_.push_back(running);
  server_.reset();
  clock_.Advance(Delay(absl::Seconds(5)));
  StartServer();
}

void World::StartAttempt(const std::string& uid, int slot) {
  for (const auto& [other, running] : server_->attempts)
    Expect(running->slot != slot, absl::StrCat("slot ", slot, " is given to one job at a time"));
  Expect(server_->attempts.count(uid) == 0, "a job has one attempt at a time");
  auto running = std::make_shared<Running>();
  running->slot = slot;
  running->attempt = std::make_unique<Attempt>(
      AttemptServices{store_, blobs_, *server_->hub, scheduler_options_, clock_, observer_}, uid,
      slot, slots_[static_cast<size_t>(slot)]);
  server_->attempts[uid] = running;
  AtServer(Delay(absl::Milliseconds(5)), [this, running, uid] { Begin(running, uid); });
}

void World::Begin(const std::shared_ptr<Running>& running, const std::string& uid) {
  if (!running->attempt->Begin()) return End(running, uid);
  const bool fails = trouble_ && Draw() < options_.faults / 10;
  const absl::Duration delay = Delay(fails ? absl::Seconds(30) : absl::Seconds(2));
  AtServer(delay, [this, running, uid, fails] {
    if (!fails) return GiveWorker(running, uid);
    running->attempt->OnNoWorker(absl::UnavailableError("the worker did not get ready"));
    End(running, uid);
  });
}

WorkerPlan World::PlanWorker(const std::string& uid) {
  if (const auto planned = plans_.find(uid); planned != plans_.end()) return planned->second;
  WorkerPlan plan;
  plan.steps = 1 + Pick(12);
  plan.step_time = absl::Milliseconds(200 + Pick(3000));
  plan.turning_point = Pick(plan.steps);
  if (!trouble_ || Draw() >= options_.faults) return plan;
  plan.behaviour = static_cast<Behaviour>(Pick(kBehaviours));
  plan.frame_loss = Draw() < 0.3 ? 0.5 : 0;
  return plan;
}

void World::GiveWorker(const std::shared_ptr<Running>& running, const std::string& uid) {
  running->worker = std::make_unique<SimWorker>(
      PlanWorker(uid), random_(),
      [this](absl::Duration delay, std::function<void()> event) { AtServer(delay, event); },
      [this, uid, target = running.get()](WorkerNews::Kind kind, worker::v1::Frame frame,
                                          std::optional<int> status) {
        const auto found = server_->attempts.find(uid);
        if (found == server_->attempts.end() || found->second.get() != target) return;
        Deliver(found->second, uid, kind, std::move(frame), status);
      });
  running->attempt->OnWorker(*running->worker);
  WatchDeadline(running, uid);
}

void World::Deliver(const std::shared_ptr<Running>& running, const std::string& uid,
                    WorkerNews::Kind kind, worker::v1::Frame frame,
                    std::optional<int> wait_status) {
  if (!running->attempt->supervising()) return;
  if (frame.result().has_report()) reports_.emplace(uid, running->attempt->record().fence());
  WorkerNews news;
  news.kind = kind;
  news.received.frame = std::move(frame);
  if (kind == WorkerNews::kBroken) news.error = absl::InvalidArgumentError("no frame");
  running->attempt->OnNews(news, wait_status);
  if (running->attempt->supervising()) return WatchDeadline(running, uid);
  if (std::exchange(running->ending, true)) return;
  // Reaping and the last commit take their time.
  AtServer(Delay(absl::Milliseconds(trouble_ && Draw() < 0.05 ? 20000 : 20)),
           [this, running, uid] { End(running, uid); });
}

void World::WatchDeadline(const std::shared_ptr<Running>& running, const std::string& uid) {
  const int64_t generation = ++running->generation;
  const absl::Time deadline = running->attempt->NextDeadline();
  if (deadline == absl::InfiniteFuture()) return;
  AtServer(std::max(deadline - clock_.Steady(), absl::ZeroDuration()),
           [this, running, uid, generation] {
             if (running->generation == generation)
               Deliver(running, uid, WorkerNews::kTimeout, {}, std::nullopt);
           });
}

void World::End(const std::shared_ptr<Running>& running, const std::string& uid) {
  running->attempt->End();
  AtServer(Delay(absl::Milliseconds(10)), [this, running, uid] {
    const AttemptOver over = running->attempt->over();
    server_->attempts.erase(uid);
    graveyard_.push_back(running);
    if (options_.bug == "slot_leak" && over.killed) return;
    server_->core->OnAttemptOver(uid, over);
    AskForStep(clock_.Steady());
  });
}

void World::StopAttempt(const std::string& uid, StopReason reason, absl::Duration grace) {
  const auto found = server_->attempts.find(uid);
  if (found != server_->attempts.end()) found->second->attempt->Stop(reason, grace);
}

void World::RenewLease(const std::string& uid, int64_t fence) {
  const double draw = trouble_ ? Draw() : 1;
  if (draw < options_.faults / 20) return;  // never answered
  const absl::Duration delay =
      Delay(draw < options_.faults / 10 ? absl::Seconds(40) : absl::Milliseconds(50));
  AtServer(delay, [this, uid, fence] {
    store_.RenewLease(uid, fence, scheduler_options_.lease_ttl,
                      [this, uid, fence](const absl::StatusOr<v1::JobState>& state) {
                        server_->core->OnLease(uid, fence, state);
                      });
    AskForStep(clock_.Steady());
  });
}

void World::TakeOver(const std::string& uid, int64_t fence) {
  AtServer(Delay(absl::Milliseconds(10)), [this, uid, fence] {
    JobChange change{uid, "", std::nullopt, {}, [this, fence](JobDraft& draft) {
                       return TakeOverJob(draft, fence, clock_.Wall());
                     }};
    store_.ChangeJob(std::move(change), [](const absl::StatusOr<v1::Job>&) {});
  });
}

void World::FailQueued(const std::string& uid, v1::StateReason reason, const std::string& message) {
  AtServer(Delay(absl::Milliseconds(10)), [this, uid, reason, message] {
    JobChange fail{uid, "", std::nullopt, {v1::QUEUED}, [&, this](JobDraft& draft) {
                     return FailJob(draft, reason, message, clock_.Wall());
                   }};
    store_.ChangeJob(std::move(fail), [this, uid](const absl::StatusOr<v1::Job>& failed) {
      if (!failed.ok()) server_->core->OnDecided(uid);
    });
    AskForStep(clock_.Steady());
  });
}

void World::Probe(int slot) {
  const bool healthy = !trouble_ || Draw() >= options_.faults;
  AtServer(Delay(absl::Seconds(3)), [this, slot, healthy] {
    server_->core->OnProbe(slot, healthy ? absl::OkStatus() : absl::UnavailableError("wrong sum"));
    AskForStep(clock_.Steady());
  });
}

std::string World::Store(v1::JobSpec spec, v1::SubmitOptions options, const std::string& tenant) {
  NewJob job = MakeJob(std::move(spec), std::move(options), tenant, "me", clock_.Wall());
  const std::string uid = absl::StrCat(std::string(20, 'j'), 100000 + submitted_++);
  job.job.set_name(JobName(uid));
  if (!server_->core->Admit(tenant).ok()) return "";
  store_.Submit(std::move(job), [](const absl::StatusOr<SubmittedJob>&) {});
  AskForStep(clock_.Steady());
  return uid;
}

std::string World::SubmitWith(WorkerPlan plan) {
  const std::string uid = Store(Training(), {}, "tenant");
  plans_[uid] = plan;
  return uid;
}

void World::SubmitJob() {
  v1::JobSpec spec = Training();
  spec.mutable_train()->set_batch_size(Pick(2) * 32);
  v1::SubmitOptions options;
  options.set_priority(Pick(5) - 1);
  options.set_start_paused(Draw() < 0.1);
  options.mutable_resources()->set_host_memory_bytes(Pick(4) * (int64_t{30} << 20));
  if (Draw() < 0.1) options.mutable_queue_timeout()->set_seconds(1 + Pick(60));
  if (Draw() < 0.1) options.mutable_max_run_time()->set_seconds(1 + Pick(30));
  if (Draw() < 0.3) options.mutable_retry_policy()->set_max_attempts(10);
  Store(std::move(spec), std::move(options), absl::StrCat("tenant-", Pick(3)));
}

void World::ResumeAll() {
  for (const auto& [uid, stored] : store_.jobs()) {
    JobChange resume{uid, "", std::nullopt, {v1::PAUSED}, [this](JobDraft& draft) {
                       return ResumeJob(draft, clock_.Wall());
                     }};
    store_.ChangeJob(std::move(resume), [](const absl::StatusOr<v1::Job>&) {});
  }
}

void World::ChangeSomeJob(absl::Status (*verb)(JobDraft&, absl::Time)) {
  if (store_.jobs().empty()) return;
  auto job = store_.jobs().begin();
  std::advance(job, Pick(static_cast<int>(store_.jobs().size())));
  if (verb == &CancelJob) cancels_.insert(job->first);
  JobChange change{job->first, "", std::nullopt, {}, [this, verb](JobDraft& draft) {
                     return verb(draft, clock_.Wall());
                   }};
  store_.ChangeJob(std::move(change), [](const absl::StatusOr<v1::Job>&) {});
}

void World::SomethingHappens() {
  switch (Pick(12)) {
    case 0:
      ChangeSomeJob(&CancelJob);
      break;
    case 1:
    case 2:
      ChangeSomeJob(&PauseJob);
      break;
    case 3:
    case 4:
      ChangeSomeJob(&ResumeJob);
      break;
    case 5:
      RestartServer();
      break;
    case 6:
      clock_.JumpWall(absl::Hours(Pick(49) - 24));
      break;
    case 7:
      server_->core->SetAdmission(false);
      if (Draw() < 0.5) server_->core->StopAll(StopReason::kDrain, absl::Seconds(15));
      break;
    case 8:
    case 9:
      server_->core->SetAdmission(true);
      break;
    default:
      SubmitJob();
      break;
  }
  AskForStep(clock_.Steady());
}

void World::Play(absl::Time until) {
  while (problem_.empty() && !queue_.empty() && queue_.begin()->first <= until) {
    // An event may have moved the clock past the time of others.
    const absl::Time time = std::max(queue_.begin()->first, clock_.Steady());
    std::function<void()> event = std::move(queue_.begin()->second);
    queue_.erase(queue_.begin());
    clock_.AdvanceTo(time);
    event();
    if (++events_ % 16 == 0) CheckServer();
  }
}

void World::Run() {
  const absl::Time start = clock_.Steady();
  for (int i = 0; i < options_.jobs; ++i) At(Delay(kTrouble / 2), [this] { SubmitJob(); });
  for (int i = 0; i < 3 * options_.jobs; ++i) At(Delay(kTrouble), [this] { SomethingHappens(); });
  Play(start + kTrouble);
  trouble_ = false;
  server_->core->SetAdmission(true);
  AskForStep(clock_.Steady());
  const absl::Time end = clock_.Steady() + kQuiet;
  while (problem_.empty() && clock_.Steady() < end) {
    ResumeAll();  // a pause may take effect after the trouble
    const bool over = std::all_of(store_.jobs().begin(), store_.jobs().end(), [](const auto& job) {
      return IsTerminal(job.second.job.state());
    });
    if (over) break;
    Play(clock_.Steady() + absl::Minutes(1));
    if (queue_.empty() || queue_.begin()->first > clock_.Steady() + absl::Minutes(1))
      clock_.Advance(absl::Minutes(1));
  }
  CheckEnd();
}

}  // namespace adamant::testing
