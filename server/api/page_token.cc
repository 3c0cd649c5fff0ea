// SPDX-License-Identifier: Apache-2.0
#include "server/api/page_token.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/api/status.h"

namespace adamant {
namespace {

constexpr size_t kMacBytes = 32;
constexpr absl::Duration kLifetime = absl::Hours(72);
constexpr int kDefaultPageSize = 50;
constexpr int kMaxPageSize = 1000;

absl::Status BadToken() {
  return InvalidField("page_token", "BAD_PAGE_TOKEN",
                      "the page token was not made for this list, or is older than 3 days; start "
                      "again without one");
}

}  // namespace

std::string PageTokens::Mac(absl::string_view payload, absl::string_view scope) const {
  const std::string text = absl::StrCat(scope.size(), ":", scope, payload);
  unsigned char mac[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac, &size);
  return std::string(reinterpret_cast<const char*>(mac), size);
}

std::string PageTokens::Seal(absl::string_view position, absl::string_view scope,
                             absl::Time now) const {
  const std::string payload = absl::StrCat(absl::ToUnixSeconds(now + kLifetime), " ", position);
  return absl::WebSafeBase64Escape(absl::StrCat(Mac(payload, scope), payload));
}

absl::StatusOr<std::string> PageTokens::Open(absl::string_view token, absl::string_view scope,
                                             absl::Time now) const {
  std::string sealed;
  if (token.size() > 4096 || !absl::WebSafeBase64Unescape(token, &sealed) ||
      sealed.size() <= kMacBytes) {
    return BadToken();
  }
  const absl::string_view payload = absl::string_view(sealed).substr(kMacBytes);
  const std::string mac = Mac(payload, scope);
  if (CRYPTO_memcmp(mac.data(), sealed.data(), kMacBytes) != 0) return BadToken();
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(payload, absl::MaxSplits(' ', 1));
  int64_t expiry = 0;
  if (!absl::SimpleAtoi(parts.first, &expiry) || absl::FromUnixSeconds(expiry) < now)
    return BadToken();
  return std::string(parts.second);
}

absl::StatusOr<int> PageSize(int requested) {
  if (requested < 0)
    return InvalidField("page_size", "INVALID_SPEC", "page_size must not be negative");
  return requested == 0 ? kDefaultPageSize : std::min(requested, kMaxPageSize);
}

}  // namespace adamant
