// SPDX-License-Identifier: Apache-2.0
#include "client/cli/names.h"

#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "client/cli/exit_code.h"
#include "common/nearest.h"
#include "common/plugin_check.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

constexpr size_t kUidLength = 26;
constexpr size_t kShortestPrefix = 4;

absl::StatusOr<std::string> ResourceName(absl::string_view folder, absl::string_view text) {
  const absl::string_view id = absl::StripPrefix(text, folder);
  if (!IsResourceId(id)) {
    return UsageError(absl::StrCat("\"", text,
                                   "\" is not an id: small letters, digits and \"-\", "
                                   "beginning with a letter, at most 63"));
  }
  return absl::StrCat(folder, id);
}

absl::Status NoParamsFor(const v1::PluginSpec& typed, const std::string& taken) {
  if (typed.params().fields().empty()) return absl::OkStatus();
  return UsageError(absl::StrCat("--param after ", typed.name(), ": ", taken,
                                 " has no parameters; only a plug-in has"));
}

absl::StatusOr<v1::ModelSource> UnknownModel(Client& client, const std::string& name) {
  ASSIGN_OR_RETURN(const v1::ListModelsResponse list, client.ListModels({}));
  std::vector<std::string> known;
  for (const v1::Model& model : list.models()) {
    known.emplace_back(absl::StripPrefix(model.name(), "models/"));
  }
  return RefusedError(absl::StrCat(UnknownNameMessage("model", name, known),
                                   "; register one with `adamant model add`, or give jobs/UID"));
}

absl::StatusOr<v1::DataSource> BuiltinData(Session& session, const v1::PluginSpec& typed) {
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(const v1::Capabilities capabilities, client->GetCapabilities());
  std::vector<std::string> known;
  for (const v1::PluginFamily& family : capabilities.families()) {
    if (family.name() != "dataset") continue;
    for (const v1::PluginInfo& reader : family.plugins()) {
      const bool no_files = HasTrait(&reader, "no_files");
      if (no_files) known.push_back(reader.name());
      if (reader.name() != typed.name()) continue;
      if (!no_files) {
        return RefusedError(absl::StrCat("no dataset \"", typed.name(),
                                         "\" is registered, and the "
                                         "reader of that name needs files; `adamant dataset add ID "
                                         "--reader ",
                                         typed.name(), " PATH` uploads them"));
      }
      v1::DataSource source;
      *source.mutable_builtin() = typed;
      session.Verbose(absl::StrCat("--dataset ", typed.name(), ": the built-in reader"));
      return source;
    }
  }
  ASSIGN_OR_RETURN(const v1::ListDatasetsResponse list, client->ListDatasets({}));
  for (const v1::Dataset& dataset : list.datasets()) {
    known.emplace_back(absl::StripPrefix(dataset.name(), "datasets/"));
  }
  return RefusedError(UnknownNameMessage("dataset", typed.name(), known));
}

}  // namespace

bool IsResourceId(absl::string_view text) {
  if (text.empty() || text.size() > 63 || !absl::ascii_islower(text[0])) return false;
  return absl::c_all_of(
      text, [](char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-'; });
}

absl::StatusOr<std::string> ModelName(absl::string_view text) {
  return ResourceName("models/", text);
}
absl::StatusOr<std::string> DatasetName(absl::string_view text) {
  return ResourceName("datasets/", text);
}

absl::StatusOr<v1::ModelSource> ResolveModel(Session& session, const v1::PluginSpec& typed,
                                             bool architectures) {
  v1::ModelSource source;
  if (absl::StartsWith(typed.name(), "jobs/")) {
    ASSIGN_OR_RETURN(*source.mutable_checkpoint()->mutable_job(),
                     ResolveJob(session, typed.name()));
    RETURN_IF_ERROR(NoParamsFor(typed, "what a training kept"));
    session.Verbose(absl::StrCat("--model ", typed.name(), ": what that training kept"));
    return source;
  }
  ASSIGN_OR_RETURN(Client * client, session.client());
  const bool named = absl::StartsWith(typed.name(), "models/");
  if (named || IsResourceId(typed.name())) {
    ASSIGN_OR_RETURN(const std::string name, ModelName(typed.name()));
    const auto found = client->GetModel(name);
    if (found.ok()) {
      RETURN_IF_ERROR(NoParamsFor(typed, "a registered model"));
      session.Verbose(absl::StrCat("--model ", typed.name(), ": the registered ", name));
      source.set_model(name);
      return source;
    }
    if (!absl::IsNotFound(found.status()) || named) return found.status();
  }
  if (!architectures) return UnknownModel(*client, typed.name());
  session.Verbose(absl::StrCat("--model ", typed.name(), ": the architecture, fresh weights"));
  *source.mutable_architecture() = typed;
  return source;
}

absl::StatusOr<v1::DataSource> ResolveData(Session& session, const v1::PluginSpec& typed) {
  const bool named = absl::StartsWith(typed.name(), "datasets/");
  if (named || IsResourceId(typed.name())) {
    ASSIGN_OR_RETURN(const std::string name, DatasetName(typed.name()));
    ASSIGN_OR_RETURN(Client * client, session.client());
    const auto found = client->GetDataset(name);
    if (found.ok()) {
      RETURN_IF_ERROR(NoParamsFor(typed, "a registered dataset"));
      session.Verbose(absl::StrCat("--dataset ", typed.name(), ": the registered ", name));
      v1::DataSource source;
      source.set_dataset(name);
      return source;
    }
    if (!absl::IsNotFound(found.status()) || named) return found.status();
  }
  return BuiltinData(session, typed);
}

absl::StatusOr<std::string> ResolveJob(Session& session, absl::string_view text) {
  const std::string prefix = absl::AsciiStrToLower(absl::StripPrefix(text, "jobs/"));
  if (prefix.size() >= kUidLength) return absl::StrCat("jobs/", prefix);
  if (prefix.size() < kShortestPrefix) {
    return UsageError(absl::StrCat("\"", text, "\" is too short; give at least ", kShortestPrefix,
                                   " characters of the job's uid"));
  }
  ASSIGN_OR_RETURN(Client * client, session.client());
  std::vector<std::string> matches;
  v1::ListJobsRequest request;
  request.set_page_size(1000);
  do {
    ASSIGN_OR_RETURN(const v1::ListJobsResponse page, client->ListJobs(request));
    for (const v1::Job& job : page.jobs()) {
      if (absl::StartsWith(absl::StripPrefix(job.name(), "jobs/"), prefix)) {
        matches.push_back(job.name());
      }
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  if (matches.size() == 1) return matches.front();
  if (matches.empty()) {
    return RefusedError(absl::StrCat("no job begins with \"", prefix, "\""));
  }
  return UsageError(absl::StrCat("\"", prefix, "\" fits ", matches.size(), " jobs: ",
                                 absl::StrJoin(matches, ", "), "; give more characters"));
}

}  // namespace adamant
