// SPDX-License-Identifier: Apache-2.0
// Breaks rule 3.
#include "server/store/sqlite_store.h"
