// SPDX-License-Identifier: Apache-2.0
// Breaks rule 1.
#include "core/engine.h"
#include "server/daemon.h"
