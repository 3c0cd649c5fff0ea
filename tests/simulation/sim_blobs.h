// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>

#include <functional>
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
  BlobHold Hold(const v1::BlobRef&) override { return nullptr; }
  absl::StatusOr<DiskReservation> ReserveOutput(int64_t) override { return DiskReservation(); }
  absl::StatusOr<std::unique_ptr<BlobUpload>> Begin(const UploadKey&) override { return Unused(); }
  absl::StatusOr<int64_t> StagedSize(const UploadKey&) override { return Unused(); }
  absl::StatusOr<int64_t> StagedBytes(absl::string_view) override { return Unused(); }
  absl::Status CleanStaging(absl::Time) override { return Unused(); }
  absl::StatusOr<Descriptor> Open(const v1::BlobRef&) override {
    return Descriptor(open("/dev/null", O_RDONLY | O_CLOEXEC));
  }
  absl::Status Stat(const v1::BlobRef&) override { return absl::OkStatus(); }
  absl::StatusOr<std::vector<v1::BlobRef>> List(absl::Time) override { return Unused(); }
  void Condemn(const std::vector<v1::BlobRef>&) override {}
  absl::StatusOr<bool> Remove(const v1::BlobRef&) override { return Unused(); }
  absl::StatusOr<int64_t> CheckSizes(const std::vector<v1::BlobRef>&) override { return Unused(); }
  absl::Status Scrub(const v1::BlobRef&, const std::function<bool(int64_t)>&) override {
    return Unused();
  }
  BlobTotals totals() const override { return {}; }

 private:
  static absl::Status Unused() { return absl::UnimplementedError("not simulated"); }
};

}  // namespace adamant::testing
