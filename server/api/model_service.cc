// SPDX-License-Identifier: Apache-2.0
#include "server/api/model_service.h"

#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/model_magic.h"
#include "common/status_macros.h"
#include "google/protobuf/util/message_differencer.h"
#include "server/api/list_page.h"
#include "server/api/spec_checker.h"
#include "server/api/spec_resolver.h"
#include "server/api/unary.h"
#include "server/jobs/job.h"

namespace adamant {
namespace {

constexpr int kMaxSide = 4096;
constexpr int kMaxClasses = 100000;

// Whether registering `wanted` again finds `stored`: same bytes, same declaration.
bool SameContent(const v1::Model& wanted, const v1::Model& stored) {
  using google::protobuf::util::MessageDifferencer;
  const bool same_architecture =
      !wanted.has_architecture() ||
      MessageDifferencer::Equals(wanted.architecture(), stored.architecture());
  const bool same_shape = !wanted.has_input_shape() ||
                          MessageDifferencer::Equals(wanted.input_shape(), stored.input_shape());
  return MessageDifferencer::Equals(wanted.blob(), stored.blob()) && same_architecture &&
         same_shape &&
         (wanted.num_classes() == 0 || wanted.num_classes() == stored.num_classes()) &&
         wanted.display_name() == stored.display_name();
}

void CheckDeclaredShape(SpecChecker& checker, const v1::RegisterModelRequest& request,
                        bool required) {
  const v1::ImageShape& shape = request.input_shape();
  if (required && request.num_classes() == 0)
    checker.Bad("num_classes", "is missing: a TorchScript program does not say it");
  if (request.num_classes() < 0 || request.num_classes() > kMaxClasses)
    checker.Bad("num_classes", absl::StrCat("must be in [1, ", kMaxClasses, "]"));
  if (!request.has_input_shape()) {
    if (required) checker.Bad("input_shape", "is missing: a TorchScript program does not say it");
  } else if (shape.channels() < 1 || shape.channels() > 4 || shape.height() < 1 ||
             shape.width() < 1 || shape.height() > kMaxSide || shape.width() > kMaxSide) {
    checker.Bad("input_shape", "needs 1 to 4 channels and sides of 1 to 4096");
  }
}

}  // namespace

absl::StatusOr<v1::ModelFormat> ModelServiceImpl::ReadFormat(const v1::BlobRef& blob) {
  ASSIGN_OR_RETURN(const Descriptor file, parts_.blobs.Open(blob));
  char magic[kModelMagicBytes] = {};
  const ssize_t got = pread(file.get(), magic, sizeof(magic), 0);
  const auto format = ModelFormatByMagic({magic, got > 0 ? static_cast<size_t>(got) : 0});
  if (!format.ok()) return InvalidField("blob", "FORMAT_REFUSED", format.status().message());
  if (*format == v1::TORCHSCRIPT && !parts_.accept_torchscript) {
    return InvalidField("blob", "FORMAT_REFUSED",
                        "a zip archive; this server does not accept TorchScript, upload "
                        "safetensors");
  }
  return format;
}

absl::StatusOr<v1::Model> ModelServiceImpl::CheckRegister(const v1::RegisterModelRequest& request) {
  RETURN_IF_ERROR(parts_.storage_admission());
  SpecChecker checker(parts_.catalog);
  checker.CheckResourceId("id", request.id());
  checker.CheckDisplayName("display_name", request.display_name());
  checker.CheckLabels("labels", request.labels());
  checker.CheckBlob("blob", request.blob());
  v1::Model model;
  if (request.has_architecture()) {
    *model.mutable_architecture() = request.architecture();
    checker.CheckPlugin("architecture", "model", *model.mutable_architecture());
  }
  CheckDeclaredShape(checker, request, /*required=*/false);
  RETURN_IF_ERROR(ViolationStatus(checker.violations()));
  RETURN_IF_ERROR(SpecResolver(parts_.store, kLocalTenant).RequireBlobs({request.blob()}));
  ASSIGN_OR_RETURN(const v1::ModelFormat format, ReadFormat(request.blob()));
  if (format == v1::TORCHSCRIPT) {
    CheckDeclaredShape(checker, request, /*required=*/true);
    if (request.has_architecture())
      checker.Bad("architecture", "does not go with a TorchScript program, which is whole");
    RETURN_IF_ERROR(ViolationStatus(checker.violations()));
  }
  model.set_name(absl::StrCat("models/", request.id()));
  model.set_display_name(request.display_name());
  *model.mutable_blob() = request.blob();
  model.set_format(format);
  model.set_state(v1::VALIDATING);
  model.set_num_classes(request.num_classes());
  if (request.has_input_shape()) *model.mutable_input_shape() = request.input_shape();
  *model.mutable_labels() = request.labels();
  *model.mutable_create_time() = ToProto(absl::Now());
  return model;
}

grpc::ServerUnaryReactor* ModelServiceImpl::RegisterModel(grpc::CallbackServerContext* context,
                                                          const v1::RegisterModelRequest* request,
                                                          v1::Model* response) {
  if (auto* const refused = Refuse(context)) return refused;
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const bool taken = parts_.disk.Run([this, request, response, reactor] {
    absl::StatusOr<v1::Model> model = CheckRegister(*request);
    if (!model.ok()) return reactor->Finish(ToGrpc(model.status()));
    const v1::Model wanted = *model;
    parts_.scheduler.RegisterModel(
        kLocalTenant, *std::move(model),
        [wanted](const v1::Model& stored) { return SameContent(wanted, stored); },
        AnswerWith(reactor, response));
  });
  if (!taken) reactor->Finish(ToGrpc(OverloadedStatus()));
  return reactor;
}

grpc::ServerUnaryReactor* ModelServiceImpl::GetModel(grpc::CallbackServerContext* context,
                                                     const v1::GetModelRequest* request,
                                                     v1::Model* response) {
  if (auto* const refused = Refuse(context)) return refused;
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  parts_.store.models().Get(kLocalTenant, request->name(), AnswerWith(reactor, response));
  return reactor;
}

grpc::ServerUnaryReactor* ModelServiceImpl::ListModels(grpc::CallbackServerContext* context,
                                                       const v1::ListModelsRequest* request,
                                                       v1::ListModelsResponse* response) {
  if (auto* const refused = Refuse(context)) return refused;
  const absl::StatusOr<ListPage> page =
      OpenListPage(parts_.tokens, "ListModels", request->page_size(), request->page_token());
  if (!page.ok()) return Answer(context, page.status());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  parts_.store.models().List(
      kLocalTenant, page->after, page->size + 1,
      [this, reactor, response, page = *page](absl::StatusOr<std::vector<v1::Model>> models) {
        if (models.ok())
          FillPage(parts_.tokens, page, *std::move(models), *response->mutable_models(),
                   *response->mutable_next_page_token());
        reactor->Finish(ToGrpc(models.status()));
      });
  return reactor;
}

grpc::ServerUnaryReactor* ModelServiceImpl::DeleteModel(grpc::CallbackServerContext* context,
                                                        const v1::DeleteModelRequest* request,
                                                        google::protobuf::Empty* /*response*/) {
  if (auto* const refused = Refuse(context)) return refused;
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  parts_.store.models().Delete(kLocalTenant, request->name(), [reactor](absl::StatusOr<Done> done) {
    reactor->Finish(ToGrpc(done.status()));
  });
  return reactor;
}

}  // namespace adamant
