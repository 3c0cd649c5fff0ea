// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace adamant::testing {

// What the fake worker does with a training job: its `seed`. It speaks the real protocol and holds
// no LibTorch.
enum FakeTask {
  kSucceed = 0,      // progress, a metric, a log line, output, an artifact, then a report
  kCrash = 1,        // dies by SIGKILL after its first progress
  kCrashOnce = 2,    // the same in attempt 1, then succeeds
  kNoHeartbeat = 3,  // stops its heartbeat and waits
  kWaitForStop = 4,  // works until Cancel or Drain, then stops as asked
  kIgnoreStop = 5,   // works for ever, also after Cancel and SIGTERM
  kCheckpointThenCrash =
      6,                  // publishes a checkpoint and dies; a resumed attempt checks it, succeeds
  kWrongDigest = 7,       // publishes an artifact with a false digest; fails when refused
  kUserError = 8,         // Result with ATTEMPT_USER_ERROR
  kOutOfMemory = 9,       // exit code 71
  kUnpublishedBlob = 10,  // a report that names a blob it never published
  kNonFinite = 11,        // a NaN metric, then succeeds
  kGarbage = 12,          // bytes that are no frame
  kWrongReport = 13,      // a report of another kind of job
  kFlood = 14,            // 1500 log frames, waits for an acknowledgement, then succeeds
  kDeviceFaultOnce = 15,  // exit code 72 in attempt 1, then succeeds
  kStamp = 20,            // kStampCount times a progress and a metric that say when they were sent
};

inline constexpr int kStampCount = 200;

// The text of the checkpoint of kCheckpointThenCrash and of the artifact of kSucceed.
inline constexpr char kCheckpointText[] = "step 5";
inline constexpr char kWeightsText[] = "the weights";

// What it does when it validates a model: its display_name. Anything else is accepted.
inline constexpr char kRejectModel[] = "reject";
inline constexpr char kHangModel[] = "hang";
inline constexpr char kCrashModel[] = "crash";
inline constexpr char kAbsurdModel[] = "absurd";  // reports a negative cost

// What it does when it probes a device: the device's name. kBrokenWhile + PATH fails while the file
// exists, kSilentDevice never answers; anything else is sound.
inline constexpr char kBrokenWhile[] = "broken_while:";
inline constexpr char kSilentDevice[] = "silent";

// What it does with an interactive request: the name of its first image. Anything else is answered
// with one map of 2 x 2 for each image.
inline constexpr char kSlowImage[] = "slow";    // until Cancel, then CANCELLED
inline constexpr char kStuckImage[] = "stuck";  // never, not even after Cancel
inline constexpr char kBadImage[] = "bad";      // INVALID_ARGUMENT
inline constexpr char kFatalImage[] = "fatal";  // dies by SIGKILL
inline constexpr char kLargeImage[] = "large";  // takes 300 MiB and never answers

}  // namespace adamant::testing
