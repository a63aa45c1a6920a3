// SPDX-License-Identifier: MIT
#include "tensor/random.h"

#include <bit>
#include <cmath>
#include <numbers>

namespace chainrule {

namespace {
__extension__ using Wide = unsigned __int128;

// floor(x range 2^-64): uniform on 0 .. range - 1 up to a bias of range 2^-64
std::uint64_t scale(std::uint64_t x, std::uint64_t range) { return static_cast<std::uint64_t>((static_cast<Wide>(x) * range) >> 64); }

// The Feistel network's function of a half: Philox's step hi ^ lo of a product, with the one and then the other multiplier. One product alone
// leaves the orders of few rows visibly uneven; two are as even as Philox itself in this place, at a sixth of its cost.
std::uint32_t mix(std::uint32_t half, std::uint32_t key) {
  const auto fold = [](std::uint64_t p) { return static_cast<std::uint32_t>(p >> 32) ^ static_cast<std::uint32_t>(p); };
  return fold(std::uint64_t{0xCD9E8D57} * fold(std::uint64_t{0xD2511F53} * (half ^ key)));
}
std::uint32_t mask(int bits) { return static_cast<std::uint32_t>((std::uint64_t{1} << bits) - 1); }
}  // namespace

template <class T>
void fill_uniform(T* x, Index n, const Key& key, double low, double high) {
  for (Index e = 0; e < n; e += 4) {
    const Words w = key.block(static_cast<std::uint64_t>(e) / 4);
    for (Index i = 0; i < 4 && e + i < n; ++i)
      x[e + i] = static_cast<T>(low + (high - low) * ((static_cast<double>(w[static_cast<std::size_t>(i)]) + 0.5) * 0x1p-32));
  }
}

template <class T>
void fill_normal(T* x, Index n, const Key& key, double std) {
  for (Index e = 0; e < n; e += 4) {
    const Words w = key.block(static_cast<std::uint64_t>(e) / 4);
    double z[4];
    for (std::size_t pair = 0; pair < 4; pair += 2) {
      const double radius = std * std::sqrt(-2 * std::log((static_cast<double>(w[pair]) + 0.5) * 0x1p-32));
      const double angle = 2 * std::numbers::pi * (static_cast<double>(w[pair + 1]) * 0x1p-32);
      z[pair] = radius * std::cos(angle);
      z[pair + 1] = radius * std::sin(angle);
    }
    for (Index i = 0; i < 4 && e + i < n; ++i) x[e + i] = static_cast<T>(z[i]);
  }
}

template void fill_uniform<float>(float*, Index, const Key&, double, double);
template void fill_uniform<double>(double*, Index, const Key&, double, double);
template void fill_normal<float>(float*, Index, const Key&, double);
template void fill_normal<double>(double*, Index, const Key&, double);

Permutation::Permutation(std::uint64_t seed, std::uint32_t epoch, Purpose purpose, Index n, Index most_in_table)
    : n_(n), most_in_table_(most_in_table) {
  CR_CHECK(n >= 0, "[permutation] n is ", n, ": expected 0 or more");
  const Key key{seed, epoch, purpose_stream(purpose, 0)};
  if (n <= most_in_table) {
    // p(i) = p(j), p(j) = i with j uniform on 0 .. i, from the 64-bit number i
    table_.resize(static_cast<std::size_t>(n));
    std::uint32_t* p = table_.data();
    for (std::uint64_t i = 0, count = static_cast<std::uint64_t>(n); i < count; i += 2) {
      const Words w = key.block(i / 2);
      const std::uint64_t j0 = scale(w[0] | std::uint64_t{w[1]} << 32, i + 1);
      p[i] = p[j0];
      p[j0] = static_cast<std::uint32_t>(i);
      if (i + 1 == count) break;
      const std::uint64_t j1 = scale(w[2] | std::uint64_t{w[3]} << 32, i + 2);
      p[i + 1] = p[j1];
      p[j1] = static_cast<std::uint32_t>(i + 1);
    }
    return;
  }
  const int bits = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(n - 1)));
  right_bits_ = bits / 2;
  right_mask_ = mask(right_bits_);
  left_mask_ = mask(bits - right_bits_);
  for (std::size_t r = 0; r < round_key_.size(); ++r) round_key_[r] = key.block(r / 4)[r % 4];
}

// Eight rounds, each of which changes one half by a function of the other and so can be undone; four make a network of random functions a strong
// pseudo-random permutation (Luby and Rackoff 1988), the rest is margin for a cheap function.
std::uint64_t Permutation::rounds(std::uint64_t x) const {
  std::uint32_t left = static_cast<std::uint32_t>(x >> right_bits_), right = static_cast<std::uint32_t>(x) & right_mask_;
  for (std::size_t r = 0; r < round_key_.size(); r += 2) {
    left ^= mix(right, round_key_[r]) & left_mask_;
    right ^= mix(left, round_key_[r + 1]) & right_mask_;
  }
  return static_cast<std::uint64_t>(left) << right_bits_ | right;
}

void Permutation::fill(Index first, Index count, Index* out) const {
  CR_CHECK(first >= 0 && count >= 0 && first <= n_ && count <= n_ - first, "[permutation] rows ", first, " to ", first + count, " of ", n_);
  if (n_ <= most_in_table_) {
    for (Index i = 0; i < count; ++i) out[i] = static_cast<Index>(table_[static_cast<std::size_t>(first + i)]);
    return;
  }
  // The first time round without the walk, whose branches nobody can predict: the processor then has several positions under way at once.
  for (Index i = 0; i < count; ++i) out[i] = static_cast<Index>(rounds(static_cast<std::uint64_t>(first + i)));
  for (Index i = 0; i < count; ++i)
    while (out[i] >= n_) out[i] = static_cast<Index>(rounds(static_cast<std::uint64_t>(out[i])));
}

}  // namespace chainrule
