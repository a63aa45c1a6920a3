// SPDX-License-Identifier: MIT
// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; 2011): ten rounds of two 32 x 32 -> 64 bit products.
#pragma once
#include "math/host_device.h"

namespace chainrule::CR_ISA {

template <class Word>
struct Philox {
  Word x0, x1, x2, x3;
};

// Word is 64 bits wide, or a vector of such, and only its low 32 bits count: the rest is rubbish that no round brings down.
// multiply(x, m): the 64-bit product of the low halves.
template <class Word, class Multiply>
CR_FN Philox<Word> philox4x32_10(Philox<Word> c, std::uint32_t key0, std::uint32_t key1, Multiply multiply) {
  CR_UNROLL(10)
  for (int round = 0; round < 10; ++round) {
    const Word p0 = multiply(c.x0, 0xD2511F53u), p1 = multiply(c.x2, 0xCD9E8D57u);
    c = {(p1 >> 32) ^ c.x1 ^ key0, p1, (p0 >> 32) ^ c.x3 ^ key1, p0};
    key0 += 0x9E3779B9u;  // golden ratio
    key1 += 0xBB67AE85u;  // sqrt(3) - 1
  }
  return c;
}

CR_FN Philox<std::uint32_t> philox4x32_10(Philox<std::uint32_t> c, std::uint32_t key0, std::uint32_t key1) {
  const auto multiply = [](std::uint64_t x, std::uint64_t m) { return (x & 0xffffffffu) * m; };
  const Philox<std::uint64_t> r = philox4x32_10(Philox<std::uint64_t>{c.x0, c.x1, c.x2, c.x3}, key0, key1, multiply);
  return {std::uint32_t(r.x0), std::uint32_t(r.x1), std::uint32_t(r.x2), std::uint32_t(r.x3)};
}

}  // namespace chainrule::CR_ISA
