// SPDX-License-Identifier: Apache-2.0
#include "server/store/sqlite_session.h"

#include "absl/strings/str_cat.h"
#include "common/error_reason.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace adamant {

std::string SerializeStably(const google::protobuf::Message& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&coded);
  }
  return bytes;
}

absl::Status NotFoundStatus(absl::string_view noun, absl::string_view reason,
                            absl::string_view name) {
  return WithReason(absl::NotFoundError(absl::StrCat("no ", noun, " ", name)), reason,
                    {{"name", std::string(name)}});
}

}  // namespace adamant
