// SPDX-License-Identifier: Apache-2.0
// `adamant dataset add|list|get|delete`
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "client/cli/command.h"
#include "client/cli/exit_code.h"
#include "client/cli/follow.h"
#include "client/cli/names.h"
#include "client/cli/pack.h"
#include "client/cli/resource.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

std::string SplitsText(const v1::Dataset& dataset) {
  return absl::StrJoin(dataset.splits(), ", ", [](std::string* out, const v1::DataSplit& split) {
    absl::StrAppend(out, split.name(), " ", split.num_samples());
  });
}

std::string ShapeText(const v1::Dataset& dataset) {
  if (!dataset.has_image_shape()) return "";
  return absl::StrCat(dataset.image_shape().channels(), " x ", dataset.image_shape().height(),
                      " x ", dataset.image_shape().width());
}

std::string DatasetText(const v1::Dataset& dataset) {
  Table files({"FILE", "SIZE", "BLOB"});
  for (const v1::DataFile& file : dataset.files()) {
    files.Add({file.name(), BytesText(file.blob().size_bytes()), BlobName(file.blob())});
  }
  std::string text = RenderFields(
      {{"Dataset", dataset.name()},
       {"Name", dataset.display_name()},
       {"State",
        absl::StrCat(v1::ResourceState_Name(dataset.state()),
                     dataset.state_message().empty() ? "" : ": ", dataset.state_message())},
       {"Reader", PluginText(dataset.reader())},
       {"Samples", SplitsText(dataset)},
       {"Image", ShapeText(dataset)},
       {"Classes", dataset.num_classes() == 0 ? "" : absl::StrCat(dataset.num_classes())},
       {"Class names", absl::StrJoin(dataset.class_names(), ", ")},
       {"Annotations",
        absl::StrCat(dataset.has_masks() ? "masks " : "", dataset.has_boxes() ? "boxes" : "")},
       {"Summary", dataset.summary()},
       {"Digest", dataset.digest()},
       {"Created", TimeText(dataset.create_time())}});
  if (!files.empty()) absl::StrAppend(&text, "\nFiles\n", files.Render("  "));
  return text;
}

struct AddFlags {
  std::string id, display_name;
  std::vector<std::string> paths, labels;
};

absl::Status UploadFiles(const std::vector<PackedFile>& files, Session& session,
                         v1::RegisterDatasetRequest& request) {
  for (const PackedFile& file : files) {
    v1::DataFile& entry = *request.add_files();
    entry.set_name(file.name);
    ASSIGN_OR_RETURN(*entry.mutable_blob(), UploadFile(session, file.path, file.name));
  }
  return absl::OkStatus();
}

absl::StatusOr<int> Add(const CLI::App& app, const AddFlags& flags, Session& session) {
  ASSIGN_OR_RETURN(const std::vector<TypedPlugin> plugins, BindParams(CollectTyped(app)));
  const auto* reader = LastPlugin(plugins, "reader");
  if (reader == nullptr) {
    return UsageError(
        "--reader is needed, e.g. mnist, cifar10 or image_folder; `adamant plugins "
        "list --family dataset` shows all");
  }
  ASSIGN_OR_RETURN(const std::string name, DatasetName(flags.id));
  v1::RegisterDatasetRequest request;
  request.set_id(std::string(absl::StripPrefix(name, "datasets/")));
  request.set_display_name(flags.display_name);
  *request.mutable_reader() = *reader;
  RETURN_IF_ERROR(ParseLabels(flags.labels, *request.mutable_labels()));
  ASSIGN_OR_RETURN(const std::vector<PackedFile> files, PackDataset(reader->name(), flags.paths));
  RETURN_IF_ERROR(UploadFiles(files, session, request));
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(v1::Dataset dataset, client->RegisterDataset(request));
  ASSIGN_OR_RETURN(
      dataset, WaitUntilReady<v1::Dataset>(
                   session, dataset, [&](const std::string& n) { return client->GetDataset(n); }));
  return session.Finish(dataset, DatasetText(dataset), dataset.name());
}

absl::StatusOr<int> List(Session& session) {
  ASSIGN_OR_RETURN(Client * client, session.client());
  v1::ListDatasetsResponse all;
  v1::ListDatasetsRequest request;
  request.set_page_size(1000);
  do {
    ASSIGN_OR_RETURN(const v1::ListDatasetsResponse page, client->ListDatasets(request));
    all.mutable_datasets()->MergeFrom(page.datasets());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  Table table({"DATASET", "STATE", "READER", "SAMPLES", "IMAGE", "CLASSES", "CREATED"});
  for (const v1::Dataset& dataset : all.datasets()) {
    table.Add({std::string(absl::StripPrefix(dataset.name(), "datasets/")),
               v1::ResourceState_Name(dataset.state()), dataset.reader().name(),
               SplitsText(dataset), ShapeText(dataset), absl::StrCat(dataset.num_classes()),
               TimeText(dataset.create_time())});
  }
  const std::string names = absl::StrJoin(
      all.datasets(), "\n",
      [](std::string* out, const v1::Dataset& dataset) { out->append(dataset.name()); });
  return session.FinishRows(all, all.datasets(), table.Render(), names);
}

absl::StatusOr<int> Get(const std::string& id, Session& session) {
  ASSIGN_OR_RETURN(const std::string name, DatasetName(id));
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(const v1::Dataset dataset, client->GetDataset(name));
  return session.Finish(dataset, DatasetText(dataset), dataset.name());
}

absl::StatusOr<int> Delete(const std::string& id, Session& session) {
  v1::Dataset deleted;
  ASSIGN_OR_RETURN(*deleted.mutable_name(), DatasetName(id));
  ASSIGN_OR_RETURN(Client * client, session.client());
  RETURN_IF_ERROR(session.Confirm(absl::StrCat("Delete ", deleted.name(), "?")));
  RETURN_IF_ERROR(client->DeleteDataset(deleted.name()));
  return session.Finish(deleted, absl::StrCat("deleted ", deleted.name(), "\n"), deleted.name());
}

}  // namespace

void AddDataset(CLI::App& root, Commands& commands) {
  CLI::App* group = root.add_subcommand("dataset", "Register and show datasets");
  auto flags = std::make_shared<AddFlags>();
  CLI::App* add = group->add_subcommand("add", "Upload data and register it as datasets/ID");
  add->add_option("ID", flags->id, "small letters, digits and -")->required();
  add->add_option("PATH", flags->paths, "files, or one folder; .gz is decompressed on the way")
      ->required();
  AddTyped(*add, "reader", "how the files are read: mnist, cifar10, image_folder, ...");
  AddTyped(*add, "param", "NAME=VALUE of the reader; repeatable");
  add->add_option("--name", flags->display_name, "a name for people");
  add->add_option("--label", flags->labels, "KEY=VALUE; repeatable")->allow_extra_args(false);
  add->footer("Example:\n  adamant dataset add mnist --reader mnist data/mnist");
  commands.push_back({add, "add the dataset",
                      [add, flags](Session& session) { return Add(*add, *flags, session); },
                      Effect::kChanges});

  CLI::App* list = group->add_subcommand("list", "List the registered datasets");
  list->footer("Example:\n  adamant dataset list");
  commands.push_back({list, "list the datasets", [](Session& session) { return List(session); }});

  auto id = std::make_shared<std::string>();
  CLI::App* get = group->add_subcommand("get", "Show a dataset: splits, classes, files");
  get->add_option("ID", *id, "datasets/ID or ID")->required();
  get->footer("Example:\n  adamant dataset get mnist");
  commands.push_back(
      {get, "get the dataset", [id](Session& session) { return Get(*id, session); }});

  CLI::App* remove = group->add_subcommand("delete", "Forget a dataset");
  remove->add_option("ID", *id, "datasets/ID or ID")->required();
  remove->footer("Example:\n  adamant dataset delete mnist --yes");
  commands.push_back({remove, "delete the dataset",
                      [id](Session& session) { return Delete(*id, session); }, Effect::kDestroys});
}

}  // namespace adamant
