// SPDX-License-Identifier: MIT
// Which element a device thread works on: 64 bits throughout, on host and device, so that tests/cuda/test_index.cpp can go beyond what any card holds.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"
#include "math/host_device.h"

namespace chainrule::CR_ISA {

constexpr CR_HD Index smaller(Index a, Index b) { return a < b ? a : b; }
constexpr CR_HD Index larger(Index a, Index b) { return a > b ? a : b; }
constexpr CR_HD Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }

// Numbers of type T in 16 bytes, the widest load of a thread
template <class T>
constexpr int width = static_cast<int>(16 / sizeof(T));

constexpr CR_HD Index item_of(std::uint32_t block, std::uint32_t threads, std::uint32_t thread) {
  return static_cast<Index>(block) * static_cast<Index>(threads) + static_cast<Index>(thread);
}

struct Position {
  Index row, col;
};
// Element e of (rows, cols). A division of 64 bits takes about 80 instructions, one of 32 about 20.
CR_FN Position position_of(Index e, Index cols) {
  const Index row = (e | cols) >> 32 == 0 ? static_cast<Index>(static_cast<std::uint32_t>(e) / static_cast<std::uint32_t>(cols)) : e / cols;
  return {row, e - row * cols};
}

// n elements as `packs` aligned groups of `each` behind `head` single ones; the rest is single too. Items: first the packs, then the single elements.
struct Span {
  Index n, head, packs;
  int each;
  constexpr CR_HD Index items() const { return packs + (n - packs * each); }
  // first element of item i
  constexpr CR_HD Index element(Index i) const { return i < packs ? head + i * each : i - packs < head ? i - packs : i - packs + packs * each; }
};

// All pointers, null ones aside, have to be equally far from a 16-byte boundary; else every element is single (their neighbours still share a sector).
template <class T, class... P>
Span span_of(Index n, const P*... pointers) {
  const std::uintptr_t at[] = {reinterpret_cast<std::uintptr_t>(pointers)...};
  std::uintptr_t first = 0;
  for (const std::uintptr_t p : at) first = first ? first : p;
  Span s{n, 0, 0, width<T>};
  for (const std::uintptr_t p : at)
    if (p && p % 16 != first % 16) return s;
  if (first % sizeof(T)) return s;
  s.head = smaller(static_cast<Index>((16 - first % 16) % 16 / sizeof(T)), n);
  s.packs = (n - s.head) / s.each;
  return s;
}

}  // namespace chainrule::CR_ISA
