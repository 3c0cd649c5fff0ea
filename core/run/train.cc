// SPDX-License-Identifier: Apache-2.0
#include "core/run/train.h"

#include "common/status_macros.h"
#include "core/run/train_setup.h"
#include "core/run/trainer.h"

namespace adamant {

absl::Status RunTrain(const v1::TrainSpec& spec, RunContext& context, v1::TrainReport& report) {
  std::unique_ptr<Trainer> trainer;
  const RunControl control([&] { return context.StopRequested(); },
                           [&] {
                             context.Tick();
                             if (trainer != nullptr) trainer->ReportProgress();
                           });
  ASSIGN_OR_RETURN(TrainSetup setup, OpenTraining(spec, context, control));
  trainer = std::make_unique<Trainer>(std::move(setup), context, control);
  if (std::shared_ptr<const FileView> checkpoint = context.resume(); checkpoint != nullptr) {
    RETURN_IF_ERROR(trainer->Resume(std::move(checkpoint)));
  }
  RETURN_IF_ERROR(trainer->Run());
  return trainer->Finish(report);
}

}  // namespace adamant
