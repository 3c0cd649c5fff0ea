// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/sim_worker.h"

#include <csignal>
#include <utility>

#include "absl/strings/str_cat.h"

namespace adamant::testing {
namespace {

constexpr absl::Duration kBeat = absl::Seconds(2);
constexpr absl::Duration kSlowStop = absl::Seconds(40);

int ExitedWith(int code) { return code << 8; }

}  // namespace

void SimWorker::Later(absl::Duration delay, std::function<void()> event) {
  at_(delay, [this, event = std::move(event)] {
    if (alive_) event();
  });
}

void SimWorker::Say(worker::v1::Frame frame, bool volatile_frame) {
  const double draw = std::uniform_real_distribution<double>(0, 1)(random_);
  if (volatile_frame && draw < plan_.frame_loss) return;
  tell_(WorkerNews::kFrame, std::move(frame), std::nullopt);
}

void SimWorker::Send(worker::v1::Frame frame, const std::vector<int>& /*descriptors*/) {
  if (!alive_) return;
  if (frame.has_start()) {
    Later(absl::Milliseconds(1), [this] { Beat(); });
    Later(plan_.step_time, [this] { Step(); });
  } else if (frame.has_output_opened() && !frame.output_opened().has_refusal()) {
    const int64_t id = frame.output_opened().output_id();
    Later(absl::Milliseconds(5), [this, id] {
      worker::v1::Frame done;
      done.mutable_checkpoint()->set_output_id(id);
      done.mutable_checkpoint()->set_step(done_);
      done.mutable_checkpoint()->mutable_blob()->set_sha256(absl::StrCat("checkpoint-", id));
      Say(std::move(done), false);
    });
  } else if (frame.has_cancel() || frame.has_drain()) {
    if (plan_.behaviour == Behaviour::kStubborn || stopping_) return;
    stopping_ = true;
    const bool slow = plan_.behaviour == Behaviour::kSlowToStop;
    Later(slow ? kSlowStop : absl::Milliseconds(200), [this] { Stop(); });
  }
}

void SimWorker::Signal(int signum) {
  if (!alive_ || (signum != SIGKILL && plan_.behaviour == Behaviour::kStubborn)) return;
  Later(absl::Milliseconds(3), [this, signum] { Exit(signum); });
}

void SimWorker::Wake() {
  Later(absl::ZeroDuration(), [this] { tell_(WorkerNews::kWoken, {}, std::nullopt); });
}

void SimWorker::Beat() {
  if (!beating_) return;
  worker::v1::Frame frame;
  frame.mutable_heartbeat()->set_step(plan_.behaviour == Behaviour::kNoSteps ? 1 : ++beats_);
  frame.mutable_heartbeat()->set_rss_bytes(1 << 20);
  Say(std::move(frame), false);
  Later(kBeat, [this] { Beat(); });
}

void SimWorker::Step() {
  if (done_ == plan_.turning_point) {
    switch (plan_.behaviour) {
      case Behaviour::kCrash:
        return Exit(SIGSEGV);
      case Behaviour::kHang:
        beating_ = false;
        return;
      case Behaviour::kNoSteps:
        return;
      case Behaviour::kMemory:
        return Exit(ExitedWith(71));
      case Behaviour::kDevice:
        return Exit(ExitedWith(72));
      case Behaviour::kGarbage:
        beating_ = false;
        return tell_(WorkerNews::kBroken, {}, std::nullopt);
      case Behaviour::kUserError:
        return Result([](worker::v1::Result& result) {
          result.set_outcome(v1::ATTEMPT_USER_ERROR);
          result.mutable_error()->set_code(3);
          result.mutable_error()->set_message("no such layer");
        });
      default:
        break;
    }
  }
  worker::v1::Frame frame;
  frame.mutable_progress()->set_step(done_);
  frame.mutable_progress()->set_fraction_ratio(static_cast<double>(done_) / plan_.steps);
  Say(std::move(frame), true);
  if (!alive_) return;
  if (++done_ >= plan_.steps) return Report();
  if (done_ % 3 == 0) {
    worker::v1::Frame open;
    open.mutable_open_output()->set_output_id(++outputs_);
    Say(std::move(open), false);
  }
  Later(plan_.step_time, [this] { Step(); });
}

void SimWorker::Stop() {
  Result([](worker::v1::Result& result) { result.set_stopped(true); });
}

void SimWorker::Report() {
  if (plan_.behaviour == Behaviour::kLoseResult) return Exit(0);
  sent_report_ = true;
  Result([this](worker::v1::Result& result) {
    result.mutable_report()->mutable_train()->set_steps(done_);
  });
}

void SimWorker::Result(std::function<void(worker::v1::Result&)> fill) {
  worker::v1::Frame frame;
  fill(*frame.mutable_result());
  Say(std::move(frame), false);
  Later(absl::Milliseconds(2), [this] { Exit(0); });
}

void SimWorker::Exit(int wait_status) {
  if (!std::exchange(alive_, false)) return;
  tell_(WorkerNews::kExited, {}, wait_status);
}

}  // namespace adamant::testing
