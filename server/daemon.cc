// SPDX-License-Identifier: Apache-2.0
// The composition root: the only place that names the concrete classes of the server.
#include "server/daemon.h"

#include <google/protobuf/stubs/common.h>
#include <grpcpp/grpcpp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/blob_name.h"
#include "common/error_reason.h"
#include "common/status_macros.h"
#include "server/api/api_server.h"
#include "server/blobs/disk_ledger.h"
#include "server/blobs/local_blob_store.h"
#include "server/data_folder.h"
#include "server/drain_signals.h"
#include "server/job_telemetry.h"
#include "server/jobs/collector.h"
#include "server/jobs/estimate.h"
#include "server/jobs/events.h"
#include "server/jobs/scheduler.h"
#include "server/machine.h"
#include "server/options.h"
#include "server/store/sqlite_store.h"
#include "server/systemd_notify.h"
#include "server/telemetry/gpu_monitor.h"
#include "server/telemetry/log.h"
#include "server/telemetry/metrics.h"
#include "server/workers/catalog.h"
#include "server/workers/worker_pool.h"

#ifndef ADAMANT_VERSION
#define ADAMANT_VERSION "0.1.0"
#endif
#ifndef ADAMANT_COMMIT
#define ADAMANT_COMMIT "unknown"
#endif

namespace adamant {
namespace {

constexpr size_t kMaxQueuedCalls = 4096;
constexpr size_t kMaxQueuedStreams = 1 << 20;
constexpr absl::Duration kShutdownGrace = absl::Seconds(5);

WorkerCommand MakeCommand(const v1::ServerConfig& config) {
  std::error_code error;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe", error).string();
  WorkerCommand command;
  command.launcher = {self, "--launch"};
  command.worker = config.worker();
  command.threads = config.threads_per_slot();
  return command;
}

std::vector<std::string> PluginNames(const worker::v1::Catalog& catalog, absl::string_view family) {
  std::vector<std::string> names;
  for (const v1::PluginFamily& candidate : catalog.families()) {
    if (candidate.name() != family) continue;
    for (const v1::PluginInfo& plugin : candidate.plugins()) names.push_back(plugin.name());
  }
  return names;
}

MetricsOptions MakeMetricsOptions(const worker::v1::Catalog& catalog, size_t slots) {
  return {.version = ADAMANT_VERSION,
          .commit = ADAMANT_COMMIT,
          .libtorch = catalog.libtorch_version(),
          .grpc = grpc::Version(),
          .slots = static_cast<int>(slots),
          .attacks = PluginNames(catalog, "attack"),
          .explainers = PluginNames(catalog, "explainer")};
}

ApiLimits MakeLimits(const v1::ServerConfig& config) {
  ApiLimits limits;
  limits.rpc_starts_per_second = config.max_calls_per_second();
  limits.rpc_burst = 2 * config.max_calls_per_second();
  limits.submits_per_second = config.max_submits_per_second();
  limits.submit_burst = 4 * config.max_submits_per_second();
  limits.drain_grace = absl::Seconds(config.drain_grace_seconds());
  // Local mode has one tenant, which is the whole server's.
  limits.max_watchers_per_tenant = limits.max_watchers;
  return limits;
}

// Null on a machine without GPUs, which is no error.
std::unique_ptr<GpuMonitor> OpenGpuMonitor() {
  absl::StatusOr<std::unique_ptr<GpuMonitor>> monitor = GpuMonitor::Open();
  if (monitor.ok()) return *std::move(monitor);
  const bool absent = absl::IsNotFound(monitor.status());
  Log(absent ? LogLevel::kDebug : LogLevel::kWarning, "gpu", monitor.status().message());
  return nullptr;
}

bool ReachableFromOutside(const v1::ServerConfig& config) {
  return std::any_of(config.listen().begin(), config.listen().end(),
                     [](const std::string& address) { return !CheckListenAddress(address).ok(); });
}

absl::Status MakeFolders(const DataFolder& folder) {
  for (const char* name : {"catalog", "scratch", "logs"}) {
    std::error_code error;
    std::filesystem::create_directories(folder.Path(name), error);
    if (error) return ErrnoStatus(error.value(), absl::StrCat("cannot create ", folder.Path(name)));
  }
  return absl::OkStatus();
}

// Never returns: nothing may be acknowledged after a failed commit, and a restart recovers.
void OnStoreFailed(const absl::Status& status) {
  Log(LogLevel::kError, "store", absl::StrCat("a commit failed: ", status.message()));
  FlushLog();
  _exit(kExitStoreFailed);
}

void OnBlobCorrupt(const v1::BlobRef& blob) {
  Log(LogLevel::kError, "blob_corrupt", "stored bytes are damaged and were set aside",
      {{"blob", BlobName(blob)}});
}

// All parts of the server, in the order in which they depend on each other.
class Server {
 public:
  Server(const v1::ServerConfig& config, DataFolder folder)
      : config_(config), folder_(std::move(folder)) {}

  ~Server() {
    if (metrics_ != nullptr) metrics_->Stop();
    api_.reset();
    streams_.Stop();
    disk_.Stop();
    calls_.Stop();
  }

  absl::Status Start() {
    RETURN_IF_ERROR(MakeFolders(folder_));
    const WorkerCommand command = MakeCommand(config_);
    ASSIGN_OR_RETURN(catalog_, LoadCatalog(command, folder_.Path("catalog")));
    const std::vector<Slot> slots = MakeSlots(config_, catalog_);
    metrics_ = std::make_unique<Metrics>(MakeMetricsOptions(catalog_, slots.size()));
    SqliteStoreOptions store;
    store.path = folder_.Path("store.db");
    store.on_fatal = OnStoreFailed;
    store.on_transaction = [this](absl::string_view op, absl::Duration taken) {
      metrics_->StoreTransaction(op, absl::ToDoubleSeconds(taken));
    };
    store.on_error = [this](absl::string_view op) { metrics_->StoreError(op); };
    ASSIGN_OR_RETURN(store_, OpenSqliteStore(std::move(store)));
    ledger_ = std::make_unique<DiskLedger>(DiskLedgerOptions{.folder = folder_.path()});
    RETURN_IF_ERROR(ledger_->Tend());
    ASSIGN_OR_RETURN(blobs_, LocalBlobStore::Open(folder_.path(), {.ledger = ledger_.get(),
                                                                   .on_fatal = OnStoreFailed,
                                                                   .on_corrupt = OnBlobCorrupt}));
    ASSIGN_OR_RETURN(std::string key, folder_.PageTokenKey());
    tokens_.emplace(std::move(key));
    ASSIGN_OR_RETURN(metrics_address_, metrics_->Serve(config_.metrics_address()));
    telemetry_ = std::make_unique<JobTelemetry>(*metrics_);
    gpus_ = OpenGpuMonitor();
    workers_ = std::make_unique<WorkerPool>(WorkerPoolOptions{
        .command = command, .slots = slots, .warm_spares = config_.warm_spares()});
    hub_ = std::make_unique<EventHub>(*store_);
    store_->AddObserver(telemetry_.get());
    SchedulerOptions options;
    options.log_folder = folder_.Path("logs");
    options.scratch_folder = folder_.Path("scratch");
    SetMemoryLedgers(catalog_, gpus_.get(), options);
    options.estimate = EstimateResources;
    options.observer = telemetry_.get();
    options.device_condition = [this](int slot) { return ConditionOf(slot); };
    scheduler_ = std::make_unique<Scheduler>(*store_, *blobs_, *workers_, *hub_, options);
    RETURN_IF_ERROR(scheduler_->Start());
    collector_ = std::make_unique<Collector>(*store_, *blobs_, ledger_.get(), CollectOptions());
    collector_->Start();
    telemetry_->CountStored(*store_);
    InteractiveOptions interactive;
    interactive.estimate = options.estimate;
    interactive.device_memory_bytes = options.device_memory_bytes;
    interactive_ =
        std::make_unique<InteractivePool>(*store_, *blobs_, *workers_, *scheduler_, interactive);
    return StartApi();
  }

  // service.md 11.
  void Drain(DrainSignals& signals) {
    api_->SetNotServing();
    scheduler_->StopAdmission();
    signals.WaitForSecond(absl::Seconds(config_.drain_delay_seconds()));
    interactive_->Close();
    scheduler_->Drain(absl::Seconds(config_.drain_grace_seconds()));
    api_->GoAway();
    api_->Shutdown(kShutdownGrace);
    Log(LogLevel::kInfo, "drained", "every job is stored; the server ends");
  }

  void LogReady() const {
    Log(LogLevel::kInfo, "ready", "serving",
        {{"listen", absl::StrJoin(api_->addresses(), " ")},
         {"metrics", metrics_address_},
         {"version", ADAMANT_VERSION},
         {"data_dir", folder_.path()}});
  }

 private:
  // Nothing for a slot without a GPU.
  std::optional<DeviceCondition> ConditionOf(int slot) const {
    if (gpus_ == nullptr) return std::nullopt;
    const std::string& device = workers_->slots()[static_cast<size_t>(slot)].device;
    const absl::StatusOr<GpuMemory> memory = gpus_->Memory(device);
    if (absl::IsNotFound(memory.status())) return std::nullopt;
    DeviceCondition condition;
    if (!memory.ok()) {
      condition.unhealthy = std::string(memory.status().message());
    } else {
      condition.free_bytes = memory->free_bytes;
      condition.total_bytes = memory->total_bytes;
    }
    return condition;
  }

  CollectorOptions CollectOptions() const {
    CollectorOptions options;
    options.log_folder = folder_.Path("logs");
    options.backup_folder = folder_.Path("backups");
    options.backup_every = absl::Hours(config_.backup_every_hours());
    return options;
  }

  absl::Status StartApi() {
    parts_ = std::make_unique<ServiceParts>(ServiceParts{
        *store_, *blobs_, *scheduler_, *hub_, *metrics_, catalog_, *tokens_, calls_, disk_,
        streams_, timers_, folder_.Path("logs"), config_.torchscript() != "off"});
    parts_->limits = MakeLimits(config_);
    parts_->storage_admission = [this] { return ledger_->Admit(); };
    parts_->uploads.admit_tenant = [this](int64_t bytes) { return ledger_->AdmitTenant(bytes); };
    parts_->interactive = interactive_.get();
    ApiServerOptions options;
    options.listen = {config_.listen().begin(), config_.listen().end()};
    options.reflection = config_.reflection();
    options.facts = {
        .version = ADAMANT_VERSION, .commit = ADAMANT_COMMIT, .sqlite_version = SqliteVersion()};
    ASSIGN_OR_RETURN(api_, ApiServer::Start(*parts_, options));
    api_->SetMetricsAddress(metrics_address_);
    AddCollectors();
    return folder_.WriteAddresses(api_->addresses(), metrics_address_);
  }

  void AddCollectors() {
    metrics_->AddCollector("jobs", [this](MetricsSample& sample) {
      const SchedulerStatus status = scheduler_->status();
      telemetry_->Sample(status.slots, sample);
      sample.workers["idle"] = workers_->idle_spares();
      sample.watchers = hub_->watchers();
      sample.draining = status.draining;
      sample.insecure_bind = ReachableFromOutside(config_);
      return absl::OkStatus();
    });
    metrics_->AddCollector("blobs", [this](MetricsSample& sample) {
      const BlobTotals blobs = blobs_->totals();
      sample.cas_bytes = blobs.bytes;
      sample.cas_objects = blobs.count;
      sample.cas_capacity_bytes = blobs.capacity_bytes;
      sample.cas_evictions = blobs.evictions;
      sample.cas_corruptions = blobs.corruptions;
      return absl::OkStatus();
    });
    if (gpus_ == nullptr) return;
    metrics_->AddCollector("gpu", [this](MetricsSample& sample) {
      sample.gpus = gpus_->Sample();
      for (const GpuSample& gpu : sample.gpus) {
        if (!gpu.readable) return absl::UnavailableError("the driver does not answer for a GPU");
      }
      return absl::OkStatus();
    });
  }

  const v1::ServerConfig config_;
  DataFolder folder_;
  worker::v1::Catalog catalog_;
  std::unique_ptr<Metrics> metrics_;
  std::unique_ptr<JobTelemetry> telemetry_;
  std::unique_ptr<GpuMonitor> gpus_;  // null without GPUs
  std::unique_ptr<JobStore> store_;
  std::unique_ptr<DiskLedger> ledger_;
  std::unique_ptr<BlobStore> blobs_;
  std::optional<PageTokens> tokens_;
  std::string metrics_address_;
  std::unique_ptr<WorkerPool> workers_;
  std::unique_ptr<EventHub> hub_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<InteractivePool> interactive_;
  std::unique_ptr<Collector> collector_;
  TaskPool calls_{4, kMaxQueuedCalls};
  TaskPool disk_{static_cast<int>(std::max(2U, std::thread::hardware_concurrency())),
                 kMaxQueuedCalls};
  TaskPool streams_{1, kMaxQueuedStreams};
  Timers timers_;
  std::unique_ptr<ServiceParts> parts_;
  std::unique_ptr<ApiServer> api_;
};

int ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return kExitDrained;
  const std::string reason = ReasonOf(status);
  if (reason == "DATA_FOLDER_IN_USE") return kExitDataFolderInUse;
  return reason == "ADDRESS_IN_USE" ? kExitAddressInUse : kExitStartFailed;
}

int Fail(const absl::Status& status) {
  Log(LogLevel::kError, "start", status.message());
  FlushLog();
  return ExitCodeOf(status);
}

int Report(absl::string_view what, const absl::Status& status) {
  std::printf("%-12s %s\n", std::string(what).c_str(),
              status.ok() ? "ok" : std::string(status.message()).c_str());
  return status.ok() ? kExitDrained : kExitConfiguration;
}

}  // namespace

int RunDaemon(const v1::ServerConfig& config) {
  DrainSignals::Block();
  umask(0077);  // files, folders and sockets are for this user only
  if (absl::Status status = SetUpLog(config.log_level(), config.log_format()); !status.ok()) {
    std::fprintf(stderr, "adamantd: %s\n", std::string(status.message()).c_str());
    return kExitConfiguration;
  }
  SystemdNotify systemd;
  DrainSignals signals;
  Log(LogLevel::kWarning, "local_mode",
      "no authentication: every user of this machine is administrator");
  absl::StatusOr<DataFolder> folder = DataFolder::Open(config.data_dir());
  if (!folder.ok()) return Fail(folder.status());
  Server server(config, *std::move(folder));
  if (absl::Status status = server.Start(); !status.ok()) return Fail(status);
  server.LogReady();
  systemd.Ready();
  signals.WaitForFirst();
  systemd.Stopping();
  server.Drain(signals);
  FlushLog();
  return kExitDrained;
}

int CheckDaemon(const v1::ServerConfig& config) {
  int worst = Report("config", SetUpLog(config.log_level(), config.log_format()));
  const absl::StatusOr<DataFolder> folder = DataFolder::Open(config.data_dir());
  worst = std::max(worst, Report("data folder", folder.status()));
  if (!folder.ok()) return worst;
  const absl::Status folders = MakeFolders(*folder);
  worst = std::max(worst, Report("folders", folders));
  const absl::Status worker = LoadCatalog(MakeCommand(config), folder->Path("catalog")).status();
  return std::max(worst, Report("worker", worker));
}

void PrintVersions() {
  std::printf("adamantd %s (%s)\ngrpc %s\nprotobuf %s\nsqlite %s\n", ADAMANT_VERSION,
              ADAMANT_COMMIT, grpc::Version().c_str(),
              google::protobuf::internal::VersionString(GOOGLE_PROTOBUF_VERSION).c_str(),
              SqliteVersion().c_str());
}

}  // namespace adamant
