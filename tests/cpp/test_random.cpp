// SPDX-License-Identifier: MIT
// Philox against its published vectors, permutations against the uniform distribution, initialisers against their variance. Seeds are fixed: what
// passes once passes always. Bounds on chi-square lie six standard deviations from its mean.
#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "check.h"
#include "math/init.h"
#include "tensor/random.h"

using namespace chainrule;

// kat_vectors of Random123 1.14: philox4x32 10
static_assert(philox4x32({0, 0, 0, 0}, 0, 0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
static_assert(philox4x32({~0u, ~0u, ~0u, ~0u}, ~0u, ~0u) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
static_assert(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0) ==
              Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
// FNV-1a of "", "a", "foobar" is 811c9dc5, e40c292c, bf9cf968
static_assert(stream_of("") == (0x1c9dc5 ^ 0x81) && stream_of("a") == (0x0c292c ^ 0xe4) && stream_of("foobar") == (0x9cf968 ^ 0xbf));
static_assert(purpose_stream(Purpose::Sample, 0xFF123456) == 0x05123456);
static_assert(uniform24(0) == 0 && uniform24(~0u) == 1 - 0x1p-24f && uniform53(0) == 0 && uniform53(~std::uint64_t{0}) == 1 - 0x1p-53);
static_assert(Key{1, 2, 3}.wide(1) == (Key{1, 2, 3}.block(0)[2] | std::uint64_t{Key{1, 2, 3}.block(0)[3]} << 32));
static_assert(Key{7, 0, 0}.block(std::uint64_t{5} << 32 | 6) == philox4x32({6, 5, 0, 0}, 7, 0));
static_assert(Key{std::uint64_t{5} << 32 | 6, 7, 8}.block(9) == philox4x32({9, 0, 7, 8}, 6, 5));

// (chi-square - its mean) / its standard deviation, for counts that are to be equal
static double excess(const std::vector<Index>& counts) {
  double total = 0, chi = 0;
  for (Index c : counts) total += static_cast<double>(c);
  const double expected = total / static_cast<double>(counts.size()), freedom = static_cast<double>(counts.size()) - 1;
  for (Index c : counts) chi += (static_cast<double>(c) - expected) * (static_cast<double>(c) - expected) / expected;
  return (chi - freedom) / std::sqrt(2 * freedom);
}
#define CHECK_UNIFORM(counts) CHECK_THAT(std::abs(excess(counts)), <, 6)

constexpr Index no_table = -1;

static void is_bijection(Index n, Index most_in_table) {
  for (std::uint32_t epoch : {0u, 1u}) {
    const Permutation p(42, epoch, Purpose::Shuffle, n, most_in_table);
    std::vector<Index> rows(static_cast<std::size_t>(n), -1);
    p.fill(0, n, rows.data());
    Index single = 0;
    for (Index i = 0; i < n; i += 1 + n / 1000) single += p(i) != rows[static_cast<std::size_t>(i)];
    CHECK_THAT(single, ==, 0);
    std::sort(rows.begin(), rows.end());
    Index wrong = 0;
    for (Index i = 0; i < n; ++i) wrong += rows[static_cast<std::size_t>(i)] != i;
    CHECK_THAT(wrong, ==, 0);
  }
}

static void bijections() {
  for (Index n : {0, 1, 2, 3, 5, 7, 1000, 1 << 20, (1 << 20) + 1, 3'000'000}) is_bijection(n, Permutation::table_rows);
  for (Index n : {1, 2, 3, 5, 7, 8, 9, 1000, 1024, 1025}) is_bijection(n, no_table);

  std::vector<Index> whole(1000), part(10);
  const Permutation p(1, 2, Purpose::Shuffle, 1000);
  p.fill(0, 1000, whole.data());
  p.fill(990, 10, part.data());
  CHECK(std::equal(part.begin(), part.end(), whole.begin() + 990));
  CHECK_THROWS(p.fill(991, 10, part.data()), ValueError);
  CHECK_THROWS(p.fill(-1, 1, part.data()), ValueError);
  CHECK_THROWS(p(1000), ValueError);
  CHECK_THROWS(Permutation(1, 2, Purpose::Shuffle, -1), ValueError);

  // no two of seed, epoch, purpose give the same order
  for (Index most : {Permutation::table_rows, no_table}) {
    std::map<std::vector<Index>, int> orders;
    for (std::uint64_t seed : {0ull, 1ull, 1ull << 32})
      for (std::uint32_t epoch : {0u, 1u, 2u})
        for (Purpose purpose : {Purpose::Shuffle, Purpose::Split}) {
          std::vector<Index> order(100);
          Permutation(seed, epoch, purpose, 100, most).fill(0, 100, order.data());
          ++orders[order];
        }
    CHECK_THAT(orders.size(), ==, 18u);
  }
}

// Every one of the n! orders equally often.
static void all_orders(Index n, Index factorial, Index most_in_table) {
  std::map<std::vector<Index>, Index> seen;
  for (std::uint32_t epoch = 0; epoch < static_cast<std::uint32_t>(200 * factorial); ++epoch) {
    std::vector<Index> order(static_cast<std::size_t>(n));
    Permutation(3, epoch, Purpose::Shuffle, n, most_in_table).fill(0, n, order.data());
    ++seen[order];
  }
  std::vector<Index> counts(static_cast<std::size_t>(factorial), 0);
  std::size_t k = 0;
  for (const auto& [order, count] : seen) counts[k++] = count;
  CHECK_UNIFORM(counts);
}

// A large order: where rows go over epochs, and within one epoch where blocks of rows go and how far neighbours lie apart.
static void spreads(Index n) {
  constexpr Index cells = 32;
  for (Index i : {Index{0}, Index{1}, n / 2, n - 1}) {
    std::vector<Index> at(cells, 0), apart(cells, 0);
    for (std::uint32_t epoch = 0; epoch < 6400; ++epoch) {
      const Permutation p(5, epoch, Purpose::Shuffle, n, no_table);
      ++at[static_cast<std::size_t>(p(i) * cells / n)];
      ++apart[static_cast<std::size_t>((p(i) - p((i + 1) % n) + n) % n * cells / n)];
    }
    CHECK_UNIFORM(at);
    CHECK_UNIFORM(apart);
  }
  std::vector<Index> order(static_cast<std::size_t>(n)), block(cells * cells, 0), apart(cells * cells, 0), low_bits(cells * cells, 0);
  Permutation(6, 0, Purpose::Shuffle, n, no_table).fill(0, n, order.data());
  for (Index i = 0; i + 1 < n; ++i) {
    const Index p = order[static_cast<std::size_t>(i)], next = order[static_cast<std::size_t>(i + 1)];
    ++block[static_cast<std::size_t>(i * cells / n * cells + p * cells / n)];
    ++apart[static_cast<std::size_t>((p - next + n) % n * cells * cells / n)];
    ++low_bits[static_cast<std::size_t>(i % cells * cells + p % cells)];
  }
  CHECK_UNIFORM(block);
  CHECK_UNIFORM(apart);
  CHECK_UNIFORM(low_bits);
}

template <class T>
static void moments(const std::string& kind, Index fan_in, Index fan_out, double variance) {
  const Index n = 200'000;
  std::vector<T> w(static_cast<std::size_t>(n));
  initialise(kind, w.data(), n, fan_in, fan_out, 7, stream_of("dense_1.W"));
  double sum = 0, square = 0, largest = 0;
  for (T x : w) {
    sum += static_cast<double>(x);
    square += static_cast<double>(x) * static_cast<double>(x);
    largest = std::max(largest, std::abs(static_cast<double>(x)));
  }
  const double count = static_cast<double>(n), std = std::sqrt(variance);
  CHECK_THAT(std::abs(sum / count), <, 5 * std / std::sqrt(count));
  CHECK_THAT(std::abs(square / count / variance - 1), <, 5 * std::sqrt(2 / count));  // fourth moment of a normal; a uniform's is smaller
  const double bound = std::sqrt(3.0) * std;
  if (kind.ends_with("_uniform")) {
    CHECK_THAT(largest, <=, static_cast<double>(static_cast<T>(bound)));
    CHECK_THAT(largest, >, 0.9999 * bound);
  } else {
    CHECK_THAT(largest, >, 4 * std);
    CHECK_THAT(largest, <, 6.8 * std);  // sqrt(-2 log 2^-33) is the most that 32 bits give
  }
}

static void initialisers() {
  const Index in = 784, out = 100;
  const std::map<std::string, double> variance{{"glorot", 2.0 / (in + out)}, {"he", 2.0 / in}, {"lecun", 1.0 / in}};
  for (const auto& [family, v] : variance)
    for (const char* distribution : {"_uniform", "_normal"}) {
      moments<float>(family + distribution, in, out, v);
      moments<double>(family + distribution, in, out, v);
    }
  for (const char* kind : {"glorot_uniform", "he_normal"}) {
    std::vector<float> w(1003), other(1003);
    std::vector<double> exact(1003), prefix(10);
    initialise(kind, w.data(), 1003, in, out, 1, 2);
    initialise(kind, other.data(), 1003, in, out, 1, 3);
    initialise(kind, exact.data(), 1003, in, out, 1, 2);
    initialise(kind, prefix.data(), 10, in, out, 1, 2);
    for (std::size_t i = 0; i < w.size(); ++i) CHECK_THAT(w[i], ==, static_cast<float>(exact[i]));
    CHECK(std::equal(prefix.begin(), prefix.end(), exact.begin()));
    CHECK(w != other);
  }
  std::vector<float> w(3, 1.0f);
  initialise("zeros", w.data(), 3, 0, 0, 1, 2);
  CHECK(w == std::vector<float>(3, 0.0f));
  for (const char* kind : {"", "glorot", "_uniform", "he_uniformly", "zeros_uniform", "he_"})
    CHECK_THROWS(initialise(kind, w.data(), 3, 1, 1, 1, 2), ValueError);
  CHECK_THROWS(initialise("he_normal", w.data(), 3, 0, 1, 1, 2), ValueError);
  initialise("he_normal", w.data(), 0, 0, 1, 1, 2);  // a layer without inputs has no weights
}

int main() {
  bijections();
  for (Index most : {Permutation::table_rows, no_table}) {
    all_orders(2, 2, most);
    all_orders(3, 6, most);
    all_orders(4, 24, most);
  }
  all_orders(5, 120, Permutation::table_rows);  // eight rounds on halves of one and two bits do not mix S_5 evenly, with ideal functions neither
  for (Index n : {1000, (1 << 20) + 1, 3'000'000}) spreads(n);
  initialisers();
  return failures();
}
