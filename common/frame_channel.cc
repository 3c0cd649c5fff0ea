// SPDX-License-Identifier: Apache-2.0
#include "common/frame_channel.h"

#include <endian.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

constexpr size_t kControlBytes = CMSG_SPACE(sizeof(int) * FrameChannel::kMaxDescriptors);

// Fills the control part of `message` with `descriptors`.
void AttachDescriptors(msghdr& message, std::array<char, kControlBytes>& control,
                       const std::vector<int>& descriptors) {
  if (descriptors.empty()) return;
  message.msg_control = control.data();
  message.msg_controllen = CMSG_SPACE(sizeof(int) * descriptors.size());
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int) * descriptors.size());
  std::memcpy(CMSG_DATA(header), descriptors.data(), sizeof(int) * descriptors.size());
}

void CollectDescriptors(msghdr& message, std::deque<Descriptor>& out) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      out.emplace_back(fd);
    }
  }
}

}  // namespace

absl::Status FrameChannel::Send(worker::v1::Frame frame, const std::vector<int>& descriptors) {
  absl::MutexLock lock(&send_mutex_);
  frame.set_number(++sent_);
  frame.set_descriptors(static_cast<int>(descriptors.size()));
  std::string bytes(sizeof(uint32_t), '\0');
  if (descriptors.size() > kMaxDescriptors || !frame.AppendToString(&bytes) ||
      bytes.size() - 4 > kMaxFrameBytes) {
    return absl::InvalidArgumentError(absl::StrCat("frame of ", bytes.size() - 4, " bytes with ",
                                                   descriptors.size(),
                                                   " descriptors is over the limits"));
  }
  const uint32_t length = htole32(static_cast<uint32_t>(bytes.size() - sizeof(uint32_t)));
  std::memcpy(bytes.data(), &length, sizeof(length));
  std::array<char, kControlBytes> control{};
  for (size_t offset = 0; offset < bytes.size();) {
    iovec part{bytes.data() + offset, bytes.size() - offset};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (offset == 0) AttachDescriptors(message, control, descriptors);
    const ssize_t sent = sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0)
      return absl::UnavailableError(absl::StrCat("the peer is gone: ", std::strerror(errno)));
    offset += static_cast<size_t>(sent);
  }
  return absl::OkStatus();
}

absl::Status FrameChannel::ReadExactly(char* out, size_t size) {
  std::array<char, kControlBytes> control{};
  while (size > 0) {
    iovec part{out, size};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t received = recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
    if (received < 0 && errno == EINTR) continue;
    if (received <= 0) return absl::UnavailableError("the peer closed the channel");
    CollectDescriptors(message, arrived_);
    if ((message.msg_flags & MSG_CTRUNC) != 0)
      return absl::DataLossError("too many descriptors in one frame");
    out += received;
    size -= static_cast<size_t>(received);
  }
  return absl::OkStatus();
}

absl::StatusOr<ReceivedFrame> FrameChannel::Receive() {
  char head[sizeof(uint32_t)];
  RETURN_IF_ERROR(ReadExactly(head, sizeof(head)));
  uint32_t size;
  std::memcpy(&size, head, sizeof(size));
  size = le32toh(size);
  if (size > kMaxFrameBytes) return absl::DataLossError(absl::StrCat("frame of ", size, " bytes"));
  std::string bytes(size, '\0');
  RETURN_IF_ERROR(ReadExactly(bytes.data(), bytes.size()));
  ReceivedFrame received;
  if (!received.frame.ParseFromString(bytes)) return absl::DataLossError("unparsable frame");
  const int count = received.frame.descriptors();
  if (count < 0 || static_cast<size_t>(count) > arrived_.size())
    return absl::DataLossError("descriptors are missing");
  for (int i = 0; i < count; ++i) {
    received.descriptors.push_back(std::move(arrived_.front()));
    arrived_.pop_front();
  }
  return received;
}

void FrameChannel::Shutdown() { shutdown(socket_.get(), SHUT_RDWR); }

absl::StatusOr<std::pair<Descriptor, Descriptor>> MakeSocketPair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
    return ErrnoStatus(errno, "socketpair");
  return std::make_pair(Descriptor(fds[0]), Descriptor(fds[1]));
}

}  // namespace adamant
