// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>

#include <memory>
#include <string>
#include <vector>

#include "server/blobs/blob_store.h"

namespace adamant::testing {

// Accepts every blob and keeps none: the simulation is about jobs, not bytes.
class SimBlobs : public BlobStore {
 public:
  absl::Status Put(int, const v1::BlobRef&) override { return absl::OkStatus(); }
  absl::StatusOr<v1::BlobRef> PutBytes(absl::string_view) override { return v1::BlobRef(); }
  absl::StatusOr<std::unique_ptr<BlobUpload>> Begin(absl::string_view,
                                                    const v1::BlobRef&) override {
    return absl::UnimplementedError("not simulated");
  }
  absl::StatusOr<int64_t> StagedSize(absl::string_view, const v1::BlobRef&) override {
    return absl::UnimplementedError("not simulated");
  }
  absl::StatusOr<Descriptor> Open(const v1::BlobRef&) override {
    return Descriptor(open("/dev/null", O_RDONLY | O_CLOEXEC));
  }
  absl::Status Stat(const v1::BlobRef&) override { return absl::OkStatus(); }
  absl::Status Remove(const v1::BlobRef&) override { return absl::OkStatus(); }
  absl::StatusOr<std::vector<v1::BlobRef>> List() override { return std::vector<v1::BlobRef>(); }
  BlobTotals totals() const override { return {}; }
};

}  // namespace adamant::testing
