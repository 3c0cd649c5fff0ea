// SPDX-License-Identifier: Apache-2.0
// `adamant server status|capabilities` and `adamant version`
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/exit_code.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "common/status_macros.h"
#include "common/version.h"

namespace adamant {
namespace {

absl::StatusOr<int> Status(Session& session) {
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(const v1::ServerStatus status, client->GetServerStatus());
  std::string text = RenderFields(
      {{"Server", absl::StrCat(session.server(), ", version ", status.version())},
       {"State", status.draining() ? "draining" : "serving"},
       {"Started", TimeText(status.start_time())},
       {"Jobs", absl::StrCat(status.running_jobs(), " running, ", status.queued_jobs(), " queued, ",
                             status.stored_jobs(), " stored")},
       {"Blobs", absl::StrCat(status.blob_count(), ", ", BytesText(status.blob_bytes()))},
       {"Watchers", absl::StrCat(status.watchers())},
       {"Memory", BytesText(status.rss_bytes())},
       {"Sandbox", status.sandbox_level()},
       {"Listens on", status.listen_address()},
       {"Metrics", status.metrics_address().empty()
                       ? ""
                       : absl::StrCat("http://", status.metrics_address(), "/metrics")},
       {"Tenant", status.tenant()}});
  Table slots({"SLOT", "DEVICE", "JOB"});
  for (const v1::SlotStatus& slot : status.slots()) {
    slots.Add({absl::StrCat(slot.slot()), slot.device(), slot.job().empty() ? "idle" : slot.job()});
  }
  if (!slots.empty()) absl::StrAppend(&text, "\n", slots.Render());
  return session.Finish(status, text, session.server());
}

absl::StatusOr<int> Capabilities(Session& session) {
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(const v1::Capabilities capabilities, client->GetCapabilities());
  const std::string devices =
      absl::StrJoin(capabilities.devices(), ", ", [](std::string* out, const v1::Device& device) {
        absl::StrAppend(out, device.count(), " ", device.kind(), device.name().empty() ? "" : " (",
                        device.name(), device.name().empty() ? "" : ")");
      });
  std::vector<std::pair<std::string, std::string>> fields = {
      {"Version", absl::StrCat(capabilities.version(), capabilities.commit().empty() ? "" : ", ",
                               capabilities.commit())},
      {"LibTorch", capabilities.libtorch_version()},
      {"gRPC", capabilities.grpc_version()},
      {"SQLite", capabilities.sqlite_version()},
      {"Devices", devices},
      {"Sandbox", capabilities.sandbox_level()},
      {"Model formats", absl::StrJoin(capabilities.model_formats(), ", ")},
      {"Digests", absl::StrJoin(capabilities.digest_functions(), ", ")},
      {"Extensions", absl::StrJoin(capabilities.extensions(), ", ")},
      {"Largest blob", BytesText(capabilities.limits().max_blob_bytes())},
      {"Inline data", BytesText(capabilities.limits().max_inline_bytes())}};
  for (const v1::PluginFamily& family : capabilities.families()) {
    fields.emplace_back(
        absl::StrCat("Plug-ins: ", family.name()),
        absl::StrJoin(family.plugins(), ", ", [](std::string* out, const v1::PluginInfo& plugin) {
          out->append(plugin.name());
        }));
  }
  return session.Finish(capabilities, RenderFields(fields), capabilities.version());
}

// The client's version always; the server's when one answers.
absl::StatusOr<int> Version(Session& session) {
  v1::Capabilities version;
  version.set_version(kVersion);
  std::string text = absl::StrCat("adamant ", kVersion, "\n");
  ASSIGN_OR_RETURN(Client * client, session.client());
  if (const auto status = client->GetServerStatus(); status.ok()) {
    absl::StrAppend(&text, "adamantd ", status->version(), " at ", session.server(), "\n");
  } else {
    session.Verbose(
        absl::StrCat("no server at ", session.server(), ": ", status.status().message()));
  }
  if (session.json()) {
    session.out() << Envelope(absl::OkStatus(), kExitOk,
                              absl::StrCat("{\"version\":", JsonString(kVersion), "}"));
    return kExitOk;
  }
  return session.Finish(version, text, kVersion);
}

}  // namespace

void AddServer(CLI::App& root, Commands& commands) {
  CLI::App* group = root.add_subcommand("server", "Show what the server does and can do");
  CLI::App* status = group->add_subcommand("status", "Slots, queue, memory; exit 0 when it serves");
  status->footer("Example:\n  adamant server status");
  commands.push_back({status, "ask the server for its status", Status});
  CLI::App* capabilities = group->add_subcommand("capabilities", "Versions, devices, limits");
  capabilities->footer("Example:\n  adamant server capabilities -o json");
  commands.push_back({capabilities, "ask the server for its capabilities", Capabilities});
  CLI::App* version = root.add_subcommand("version", "Versions of this program and the server");
  commands.push_back({version, "show the version", Version});
}

}  // namespace adamant
