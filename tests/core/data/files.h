// SPDX-License-Identifier: Apache-2.0
// Small data files that the reader tests write.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/data/dataset.h"

namespace adamant::testing {

inline std::string BigEndian32(uint32_t value) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
  return out;
}

// An IDX file of uint8 with these sizes.
inline std::string IdxBytes(const std::vector<uint32_t>& sizes, const std::string& data) {
  std::string out = BigEndian32(0x800 + static_cast<uint32_t>(sizes.size()));
  for (uint32_t size : sizes) out += BigEndian32(size);
  return out + data;
}

inline NamedFile File(const std::string& name, std::string bytes) {
  return {name, FileView::Own(std::move(bytes))};
}

// 3 images of 2x2 with labels 0, 9, 4; pixel p of image i is 16 * i + p.
inline DataFiles SmallMnist(const std::string& prefix) {
  std::string pixels;
  for (int i = 0; i < 3; ++i) {
    for (int p = 0; p < 4; ++p) pixels.push_back(static_cast<char>(16 * i + p));
  }
  return {File(prefix + "-images-idx3-ubyte", IdxBytes({3, 2, 2}, pixels)),
          File(prefix + "-labels-idx1-ubyte", IdxBytes({3}, std::string("\0\x9\x4", 3)))};
}

// One CIFAR-10 record: the label, then 1024 bytes of each channel value.
inline std::string CifarRecord(int label, int red, int green, int blue) {
  std::string out(1, static_cast<char>(label));
  for (int value : {red, green, blue}) out.append(1024, static_cast<char>(value));
  return out;
}

struct TarItem {
  std::string name;
  std::string data = "";
  char type = '0';  // '0' file, '5' folder, '2' symbolic link
};

// A ustar archive with two zero blocks at its end.
inline std::string TarBytes(const std::vector<TarItem>& items) {
  std::string out;
  for (const TarItem& item : items) {
    std::string header(512, '\0');
    const auto put = [&](size_t at, const std::string& text) {
      header.replace(at, text.size(), text);
    };
    const auto octal = [&](size_t at, size_t digits, size_t value) {
      std::string text(digits, '0');
      for (size_t i = digits; i-- > 0; value /= 8) text[i] = static_cast<char>('0' + value % 8);
      put(at, text);
    };
    put(0, item.name);
    octal(100, 7, 0644);
    octal(108, 7, 0);
    octal(116, 7, 0);
    octal(124, 11, item.data.size());
    octal(136, 11, 0);
    header[156] = item.type;
    if (item.type == '2') put(157, "target");
    put(257, std::string("ustar\00000", 8));
    header.replace(148, 8, 8, ' ');
    size_t sum = 0;
    for (char c : header) sum += static_cast<unsigned char>(c);
    octal(148, 6, sum);
    header[154] = '\0';
    out += header + item.data;
    out.append((512 - item.data.size() % 512) % 512, '\0');
  }
  return out + std::string(1024, '\0');
}

}  // namespace adamant::testing
