// SPDX-License-Identifier: Apache-2.0
#include "server/telemetry/gpu_monitor.h"

#include <dlfcn.h>

#include <cstdlib>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"

namespace adamant {
namespace {

// The part of NVML's ABI that is used here (nvml.h of the driver; stable since version 4).
using NvmlDevice = struct NvmlDeviceHandle*;
using NvmlEventSet = struct NvmlEventSetHandle*;
constexpr int kNvmlSuccess = 0;
constexpr unsigned kTemperatureOfChip = 0;
constexpr unsigned long long kXidCriticalError = 8;

struct NvmlMemory {
  unsigned long long total, free, used;
};
struct NvmlUtilization {
  unsigned gpu, memory;  // percent
};
struct NvmlEvent {
  NvmlDevice device;
  unsigned long long type, data;
  unsigned gpu_instance, compute_instance;
};

struct Nvml {
  int (*init)();
  int (*shutdown)();
  int (*count)(unsigned*);
  int (*by_index)(unsigned, NvmlDevice*);
  int (*by_uuid)(const char*, NvmlDevice*);
  int (*memory)(NvmlDevice, NvmlMemory*);
  int (*utilization)(NvmlDevice, NvmlUtilization*);
  int (*energy)(NvmlDevice, unsigned long long* millijoules);
  int (*temperature)(NvmlDevice, unsigned sensor, unsigned*);
  // Absent in old drivers and on devices without the feature: no XID counts then.
  int (*make_events)(NvmlEventSet*);
  int (*free_events)(NvmlEventSet);
  int (*register_events)(NvmlDevice, unsigned long long types, NvmlEventSet);
  int (*wait_event)(NvmlEventSet, NvmlEvent*, unsigned milliseconds);
};

struct LibraryCloser {
  void operator()(void* library) const { dlclose(library); }
};
using Library = std::unique_ptr<void, LibraryCloser>;

template <typename Function>
bool Find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

bool FindAll(void* library, Nvml& nvml) {
  Find(library, "nvmlEventSetCreate", nvml.make_events);
  Find(library, "nvmlEventSetFree", nvml.free_events);
  Find(library, "nvmlDeviceRegisterEvents", nvml.register_events);
  Find(library, "nvmlEventSetWait_v2", nvml.wait_event);
  return Find(library, "nvmlInit_v2", nvml.init) && Find(library, "nvmlShutdown", nvml.shutdown) &&
         Find(library, "nvmlDeviceGetCount_v2", nvml.count) &&
         Find(library, "nvmlDeviceGetHandleByIndex_v2", nvml.by_index) &&
         Find(library, "nvmlDeviceGetHandleByUUID", nvml.by_uuid) &&
         Find(library, "nvmlDeviceGetMemoryInfo", nvml.memory) &&
         Find(library, "nvmlDeviceGetUtilizationRates", nvml.utilization) &&
         Find(library, "nvmlDeviceGetTotalEnergyConsumption", nvml.energy) &&
         Find(library, "nvmlDeviceGetTemperature", nvml.temperature);
}

class NvmlMonitor : public GpuMonitor {
 public:
  NvmlMonitor(Library library, const Nvml& nvml) : library_(std::move(library)), nvml_(nvml) {
    for (const NvmlDevice device : VisibleDevices()) gpus_.push_back({.device = device});
    ListenForErrors();
  }

  ~NvmlMonitor() override {
    if (events_ != nullptr) nvml_.free_events(events_);
    nvml_.shutdown();
  }

  std::vector<GpuSample> Sample() override {
    absl::MutexLock lock(&mutex_);
    TakeErrors();
    std::vector<GpuSample> samples;
    for (size_t i = 0; i < gpus_.size(); ++i) {
      samples.push_back(SampleOf(gpus_[i]));
      samples.back().index = static_cast<int>(i);
    }
    return samples;
  }

  absl::StatusOr<GpuMemory> Memory(absl::string_view device) override {
    size_t index = 0;
    absl::string_view number = device;
    if (!absl::ConsumePrefix(&number, "cuda:") || !absl::SimpleAtoi(number, &index) ||
        index >= gpus_.size())
      return absl::NotFoundError(absl::StrCat("there is no GPU ", device));
    NvmlMemory memory{};
    if (nvml_.memory(gpus_[index].device, &memory) != kNvmlSuccess)
      return absl::UnavailableError(absl::StrCat("the driver does not answer for ", device));
    return GpuMemory{static_cast<int64_t>(memory.total), static_cast<int64_t>(memory.free)};
  }

 private:
  struct Gpu {
    NvmlDevice device;
    int64_t errors = 0;
  };

  // CUDA stops at the first entry of CUDA_VISIBLE_DEVICES that it does not know.
  std::vector<NvmlDevice> VisibleDevices() const {
    std::vector<NvmlDevice> devices;
    const char* const visible = std::getenv("CUDA_VISIBLE_DEVICES");
    unsigned count = 0;
    if (nvml_.count(&count) != kNvmlSuccess) return devices;
    std::vector<std::string> names;
    if (visible != nullptr) {
      names = absl::StrSplit(visible, ',', absl::SkipWhitespace());
    } else {
      for (unsigned i = 0; i < count; ++i) names.push_back(absl::StrCat(i));
    }
    for (std::string& name : names) {
      absl::StripAsciiWhitespace(&name);
      unsigned index = 0;
      NvmlDevice device = nullptr;
      const int found = absl::SimpleAtoi(name, &index) ? nvml_.by_index(index, &device)
                                                       : nvml_.by_uuid(name.c_str(), &device);
      if (found != kNvmlSuccess) break;
      devices.push_back(device);
    }
    return devices;
  }

  void ListenForErrors() {
    if (nvml_.make_events == nullptr || nvml_.free_events == nullptr ||
        nvml_.register_events == nullptr || nvml_.wait_event == nullptr)
      return;
    if (nvml_.make_events(&events_) != kNvmlSuccess) events_ = nullptr;
    for (const Gpu& gpu : gpus_) {
      if (events_ != nullptr) nvml_.register_events(gpu.device, kXidCriticalError, events_);
    }
  }

  void TakeErrors() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    NvmlEvent event{};
    while (events_ != nullptr && nvml_.wait_event(events_, &event, 0) == kNvmlSuccess) {
      for (Gpu& gpu : gpus_) {
        if (gpu.device == event.device && event.type == kXidCriticalError) ++gpu.errors;
      }
    }
  }

  GpuSample SampleOf(const Gpu& gpu) const {
    GpuSample sample;
    sample.xid_errors = gpu.errors;
    NvmlMemory memory{};
    if (nvml_.memory(gpu.device, &memory) != kNvmlSuccess) {
      sample.readable = false;
      return sample;
    }
    sample.memory_used_bytes = static_cast<int64_t>(memory.used);
    sample.memory_total_bytes = static_cast<int64_t>(memory.total);
    // What a device does not offer stays 0.
    NvmlUtilization utilization{};
    if (nvml_.utilization(gpu.device, &utilization) == kNvmlSuccess)
      sample.utilization_ratio = utilization.gpu / 100.0;
    unsigned long long millijoules = 0;
    if (nvml_.energy(gpu.device, &millijoules) == kNvmlSuccess)
      sample.energy_joules = static_cast<double>(millijoules) / 1000;
    unsigned celsius = 0;
    if (nvml_.temperature(gpu.device, kTemperatureOfChip, &celsius) == kNvmlSuccess)
      sample.temperature_celsius = celsius;
    return sample;
  }

  const Library library_;
  const Nvml nvml_;
  NvmlEventSet events_ = nullptr;  // null: errors are not counted
  absl::Mutex mutex_;
  std::vector<Gpu> gpus_;  // only `errors` changes after construction
};

}  // namespace

absl::StatusOr<std::unique_ptr<GpuMonitor>> GpuMonitor::Open(const std::string& library) {
  Library handle(dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL));
  if (handle == nullptr)
    return absl::NotFoundError(absl::StrCat("no GPU driver: there is no ", library));
  Nvml nvml{};
  if (!FindAll(handle.get(), nvml))
    return absl::UnavailableError(absl::StrCat(library, " is too old: update the GPU driver"));
  if (const int code = nvml.init(); code != kNvmlSuccess) {
    return absl::UnavailableError(
        absl::StrCat(library, " does not start (NVML error ", code, "); check the GPU driver"));
  }
  return std::make_unique<NvmlMonitor>(std::move(handle), nvml);
}

}  // namespace adamant
