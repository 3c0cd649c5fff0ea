// SPDX-License-Identifier: Apache-2.0
// Breaks rules 3 and 5.
#include <grpcpp/grpcpp.h>
#include <prometheus/registry.h>

#include "server/blobs/blob_store.h"
