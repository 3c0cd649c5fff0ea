// SPDX-License-Identifier: Apache-2.0
#include "server/store/sqlite_session.h"

#include "absl/strings/str_cat.h"
#include "common/error_reason.h"

namespace adamant {

absl::Status NotFoundStatus(absl::string_view noun, absl::string_view reason,
                            absl::string_view name) {
  return WithReason(absl::NotFoundError(absl::StrCat("no ", noun, " ", name)), reason,
                    {{"name", std::string(name)}});
}

}  // namespace adamant
