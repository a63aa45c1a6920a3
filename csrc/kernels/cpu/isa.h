// SPDX-License-Identifier: MIT
// Included first by every file that is compiled once for each instruction set (CR_ISA=v1, v3, v4, neon). Here and in those files: everything in
// namespace chainrule::CR_ISA, no standard header but <cstdint>, <cstddef>, <cfloat>; tests/ run nm over the objects (contract 13).
#pragma once
#include <cfloat>
#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"
#include "math/host_device.h"

#define CR_TEXT_(x) #x
#define CR_TEXT(x) CR_TEXT_(x)

#if defined(__AVX512F__)
#define CR_VECTOR_BYTES 64
#elif defined(__AVX__)
#define CR_VECTOR_BYTES 32
#else
#define CR_VECTOR_BYTES 16
#endif

// The next loop may run in vectors although its pointers may be equal (in place). Without it the compiler compares addresses at run time and takes
// the scalar loop exactly where the kernel works in place.
#define CR_VECTOR_LOOP _Pragma("GCC ivdep")

namespace chainrule::CR_ISA {

constexpr Index run = 1024;  // elements of a buffer in the first-level cache, and of a sum in the working type before double takes over

// A vector that may lie anywhere. Used where a sum's order must be written out: the compiler does not reorder additions by itself.
template <class T>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float Type __attribute__((vector_size(CR_VECTOR_BYTES), aligned(4), may_alias));
  static constexpr Index lanes = CR_VECTOR_BYTES / 4;
};
template <>
struct VectorOf<double> {
  typedef double Type __attribute__((vector_size(CR_VECTOR_BYTES), aligned(8), may_alias));
  static constexpr Index lanes = CR_VECTOR_BYTES / 8;
};

constexpr Index smaller(Index a, Index b) { return a < b ? a : b; }

// sum_j f(x_j), four vectors of partial sums, then the lanes in order: an order that depends on n alone. f takes vectors and numbers.
template <class T, class F>
CR_FN T sum_of(const T* x, Index n, F f) {
  using Vector = typename VectorOf<T>::Type;
  constexpr Index lanes = VectorOf<T>::lanes;
  T total = 0;
  Index j = 0;
  if (n >= 2 * lanes) {
    Vector s[4] = {};
    for (; j + 4 * lanes <= n; j += 4 * lanes)
      for (int i = 0; i < 4; ++i) s[i] += f(*reinterpret_cast<const Vector*>(x + j + i * lanes));
    for (; j + lanes <= n; j += lanes) s[0] += f(*reinterpret_cast<const Vector*>(x + j));
    const Vector all = (s[0] + s[1]) + (s[2] + s[3]);
    for (Index i = 0; i < lanes; ++i) total += all[i];
  }
  for (; j < n; ++j) total += f(x[j]);
  return total;
}
template <class T>
CR_FN T sum_of(const T* x, Index n) {
  return sum_of(x, n, [](auto v) { return v; });
}

// sum_j x_j y_j, same order
template <class T>
CR_FN T dot(const T* x, const T* y, Index n) {
  using Vector = typename VectorOf<T>::Type;
  constexpr Index lanes = VectorOf<T>::lanes;
  T total = 0;
  Index j = 0;
  if (n >= 2 * lanes) {
    Vector s[2] = {};
    for (; j + 2 * lanes <= n; j += 2 * lanes)
      for (int i = 0; i < 2; ++i) s[i] += *reinterpret_cast<const Vector*>(x + j + i * lanes) * *reinterpret_cast<const Vector*>(y + j + i * lanes);
    const Vector all = s[0] + s[1];
    for (Index i = 0; i < lanes; ++i) total += all[i];
  }
  for (; j < n; ++j) total += x[j] * y[j];
  return total;
}

// max_j x_j, n >= 1. A NaN may or may not come through: whoever subtracts the result from x has it anyway.
template <class T>
CR_FN T largest_of(const T* x, Index n) {
  using Vector = typename VectorOf<T>::Type;
  constexpr Index lanes = VectorOf<T>::lanes;
  T largest = x[0];
  Index j = 1;
  if (n >= 2 * lanes) {
    Vector m = *reinterpret_cast<const Vector*>(x);
    for (j = lanes; j + lanes <= n; j += lanes) {
      const Vector v = *reinterpret_cast<const Vector*>(x + j);
      m = v > m ? v : m;
    }
    for (Index i = 0; i < lanes; ++i) largest = m[i] > largest ? m[i] : largest;
  }
  for (; j < n; ++j) largest = x[j] > largest ? x[j] : largest;
  return largest;
}

// Rows that fit a buffer of `run` elements, at least one
constexpr Index rows_a_run(Index cols) { return cols >= run ? 1 : run / (cols > 0 ? cols : 1); }

}  // namespace chainrule::CR_ISA
