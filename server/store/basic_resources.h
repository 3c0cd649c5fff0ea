// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/error_reason.h"
#include "common/status_macros.h"
#include "server/store/store_session.h"

namespace adamant {

inline void Announce(StoreObserver& observer, const std::string& tenant, const v1::Model& model) {
  observer.OnModel(tenant, model);
}
inline void Announce(StoreObserver& observer, const std::string& tenant,
                     const v1::Dataset& dataset) {
  observer.OnDataset(tenant, dataset);
}

// The resources whose names begin with `prefix`. The session must outlive it.
template <typename R>
class BasicResources final : public ResourceTable<R> {
 public:
  BasicResources(StoreSession& session, std::string prefix)
      : session_(session), prefix_(std::move(prefix)) {}

  void Put(std::string tenant, R resource, std::function<bool(const R&)> same,
           Reply<R> reply) override {
    struct Stored {
      R resource;
      bool added;
    };
    auto work = [this, tenant, resource = std::move(resource),
                 same = std::move(same)](StoreEffect& effect) -> absl::StatusOr<Stored> {
      absl::StatusOr<R> present = Find(tenant, resource.name());
      if (present.ok()) {
        if (same(*present)) return Stored{*std::move(present), false};
        return TakenStatus(resource.name());
      }
      effect.step = StoreStep::kOther;
      session_.rules.PutResource(tenant, resource.name(), resource);
      return Stored{resource, true};
    };
    session_.Run<Stored>(
        true, std::move(work),
        [reply = std::move(reply)](absl::StatusOr<Stored> stored) {
          if (!stored.ok()) return reply(stored.status());
          reply(std::move(stored->resource));
        },
        [this, tenant](const Stored& stored) {
          if (stored.added) Tell(tenant, stored.resource);
        });
  }

  void Get(std::string tenant, std::string name, Reply<R> reply) override {
    auto work = [this, tenant = std::move(tenant), name = std::move(name)](StoreEffect&) {
      return Find(tenant, name);
    };
    session_.Run<R>(false, std::move(work), std::move(reply));
  }

  void Change(std::string tenant, std::string name, std::function<void(R&)> apply,
              Reply<R> reply) override {
    auto work = [this, tenant, name = std::move(name),
                 apply = std::move(apply)](StoreEffect& effect) -> absl::StatusOr<R> {
      ASSIGN_OR_RETURN(R resource, Find(tenant, name));
      apply(resource);
      effect.step = StoreStep::kOther;
      session_.rules.PutResource(tenant, name, resource);
      return resource;
    };
    session_.Run<R>(true, std::move(work), std::move(reply),
                    [this, tenant](const R& resource) { Tell(tenant, resource); });
  }

  void List(std::string tenant, std::string after_name, int limit,
            Reply<std::vector<R>> reply) override {
    auto work = [this, tenant = std::move(tenant), after = std::move(after_name),
                 limit](StoreEffect&) -> absl::StatusOr<std::vector<R>> {
      std::vector<R> found;
      for (const std::string& bytes :
           session_.tables.ListResources(tenant, prefix_, after, limit)) {
        found.emplace_back().ParseFromString(bytes);
      }
      return found;
    };
    session_.Run<std::vector<R>>(false, std::move(work), std::move(reply));
  }

  void Delete(std::string tenant, std::string name, Reply<Done> reply) override {
    auto work = [this, tenant = std::move(tenant),
                 name = std::move(name)](StoreEffect& effect) -> absl::StatusOr<Done> {
      RETURN_IF_ERROR(session_.rules.DeleteResource(tenant, name));
      effect.step = StoreStep::kOther;
      return Done{};
    };
    session_.Run<Done>(true, std::move(work), std::move(reply));
  }

  void LoadAll(Reply<std::vector<Owned<R>>> reply) override {
    auto work = [this](StoreEffect&) -> absl::StatusOr<std::vector<Owned<R>>> {
      std::vector<Owned<R>> all;
      for (const ResourceRow& row : session_.tables.AllResources(prefix_)) {
        all.push_back({row.tenant, {}});
        all.back().resource.ParseFromString(row.bytes);
      }
      return all;
    };
    session_.Run<std::vector<Owned<R>>>(false, std::move(work), std::move(reply));
  }

 private:
  static absl::Status TakenStatus(const std::string& name) {
    return WithReason(
        absl::AlreadyExistsError(absl::StrCat(
            name, " exists with other content; choose another id, or delete it first")),
        "ID_TAKEN", {{"name", name}});
  }

  absl::StatusOr<R> Find(const std::string& tenant, const std::string& name) {
    ASSIGN_OR_RETURN(const std::string bytes, session_.rules.FindResource(tenant, name));
    R resource;
    resource.ParseFromString(bytes);
    return resource;
  }

  void Tell(const std::string& tenant, const R& resource) {
    for (StoreObserver* observer : session_.observers) Announce(*observer, tenant, resource);
  }

  StoreSession& session_;
  const std::string prefix_;
};

}  // namespace adamant
