// SPDX-License-Identifier: Apache-2.0
// RETURN_IF_ERROR and ASSIGN_OR_RETURN for functions that return absl::Status or absl::StatusOr.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define RETURN_IF_ERROR(expr)                                         \
  do {                                                                \
    if (absl::Status status_ = (expr); !status_.ok()) return status_; \
  } while (false)

#define ADAMANT_CONCAT_(a, b) a##b
#define ADAMANT_CONCAT(a, b) ADAMANT_CONCAT_(a, b)
#define ADAMANT_ASSIGN_OR_RETURN_(tmp, lhs, expr) \
  auto tmp = (expr);                              \
  if (!tmp.ok()) return tmp.status();             \
  lhs = std::move(tmp).value()

// ASSIGN_OR_RETURN(auto value, Function());
#define ASSIGN_OR_RETURN(lhs, expr) \
  ADAMANT_ASSIGN_OR_RETURN_(ADAMANT_CONCAT(status_or_, __LINE__), lhs, expr)
