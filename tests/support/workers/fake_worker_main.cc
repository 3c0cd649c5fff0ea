// SPDX-License-Identifier: Apache-2.0
// A worker without LibTorch for tests of the server: obeys FakeTask.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <limits>
#include <string>
#include <thread>

#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "adamant/worker/v1/worker.pb.h"
#include "common/failpoint.h"
#include "common/files.h"
#include "common/frame_channel.h"
#include "common/sealed_memory.h"
#include "common/sha256.h"
#include "tests/support/api/test_catalog.h"
#include "tests/support/workers/fake_worker.h"
#include "tests/support/workers/hash_chain.h"

namespace adamant::testing {
namespace {

using worker::v1::Frame;

v1::BlobRef RefOf(const std::string& bytes) {
  v1::BlobRef blob;
  blob.set_sha256(Sha256Hex(bytes));
  blob.set_size_bytes(static_cast<int64_t>(bytes.size()));
  return blob;
}

class FakeWorker {
 public:
  FakeWorker() : channel_(Descriptor(3)) {}

  int Run() {
    Frame hello;
    hello.mutable_hello()->set_protocol_version(1);
    hello.mutable_hello()->set_build_id("fake");
    ADAMANT_FAILPOINT("hello.before");
    Send(hello);
    std::thread([this] { Beat(); }).detach();  // ends with the process
    auto received = channel_.Receive();
    if (!received.ok() || !received->frame.has_start()) return 64;
    start_ = received->frame.start();
    files_ = std::move(received->descriptors);
    if (start_.probe()) return Probe();
    if (start_.interactive()) return AnswerCalls();
    if (start_.has_validate_model()) return ValidateModel();
    if (start_.has_validate_dataset()) return ValidateDataset();
    if (start_.job().train().seed() >= kChainSeed) return RunChain();
    return Obey(static_cast<FakeTask>(start_.job().train().seed()));
  }

 private:
  void Beat() {
    for (int64_t step = 1; beating_; ++step) {
      Frame frame;
      frame.mutable_heartbeat()->set_step(step);
      frame.mutable_heartbeat()->set_rss_bytes(step << 20);
      if (FailpointErrno("heartbeat.skip") != kSkip) Send(frame);
      absl::SleepFor(absl::Milliseconds(200));
    }
  }

  void Send(const Frame& frame, const std::vector<int>& descriptors = {}) {
    if (!channel_.Send(frame, descriptors).ok()) std::exit(64);
  }

  ReceivedFrame Await(Frame::BodyCase wanted) {
    while (true) {
      auto received = channel_.Receive();
      if (!received.ok()) std::exit(64);
      if (received->frame.body_case() == wanted) return *std::move(received);
      Note(received->frame);
    }
  }

  void Note(const Frame& frame) {
    cancelled_ = cancelled_ || frame.has_cancel();
    drained_ = drained_ || frame.has_drain();
  }

  // Waits that long unless the server says something; notes what it says.
  void Listen(int64_t milliseconds) {
    pollfd polled{channel_.fd(), POLLIN, 0};
    while (poll(&polled, 1, static_cast<int>(milliseconds)) > 0) {
      const auto received = channel_.Receive();
      if (!received.ok()) std::exit(64);
      Note(received->frame);
      milliseconds = 0;
    }
  }

  [[noreturn]] void Die() {
    raise(SIGKILL);
    std::abort();
  }

  [[noreturn]] void WaitForEver() {
    while (true) pause();
  }

  void Progress(double fraction) {
    Frame frame;
    frame.mutable_progress()->set_phase("train");
    frame.mutable_progress()->set_step(static_cast<int64_t>(fraction * 10));
    frame.mutable_progress()->set_fraction_ratio(fraction);
    Send(frame);
  }

  static double MonotonicSeconds() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
  }

  // Progress (in samples_per_second) and metrics whose value is the time at which they are sent.
  void Stamps() {
    for (int i = 1; i <= kStampCount; ++i) {
      Frame frame;
      frame.mutable_progress()->set_phase("train");
      frame.mutable_progress()->set_step(i);
      frame.mutable_progress()->set_fraction_ratio(static_cast<double>(i) / kStampCount);
      frame.mutable_progress()->set_samples_per_second(MonotonicSeconds());
      Send(frame);
      absl::SleepFor(absl::Milliseconds(50));
      Metric(MonotonicSeconds());
      absl::SleepFor(absl::Milliseconds(50));
    }
  }

  void Metric(double value) {
    Frame frame;
    v1::MetricPoint& point = *frame.mutable_metric()->add_points();
    point.set_name("loss");
    point.set_step(1);
    point.set_value(value);
    Send(frame);
  }

  // Writes `bytes` into a new output and sends what `announce` makes of it. True when published.
  template <typename Announce>
  bool Publish(const std::string& bytes, Announce announce) {
    Frame open;
    open.mutable_open_output()->set_output_id(++outputs_);
    open.mutable_open_output()->set_max_bytes(1 << 20);
    Send(open);
    ReceivedFrame opened = Await(Frame::kOutputOpened);
    if (opened.descriptors.size() != 1) return false;
    if (!WriteAll(opened.descriptors[0].get(), bytes).ok()) return false;
    Frame frame;
    announce(frame);
    Send(frame);
    return !Await(Frame::kPublished).frame.published().has_refusal();
  }

  bool PublishWeights(const v1::BlobRef& blob) {
    return Publish(kWeightsText, [&](Frame& frame) {
      frame.mutable_artifact()->set_output_id(outputs_);
      v1::Artifact& artifact = *frame.mutable_artifact()->mutable_artifact();
      artifact.set_role("weights");
      artifact.set_name("weights.safetensors");
      *artifact.mutable_blob() = blob;
    });
  }

  bool PublishCheckpoint() {
    return Publish(kCheckpointText, [&](Frame& frame) {
      frame.mutable_checkpoint()->set_output_id(outputs_);
      frame.mutable_checkpoint()->set_step(5);
      *frame.mutable_checkpoint()->mutable_blob() = RefOf(kCheckpointText);
    });
  }

  int Succeed(const v1::BlobRef& weights, int64_t steps = 10) {
    Frame frame;
    v1::TrainReport& report = *frame.mutable_result()->mutable_report()->mutable_train();
    report.set_steps(steps);
    report.set_weights_sha256(weights.sha256());
    report.set_resumed(resumed_);
    report.set_reproducible(!resumed_);
    if (resumed_) report.set_reproducible_reason("resumed");
    *report.mutable_weights() = weights;
    Send(frame);
    return 0;
  }

  int Stopped() {
    Frame frame;
    frame.mutable_result()->set_stopped(true);
    Send(frame);
    return 0;
  }

  int Fail(v1::AttemptOutcome outcome, const std::string& message) {
    Frame frame;
    frame.mutable_result()->set_outcome(outcome);
    frame.mutable_result()->mutable_error()->set_code(3);
    frame.mutable_result()->mutable_error()->set_message(message);
    Send(frame);
    return 0;
  }

  int Finish() {
    Progress(0.5);
    Metric(0.25);
    Frame log;
    log.mutable_log()->set_level("info");
    log.mutable_log()->set_text("a log frame");
    Send(log);
    std::cout << "a line on stdout" << std::endl;
    if (!PublishWeights(RefOf(kWeightsText))) return 70;
    return Succeed(RefOf(kWeightsText));
  }

  int Obey(FakeTask task) {
    switch (task) {
      case kSucceed:
        return Finish();
      case kCrash:
        Progress(0.1);
        Die();
      case kCrashOnce:
        if (start_.attempt() > 1) return Finish();
        Progress(0.1);
        Die();
      case kNoHeartbeat:
        Progress(0.1);
        beating_ = false;
        WaitForEver();
      case kWaitForStop: {
        Progress(0.1);
        const auto asked = channel_.Receive();
        if (!asked.ok()) return 64;
        if (asked->frame.has_drain() && !PublishCheckpoint()) return 70;
        return Stopped();
      }
      case kIgnoreStop:
        signal(SIGTERM, SIG_IGN);
        Progress(0.1);
        WaitForEver();
      case kCheckpointThenCrash:
        return CheckpointThenCrash();
      case kWrongDigest:
        Progress(0.1);
        return PublishWeights(RefOf("other bytes")) ? 70 : Fail(v1::ATTEMPT_USER_ERROR, "refused");
      case kUserError:
        return Fail(v1::ATTEMPT_USER_ERROR, "no such layer");
      case kOutOfMemory:
        return 71;
      case kDeviceFaultOnce:
        return start_.attempt() > 1 ? Finish() : 72;
      case kUnpublishedBlob:
        return Succeed(RefOf("never published"));
      case kNonFinite:
        Metric(std::numeric_limits<double>::quiet_NaN());
        return Finish();
      case kGarbage:
        WriteAll(3, std::string("\x03\0\0\0\xff\xff\xff", 7)).IgnoreError();
        WaitForEver();
      case kFlood: {
        Frame log;
        log.mutable_log()->set_text("line");
        for (int i = 0; i < 1500; ++i) Send(log);
        while (Await(Frame::kAck).frame.ack().stored_through() < 1024) {
        }
        return Finish();
      }
      case kStamp:
        Stamps();
        return Finish();
      case kWrongReport: {
        Frame frame;
        frame.mutable_result()->mutable_report()->mutable_attack();
        Send(frame);
        return 0;
      }
    }
    return 64;
  }

  int CheckpointThenCrash() {
    for (const worker::v1::InputFile& input : start_.inputs()) {
      if (input.input() != "resume") continue;
      const auto view = FileView::Map(files_[static_cast<size_t>(input.fd_index())].get());
      if (!view.ok() || (*view)->bytes() != kCheckpointText) return 65;
      resumed_ = true;
      return Finish();
    }
    Progress(0.1);
    if (!PublishCheckpoint()) return 70;
    Die();
  }

  int AnswerCalls() {
    while (true) {
      const ReceivedFrame call = Await(Frame::kExplainCall);
      const auto view = OpenSealedMemory(call.descriptors.at(0).get(), 5 << 20);
      v1::ExplainRequest request;
      if (!view.ok() || !request.ParseFromString(std::string((*view)->bytes()))) return 65;
      Frame frame;
      frame.mutable_explain_answer()->set_id(call.frame.explain_call().id());
      const std::string& wish = request.spec().images(0).name();
      if (wish == kStuckImage) WaitForEver();
      if (wish == kFatalImage) Die();
      if (wish == kLargeImage) {
        const std::string memory(300 << 20, 'x');
        if (memory.back() == 'x') WaitForEver();
      }
      if (wish == kSlowImage || wish == kBadImage) {
        if (wish == kSlowImage) Await(Frame::kCancel);
        worker::v1::ExplainAnswer& answer = *frame.mutable_explain_answer();
        answer.mutable_error()->set_code(wish == kSlowImage ? 1 : 3);
        answer.mutable_error()->set_message("no such layer");
        answer.set_outcome(v1::ATTEMPT_USER_ERROR);
        Send(frame);
        continue;
      }
      const auto file = SealedMemory(Explained(request).SerializeAsString());
      Send(frame, {file->get()});
    }
  }

  v1::ExplainResponse Explained(const v1::ExplainRequest& request) const {
    v1::ExplainResponse response;
    response.set_model_sha256(start_.inputs(0).blob().sha256());
    *response.mutable_explainer() = request.spec().explainers(0);
    for (int i = 0; i < request.spec().images_size(); ++i) {
      v1::ExplainMap& map = *response.add_images()->add_maps();
      map.set_height(2);
      map.set_width(2);
      map.set_raw(std::string(16, '\0'));
    }
    return response;
  }

  bool PublishChain(const Chain& chain, bool final) {
    const std::string text = TextOf(chain);
    return Publish(text, [&](Frame& frame) {
      if (!final) {
        frame.mutable_checkpoint()->set_output_id(outputs_);
        frame.mutable_checkpoint()->set_step(chain.step);
        *frame.mutable_checkpoint()->mutable_blob() = RefOf(text);
        return;
      }
      frame.mutable_artifact()->set_output_id(outputs_);
      frame.mutable_artifact()->mutable_artifact()->set_role("weights");
      frame.mutable_artifact()->mutable_artifact()->set_name("chain.txt");
      *frame.mutable_artifact()->mutable_artifact()->mutable_blob() = RefOf(text);
    });
  }

  void TellLink(const Chain& chain, int64_t steps) {
    Frame progress;
    progress.mutable_progress()->set_phase("train");
    progress.mutable_progress()->set_step(chain.step);
    progress.mutable_progress()->set_total_steps(steps);
    progress.mutable_progress()->set_fraction_ratio(static_cast<double>(chain.step) /
                                                    static_cast<double>(steps));
    ADAMANT_FAILPOINT("progress.before");
    Send(progress);
  }

  void TellMetric(const Chain& chain) {
    Frame metric;
    v1::MetricPoint& point = *metric.mutable_metric()->add_points();
    point.set_name("chain");
    point.set_step(chain.step);
    point.set_value(MetricOf(chain));
    Send(metric);
    Frame log;
    log.mutable_log()->set_level("info");
    log.mutable_log()->set_text(TextOf(chain));
    Send(log);
  }

  // The training of hash_chain.h.
  int RunChain() {
    const v1::TrainSpec& spec = start_.job().train();
    const int64_t every = std::max<int64_t>(spec.checkpoint().every_steps(), 1);
    Chain chain = StartOfChain(spec.seed());
    for (const worker::v1::InputFile& input : start_.inputs()) {
      if (input.input() != "resume") continue;
      const auto view = FileView::Map(files_[static_cast<size_t>(input.fd_index())].get());
      if (!view.ok() || !ParseChain(std::string((*view)->bytes()), chain)) return 65;
      resumed_ = true;
    }
    TellLink(chain, spec.steps());
    while (chain.step < spec.steps()) {
      Listen(spec.batch_size());
      if (cancelled_) return Stopped();
      if (drained_) return PublishChain(chain, false) ? Stopped() : 70;
      NextLink(chain);
      TellLink(chain, spec.steps());
      if (chain.step % every != 0) continue;
      TellMetric(chain);
      if (!PublishChain(chain, false))
        return Fail(v1::ATTEMPT_OUT_OF_MEMORY, "no room for a checkpoint");
    }
    if (!PublishChain(chain, true)) return Fail(v1::ATTEMPT_OUT_OF_MEMORY, "no room for a result");
    return Succeed(RefOf(TextOf(chain)), chain.step);
  }

  int Probe() {
    absl::string_view device = start_.device();
    if (device == kSilentDevice) WaitForEver();
    if (absl::ConsumePrefix(&device, kBrokenWhile) &&
        access(std::string(device).c_str(), F_OK) == 0)
      return Fail(v1::ATTEMPT_DEVICE_FAULT, "the device computes wrong");
    Frame frame;
    frame.mutable_result()->set_probed(true);
    Send(frame);
    return 0;
  }

  int ValidateModel() {
    const std::string& wish = start_.validate_model().display_name();
    if (wish == kRejectModel) return Fail(v1::ATTEMPT_DATA_ERROR, "tensor conv.weight is missing");
    if (wish == kHangModel) WaitForEver();
    if (wish == kCrashModel) Die();
    Frame frame;
    v1::Model& model = *frame.mutable_result()->mutable_model();
    model.set_num_classes(10);
    model.mutable_input_shape()->set_channels(1);
    model.mutable_input_shape()->set_height(28);
    model.mutable_input_shape()->set_width(28);
    model.add_layers()->set_name("last_conv");
    model.set_parameter_count(100);
    model.set_activation_bytes(5000);
    model.set_forward_flops(wish == kAbsurdModel ? -1 : 70000);
    Send(frame);
    return 0;
  }

  int ValidateDataset() {
    Frame frame;
    v1::Dataset& dataset = *frame.mutable_result()->mutable_dataset();
    dataset.set_num_classes(10);
    dataset.set_digest(Sha256Hex("data"));
    v1::DataSplit& split = *dataset.add_splits();
    split.set_name("test");
    split.set_num_samples(100);
    Send(frame);
    return 0;
  }

  FrameChannel channel_;
  worker::v1::Start start_;
  std::vector<Descriptor> files_;
  std::atomic<bool> beating_{true};
  bool resumed_ = false;
  bool cancelled_ = false;
  bool drained_ = false;
  int64_t outputs_ = 0;
};

void PrintCatalog() {
  worker::v1::Catalog catalog = TestCatalog();
  catalog.set_build_id("fake");
  catalog.set_libtorch_version("none");
  catalog.SerializeToOstream(&std::cout);
}

}  // namespace
}  // namespace adamant::testing

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "--catalog") {
    adamant::testing::PrintCatalog();
    return 0;
  }
  signal(SIGPIPE, SIG_IGN);
  adamant::testing::FakeWorker worker;
  const int code = worker.Run();
  std::cout.flush();
  _exit(code);  // the heartbeat thread still runs
}
