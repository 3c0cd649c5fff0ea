// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace adamant {

// Seals list positions into opaque, URL-safe page tokens: HMAC-SHA-256 over position, scope and
// expiry. A token grants no authority; it only cannot be made or changed by a client. Immutable,
// thread-safe.
class PageTokens {
 public:
  // `key` is 32 random bytes.
  explicit PageTokens(std::string key) : key_(std::move(key)) {}

  // `scope` is all that must stay the same between pages: method, tenant and filter.
  std::string Seal(absl::string_view position, absl::string_view scope, absl::Time now) const;

  // The position. INVALID_ARGUMENT / BAD_PAGE_TOKEN when the token was changed, made for another
  // scope, or is older than 3 days.
  absl::StatusOr<std::string> Open(absl::string_view token, absl::string_view scope,
                                   absl::Time now) const;

 private:
  std::string Mac(absl::string_view payload, absl::string_view scope) const;

  const std::string key_;
};

// 0 becomes 50, above 1000 becomes 1000. INVALID_ARGUMENT when negative.
absl::StatusOr<int> PageSize(int requested);

}  // namespace adamant
