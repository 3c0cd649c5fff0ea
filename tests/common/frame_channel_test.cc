// SPDX-License-Identifier: Apache-2.0
#include "common/frame_channel.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

namespace adamant {
namespace {

struct Pair {
  Pair() {
    auto sockets = MakeSocketPair();
    a = std::make_unique<FrameChannel>(std::move(sockets->first));
    b = std::make_unique<FrameChannel>(std::move(sockets->second));
  }
  std::unique_ptr<FrameChannel> a;
  std::unique_ptr<FrameChannel> b;
};

worker::v1::Frame LogFrame(std::string text) {
  worker::v1::Frame frame;
  frame.mutable_log()->set_text(std::move(text));
  return frame;
}

TEST(FrameChannel, DeliversFramesInOrderWithNumbers) {
  Pair pair;
  ASSERT_TRUE(pair.a->Send(LogFrame("one")).ok());
  ASSERT_TRUE(pair.a->Send(LogFrame("two")).ok());
  const auto first = pair.b->Receive();
  const auto second = pair.b->Receive();
  EXPECT_EQ(first->frame.log().text(), "one");
  EXPECT_EQ(first->frame.number(), 1);
  EXPECT_EQ(second->frame.log().text(), "two");
  EXPECT_EQ(second->frame.number(), 2);
}

TEST(FrameChannel, DescriptorsArriveWithTheirFrame) {
  Pair pair;
  const Descriptor file(memfd_create("test", MFD_CLOEXEC));
  ASSERT_TRUE(WriteAll(file.get(), "content").ok());
  ASSERT_TRUE(pair.a->Send(LogFrame("plain")).ok());
  ASSERT_TRUE(pair.a->Send(LogFrame("with file"), {file.get(), file.get()}).ok());
  EXPECT_TRUE(pair.b->Receive()->descriptors.empty());
  const auto received = pair.b->Receive();
  ASSERT_EQ(received->descriptors.size(), 2u);
  EXPECT_EQ((*FileView::Map(received->descriptors[1].get()))->bytes(), "content");
}

TEST(FrameChannel, LargeFramesPassAndLargerOnesAreRefused) {
  Pair pair;
  const std::string text(FrameChannel::kMaxFrameBytes - 100, 'x');
  std::thread sender([&] { EXPECT_TRUE(pair.a->Send(LogFrame(text)).ok()); });
  const auto received = pair.b->Receive();
  sender.join();
  EXPECT_EQ(received->frame.log().text(), text);
  EXPECT_TRUE(absl::IsInvalidArgument(
      pair.a->Send(LogFrame(std::string(FrameChannel::kMaxFrameBytes + 1, 'x')))));
}

TEST(FrameChannel, EndOfStreamAndGarbageAreToldApart) {
  Pair closed;
  closed.a.reset();
  EXPECT_TRUE(absl::IsUnavailable(closed.b->Receive().status()));

  Pair garbage;
  const char too_long[] = {'\xff', '\xff', '\xff', '\x7f'};
  ASSERT_TRUE(WriteAll(garbage.a->fd(), {too_long, 4}).ok());
  EXPECT_TRUE(absl::IsDataLoss(garbage.b->Receive().status()));

  Pair unparsable;
  const char bad_frame[] = {3, 0, 0, 0, '\xff', '\xff', '\xff'};
  ASSERT_TRUE(WriteAll(unparsable.a->fd(), {bad_frame, 7}).ok());
  EXPECT_TRUE(absl::IsDataLoss(unparsable.b->Receive().status()));
}

TEST(FrameChannel, ClaimedButMissingDescriptorsAreAProtocolError) {
  Pair pair;
  worker::v1::Frame frame = LogFrame("x");
  frame.set_descriptors(1);
  std::string bytes(4, '\0');
  frame.AppendToString(&bytes);
  bytes[0] = static_cast<char>(bytes.size() - 4);
  ASSERT_TRUE(WriteAll(pair.a->fd(), bytes).ok());
  EXPECT_TRUE(absl::IsDataLoss(pair.b->Receive().status()));
}

TEST(FrameChannel, ShutdownWakesABlockedReceive) {
  Pair pair;
  std::thread receiver([&] { EXPECT_TRUE(absl::IsUnavailable(pair.b->Receive().status())); });
  pair.b->Shutdown();
  receiver.join();
}

}  // namespace
}  // namespace adamant
