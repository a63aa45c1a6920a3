// SPDX-License-Identifier: MIT
// Products in which one operand is a row, or a few: matrix and vector, row and matrix, outer product. Nothing is copied; W is read once, as it lies.
#pragma once
#include "kernels/cpu/transpose.h"

namespace chainrule::CR_ISA {

namespace {

// y_j = alpha sum_p x_p B_jp + beta y_j for N rows of B, N a power of two up to the lanes; y_j at y[j * stride]
template <class T, int N>
void dots(const T* x, const T* b, Index ldb, Index k, T alpha, T beta, T* y, Index stride) {
  using Vector = typename VectorOf<T>::Type;
  static constexpr T first_lanes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  T sum[N];
  if (k >= lanes<T>) {  // the first product is peeled: GCC would zero the sums by rep stos, which takes as long as the products of a small row
    Vector part[N], v = *reinterpret_cast<const Vector*>(x);
#pragma GCC unroll 16
    for (int j = 0; j < N; ++j) part[j] = v * *reinterpret_cast<const Vector*>(b + j * ldb);
    Index p = lanes<T>;
    for (; p + lanes<T> <= k; p += lanes<T>) {
      v = *reinterpret_cast<const Vector*>(x + p);
#pragma GCC unroll 16
      for (int j = 0; j < N; ++j) part[j] += v * *reinterpret_cast<const Vector*>(b + j * ldb + p);
    }
    if (p < k) {  // the last vector begins earlier; what was counted before is masked on both sides, or 0 * inf would add a NaN
      const auto fresh = *reinterpret_cast<const Vector*>(first_lanes) >= Vector{} + static_cast<T>(lanes<T> - (k - p));
      v = fresh ? *reinterpret_cast<const Vector*>(x + k - lanes<T>) : Vector{};
#pragma GCC unroll 16
      for (int j = 0; j < N; ++j) part[j] += v * (fresh ? *reinterpret_cast<const Vector*>(b + j * ldb + k - lanes<T>) : Vector{});
    }
    const Vector total = sum_lanes<T, N>(part);
    if (N == lanes<T> && stride == 1) {
      Vector* to = reinterpret_cast<Vector*>(y);
      *to = beta == T(0) ? alpha * total : alpha * total + beta * *to;
      return;
    }
#pragma GCC unroll 16
    for (int j = 0; j < N; ++j) sum[j] = total[j * (lanes<T> / N)];
  } else {
    for (int j = 0; j < N; ++j) sum[j] = T(0);
    for (Index p = 0; p < k; ++p)
      for (int j = 0; j < N; ++j) sum[j] += x[p] * b[j * ldb + p];
  }
  if (beta == T(0))
    for (int j = 0; j < N; ++j) y[j * stride] = alpha * sum[j];
  else
    for (int j = 0; j < N; ++j) y[j * stride] = alpha * sum[j] + beta * y[j * stride];
}

// y = alpha B x + beta y, B (n, k): where the strip's transposing would cost as much as the product
template <class T>
void matrix_vector(Index n, Index k, T alpha, const T* b, Index ldb, const T* x, T beta, T* y, Index stride) {
  constexpr int N = static_cast<int>(lanes<T>);
  for (; n >= N; n -= N, b += N * ldb, y += N * stride) dots<T, N>(x, b, ldb, k, alpha, beta, y, stride);
  for (; n >= 2; n -= 2, b += 2 * ldb, y += 2 * stride) dots<T, 2>(x, b, ldb, k, alpha, beta, y, stride);
  if (n > 0) dots<T, 1>(x, b, ldb, k, alpha, beta, y, stride);
}

// y = alpha x B + beta y, B (k, n): row after row of B as it lies in memory, eight at a time, added to a y that stays in the first-level cache
template <class T>
void row_times_matrix(Index n, Index k, T alpha, const T* x, const T* b, Index ldb, T beta, T* y) {
  for (Index first = 0; first < n; first += 4 * run) {
    const Index m = smaller(4 * run, n - first);
    T* __restrict to = y + first;
    if (beta == T(0))
      for (Index j = 0; j < m; ++j) to[j] = T(0);
    else if (beta != T(1))
      for (Index j = 0; j < m; ++j) to[j] *= beta;
    Index p = 0;
    for (; p + 8 <= k; p += 8) {
      const T* __restrict from = b + p * ldb + first;
      T s[8];
      for (int q = 0; q < 8; ++q) s[q] = alpha * x[p + q];
      for (Index j = 0; j < m; ++j)
        to[j] += ((s[0] * from[j] + s[1] * from[ldb + j]) + (s[2] * from[2 * ldb + j] + s[3] * from[3 * ldb + j])) +
                 ((s[4] * from[4 * ldb + j] + s[5] * from[5 * ldb + j]) + (s[6] * from[6 * ldb + j] + s[7] * from[7 * ldb + j]));
    }
    for (; p < k; ++p) {
      const T* __restrict from = b + p * ldb + first;
      const T s = alpha * x[p];
      for (Index j = 0; j < m; ++j) to[j] += s * from[j];
    }
  }
}

// C = alpha a b^T + beta C: the gradient of one sample. The last vector of a ragged row overlaps the one before: it is computed from what C was, before
// that one is stored.
template <class T, int M, bool add>
void outer_rows(Index n, const T (&x)[M], const T* b, T beta, T* c, Index ldc) {
  using Vector = typename VectorOf<T>::Type;
  const auto at = [&](int i, Vector v, Index j) { return add ? beta * *reinterpret_cast<const Vector*>(c + i * ldc + j) + x[i] * v : x[i] * v; };
  Vector last[M];
#pragma GCC unroll 4
  for (int i = 0; i < M; ++i) last[i] = at(i, *reinterpret_cast<const Vector*>(b + n - lanes<T>), n - lanes<T>);
  for (Index j = 0; j + lanes<T> < n; j += lanes<T>) {
    const Vector v = *reinterpret_cast<const Vector*>(b + j);
#pragma GCC unroll 4
    for (int i = 0; i < M; ++i) *reinterpret_cast<Vector*>(c + i * ldc + j) = at(i, v, j);
  }
#pragma GCC unroll 4
  for (int i = 0; i < M; ++i) *reinterpret_cast<Vector*>(c + i * ldc + n - lanes<T>) = last[i];
}
template <class T, bool add>
void outer_product(Index m, Index n, T alpha, const T* a, Index a_row, const T* b, T beta, T* c, Index ldc) {
  if (n < lanes<T>) {
    for (Index i = 0; i < m; ++i)
      for (Index j = 0; j < n; ++j) c[i * ldc + j] = add ? beta * c[i * ldc + j] + alpha * a[i * a_row] * b[j] : alpha * a[i * a_row] * b[j];
    return;
  }
  for (; m >= 4; m -= 4, a += 4 * a_row, c += 4 * ldc)
    outer_rows<T, 4, add>(n, {alpha * a[0], alpha * a[a_row], alpha * a[2 * a_row], alpha * a[3 * a_row]}, b, beta, c, ldc);
  for (; m > 0; --m, a += a_row, c += ldc) outer_rows<T, 1, add>(n, {alpha * a[0]}, b, beta, c, ldc);
}

// Rows of v = keep v + x b^T, w += v, both (M, n). bad becomes NaN where a w is not finite: 0 w is NaN there, and one instruction.
template <class T, int M>
void step_rows(Index n, const T (&x)[M], const T* b, T keep, T* v, T* w, typename VectorOf<T>::Type (&bad)[2]) {
  using Vector = typename VectorOf<T>::Type;
  const auto at = [](T* p) -> Vector& { return *reinterpret_cast<Vector*>(p); };
  const Index end = n - lanes<T>;
  Vector last_v[M], last_w[M];
#pragma GCC unroll 2
  for (int i = 0; i < M; ++i) {  // as in outer_rows
    last_v[i] = keep * at(v + i * n + end) + x[i] * *reinterpret_cast<const Vector*>(b + end);
    last_w[i] = at(w + i * n + end) + last_v[i];
    bad[i] += T(0) * last_w[i];
  }
  for (Index j = 0; j < end; j += lanes<T>) {
    const Vector column = *reinterpret_cast<const Vector*>(b + j);
#pragma GCC unroll 2
    for (int i = 0; i < M; ++i) {
      const Vector moved = keep * at(v + i * n + j) + x[i] * column, to = at(w + i * n + j) + moved;
      at(v + i * n + j) = moved;
      at(w + i * n + j) = to;
      bad[i] += T(0) * to;
    }
  }
#pragma GCC unroll 2
  for (int i = 0; i < M; ++i) at(v + i * n + end) = last_v[i], at(w + i * n + end) = last_w[i];
}

}  // namespace

}  // namespace chainrule::CR_ISA
