// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/error_reason.h"
#include "server/store/job_store.h"
#include "server/store/sqlite_session.h"

namespace adamant {

inline void Announce(StoreObserver& observer, const std::string& tenant, const v1::Model& model) {
  observer.OnModel(tenant, model);
}
inline void Announce(StoreObserver& observer, const std::string& tenant,
                     const v1::Dataset& dataset) {
  observer.OnDataset(tenant, dataset);
}

// The rows of the table `resources` whose names begin with `<noun>s/`. The session must outlive it.
template <typename R>
class SqliteResources final : public ResourceTable<R> {
 public:
  SqliteResources(SqliteSession& session, std::string noun, std::string not_found_reason)
      : session_(session),
        noun_(std::move(noun)),
        prefix_(absl::StrCat(noun_, "s/")),
        not_found_reason_(std::move(not_found_reason)) {}

  // For a transaction that is under way.
  std::optional<R> Find(absl::string_view tenant, absl::string_view name) {
    SqliteQuery query(session_.database,
                      "SELECT resource FROM resources WHERE tenant = ? AND name = ?");
    if (!query.Text(tenant).Text(name).Next()) return std::nullopt;
    return ParseStored<R>(query.BlobAt(0));
  }
  void Write(absl::string_view tenant, const R& resource) {
    const std::string bytes = SerializeStably(resource);
    SqliteQuery(session_.database,
                "INSERT OR REPLACE INTO resources(tenant, name, resource) VALUES(?, ?, ?)")
        .Text(tenant)
        .Text(resource.name())
        .Blob(bytes)
        .Execute();
  }
  absl::Status NotFound(absl::string_view name) const {
    return NotFoundStatus(noun_, not_found_reason_, name);
  }

  void Put(std::string tenant, R resource, std::function<bool(const R&)> same,
           Reply<R> reply) override {
    auto work = [this, tenant, resource = std::move(resource),
                 same = std::move(same)]() -> absl::StatusOr<R> {
      std::optional<R> present = Find(tenant, resource.name());
      if (!present.has_value()) {
        Write(tenant, resource);
        return resource;
      }
      if (same(*present)) return *std::move(present);
      return WithReason(
          absl::AlreadyExistsError(absl::StrCat(resource.name(),
                                                " exists with other content; choose another id, or "
                                                "delete it first")),
          "ID_TAKEN", {{"name", resource.name()}});
    };
    session_.Run<R>(true, std::move(work), std::move(reply), AnnounceTo(tenant));
  }

  void Get(std::string tenant, std::string name, Reply<R> reply) override {
    auto work = [this, tenant = std::move(tenant), name]() -> absl::StatusOr<R> {
      std::optional<R> found = Find(tenant, name);
      if (!found.has_value()) return NotFound(name);
      return *std::move(found);
    };
    session_.Run<R>(false, std::move(work), std::move(reply));
  }

  void Change(std::string tenant, std::string name, std::function<void(R&)> apply,
              Reply<R> reply) override {
    auto work = [this, tenant, name, apply = std::move(apply)]() -> absl::StatusOr<R> {
      std::optional<R> found = Find(tenant, name);
      if (!found.has_value()) return NotFound(name);
      apply(*found);
      Write(tenant, *found);
      return *std::move(found);
    };
    session_.Run<R>(true, std::move(work), std::move(reply), AnnounceTo(tenant));
  }

  void List(std::string tenant, std::string after_name, int limit,
            Reply<std::vector<R>> reply) override {
    auto work = [this, tenant = std::move(tenant), after = std::move(after_name),
                 limit]() -> absl::StatusOr<std::vector<R>> {
      SqliteQuery query(session_.database,
                        "SELECT resource FROM resources WHERE tenant = ? AND name > ? AND "
                        "substr(name, 1, ?) = ? ORDER BY name LIMIT ?");
      query.Text(tenant).Text(after.empty() ? prefix_ : after).Int(prefix_.size()).Text(prefix_);
      query.Int(limit);
      std::vector<R> found;
      while (query.Next()) found.push_back(ParseStored<R>(query.BlobAt(0)));
      return found;
    };
    session_.Run<std::vector<R>>(false, std::move(work), std::move(reply));
  }

  void Delete(std::string tenant, std::string name, Reply<Done> reply) override {
    auto work = [this, tenant = std::move(tenant), name]() -> absl::StatusOr<Done> {
      if (!Find(tenant, name).has_value()) return NotFound(name);
      SqliteQuery user(session_.database,
                       "SELECT jobs.uid FROM job_references JOIN jobs USING(uid) "
                       "WHERE name = ? AND tenant = ? AND live = 1 LIMIT 1");
      if (user.Text(name).Text(tenant).Next()) {
        const std::string job = absl::StrCat("jobs/", user.TextAt(0));
        return WithReason(
            absl::FailedPreconditionError(absl::StrCat(
                name, " is used by ", job, "; wait for that job or cancel it, then delete again")),
            "RESOURCE_IN_USE", {{"name", name}, {"job", job}});
      }
      SqliteQuery(session_.database, "DELETE FROM resources WHERE tenant = ? AND name = ?")
          .Text(tenant)
          .Text(name)
          .Execute();
      return Done{};
    };
    session_.Run<Done>(true, std::move(work), std::move(reply));
  }

  void LoadAll(Reply<std::vector<Owned<R>>> reply) override {
    auto work = [this]() -> absl::StatusOr<std::vector<Owned<R>>> {
      SqliteQuery query(session_.database,
                        "SELECT tenant, resource FROM resources WHERE substr(name, 1, ?) = ?");
      query.Int(prefix_.size()).Text(prefix_);
      std::vector<Owned<R>> all;
      while (query.Next()) all.push_back({query.TextAt(0), ParseStored<R>(query.BlobAt(1))});
      return all;
    };
    session_.Run<std::vector<Owned<R>>>(false, std::move(work), std::move(reply));
  }

 private:
  std::function<void(const R&)> AnnounceTo(std::string tenant) {
    return [this, tenant = std::move(tenant)](const R& resource) {
      for (StoreObserver* observer : session_.observers) Announce(*observer, tenant, resource);
    };
  }

  SqliteSession& session_;
  const std::string noun_;
  const std::string prefix_;
  const std::string not_found_reason_;
};

}  // namespace adamant
