// SPDX-License-Identifier: Apache-2.0
// The rules about resources, blobs, and what keeps a blob alive.
#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/error_reason.h"
#include "common/serialize.h"
#include "server/store/blob_refs.h"
#include "server/store/store_errors.h"
#include "server/store/store_rules.h"

namespace adamant {
namespace {

constexpr absl::Duration kLease = absl::Hours(24);

std::set<std::string> DigestsIn(const google::protobuf::Message& message) {
  std::set<std::string> digests;
  for (const v1::BlobRef& blob : BlobRefsIn(message)) digests.insert(blob.sha256());
  return digests;
}

int64_t LastUse(const GarbageQuery& query) { return NanosOf(query.now - query.unused_for); }

}  // namespace

void StoreRules::MovePins(const std::string& tenant, const std::string& owner,
                          const google::protobuf::Message& before,
                          const google::protobuf::Message& after) {
  const std::set<std::string> old_pins = DigestsIn(before);
  const std::set<std::string> new_pins = DigestsIn(after);
  for (const std::string& digest : old_pins) {
    if (new_pins.count(digest) == 0) tables_.RemovePin(tenant, owner, digest);
  }
  for (const std::string& digest : new_pins) {
    if (old_pins.count(digest) == 0) tables_.AddPin(tenant, owner, digest);
  }
}

absl::StatusOr<std::string> StoreRules::FindResource(const std::string& tenant,
                                                     const std::string& name) {
  std::optional<std::string> bytes = tables_.FindResource(tenant, name);
  if (!bytes.has_value()) return ResourceNotFound(name);
  return *std::move(bytes);
}

void StoreRules::PutResource(const std::string& tenant, const std::string& name,
                             const google::protobuf::Message& resource) {
  const std::unique_ptr<google::protobuf::Message> before(resource.New());
  const std::optional<std::string> stored = tables_.FindResource(tenant, name);
  if (stored.has_value()) before->ParseFromString(*stored);
  tables_.PutResource(tenant, name, SerializeStably(resource));
  MovePins(tenant, name, *before, resource);
}

absl::Status StoreRules::DeleteResource(const std::string& tenant, const std::string& name) {
  if (!tables_.FindResource(tenant, name).has_value()) return ResourceNotFound(name);
  if (const std::optional<std::string> uid = tables_.LiveUser(tenant, name); uid.has_value()) {
    const std::string job = absl::StrCat("jobs/", *uid);
    return WithReason(
        absl::FailedPreconditionError(absl::StrCat(
            name, " is used by ", job, "; wait for that job or cancel it, then delete again")),
        "RESOURCE_IN_USE", {{"name", name}, {"job", job}});
  }
  tables_.RemoveResource(tenant, name);
  tables_.RemovePins(tenant, name);
  return absl::OkStatus();
}

void StoreRules::PutBlobs(const std::string& tenant, const std::vector<v1::BlobRef>& blobs,
                          absl::Time now) {
  for (const v1::BlobRef& blob : blobs) {
    BlobRow row = tables_.FindBlob(tenant, blob.sha256()).value_or(BlobRow{tenant, blob});
    row.blob = blob;
    row.use_nanos = std::max(row.use_nanos, NanosOf(now));
    tables_.PutBlob(row);
  }
}

std::vector<v1::BlobRef> StoreRules::FindMissingBlobs(const std::string& tenant,
                                                      const std::vector<v1::BlobRef>& blobs,
                                                      absl::Time now) {
  std::vector<v1::BlobRef> missing;
  for (const v1::BlobRef& blob : blobs) {
    std::optional<BlobRow> row = tables_.FindBlob(tenant, blob.sha256());
    if (!row.has_value() || row->blob.size_bytes() != blob.size_bytes()) {
      missing.push_back(blob);
      continue;
    }
    row->lease_nanos = std::max(row->lease_nanos, NanosOf(now + kLease));
    tables_.PutBlob(*row);
  }
  return missing;
}

std::vector<v1::BlobRef> StoreRules::FindOwned(const std::vector<std::string>& digests) {
  std::vector<v1::BlobRef> owned;
  for (const std::string& digest : digests) {
    const std::vector<BlobRow> owners = tables_.OwnersOf(digest);
    if (!owners.empty()) owned.push_back(owners.front().blob);
  }
  return owned;
}

std::vector<v1::BlobRef> StoreRules::FindGarbage(const GarbageQuery& query) {
  std::vector<v1::BlobRef> found;
  std::set<std::string> seen;
  int64_t bytes = 0;
  for (BlobRow& row :
       tables_.UnpinnedBlobs(query.tenant, LastUse(query), NanosOf(query.now), query.limit)) {
    if (query.max_bytes > 0 && bytes >= query.max_bytes) break;
    if (!seen.insert(row.blob.sha256()).second) continue;
    bytes += row.blob.size_bytes();
    found.push_back(std::move(row.blob));
  }
  return found;
}

std::vector<v1::BlobRef> StoreRules::DropBlobs(const std::vector<v1::BlobRef>& blobs,
                                               const GarbageQuery& query) {
  std::vector<v1::BlobRef> dropped;
  for (const v1::BlobRef& blob : blobs) {
    size_t left = 0;
    const std::vector<BlobRow> owners = tables_.OwnersOf(blob.sha256());
    for (const BlobRow& row : owners) {
      const bool asked = query.tenant.empty() || row.tenant == query.tenant;
      const bool garbage = asked && row.use_nanos <= LastUse(query) &&
                           row.lease_nanos <= NanosOf(query.now) &&
                           !tables_.IsPinned(row.tenant, blob.sha256());
      if (garbage) {
        tables_.RemoveBlob(row.tenant, blob.sha256());
      } else {
        ++left;
      }
    }
    if (left == 0 && !owners.empty()) dropped.push_back(blob);
  }
  return dropped;
}

}  // namespace adamant
