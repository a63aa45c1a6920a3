// SPDX-License-Identifier: MIT
// Inverted dropout: y_e (+)= u_e >= threshold ? x_e scale : 0. The mask is a function of the element's number, so no thread or chunk changes it, and
// backward draws it again instead of keeping it.
#include "kernels/cpu/parts.h"
#include "math/philox.h"

namespace chainrule::CR_ISA {

namespace {

// One block a 64-bit lane. The built-in function is the one 32 x 32 -> 64 bit product of vectors; what the compiler makes of (x & 0xffffffff) * m is
// right everywhere, but three products and their sum.
#if defined(__AVX2__)
typedef std::uint64_t Words __attribute__((vector_size(32)));
typedef int Halves __attribute__((vector_size(32)));
CR_FN Words multiply_low(Words x, Words m) { return (Words)__builtin_ia32_pmuludq256((Halves)x, (Halves)m); }
#elif defined(__SSE2__)
typedef std::uint64_t Words __attribute__((vector_size(16)));
typedef int Halves __attribute__((vector_size(16)));
CR_FN Words multiply_low(Words x, Words m) { return (Words)__builtin_ia32_pmuludq128((Halves)x, (Halves)m); }
#else
typedef std::uint64_t Words __attribute__((vector_size(16)));
CR_FN Words multiply_low(Words x, Words m) { return (x & 0xffffffffu) * m; }
#endif
constexpr Index lanes = sizeof(Words) / 8;

// u[4 i + lane] = lane of philox(counter = {low + i, high, step, purpose_stream}), i < count rounded up to `lanes`; low + count <= 2^32
void uniforms(std::uint32_t* u, Index count, std::uint32_t low, std::uint32_t high, std::uint32_t step, std::uint32_t purpose_stream,
              std::uint32_t key0, std::uint32_t key1) {
  const Words zero = {};
  Words counter = zero;
  for (Index l = 0; l < lanes; ++l) counter[l] = std::uint64_t(low) + std::uint64_t(l);
  for (Index i = 0; i < count; i += lanes, counter += std::uint64_t(lanes)) {
    const Philox<Words> start = {counter, zero + high, zero + step, zero + purpose_stream};
    const auto multiply = [&](Words x, std::uint32_t m) __attribute__((always_inline)) { return multiply_low(x, zero + m); };
    const Philox<Words> p = philox4x32_10(start, key0, key1, multiply);
    const Words first = (p.x0 & 0xffffffffu) | (p.x1 << 32), second = (p.x2 & 0xffffffffu) | (p.x3 << 32);
    for (Index l = 0; l < lanes; ++l) {
      const std::uint64_t pair[2] = {first[l], second[l]};
      __builtin_memcpy(u + 4 * (i + l), pair, sizeof pair);
    }
  }
}

}  // namespace

template <class T>
void dropout(T* y, const T* x, Index first, Index n, std::uint32_t key0, std::uint32_t key1, std::uint32_t step, std::uint32_t purpose_stream,
             std::uint32_t threshold, T scale, Accum accum) {
  constexpr Index blocks = run / 4, wrap = Index(1) << 32;
  std::uint32_t u[run];
  for (Index e = 0; e < n;) {
    const Index q = (first + e) / 4, lane = (first + e) % 4, low = q % wrap;
    const Index count = smaller(smaller(blocks, wrap - low), (lane + n - e + 3) / 4), m = smaller(4 * count - lane, n - e);
    uniforms(u, count, static_cast<std::uint32_t>(low), static_cast<std::uint32_t>(q / wrap), step, purpose_stream, key0, key1);
    const std::uint32_t* ue = u + lane;
    const T* xe = x + e;
    T* ye = y + e;
    if (accum == Accum::Add) {
      CR_VECTOR_LOOP
      for (Index j = 0; j < m; ++j) ye[j] += ue[j] >= threshold ? xe[j] * scale : T(0);
    } else {
      CR_VECTOR_LOOP
      for (Index j = 0; j < m; ++j) ye[j] = ue[j] >= threshold ? xe[j] * scale : T(0);
    }
    e += m;
  }
}

#define CR_DEFINE(T) \
  template void dropout(T*, const T*, Index, Index, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t, T, Accum);
CR_DEFINE(float)
CR_DEFINE(double)

}  // namespace chainrule::CR_ISA
