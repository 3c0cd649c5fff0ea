// SPDX-License-Identifier: Apache-2.0
// `adamant server status|capabilities|drain|undrain` and `adamant version`
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

int Show(const v1::ServerStatus& status, Session& session) {
  std::string text = RenderFields(
      {{"Server", absl::StrCat(session.server(), ", version ", status.version())},
       {"State", status.draining() ? "draining" : "serving"},
       {"Started", TimeText(status.start_time())},
       {"Jobs", absl::StrCat(status.running_jobs(), " running, ", status.queued_jobs(), " queued, ",
                             status.stored_jobs(), " stored")},
       {"Blobs", absl::StrCat(status.blob_count(), ", ", BytesText(status.blob_bytes()),
                              status.blob_capacity_bytes() == 0
                                  ? ""
                                  : absl::StrCat(" of ", BytesText(status.blob_capacity_bytes())))},
       {"Disk free", status.disk_free_bytes() == 0 ? "" : BytesText(status.disk_free_bytes())},
       {"Watchers", absl::StrCat(status.watchers())},
       {"Memory", BytesText(status.rss_bytes())},
       {"Sandbox", status.sandbox_level()},
       {"Listens on", status.listen_address()},
       {"Metrics", status.metrics_address().empty()
                       ? ""
                       : absl::StrCat("http://", status.metrics_address(), "/metrics")},
       {"Tenant", status.tenant()}});
  Table slots({"SLOT", "DEVICE", "JOB", "HEALTH"});
  for (const v1::SlotStatus& slot : status.slots()) {
    slots.Add({absl::StrCat(slot.slot()), slot.device(), slot.job().empty() ? "idle" : slot.job(),
               slot.unhealthy().empty() ? "ok" : slot.unhealthy()});
  }
  if (!slots.empty()) absl::StrAppend(&text, "\n", slots.Render());
  return session.Finish(status, text, session.server());
}

absl::StatusOr<int> Status(Session& session) {
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(const v1::ServerStatus status, client->GetServerStatus());
  return Show(status, session);
}

absl::StatusOr<int> Drain(bool requeue, Session& session) {
  RETURN_IF_ERROR(
      session.Confirm(absl::StrCat("Stop admitting jobs at ", session.server(),
                                   requeue ? " and stop the running ones at a checkpoint?"
                                           : " and let the running ones finish?")));
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(const v1::ServerStatus status,
                   client->DrainServer(requeue ? v1::DrainServerRequest::REQUEUE
                                               : v1::DrainServerRequest::FINISH));
  session.Note("draining; `adamant server undrain` admits jobs again");
  return Show(status, session);
}

absl::StatusOr<int> Undrain(Session& session) {
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(const v1::ServerStatus status, client->UndrainServer());
  return Show(status, session);
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
  std::string server;
  std::string text = absl::StrCat("adamant ", kVersion, "\n");
  ASSIGN_OR_RETURN(Client * client, session.client());
  if (const auto status = client->GetServerStatus(); status.ok()) {
    server = status->version();
    absl::StrAppend(&text, "adamantd ", server, " at ", session.server(), "\n");
  } else {
    session.Verbose(
        absl::StrCat("no server at ", session.server(), ": ", status.status().message()));
  }
  return session.FinishJson(
      absl::StrCat("{\"version\":", JsonString(kVersion),
                   ",\"server_version\":", server.empty() ? "null" : JsonString(server), "}"),
      text, kVersion);
}

}  // namespace

void AddServer(CLI::App& root, Commands& commands) {
  CLI::App* group = root.add_subcommand("server", "Show and steer the server");
  CLI::App* status = group->add_subcommand("status", "Slots, queue, memory; exit 0 when it serves");
  status->footer("Example:\n  adamant server status");
  commands.push_back({status, "ask the server for its status", Status});
  CLI::App* capabilities = group->add_subcommand("capabilities", "Versions, devices, limits");
  capabilities->footer("Example:\n  adamant server capabilities -o json");
  commands.push_back({capabilities, "ask the server for its capabilities", Capabilities});
  auto requeue = std::make_shared<bool>(false);
  CLI::App* drain = group->add_subcommand("drain", "Admit no more jobs; running ones finish");
  drain->add_flag("--requeue", *requeue, "stop running jobs at a checkpoint; they go on later");
  drain->footer("Example:\n  adamant server drain --requeue --yes");
  commands.push_back({drain, "drain the server",
                      [requeue](Session& session) { return Drain(*requeue, session); },
                      Effect::kDestroys});
  CLI::App* undrain = group->add_subcommand("undrain", "Admit and start jobs again");
  undrain->footer("Example:\n  adamant server undrain");
  commands.push_back({undrain, "undrain the server", Undrain, Effect::kChanges});
  CLI::App* version = root.add_subcommand("version", "Versions of this program and the server");
  version->footer("Example:\n  adamant version -o json");
  commands.push_back({version, "show the version", Version});
}

}  // namespace adamant
