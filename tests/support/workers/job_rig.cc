// SPDX-License-Identifier: Apache-2.0
#include "tests/support/workers/job_rig.h"

#include <sys/stat.h>

#include "absl/strings/str_join.h"

namespace adamant::testing {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);  // only a failing test waits that long

}  // namespace

WorkerCommand FakeWorkerCommand() {
  const std::string programs = ADAMANT_TEST_PROGRAMS;
  return {{programs + "/fake_launcher"}, programs + "/fake_worker", 1};
}

JobRig::JobRig(LocalBlobOptions blob_options) {
  pool_options.command = FakeWorkerCommand();
  pool_options.warm_spares = 0;
  options.log_folder = folder_.path() + "/logs";
  options.scratch_folder = folder_.path() + "/scratch";
  options.cancel_grace = absl::Seconds(10);
  options.retry_base = absl::Milliseconds(1);
  mkdir(options.log_folder.c_str(), 0700);
  mkdir(options.scratch_folder.c_str(), 0700);
  mkdir((folder_.path() + "/blobs").c_str(), 0700);
  auto blobs = LocalBlobStore::Open(folder_.path() + "/blobs", std::move(blob_options));
  EXPECT_TRUE(blobs.ok()) << blobs.status();
  blobs_ = *std::move(blobs);
}

void JobRig::OpenStore() {
  auto store = OpenSqliteStore({folder_.path() + "/store.db", nullptr});
  ASSERT_TRUE(store.ok()) << store.status();
  store_ = *std::move(store);
  store_->AddObserver(this);
  hub_ = std::make_unique<EventHub>(*store_);
}

void JobRig::StartScheduler() {
  if (store_ == nullptr) OpenStore();
  pool_ = std::make_unique<WorkerPool>(pool_options);
  scheduler_ = std::make_unique<Scheduler>(*store_, *blobs_, *pool_, *hub_, options);
  const absl::Status started = scheduler_->Start();
  ASSERT_TRUE(started.ok()) << started;
}

void JobRig::StopScheduler() {
  scheduler_.reset();
  pool_.reset();
  store_.reset();
  hub_.reset();
}

std::string JobRig::Submit(FakeTask task, v1::SubmitOptions submit_options,
                           const std::string& register_as) {
  v1::JobSpec spec;
  spec.mutable_train()->set_seed(task);
  spec.mutable_train()->set_register_as(register_as);
  spec.mutable_train()->mutable_model()->mutable_architecture()->set_name("mini_gap");
  spec.mutable_train()->mutable_train()->mutable_builtin()->set_name("shapes");
  NewJob job = MakeJob(spec, std::move(submit_options), "local", "me", absl::Now());
  const auto submitted =
      adamant::Await<SubmittedJob>([&](auto reply) { scheduler_->Submit(std::move(job), reply); });
  EXPECT_TRUE(submitted.ok()) << submitted.status();
  return submitted.ok() ? submitted->job.name() : "";
}

v1::BlobRef JobRig::PutBlob(const std::string& bytes) {
  const auto blob = blobs_->PutBytes(bytes);
  EXPECT_TRUE(blob.ok()) << blob.status();
  return blob.ok() ? *blob : v1::BlobRef();
}

v1::Model JobRig::Register(const std::string& id, const std::string& wish) {
  v1::Model model;
  model.set_name("models/" + id);
  model.set_display_name(wish);
  *model.mutable_blob() = PutBlob("model " + wish);
  const auto stored = adamant::Await<v1::Model>([&](auto reply) {
    scheduler_->RegisterModel("local", model, [](const v1::Model&) { return false; }, reply);
  });
  EXPECT_TRUE(stored.ok()) << stored.status();
  return stored.ok() ? *stored : v1::Model();
}

v1::Job JobRig::Get(const std::string& name) {
  const auto job =
      adamant::Await<v1::Job>([&](auto reply) { store_->GetJob("local", name.substr(5), reply); });
  EXPECT_TRUE(job.ok()) << job.status();
  return job.ok() ? *job : v1::Job();
}

v1::Job JobRig::Cancel(const std::string& name) {
  const auto job = adamant::Await<v1::Job>(
      [&](auto reply) { scheduler_->Cancel("local", name.substr(5), "", reply); });
  EXPECT_TRUE(job.ok()) << job.status();
  return job.ok() ? *job : v1::Job();
}

v1::Job JobRig::Pause(const std::string& name) {
  const auto job = adamant::Await<v1::Job>(
      [&](auto reply) { scheduler_->Pause("local", name.substr(5), "", reply); });
  EXPECT_TRUE(job.ok()) << job.status();
  return job.ok() ? *job : v1::Job();
}

v1::Job JobRig::Resume(const std::string& name) {
  const auto job = adamant::Await<v1::Job>(
      [&](auto reply) { scheduler_->Resume("local", name.substr(5), "", reply); });
  EXPECT_TRUE(job.ok()) << job.status();
  return job.ok() ? *job : v1::Job();
}

v1::QueueInfo JobRig::Queue(const std::string& name) {
  v1::Job job = Get(name);
  scheduler_->Decorate(job);
  return job.queue();
}

std::vector<v1::JobEvent> JobRig::Events(const std::string& name) {
  const auto page = adamant::Await<EventPage>(
      [&](auto reply) { hub_->Read({name.substr(5), 0, 10000, {}}, reply); });
  EXPECT_TRUE(page.ok()) << page.status();
  return page.ok() ? page->events : std::vector<v1::JobEvent>();
}

std::string JobRig::States(const std::string& name) {
  std::vector<std::string> states;
  for (const v1::JobEvent& event : Events(name)) {
    if (event.has_state()) states.push_back(v1::JobState_Name(event.state().to()));
  }
  return absl::StrJoin(states, " ");
}

v1::Job JobRig::Await(const std::string& name, std::function<bool(const v1::Job&)> condition) {
  absl::MutexLock lock(&mutex_);
  const auto met = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto found = jobs_.find(name);
    return found != jobs_.end() && condition(found->second);
  };
  EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&met), kPatience))
      << jobs_[name].ShortDebugString();
  return jobs_[name];
}

v1::Job JobRig::AwaitState(const std::string& name, v1::JobState state) {
  return Await(name, [=](const v1::Job& job) { return job.state() == state; });
}

v1::Job JobRig::AwaitEnd(const std::string& name) {
  return Await(name, [](const v1::Job& job) { return IsTerminal(job.state()); });
}

v1::Model JobRig::AwaitModel(const std::string& name,
                             std::function<bool(const v1::Model&)> condition) {
  absl::MutexLock lock(&mutex_);
  const auto met = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto found = models_.find(name);
    return found != models_.end() && condition(found->second);
  };
  EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&met), kPatience))
      << models_[name].ShortDebugString();
  return models_[name];
}

void JobRig::OnJob(const v1::Job& job, const std::vector<v1::JobEvent>& /*events*/) {
  absl::MutexLock lock(&mutex_);
  jobs_[job.name()] = job;
}

void JobRig::OnModel(const std::string& /*tenant*/, const v1::Model& model) {
  absl::MutexLock lock(&mutex_);
  models_[model.name()] = model;
}

}  // namespace adamant::testing
