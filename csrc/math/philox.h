// SPDX-License-Identifier: MIT
// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; 2011): ten rounds of two 32 x 32 -> 64 bit products.
#pragma once
#include "math/host_device.h"

namespace chainrule::CR_ISA {

struct Philox {
  std::uint32_t x0, x1, x2, x3;
};

CR_FN Philox philox4x32_10(Philox c, std::uint32_t key0, std::uint32_t key1) {
#pragma GCC unroll 10  // or the loop over blocks around it is not vectorised
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t(0xD2511F53u) * c.x0, p1 = std::uint64_t(0xCD9E8D57u) * c.x2;
    c = {std::uint32_t(p1 >> 32) ^ c.x1 ^ key0, std::uint32_t(p1), std::uint32_t(p0 >> 32) ^ c.x3 ^ key1, std::uint32_t(p0)};
    key0 += 0x9E3779B9u;  // golden ratio
    key1 += 0xBB67AE85u;  // sqrt(3) - 1
  }
  return c;
}

}  // namespace chainrule::CR_ISA
