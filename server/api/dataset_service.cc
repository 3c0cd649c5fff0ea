// SPDX-License-Identifier: Apache-2.0
#include "server/api/dataset_service.h"

#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "google/protobuf/util/message_differencer.h"
#include "server/api/list_page.h"
#include "server/api/spec_checker.h"
#include "server/api/spec_resolver.h"
#include "server/api/unary.h"
#include "server/jobs/job.h"

namespace adamant {
namespace {

constexpr int kMaxFiles = 16;

bool SameContent(const v1::Dataset& wanted, const v1::Dataset& stored) {
  using google::protobuf::util::MessageDifferencer;
  if (wanted.files_size() != stored.files_size()) return false;
  for (int i = 0; i < wanted.files_size(); ++i) {
    if (!MessageDifferencer::Equals(wanted.files(i), stored.files(i))) return false;
  }
  return MessageDifferencer::Equals(wanted.reader(), stored.reader()) &&
         wanted.display_name() == stored.display_name();
}

// A plain file name: what a reader compares with the names it knows.
bool IsFileName(absl::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         !absl::StrContains(name, '/') && !absl::StrContains(name, '\0');
}

void CheckFiles(SpecChecker& checker, const v1::RegisterDatasetRequest& request) {
  if (request.files().empty() || request.files_size() > kMaxFiles)
    checker.Bad("files", absl::StrCat("has ", request.files_size(), "; needs 1 to ", kMaxFiles));
  std::set<std::string> names;
  for (int i = 0; i < request.files_size(); ++i) {
    const v1::DataFile& file = request.files(i);
    const std::string field = absl::StrCat("files[", i, "]");
    if (!IsFileName(file.name()))
      checker.Bad(absl::StrCat(field, ".name"),
                  "must be a file name of 1 to 255 bytes without a folder");
    else if (!names.insert(file.name()).second)
      checker.Bad(absl::StrCat(field, ".name"),
                  absl::StrCat("\"", file.name(), "\" is given twice"));
    checker.CheckBlob(absl::StrCat(field, ".blob"), file.blob());
  }
}

}  // namespace

absl::StatusOr<v1::Dataset> DatasetServiceImpl::CheckRegister(
    const v1::RegisterDatasetRequest& request) {
  RETURN_IF_ERROR(parts_.storage_admission());
  SpecChecker checker(parts_.catalog);
  v1::Dataset dataset;
  checker.CheckResourceId("id", request.id());
  checker.CheckDisplayName("display_name", request.display_name());
  checker.CheckLabels("labels", request.labels());
  *dataset.mutable_reader() = request.reader();
  checker.CheckPlugin("reader", "dataset", *dataset.mutable_reader());
  CheckFiles(checker, request);
  RETURN_IF_ERROR(ViolationStatus(checker.violations()));
  std::vector<v1::BlobRef> blobs;
  for (const v1::DataFile& file : request.files()) blobs.push_back(file.blob());
  RETURN_IF_ERROR(SpecResolver(parts_.store, kLocalTenant).RequireBlobs(std::move(blobs)));
  dataset.set_name(absl::StrCat("datasets/", request.id()));
  dataset.set_display_name(request.display_name());
  *dataset.mutable_files() = request.files();
  dataset.set_state(v1::VALIDATING);
  *dataset.mutable_labels() = request.labels();
  *dataset.mutable_create_time() = ToProto(absl::Now());
  return dataset;
}

grpc::ServerUnaryReactor* DatasetServiceImpl::RegisterDataset(
    grpc::CallbackServerContext* context, const v1::RegisterDatasetRequest* request,
    v1::Dataset* response) {
  if (auto* const refused = Refuse(context)) return refused;
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const bool taken = parts_.calls.Run([this, request, response, reactor] {
    absl::StatusOr<v1::Dataset> dataset = CheckRegister(*request);
    if (!dataset.ok()) return reactor->Finish(ToGrpc(dataset.status()));
    const v1::Dataset wanted = *dataset;
    parts_.scheduler.RegisterDataset(
        kLocalTenant, *std::move(dataset),
        [wanted](const v1::Dataset& stored) { return SameContent(wanted, stored); },
        AnswerWith(reactor, response));
  });
  if (!taken) reactor->Finish(ToGrpc(OverloadedStatus()));
  return reactor;
}

grpc::ServerUnaryReactor* DatasetServiceImpl::GetDataset(grpc::CallbackServerContext* context,
                                                         const v1::GetDatasetRequest* request,
                                                         v1::Dataset* response) {
  if (auto* const refused = Refuse(context)) return refused;
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  parts_.store.datasets().Get(kLocalTenant, request->name(), AnswerWith(reactor, response));
  return reactor;
}

grpc::ServerUnaryReactor* DatasetServiceImpl::ListDatasets(grpc::CallbackServerContext* context,
                                                           const v1::ListDatasetsRequest* request,
                                                           v1::ListDatasetsResponse* response) {
  if (auto* const refused = Refuse(context)) return refused;
  const absl::StatusOr<ListPage> page =
      OpenListPage(parts_.tokens, "ListDatasets", request->page_size(), request->page_token());
  if (!page.ok()) return Answer(context, page.status());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  parts_.store.datasets().List(
      kLocalTenant, page->after, page->size + 1,
      [this, reactor, response, page = *page](absl::StatusOr<std::vector<v1::Dataset>> datasets) {
        if (datasets.ok())
          FillPage(parts_.tokens, page, *std::move(datasets), *response->mutable_datasets(),
                   *response->mutable_next_page_token());
        reactor->Finish(ToGrpc(datasets.status()));
      });
  return reactor;
}

grpc::ServerUnaryReactor* DatasetServiceImpl::DeleteDataset(grpc::CallbackServerContext* context,
                                                            const v1::DeleteDatasetRequest* request,
                                                            google::protobuf::Empty* /*response*/) {
  if (auto* const refused = Refuse(context)) return refused;
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  parts_.store.datasets().Delete(
      kLocalTenant, request->name(),
      [reactor](absl::StatusOr<Done> done) { reactor->Finish(ToGrpc(done.status())); });
  return reactor;
}

}  // namespace adamant
