// SPDX-License-Identifier: MIT
// Largest and mean value of windows, channels last: a vector of channels at a time. The place of a maximum is found again in backward: x lies in the
// cache anyway, and a buffer of places would have to be kept for every pooling layer of the network.
#include "kernels/cpu/parts.h"

namespace chainrule::CR_ISA {

namespace {

// Pieces of the channels: structs, since a vector's alignment is lost where the vector is a template's argument.
template <class T>
struct Half;
template <class T>
struct Quarter;
template <>
struct Half<float> {
  typedef float Type __attribute__((vector_size(32), aligned(4), may_alias));
};
template <>
struct Quarter<float> {
  typedef float Type __attribute__((vector_size(16), aligned(4), may_alias));
};
template <>
struct Half<double> {
  typedef double Type __attribute__((vector_size(32), aligned(8), may_alias));
};
template <>
struct Quarter<double> {
  typedef double Type __attribute__((vector_size(16), aligned(8), may_alias));
};
template <class T>
struct One {
  typedef T Type;
};

// f(first channel, piece) over all c channels, in the longest pieces that there are: 8 and 16 channels are common.
template <class T, class F>
CR_FN void by_channels(Index c, F f) {
  constexpr Index lanes = VectorOf<T>::lanes;
  Index j = 0;
  for (; j + lanes <= c; j += lanes) f(j, VectorOf<T>());
#if CR_VECTOR_BYTES > 32
  if (j + lanes / 2 <= c) f(j, Half<T>()), j += lanes / 2;
#endif
#if CR_VECTOR_BYTES > 16
  constexpr Index quarter = 16 / static_cast<Index>(sizeof(T));
  if (j + quarter <= c) f(j, Quarter<T>()), j += quarter;
#endif
  for (; j < c; ++j) f(j, One<T>());
}

template <class P, class T>
CR_FN typename P::Type& at(T* x) {
  return *reinterpret_cast<typename P::Type*>(x);
}
template <class P, class T>
CR_FN const typename P::Type& at(const T* x) {
  return *reinterpret_cast<const typename P::Type*>(x);
}

constexpr Index larger(Index a, Index b) { return a > b ? a : b; }

// f(offset of the window's first pixel in x, its pixels down and across, offset in z), in the order of memory
template <class F>
CR_FN void each_window(const PoolArgs& p, F f) {
  const Index row = p.w * p.c;
  const bool whole = p.left == 0 && (p.ow - 1) * p.sw + p.kw <= p.w;  // no window is cut at a side
  Index z = 0;
  for (Index i = 0; i < p.n; ++i)
    for (Index oy = 0; oy < p.oh; ++oy) {
      const Index top = oy * p.sh - p.top, y0 = larger(top, 0), down = smaller(top + p.kh, p.h) - y0;
      Index first = (i * p.h + y0) * row;
      if (whole) {
        for (Index ox = 0; ox < p.ow; ++ox, z += p.c, first += p.sw * p.c) f(first, down, p.kw, z);
        continue;
      }
      for (Index ox = 0; ox < p.ow; ++ox, z += p.c) {
        const Index left = ox * p.sw - p.left, x0 = larger(left, 0);
        f(first + x0 * p.c, down, smaller(left + p.kw, p.w) - x0, z);
      }
    }
}

// The larger of the two, or the one that is no number
template <class V>
CR_FN V larger_of(V m, V v) {
  return ((v > m) | (v != v)) ? v : m;
}

template <class P, class T>
CR_FN auto largest_in(const T* x, Index down, Index across, Index row, Index c) {
  typename P::Type m = at<P>(x);
  for (Index a = 1; a < across; ++a) m = larger_of(m, at<P>(x + a * c));
  for (Index d = 1; d < down; ++d)
    for (Index a = 0; a < across; ++a) m = larger_of(m, at<P>(x + d * row + a * c));
  return m;
}

// dx (+)= dz at the first of the largest: what is left of dz is 0 once it has been given away.
template <bool add, class P, class T>
CR_FN void give_to_largest(T* dx, const T* dz, const T* x, Index down, Index across, Index row, Index c) {
  typename P::Type left = at<P>(dz);
  const typename P::Type m = largest_in<P>(x, down, across, row, c), zero = {};
  for (Index d = 0; d < down; ++d)
    for (Index a = 0; a < across; ++a) {
      const Index e = d * row + a * c;
      const auto hit = at<P>(x + e) == m;
      const typename P::Type given = hit ? left : zero;
      left = hit ? zero : left;
      at<P>(dx + e) = add ? at<P>(dx + e) + given : given;
    }
}

template <bool add, class T>
void max_backward(T* dx, const T* dz, const T* x, const PoolArgs& p) {
  const Index c = p.c, row = p.w * c;
  each_window(p, [=](Index first, Index down, Index across, Index z) __attribute__((always_inline)) {
    by_channels<T>(c, [=](Index j, auto piece) __attribute__((always_inline)) {
      using P = decltype(piece);
      if (down == 2 && across == 2)
        give_to_largest<add, P>(dx + first + j, dz + z + j, x + first + j, 2, 2, row, c);
      else
        give_to_largest<add, P>(dx + first + j, dz + z + j, x + first + j, down, across, row, c);
    });
  });
}

template <bool add, class T>
void average_backward(T* dx, const T* dz, const PoolArgs& p) {
  const Index c = p.c, row = p.w * c;
  each_window(p, [=](Index first, Index down, Index across, Index z) __attribute__((always_inline)) {
    const T count = static_cast<T>(down * across);
    by_channels<T>(c, [=](Index j, auto piece) __attribute__((always_inline)) {
      using P = decltype(piece);
      const typename P::Type share = at<P>(dz + z + j) / count;
      for (Index d = 0; d < down; ++d)
        for (Index a = 0; a < across; ++a) {
          T* to = dx + first + j + d * row + a * c;
          at<P>(to) = add ? at<P>(to) + share : share;
        }
    });
  });
}

// Whether every pixel lies in exactly one window
CR_FN bool tiles(const PoolArgs& p) { return p.sh == p.kh && p.sw == p.kw && p.top == 0 && p.left == 0 && p.oh * p.sh == p.h && p.ow * p.sw == p.w; }
template <class T>
CR_FN void clear(T* dx, const PoolArgs& p) {
  __builtin_memset(dx, 0, static_cast<std::size_t>(p.n * p.h * p.w * p.c) * sizeof(T));
}

// z (c,) = (sum of x over a large window) / count, its numbers in the order of memory; rows are summed by themselves first.
template <class T>
void mean_of_large(T* z, const T* x, Index down, Index across, Index row, Index c, T count) {
  T sum[run], part[run];
  for (Index first = 0; first < c; first += run, x += run, z += run) {
    const Index m = smaller(run, c - first);
    for (Index d = 0; d < down; ++d) {
      const T* from = x + d * row;
      for (Index a = 0; a < across; ++a, from += c) {
        if (a == 0) {
          CR_VECTOR_LOOP
          for (Index j = 0; j < m; ++j) part[j] = from[j];
        } else {
          CR_VECTOR_LOOP
          for (Index j = 0; j < m; ++j) part[j] += from[j];
        }
      }
      CR_VECTOR_LOOP
      for (Index j = 0; j < m; ++j) sum[j] = d == 0 ? part[j] : sum[j] + part[j];
    }
    CR_VECTOR_LOOP
    for (Index j = 0; j < m; ++j) z[j] = sum[j] / count;
  }
}

// In four sums along each row of a window: one would wait for itself.
template <class P, class T>
CR_FN auto sum_in(const T* x, Index down, Index across, Index row, Index c) {
  typename P::Type s[4] = {};
  for (Index d = 0; d < down; ++d, x += row) {
    Index a = 0;
    for (; a + 4 <= across; a += 4)
      for (Index i = 0; i < 4; ++i) s[i] += at<P>(x + (a + i) * c);
    for (; a < across; ++a) s[0] += at<P>(x + a * c);
  }
  return (s[0] + s[1]) + (s[2] + s[3]);
}

}  // namespace

template <class T>
void max_pool_forward(T* z, const T* x, const PoolArgs& p) {
  const Index c = p.c, row = p.w * c;
  each_window(p, [=](Index first, Index down, Index across, Index to) __attribute__((always_inline)) {
    by_channels<T>(c, [=](Index j, auto piece) __attribute__((always_inline)) {
      using P = decltype(piece);
      at<P>(z + to + j) = down == 2 && across == 2 ? largest_in<P>(x + first + j, 2, 2, row, c) : largest_in<P>(x + first + j, down, across, row, c);
    });
  });
}
// forward: z = max x over the window, so dx (+)= dz at the first of its largest pixels
template <class T>
void max_pool_backward(T* dx, const T* dz, const T* x, const PoolArgs& p, Accum accum) {
  if (accum == Accum::Overwrite && tiles(p)) return max_backward<false>(dx, dz, x, p);
  if (accum == Accum::Overwrite) clear(dx, p);
  max_backward<true>(dx, dz, x, p);
}

template <class T>
void average_pool_forward(T* z, const T* x, const PoolArgs& p) {
  const Index c = p.c, row = p.w * c;
  each_window(p, [=](Index first, Index down, Index across, Index to) __attribute__((always_inline)) {
    const T count = static_cast<T>(down * across);
    if (c == 1) {  // a row of a window is in one piece
      T s = 0;
      for (Index d = 0; d < down; ++d) s += sum_of(x + first + d * row, across);
      z[to] = s / count;
      return;
    }
    if (down * across > 16 && c >= 32) return mean_of_large(z + to, x + first, down, across, row, c, count);
    by_channels<T>(c, [=](Index j, auto piece) __attribute__((always_inline)) {
      using P = decltype(piece);
      at<P>(z + to + j) = sum_in<P>(x + first + j, down, across, row, c) / count;
    });
  });
}
// forward: z = sum x / count over the window, so dx (+)= dz / count
template <class T>
void average_pool_backward(T* dx, const T* dz, const PoolArgs& p, Accum accum) {
  if (accum == Accum::Overwrite && tiles(p)) return average_backward<false>(dx, dz, p);
  if (accum == Accum::Overwrite) clear(dx, p);
  average_backward<true>(dx, dz, p);
}

#define CR_DEFINE(T)                                                               \
  template void max_pool_forward(T*, const T*, const PoolArgs&);                   \
  template void max_pool_backward(T*, const T*, const T*, const PoolArgs&, Accum); \
  template void average_pool_forward(T*, const T*, const PoolArgs&);               \
  template void average_pool_backward(T*, const T*, const PoolArgs&, Accum);
CR_DEFINE(float)
CR_DEFINE(double)

}  // namespace chainrule::CR_ISA
