// SPDX-License-Identifier: Apache-2.0
// Pages of resources that are listed by name.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "google/protobuf/repeated_field.h"
#include "server/api/page_token.h"
#include "server/api/service_parts.h"

namespace adamant {

struct ListPage {
  std::string scope;
  std::string after;  // the last name of the page before
  int size = 0;
};

inline absl::StatusOr<ListPage> OpenListPage(const PageTokens& tokens, const std::string& method,
                                             int page_size, const std::string& page_token) {
  ListPage page;
  page.scope = method + " " + kLocalTenant;
  ASSIGN_OR_RETURN(page.size, PageSize(page_size));
  if (!page_token.empty()) {
    ASSIGN_OR_RETURN(page.after, tokens.Open(page_token, page.scope, absl::Now()));
  }
  return page;
}

inline constexpr size_t kMaxPageBytes = 2 << 20;

// `found` holds up to one more than the page. A page also ends when it is large.
template <typename Resource>
void FillPage(const PageTokens& tokens, const ListPage& page, std::vector<Resource> found,
              google::protobuf::RepeatedPtrField<Resource>& resources, std::string& next_token) {
  size_t size = 0;
  for (size_t bytes = 0; size < found.size() && bytes < kMaxPageBytes; ++size)
    bytes += found[size].ByteSizeLong();
  size = std::min(size, static_cast<size_t>(page.size));
  const bool more = found.size() > size;
  if (more) found.resize(size);
  if (more) next_token = tokens.Seal(found.back().name(), page.scope, absl::Now());
  for (Resource& resource : found) *resources.Add() = std::move(resource);
}

}  // namespace adamant
