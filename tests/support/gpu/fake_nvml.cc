// SPDX-License-Identifier: Apache-2.0
// A shared library that answers like NVML for two GPUs. The environment says how:
// FAKE_NVML=init_fails | lost (the second GPU no longer answers) | error (one XID on the first
// GPU).
#include <cstdlib>
#include <cstring>

namespace {

int devices[2];
bool error_told = false;

bool Wish(const char* what) {
  const char* const wish = std::getenv("FAKE_NVML");
  return wish != nullptr && std::strcmp(wish, what) == 0;
}

int IndexOf(const void* device) { return device == &devices[1] ? 1 : 0; }

constexpr int kInvalid = 2;
constexpr int kTimeout = 10;
constexpr int kLost = 15;

}  // namespace

extern "C" {

int nvmlInit_v2() {
  error_told = false;
  return Wish("init_fails") ? 9 : 0;
}
int nvmlShutdown() { return 0; }

int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = 2;
  return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  if (index > 1) return kInvalid;
  *device = &devices[index];
  return 0;
}

int nvmlDeviceGetHandleByUUID(const char* uuid, void** device) {
  if (std::strcmp(uuid, "GPU-b") != 0) return kInvalid;
  *device = &devices[1];
  return 0;
}

int nvmlDeviceGetMemoryInfo(void* device, unsigned long long* memory) {
  const int index = IndexOf(device);
  if (index == 1 && Wish("lost")) return kLost;
  memory[0] = 80ULL << 30;
  memory[1] = index == 0 ? 79ULL << 30 : 20ULL << 30;
  memory[2] = memory[0] - memory[1];
  return 0;
}

int nvmlDeviceGetUtilizationRates(void* device, unsigned* rates) {
  rates[0] = IndexOf(device) == 0 ? 0 : 75;
  rates[1] = 0;
  return 0;
}

int nvmlDeviceGetTotalEnergyConsumption(void* device, unsigned long long* millijoules) {
  *millijoules = IndexOf(device) == 0 ? 1500 : 2500;
  return 0;
}

int nvmlDeviceGetTemperature(void* device, unsigned, unsigned* celsius) {
  *celsius = IndexOf(device) == 0 ? 40 : 60;
  return 0;
}

int nvmlEventSetCreate(void** events) {
  *events = devices;
  return 0;
}
int nvmlEventSetFree(void*) { return 0; }
int nvmlDeviceRegisterEvents(void*, unsigned long long, void*) { return 0; }

int nvmlEventSetWait_v2(void*, void* event, unsigned) {
  if (!Wish("error") || error_told) return kTimeout;
  error_told = true;
  struct Event {
    void* device;
    unsigned long long type, data;
    unsigned gpu_instance, compute_instance;
  };
  *static_cast<Event*>(event) = {&devices[0], 8, 79, 0, 0};
  return 0;
}
}
