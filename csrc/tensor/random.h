// SPDX-License-Identifier: MIT
// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3, SC 2011): a block of four words is a function of
// counter = {block low, block high, step or epoch, purpose << 24 | stream} and key = the seed's 64 bits, so that any thread may draw any element.
// Whatever here changes a number needs a new random_version.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "tensor/check.h"

namespace chainrule {

using Index = std::int64_t;

constexpr int random_version = 1;

enum class Purpose : std::uint32_t { Init = 0, Shuffle = 1, Dropout = 2, Augment = 3, Split = 4, Sample = 5 };  // frozen

using Words = std::array<std::uint32_t, 4>;

// A round: (c0, c1, c2, c3) -> (hi(M1 c2) ^ c1 ^ k0, lo(M1 c2), hi(M0 c0) ^ c3 ^ k1, lo(M0 c0)); then k += (golden ratio, sqrt 3 - 1).
constexpr Words philox4x32(Words c, std::uint32_t k0, std::uint32_t k1) {
#pragma GCC unroll 10  // -O2 would keep the loop, at half the speed
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53} * c[0], p1 = std::uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(p1), static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k1,
         static_cast<std::uint32_t>(p0)};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return c;
}

// 24 bits of FNV-1a 32 of a node's name, folded by xor as its authors advise for sizes that are no power of 256.
constexpr std::uint32_t stream_of(std::string_view name) {
  std::uint32_t h = 2166136261u;
  for (char c : name) h = (h ^ static_cast<unsigned char>(c)) * 16777619u;
  return (h >> 24) ^ (h & 0xFFFFFF);
}

constexpr std::uint32_t purpose_stream(Purpose purpose, std::uint32_t stream) {
  return static_cast<std::uint32_t>(purpose) << 24 | (stream & 0xFFFFFF);
}

// One sequence of random words, element e being lane e % 4 of block e / 4.
struct Key {
  std::uint64_t seed;
  std::uint32_t step;
  std::uint32_t purpose_stream;

  constexpr Words block(std::uint64_t q) const {
    return philox4x32({static_cast<std::uint32_t>(q), static_cast<std::uint32_t>(q >> 32), step, purpose_stream}, static_cast<std::uint32_t>(seed),
                      static_cast<std::uint32_t>(seed >> 32));
  }
  // The same words taken as 64-bit numbers: words 2e (low) and 2e + 1 (high).
  constexpr std::uint64_t wide(std::uint64_t e) const {
    const Words w = block(e / 2);
    return e % 2 ? w[2] | std::uint64_t{w[3]} << 32 : w[0] | std::uint64_t{w[1]} << 32;
  }
};

// Uniform on [0, 1): all multiples of 2^-24, exact in float, or of 2^-53, exact in double.
constexpr float uniform24(std::uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }
constexpr double uniform53(std::uint64_t wide) { return static_cast<double>(wide >> 11) * 0x1p-53; }

// x_e, e = 0 .. n - 1, from word e of `key`, computed in double and rounded to T once: float and double networks start from the same numbers.
// uniform: x = low + (high - low) (u + 1/2) 2^-32, symmetric, neither end reached in double
template <class T>
void fill_uniform(T* x, Index n, const Key& key, double low, double high);
// normal of mean 0 (Box and Muller 1958), from words (u, v) of a pair: std sqrt(-2 log((u + 1/2) 2^-32)) times cos, then sin of 2 pi v 2^-32
template <class T>
void fill_normal(T* x, Index n, const Key& key, double std);

// A random permutation of 0 .. n - 1, all of them equally likely up to n = table_rows: Fisher and Yates, in the inside-out form, in a table of 4
// bytes a row. Above that a table would grow with the data, so a position is enciphered: a Feistel network on the smallest number of bits that hold
// n - 1, again and again until the result is below n ("cycle walking", Black and Rogaway 2002: fewer than 2 rounds on average), which is a
// bijection without memory.
class Permutation {
 public:
  static constexpr Index table_rows = Index{1} << 20;

  Permutation(std::uint64_t seed, std::uint32_t epoch, Purpose purpose, Index n, Index most_in_table = table_rows);

  Index size() const { return n_; }
  Index operator()(Index i) const {
    Index row;
    fill(i, 1, &row);
    return row;
  }
  void fill(Index first, Index count, Index* out) const;

 private:
  std::uint64_t rounds(std::uint64_t x) const;

  Index n_, most_in_table_;
  std::vector<std::uint32_t> table_;
  int right_bits_ = 0;
  std::uint32_t left_mask_ = 0, right_mask_ = 0;
  std::array<std::uint32_t, 8> round_key_{};
};

}  // namespace chainrule
