// SPDX-License-Identifier: MIT
// Inverted dropout: y_e (+)= u_e >= threshold ? x_e scale : 0. The mask is a function of the element's number, so no thread or chunk changes it, and
// backward draws it again instead of keeping it.
#include "kernels/cpu/parts.h"
#include "math/philox.h"

namespace chainrule::CR_ISA {

// u[4 i + lane] = lane of philox(counter = {low + i, high, step, purpose_stream}); low + count must not exceed 2^32
static void uniforms(std::uint32_t* __restrict u, Index count, std::uint32_t low, std::uint32_t high, std::uint32_t step, std::uint32_t purpose_stream,
                     std::uint32_t key0, std::uint32_t key1) {
  for (Index i = 0; i < count; ++i) {
    const Philox p = philox4x32_10({low + static_cast<std::uint32_t>(i), high, step, purpose_stream}, key0, key1);
    u[4 * i] = p.x0, u[4 * i + 1] = p.x1, u[4 * i + 2] = p.x2, u[4 * i + 3] = p.x3;
  }
}

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

#define CR_DEFINE(T)                                                                                                                          \
  template void dropout(T*, const T*, Index, Index, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t, T, Accum);
CR_DEFINE(float)
CR_DEFINE(double)

}  // namespace chainrule::CR_ISA
