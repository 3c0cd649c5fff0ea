// SPDX-License-Identifier: Apache-2.0
// `adamant model add|list|get|delete`
#include <fstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/cli/command.h"
#include "client/cli/exit_code.h"
#include "client/cli/follow.h"
#include "client/cli/names.h"
#include "client/cli/resource.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

std::string ShapeText(const v1::ImageShape& shape) {
  return absl::StrCat(shape.channels(), " x ", shape.height(), " x ", shape.width());
}

std::string ModelText(const v1::Model& model) {
  Table layers({"LAYER", "SHAPE", ""});
  for (const v1::Layer& layer : model.layers()) {
    layers.Add({layer.name(),
                layer.height() == 0
                    ? absl::StrCat(layer.channels())
                    : absl::StrCat(layer.channels(), " x ", layer.height(), " x ", layer.width()),
                layer.is_default() ? "default" : ""});
  }
  std::string text = RenderFields(
      {{"Model", model.name()},
       {"Name", model.display_name()},
       {"State", absl::StrCat(v1::ResourceState_Name(model.state()),
                              model.state_message().empty() ? "" : ": ", model.state_message())},
       {"Architecture", PluginText(model.architecture())},
       {"Format", v1::ModelFormat_Name(model.format())},
       {"Input", model.has_input_shape() ? ShapeText(model.input_shape()) : ""},
       {"Classes", model.num_classes() == 0 ? "" : absl::StrCat(model.num_classes())},
       {"Normalisation", model.normalisation()},
       {"Parameters", model.parameter_count() == 0 ? "" : CountText(model.parameter_count())},
       {"Weights", model.has_blob() ? BlobName(model.blob()) : ""},
       {"Trained by", model.training_job()},
       {"Created", TimeText(model.create_time())}});
  if (!layers.empty()) absl::StrAppend(&text, "\nLayers\n", layers.Render("  "));
  return text;
}

struct AddFlags {
  std::string id, file, display_name, input;
  int32_t classes = 0;
  std::vector<std::string> labels;
};

absl::Status ParseShape(const std::string& text, v1::ImageShape& shape) {
  const std::vector<std::string> parts = absl::StrSplit(text, ',');
  int32_t sizes[3] = {};
  bool ok = parts.size() == 3;
  for (size_t i = 0; ok && i < 3; ++i) ok = absl::SimpleAtoi(parts[i], &sizes[i]) && sizes[i] > 0;
  if (!ok) return UsageError(absl::StrCat("--input ", text, " is not C,H,W, e.g. 3,32,32"));
  shape.set_channels(sizes[0]);
  shape.set_height(sizes[1]);
  shape.set_width(sizes[2]);
  return absl::OkStatus();
}

// Both upload formats begin unlike; a TorchScript archive is a ZIP file.
absl::Status CheckProgram(const AddFlags& flags) {
  std::string magic(4, '\0');
  std::ifstream(flags.file, std::ios::binary).read(magic.data(), 4);
  if (magic != "PK\x03\x04" || (flags.classes > 0 && !flags.input.empty())) return absl::OkStatus();
  return UsageError(
      absl::StrCat(flags.file,
                   " is a TorchScript program, which says neither its classes nor its input: give "
                   "--classes N and --input C,H,W"));
}

absl::StatusOr<int> Add(const CLI::App& app, const AddFlags& flags, Session& session) {
  ASSIGN_OR_RETURN(const std::vector<TypedPlugin> plugins, BindParams(CollectTyped(app)));
  ASSIGN_OR_RETURN(const std::string name, ModelName(flags.id));
  RETURN_IF_ERROR(CheckProgram(flags));
  v1::RegisterModelRequest request;
  request.set_id(std::string(absl::StripPrefix(name, "models/")));
  request.set_display_name(flags.display_name);
  request.set_num_classes(flags.classes);
  if (!flags.input.empty())
    RETURN_IF_ERROR(ParseShape(flags.input, *request.mutable_input_shape()));
  RETURN_IF_ERROR(ParseLabels(flags.labels, *request.mutable_labels()));
  if (const auto* architecture = LastPlugin(plugins, "architecture"); architecture != nullptr) {
    *request.mutable_architecture() = *architecture;
  }
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(*request.mutable_blob(), UploadFile(session, flags.file, flags.file));
  ASSIGN_OR_RETURN(v1::Model model, client->RegisterModel(request));
  ASSIGN_OR_RETURN(model, WaitUntilReady<v1::Model>(session, model, [&](const std::string& n) {
                     return client->GetModel(n);
                   }));
  return session.Finish(model, ModelText(model), model.name());
}

absl::StatusOr<int> List(Session& session) {
  ASSIGN_OR_RETURN(Client * client, session.client());
  v1::ListModelsResponse all;
  v1::ListModelsRequest request;
  request.set_page_size(1000);
  do {
    ASSIGN_OR_RETURN(const v1::ListModelsResponse page, client->ListModels(request));
    all.mutable_models()->MergeFrom(page.models());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  Table table({"MODEL", "STATE", "ARCHITECTURE", "INPUT", "CLASSES", "PARAMETERS", "CREATED"});
  for (const v1::Model& model : all.models()) {
    table.Add({std::string(absl::StripPrefix(model.name(), "models/")),
               v1::ResourceState_Name(model.state()),
               model.has_architecture() ? model.architecture().name() : "(TorchScript)",
               ShapeText(model.input_shape()), absl::StrCat(model.num_classes()),
               CountText(model.parameter_count()), TimeText(model.create_time())});
  }
  const std::string names =
      absl::StrJoin(all.models(), "\n",
                    [](std::string* out, const v1::Model& model) { out->append(model.name()); });
  return session.FinishRows(all, all.models(), table.Render(), names);
}

absl::StatusOr<int> Get(const std::string& id, Session& session) {
  ASSIGN_OR_RETURN(const std::string name, ModelName(id));
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(const v1::Model model, client->GetModel(name));
  return session.Finish(model, ModelText(model), model.name());
}

absl::StatusOr<int> Delete(const std::string& id, Session& session) {
  v1::Model deleted;
  ASSIGN_OR_RETURN(*deleted.mutable_name(), ModelName(id));
  ASSIGN_OR_RETURN(Client * client, session.client());
  RETURN_IF_ERROR(session.Confirm(absl::StrCat("Delete ", deleted.name(), "?")));
  RETURN_IF_ERROR(client->DeleteModel(deleted.name()));
  return session.Finish(deleted, absl::StrCat("deleted ", deleted.name(), "\n"), deleted.name());
}

}  // namespace

void AddModel(CLI::App& root, Commands& commands) {
  CLI::App* group = root.add_subcommand("model", "Register and show models");
  auto flags = std::make_shared<AddFlags>();
  CLI::App* add = group->add_subcommand("add", "Upload weights and register them as models/ID");
  add->add_option("ID", flags->id, "small letters, digits and -")->required();
  add->add_option("FILE", flags->file, "safetensors or TorchScript file")->required();
  AddTyped(*add, "architecture", "of a safetensors file that does not name it, e.g. mnist_cnn");
  AddTyped(*add, "param", "NAME=VALUE of the architecture; repeatable");
  add->add_option("--classes", flags->classes, "number of classes (TorchScript)");
  add->add_option("--input", flags->input, "C,H,W of one image (TorchScript)");
  add->add_option("--name", flags->display_name, "a name for people");
  add->add_option("--label", flags->labels, "KEY=VALUE; repeatable")->allow_extra_args(false);
  add->footer(
      "Examples:\n"
      "  adamant model add mnist-lenet5-adv FILE --architecture mnist_cnn --param kind=advertorch\n"
      "  adamant model add scripted net.scripted.pt --classes 10 --input 1,28,28");
  commands.push_back({add, "add the model",
                      [add, flags](Session& session) { return Add(*add, *flags, session); },
                      Effect::kChanges});

  CLI::App* list = group->add_subcommand("list", "List the registered models");
  list->footer("Example:\n  adamant model list");
  commands.push_back({list, "list the models", [](Session& session) { return List(session); }});

  auto id = std::make_shared<std::string>();
  CLI::App* get = group->add_subcommand("get", "Show a model: shape, layers, weights");
  get->add_option("ID", *id, "models/ID or ID")->required();
  get->footer("Example:\n  adamant model get mnist-robust");
  commands.push_back({get, "get the model", [id](Session& session) { return Get(*id, session); }});

  CLI::App* remove = group->add_subcommand("delete", "Forget a model");
  remove->add_option("ID", *id, "models/ID or ID")->required();
  remove->footer("Example:\n  adamant model delete mnist-robust --yes");
  commands.push_back({remove, "delete the model",
                      [id](Session& session) { return Delete(*id, session); }, Effect::kDestroys});
}

}  // namespace adamant
