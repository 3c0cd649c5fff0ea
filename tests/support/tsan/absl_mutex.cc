// SPDX-License-Identifier: Apache-2.0
// Tells ThreadSanitizer what the distribution's Abseil, which is built without it, orders: a lock
// comes after every earlier unlock, and so on. Linked with --wrap for each function below;
// conditions are evaluated by whoever unlocks, under the lock, so reads inside the library are not
// looked at.
#include <cstdint>

#include "absl/time/time.h"

extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
}

namespace {

// Of this thread; "Reads" stands for writes too.
struct IgnoredAccesses {
  IgnoredAccesses() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__); }
  ~IgnoredAccesses() { AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
};

}  // namespace

#define ADAMANT_WRAP(name) __wrap__ZN4absl7debian35Mutex##name
#define ADAMANT_REAL(name) __real__ZN4absl7debian35Mutex##name

extern "C" {

void ADAMANT_REAL(4LockEv)(void* mutex);
void ADAMANT_WRAP(4LockEv)(void* mutex) {
  ADAMANT_REAL(4LockEv)(mutex);
  __tsan_acquire(mutex);
}

void ADAMANT_REAL(10ReaderLockEv)(void* mutex);
void ADAMANT_WRAP(10ReaderLockEv)(void* mutex) {
  ADAMANT_REAL(10ReaderLockEv)(mutex);
  __tsan_acquire(mutex);
}

void ADAMANT_REAL(6UnlockEv)(void* mutex);
void ADAMANT_WRAP(6UnlockEv)(void* mutex) {
  __tsan_release(mutex);
  const IgnoredAccesses ignored;
  ADAMANT_REAL(6UnlockEv)(mutex);
}

void ADAMANT_REAL(12ReaderUnlockEv)(void* mutex);
void ADAMANT_WRAP(12ReaderUnlockEv)(void* mutex) {
  __tsan_release(mutex);
  const IgnoredAccesses ignored;
  ADAMANT_REAL(12ReaderUnlockEv)(mutex);
}

void ADAMANT_REAL(5AwaitERKNS0_9ConditionE)(void* mutex, const void* condition);
void ADAMANT_WRAP(5AwaitERKNS0_9ConditionE)(void* mutex, const void* condition) {
  __tsan_release(mutex);
  {
    const IgnoredAccesses ignored;
    ADAMANT_REAL(5AwaitERKNS0_9ConditionE)(mutex, condition);
  }
  __tsan_acquire(mutex);
}

bool ADAMANT_REAL(16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE)(void* mutex,
                                                                      const void* condition,
                                                                      absl::Duration limit);
bool ADAMANT_WRAP(16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE)(void* mutex,
                                                                      const void* condition,
                                                                      absl::Duration limit) {
  __tsan_release(mutex);
  bool met;
  {
    const IgnoredAccesses ignored;
    met = ADAMANT_REAL(16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE)(mutex, condition, limit);
  }
  __tsan_acquire(mutex);
  return met;
}

bool ADAMANT_REAL(17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE)(void* mutex,
                                                                   const void* condition,
                                                                   absl::Time deadline);
bool ADAMANT_WRAP(17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE)(void* mutex,
                                                                   const void* condition,
                                                                   absl::Time deadline) {
  __tsan_release(mutex);
  bool met;
  {
    const IgnoredAccesses ignored;
    met = ADAMANT_REAL(17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE)(mutex, condition, deadline);
  }
  __tsan_acquire(mutex);
  return met;
}

void __real__ZN4absl7debian312Notification6NotifyEv(void* notification);
void __wrap__ZN4absl7debian312Notification6NotifyEv(void* notification) {
  __tsan_release(notification);
  __real__ZN4absl7debian312Notification6NotifyEv(notification);
}

void __real__ZNK4absl7debian312Notification19WaitForNotificationEv(void* notification);
void __wrap__ZNK4absl7debian312Notification19WaitForNotificationEv(void* notification) {
  __real__ZNK4absl7debian312Notification19WaitForNotificationEv(notification);
  __tsan_acquire(notification);
}

bool __real__ZNK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE(
    void* notification, absl::Duration limit);
bool __wrap__ZNK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE(
    void* notification, absl::Duration limit) {
  const bool met =
      __real__ZNK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE(
          notification, limit);
  __tsan_acquire(notification);
  return met;
}

// What a thread did before it counted down comes before what the waiting thread does.
bool __real__ZN4absl7debian315BlockingCounter14DecrementCountEv(void* counter);
bool __wrap__ZN4absl7debian315BlockingCounter14DecrementCountEv(void* counter) {
  __tsan_release(counter);
  return __real__ZN4absl7debian315BlockingCounter14DecrementCountEv(counter);
}

void __real__ZN4absl7debian315BlockingCounter4WaitEv(void* counter);
void __wrap__ZN4absl7debian315BlockingCounter4WaitEv(void* counter) {
  __real__ZN4absl7debian315BlockingCounter4WaitEv(counter);
  __tsan_acquire(counter);
}

// The count of a status's owners is atomic, but not visible: the last one deletes what another
// read.
void __real__ZN4absl7debian36Status15UnrefNonInlinedEm(uintptr_t rep);
void __wrap__ZN4absl7debian36Status15UnrefNonInlinedEm(uintptr_t rep) {
  const IgnoredAccesses ignored;
  __real__ZN4absl7debian36Status15UnrefNonInlinedEm(rep);
}

}  // extern "C"
