// SPDX-License-Identifier: Apache-2.0
// A job as text for people.
#pragma once

#include <string>

#include "adamant/v1/job.pb.h"

namespace adamant {

// The whole job: its state, and for a finished one its report. `wide` adds per-class accuracies,
// every default of the plug-ins, and the work done.
std::string JobText(const v1::Job& job, bool wide, bool colour = false);

// The body of a report, below the headline of JobText.
std::string TrainReportText(const v1::Job& job, bool wide);
std::string AttackReportText(const v1::Job& job, bool wide);
std::string ExplainReportText(const v1::Job& job, bool wide);

// "0", or "0.1" for a stage of a composite attack, which stands for its entry.
std::string BlockPosition(const v1::AttackBlock& block);

// An analysis table with its notes.
std::string AnalysisText(const v1::AnalysisTable& table);
// `- note` lines below `heading`; "" without notes.
std::string NotesText(const std::string& heading,
                      const google::protobuf::RepeatedPtrField<std::string>& notes);

}  // namespace adamant
