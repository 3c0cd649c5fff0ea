// SPDX-License-Identifier: Apache-2.0
#include "client/cli/transfer_view.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/cli/follow.h"
#include "client/cli/text.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

constexpr absl::Duration kBarInterval = absl::Milliseconds(200);
constexpr absl::Duration kLineInterval = absl::Seconds(10);
constexpr int64_t kChunk = 1 << 20;  // the largest first report that begins at 0

}  // namespace

double TransferView::Rate() const {
  return static_cast<double>(done_ - first_) /
         std::max(0.001, absl::ToDoubleSeconds(now_() - start_));
}

void TransferView::Line(const std::string& text) {
  if (bar_shown_) err_ << "\r\033[K";
  bar_shown_ = false;
  err_ << text << "\n" << std::flush;
}

void TransferView::OnBytes(int64_t done, int64_t total) {
  const absl::Time now = now_();
  done_ = done;
  if (start_ == absl::InfiniteFuture()) {
    start_ = now;
    shown_ = now;
    first_ = done > kChunk ? done : 0;
    if (first_ > 0) {
      Line(absl::StrCat(label_, ": goes on at ", BytesText(done), " of ", BytesText(total)));
    }
    return;
  }
  if (done >= total || now - shown_ < (bar_width_ > 0 ? kBarInterval : kLineInterval)) return;
  shown_ = now;
  const double rate = Rate();
  std::string text =
      absl::StrCat(label_, "  ", BytesText(done), " of ", BytesText(total), "  ",
                   BytesText(static_cast<int64_t>(rate)), "/s  ETA ",
                   SecondsText(static_cast<double>(total - done) / std::max(rate, 1.0)));
  if (bar_width_ == 0) return Line(text);
  text.resize(std::min(text.size(), static_cast<size_t>(bar_width_ - 1)));
  err_ << "\r" << text << "\033[K" << std::flush;
  bar_shown_ = true;
}

std::string TransferView::Finish(const std::string& nothing) {
  if (bar_shown_) err_ << "\r\033[K" << std::flush;
  bar_shown_ = false;
  if (start_ == absl::InfiniteFuture()) return nothing;
  return absl::StrCat(BytesText(done_ - first_), " in ",
                      SecondsText(absl::ToDoubleSeconds(now_() - start_)), " (",
                      BytesText(static_cast<int64_t>(Rate())), "/s)");
}

absl::StatusOr<v1::BlobRef> UploadFile(Session& session, const std::string& path,
                                       const std::string& label) {
  ASSIGN_OR_RETURN(Client * client, session.client());
  TransferView view(session.err(), session.bar_width(), label);
  Interrupt::Listen listen(session.interrupt());
  const bool quiet = session.options().quiet;
  auto blob = client->Upload(
      path,
      [&](int64_t done, int64_t total) {
        if (!quiet) view.OnBytes(done, total);
      },
      listen.token());
  const std::string how = view.Finish("the server has it already");
  if (absl::IsCancelled(blob.status())) {
    session.Note(absl::StrCat("\n", label, ": the same command goes on where it stopped"));
  }
  RETURN_IF_ERROR(blob.status());
  session.Note(absl::StrCat("uploaded ", label, ": ", BytesText(blob->size_bytes()), ", ", how,
                            ", sha256 ", blob->sha256()));
  return blob;
}

absl::Status DownloadFile(Session& session, const v1::BlobRef& blob, const std::string& path,
                          bool overwrite) {
  ASSIGN_OR_RETURN(Client * client, session.client());
  TransferView view(session.err(), session.bar_width(), path);
  Interrupt::Listen listen(session.interrupt());
  const bool quiet = session.options().quiet;
  const absl::Status status = client->Download(
      blob, path, overwrite,
      [&](int64_t done, int64_t total) {
        if (!quiet) view.OnBytes(done, total);
      },
      listen.token());
  const std::string how = view.Finish("all of it was here");
  if (absl::IsCancelled(status)) {
    session.Note(absl::StrCat("\n", path, ": the same command goes on where it stopped"));
  }
  RETURN_IF_ERROR(status);
  session.Note(absl::StrCat("saved ", path, ": ", BytesText(blob.size_bytes()), ", ", how,
                            ", sha256 ", blob.sha256()));
  return absl::OkStatus();
}

}  // namespace adamant
