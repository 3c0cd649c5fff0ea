// SPDX-License-Identifier: Apache-2.0
#include "core/run/inputs.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace adamant {

absl::StatusOr<DataSlice> OpenSlice(const v1::DataSource& source, absl::string_view role,
                                    RunContext& context) {
  ASSIGN_OR_RETURN(const DataInput input, context.data(role));
  ASSIGN_OR_RETURN(std::unique_ptr<Dataset> dataset,
                   MakePlugin<Dataset>(input.reader, input.files));
  DataSlice slice;
  slice.dataset = std::move(dataset);
  slice.name = input.name;
  slice.split = !source.split().empty() ? source.split() : role == "train" ? "train" : "test";
  ASSIGN_OR_RETURN(const int64_t size, slice.dataset->SplitSize(slice.split));
  ASSIGN_OR_RETURN(slice.ids, SelectIds(source, size));
  return slice;
}

absl::Status CheckFits(const DatasetInfo& data, const ModelShape& model, absl::string_view role) {
  if (data.channels != model.channels || data.height != model.height || data.width != model.width) {
    return absl::InvalidArgumentError(
        absl::StrCat(role, ": the model takes images of ", model.channels, "x", model.height, "x",
                     model.width, ", found ", data.channels, "x", data.height, "x", data.width,
                     "; choose data of that size, or a reader that resizes"));
  }
  if (data.num_classes > model.num_classes) {
    return absl::InvalidArgumentError(absl::StrCat(role, ": the data has ", data.num_classes,
                                                   " classes, the model only ", model.num_classes));
  }
  return absl::OkStatus();
}

}  // namespace adamant
