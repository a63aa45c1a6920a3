// SPDX-License-Identifier: MIT
// lanes x lanes blocks transposed, and lanes summed, in registers. Loops over registers are unrolled by order: left to itself GCC keeps some of them, and
// then everything goes through memory.
#pragma once
#include "kernels/cpu/parts.h"

namespace chainrule::CR_ISA {

namespace {

template <class T>
constexpr Index lanes = VectorOf<T>::lanes;

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define CR_SHUFFLE 1
#endif
#endif
#if defined(CR_SHUFFLE)
template <int... I>
struct Lanes {};
template <int N, int... I>
struct Count : Count<N - 1, N - 1, I...> {};
template <int... I>
struct Count<0, I...> {
  using Type = Lanes<I...>;
};
// Swaps the off-diagonal blocks of size S between two rows that are S apart.
template <int S, class V, int... I>
CR_FN void exchange(V& x, V& y, Lanes<I...>) {
  constexpr int n = sizeof...(I);
  const V low = __builtin_shufflevector(x, y, (I & S ? n + I - S : I)...), high = __builtin_shufflevector(x, y, (I & S ? n + I : I + S)...);
  x = low, y = high;
}
template <int S, class V, int N>
CR_FN void transpose_from(V (&row)[N]) {
  if constexpr (S < N) {
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i)
      if (!(i & S)) exchange<S>(row[i], row[i + S], typename Count<N>::Type());
    transpose_from<2 * S>(row);
  }
}
// Pairs v[i], v[i + N / 2] become one vector, blocks of S lanes of the one beside those of the other, until one is left; its lanes are folded too.
template <int S, class V, int N, int... I>
CR_FN V fold(const V (&v)[N], Lanes<I...> all) {
  constexpr int n = sizeof...(I);
  if constexpr (S == 0) {
    return v[0];
  } else if constexpr (N == 1) {
    const V sum[1] = {v[0] + __builtin_shufflevector(v[0], v[0], (I ^ S)...)};
    return fold<S / 2>(sum, all);
  } else {
    V half[N / 2];
#pragma GCC unroll 16
    for (int i = 0; i < N / 2; ++i)
      half[i] = __builtin_shufflevector(v[i], v[i + N / 2], (I & S ? n + I - S : I)...) +
                __builtin_shufflevector(v[i], v[i + N / 2], (I & S ? n + I : I + S)...);
    return fold<S / 2>(half, all);
  }
}
#endif

#if defined(CR_SHUFFLE)
template <class T>
CR_FN void transpose_block(T* strip, Index width, const T* b, Index ldb) {
  using Vector = typename VectorOf<T>::Type;
  Vector row[lanes<T>];
#pragma GCC unroll 16
  for (Index i = 0; i < lanes<T>; ++i) row[i] = *reinterpret_cast<const Vector*>(b + i * ldb);
  transpose_from<1>(row);
#pragma GCC unroll 16
  for (Index i = 0; i < lanes<T>; ++i) *reinterpret_cast<Vector*>(strip + i * width) = row[i];
}
#endif

// strip (k, width) = B^T, B (columns, k, ldb); missing columns are 0
template <class T>
void transpose_strip(T* __restrict strip, const T* b, Index ldb, Index k, Index columns, Index width) {
  for (Index j = 0; j < width; j += lanes<T>) {
    Index p = 0;
#if defined(CR_SHUFFLE)
    if (j + lanes<T> <= columns && k >= lanes<T>) {
      for (; p + lanes<T> <= k; p += lanes<T>) transpose_block(strip + p * width + j, width, b + j * ldb + p, ldb);
      if (p < k) transpose_block(strip + (k - lanes<T>)*width + j, width, b + j * ldb + k - lanes<T>, ldb);
      continue;
    }
#endif
    for (; p < k; ++p)
      for (Index i = j; i < j + lanes<T>; ++i) strip[p * width + i] = i < columns ? b[i * ldb + p] : T(0);
  }
}

// Lane j * lanes / N of the result is the sum of the lanes of v[j]: upper half and lower half of them, of those again, ...
template <class T, int N>
CR_FN auto sum_lanes(const typename VectorOf<T>::Type (&v)[N]) {
#if defined(CR_SHUFFLE)
  return fold<lanes<T> / 2>(v, typename Count<lanes<T>>::Type());
#else
  typename VectorOf<T>::Type sum{};
  for (int j = 0; j < N; ++j) {
    typename VectorOf<T>::Type x = v[j];
    for (Index half = lanes<T> / 2; half > 0; half /= 2)
      for (Index i = 0; i < half; ++i) x[i] += x[i + half];
    sum[j * (lanes<T> / N)] = x[0];
  }
  return sum;
#endif
}

}  // namespace

}  // namespace chainrule::CR_ISA
