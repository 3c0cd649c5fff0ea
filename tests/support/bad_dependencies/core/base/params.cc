// SPDX-License-Identifier: Apache-2.0
// Breaks rule 2.
#include "core/models/model.h"
