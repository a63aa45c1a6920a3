// SPDX-License-Identifier: MIT
// y (+)= x where both are walked with strides: axes exchanged, cut, or left out
#include "kernels/cpu/parts.h"

namespace chainrule::CR_ISA {

namespace {

constexpr Index block = 16;  // a side of the blocks in which two axes are exchanged: 16 lines of 64 bytes of either stay in the first-level cache

template <bool accumulate, class T>
CR_FN void put(T& y, T x) {
  y = accumulate ? y + x : x;
}

// Size-1 axes dropped, and two axes that follow each other in both arrays made one.
AxesArgs merged(const AxesArgs& p) {
  AxesArgs q{};
  for (int a = 0; a < p.rank; ++a) {
    if (p.size[a] == 1) continue;
    const int last = q.rank - 1;
    if (last >= 0 && q.y[last] == p.size[a] * p.y[a] && q.x[last] == p.size[a] * p.x[a]) {
      q.size[last] *= p.size[a], q.y[last] = p.y[a], q.x[last] = p.x[a];
      continue;
    }
    q.size[q.rank] = p.size[a], q.y[q.rank] = p.y[a], q.x[q.rank] = p.x[a];
    ++q.rank;
  }
  if (q.rank == 0) q.rank = 1, q.size[0] = q.y[0] = q.x[0] = 1;
  return q;
}

template <bool accumulate, class T>
void copy(T* y, const T* x, const AxesArgs& p) {
  const int inner = p.rank - 1;
  int other = inner;  // the axis along which x lies in one piece
  for (int a = 0; a < inner; ++a)
    if (p.x[a] == 1 && p.x[inner] != 1) other = a;
  Index runs = 1, i[AxesArgs::most] = {};
  for (int a = 0; a < inner; ++a) runs *= a == other ? 1 : p.size[a];
  const Index n = p.size[inner], ys = p.y[inner], xs = p.x[inner], m = other == inner ? 1 : p.size[other], yo = p.y[other];
  for (Index run = 0; run < runs; ++run) {
    if (other != inner) {
      for (Index b = 0; b < m; b += block)
        for (Index j0 = 0; j0 < n; j0 += block)
          for (Index j = j0; j < smaller(n, j0 + block); ++j)
            for (Index o = b; o < smaller(m, b + block); ++o) put<accumulate>(y[o * yo + j * ys], x[o + j * xs]);
    } else if (ys == 1 && xs == 1) {
      CR_VECTOR_LOOP
      for (Index j = 0; j < n; ++j) put<accumulate>(y[j], x[j]);
    } else {
      for (Index j = 0; j < n; ++j) put<accumulate>(y[j * ys], x[j * xs]);
    }
    for (int a = inner; a-- > 0;) {
      if (a == other) continue;
      y += p.y[a], x += p.x[a];
      if (++i[a] < p.size[a]) break;
      y -= p.y[a] * p.size[a], x -= p.x[a] * p.size[a];
      i[a] = 0;
    }
  }
}

}  // namespace

template <class T>
void copy_axes(T* y, const T* x, const AxesArgs& p, Accum accum) {
  for (int a = 0; a < p.rank; ++a)
    if (p.size[a] == 0) return;
  const AxesArgs q = merged(p);
  accum == Accum::Add ? copy<true>(y, x, q) : copy<false>(y, x, q);
}

#define CR_DEFINE(T) template void copy_axes(T*, const T*, const AxesArgs&, Accum);
CR_DEFINE(float)
CR_DEFINE(double)

}  // namespace chainrule::CR_ISA
