// SPDX-License-Identifier: MIT
// C = alpha op(A) op(B) + beta C for products that a BLAS call serves badly: it packs both operands whatever their size, and reaches half the core's
// peak at 32 x 64 x 64. Here a strip of B of two vectors' width is copied (or transposed) into the first-level cache once, and rows of A go over it
// six at a time: 12 sums in registers, enough to hide the latency of the multiply-adds (4 cycles, 2 a cycle). A is read where it lies.
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/row_products.h"

namespace chainrule::CR_ISA {

namespace {

constexpr Index depth = 256;  // of a strip: 16 KB of it at 8 lanes
constexpr Index block = 48;   // rows of A that are copied at once at full depth

// strip (k, width) = B (k, columns, ldb); missing columns are 0
template <class T, int V>
void copy_full(T* strip, const T* b, Index ldb, Index k) {
  using Vector = typename VectorOf<T>::Type;
  for (Index p = 0; p < k; ++p)
    for (int v = 0; v < V; ++v)
      *reinterpret_cast<Vector*>(strip + (p * V + v) * lanes<T>) = *reinterpret_cast<const Vector*>(b + p * ldb + v * lanes<T>);
}
template <class T>
void copy_strip(T* __restrict strip, const T* b, Index ldb, Index k, Index columns, Index width) {
  if (columns == lanes<T>) return copy_full<T, 1>(strip, b, ldb, k);
  if (columns == 2 * lanes<T>) return copy_full<T, 2>(strip, b, ldb, k);
  for (Index p = 0; p < k; ++p)
    for (Index j = 0; j < width; ++j) strip[p * width + j] = j < columns ? b[p * ldb + j] : T(0);
}

// ---- M rows of C, V vectors wide ------------------------------------------------------------------------------------------------------------
template <class T>
struct Tile {
  const T* a;
  Index a_row, a_step;  // op(A)(i, p) = a[i * a_row + p * a_step]; one of the two is 1
  const T* b;
  Index ldb, k;
  T alpha, beta;
  T* c;
  Index ldc, first, end;  // columns [first, end) of the tile are what is new
};

// Columns [first, end) of a tile that lies in `out`
template <class T>
__attribute__((noinline)) void store_part(const T* out, Index width, Index m, const Tile<T>& t) {
  for (Index i = 0; i < m; ++i)
    for (Index j = t.first; j < t.end; ++j) {
      T* c = t.c + i * t.ldc + j;
      *c = t.beta == T(0) ? out[i * width + j] : out[i * width + j] + t.beta * *c;
    }
}

template <class T, int M, int V, bool transpose_a>
void tile(const Tile<T>& t) {
  using Vector = typename VectorOf<T>::Type;
  Vector sum[M][V];
  const T *a = t.a, *b = t.b;
  const Index lda = transpose_a ? t.a_step : t.a_row;
  if (t.beta != T(0))  // C is often a velocity that no cache holds
    for (int i = 0; i < M; ++i) {
      __builtin_prefetch(t.c + i * t.ldc, 1);
      __builtin_prefetch(t.c + i * t.ldc + t.end - 1, 1);
    }
#pragma GCC unroll 2
  for (int v = 0; v < V; ++v) {  // p = 0, peeled as in dots
    const Vector row = *reinterpret_cast<const Vector*>(b + v * lanes<T>);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) sum[i][v] = a[transpose_a ? i : i * lda] * row;
  }
#pragma GCC unroll 2
  for (Index p = 1; p < t.k; ++p) {
    b += t.ldb;
    Vector row[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) row[v] = *reinterpret_cast<const Vector*>(b + v * lanes<T>);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) {
      const T x = transpose_a ? a[p * lda + i] : a[i * lda + p];
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) sum[i][v] += x * row[v];
    }
  }
  // Unrolled by order, here and above: left to itself GCC keeps these loops, and therefore puts every sum into memory before and after each tile.
  if (t.alpha != T(1))
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i)
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) sum[i][v] *= t.alpha;
  const T beta = t.beta;
  if (t.end == V * lanes<T> && (t.first == 0 || beta == T(0))) {  // columns before `first` get what they had: the same sums
    if (beta == T(0)) {
#pragma GCC unroll 8
      for (int i = 0; i < M; ++i)
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) *reinterpret_cast<Vector*>(t.c + i * t.ldc + v * lanes<T>) = sum[i][v];
    } else {
#pragma GCC unroll 8
      for (int i = 0; i < M; ++i)
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) {
          Vector* c = reinterpret_cast<Vector*>(t.c + i * t.ldc + v * lanes<T>);
          *c = sum[i][v] + beta * *c;
        }
    }
    return;
  }
  T out[M * V * lanes<T>];
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) *reinterpret_cast<Vector*>(out + (i * V + v) * lanes<T>) = sum[i][v];
  store_part(out, V * lanes<T>, M, t);
}

template <class T, int V, bool transpose_a>
void rows(Tile<T> t, Index m) {
  constexpr Index most = V == 1 ? 8 : 6;
  for (Index blocks = (m + most - 1) / most; m > 0; --blocks) {
    const Index n = (m + blocks - 1) / blocks;  // even blocks: no last one of a row or two
    switch (n) {
      case 1: tile<T, 1, V, transpose_a>(t); break;
      case 2: tile<T, 2, V, transpose_a>(t); break;
      case 3: tile<T, 3, V, transpose_a>(t); break;
      case 4: tile<T, 4, V, transpose_a>(t); break;
      case 5: tile<T, 5, V, transpose_a>(t); break;
      case 6: tile<T, 6, V, transpose_a>(t); break;
      case 7: tile<T, most == 8 ? 7 : 1, V, transpose_a>(t); break;
      default: tile<T, most == 8 ? 8 : 1, V, transpose_a>(t); break;
    }
    t.a += n * t.a_row, t.c += n * t.ldc, m -= n;
  }
}

template <class T>
void strip_rows(const Tile<T>& t, Index m, Index width, bool transpose_a) {
  if (width == lanes<T>)
    transpose_a ? rows<T, 1, true>(t, m) : rows<T, 1, false>(t, m);
  else
    transpose_a ? rows<T, 2, true>(t, m) : rows<T, 2, false>(t, m);
}

template <class T>
void small_gemm(bool transpose_a, bool transpose_b, Index m, Index n, Index k, T alpha, const T* a, Index lda, const T* b, Index ldb, T beta, T* c,
                Index ldc) {
  if (transpose_b && !transpose_a && m <= 2) {
    for (Index i = 0; i < m; ++i) matrix_vector(n, k, alpha, b, ldb, a + i * lda, beta, c + i * ldc, Index(1));
    return;
  }
  if (!transpose_b && !transpose_a && m <= 2) {
    for (Index i = 0; i < m; ++i) row_times_matrix(n, k, alpha, a + i * lda, b, ldb, beta, c + i * ldc);
    return;
  }
  if (transpose_b && !transpose_a && n <= 3) {
    for (Index j = 0; j < n; ++j) matrix_vector(m, k, alpha, a, lda, b + j * ldb, beta, c + j, ldc);
    return;
  }
  if (k == 1 && !transpose_b) {
    (beta == T(0) ? &outer_product<T, false> : &outer_product<T, true>)(m, n, alpha, a, transpose_a ? Index(1) : lda, b, beta, c, ldc);
    return;
  }
  T strip[depth * 2 * lanes<T>];
  Tile<T> t{a, transpose_a ? 1 : lda, transpose_a ? lda : 1, nullptr, 0, 0, alpha, beta, nullptr, ldc, 0, 0};
  for (Index first = 0; first < k; first += depth) {
    t.k = smaller(depth, k - first);
    t.a = a + first * t.a_step;
    for (Index j = 0; j < n; j += 2 * lanes<T>) {
      const Index columns = smaller(2 * lanes<T>, n - j), width = columns <= lanes<T> ? lanes<T> : 2 * lanes<T>;
      // The last strip of a ragged n begins earlier and stores what is new alone: full vectors, nothing read beyond a row.
      const Index back = n >= width ? width - columns : 0;
      t.c = c + j - back, t.first = back, t.end = back + columns;
      if (transpose_b) {
        transpose_strip(strip, b + (j - back) * ldb + first, ldb, t.k, t.end, width);
        t.b = strip, t.ldb = width;
      } else if (t.end < width || (m > 12 && t.k > 32)) {  // a strip that is read again and again from rows a power of two apart evicts itself
        copy_strip(strip, b + first * ldb + j - back, ldb, t.k, t.end, width);
        t.b = strip, t.ldb = width;
      } else {
        t.b = b + first * ldb + j - back, t.ldb = ldb;
      }
      strip_rows(t, m, width, transpose_a);
    }
    t.beta = 1;
  }
}

// The same for A^T with rows far apart: steps of a power of two put all of a tile's A into a few sets of the caches, and a page each. A block of A is
// copied first, 48 rows and more of it, so that copying B's strips again for every block costs a few per cent.
template <class T>
void blocked_gemm(bool transpose_b, Index m, Index n, Index k, T alpha, const T* a, Index lda, const T* b, Index ldb, T beta, T* c, Index ldc) {
  T copy[depth * block];
  for (Index first = 0; first < k; first += depth) {
    const Index d = smaller(depth, k - first), most = depth * block / d / 6 * 6;
    for (Index i = 0; i < m; i += most) {
      const Index rows = smaller(most, m - i);
      for (Index p = 0; p < d; ++p) {
        const T* from = a + (first + p) * lda + i;
        T* __restrict to = copy + p * rows;
        for (Index r = 0; r < rows; ++r) to[r] = from[r];
      }
      const T* strip = transpose_b ? b + first : b + first * ldb;
      small_gemm(true, transpose_b, rows, n, d, alpha, static_cast<const T*>(copy), rows, strip, ldb, first ? T(1) : beta, c + i * ldc, ldc);
    }
  }
}

}  // namespace

// A is read again for every strip of B, so it is to stay in the second-level cache; B and C are passed over once. One or two rows go here whatever
// the size: a BLAS packs all of B for them.
template <class T>
void gemm(bool transpose_a, bool transpose_b, Index m, Index n, Index k, T alpha, const T* a, Index lda, const T* b, Index ldb, T beta, T* c,
          Index ldc) {
  constexpr Index cached = (Index{1} << 18) / static_cast<Index>(sizeof(T));  // 256 KB
  const bool few = m > 0 && m <= 2 && !transpose_a && n > 0 && k > 0 && n <= INT32_MAX && k <= INT32_MAX;
  const bool small = m > 0 && n > 0 && k > 0 && m <= cached && n <= cached && k <= cached && m * smaller(k, depth) <= cached && n * k <= 4 * cached &&
                     m * n <= 4 * cached;
  const bool far = transpose_a && lda >= 512 && m > 6 && n >= 8 * lanes<T>;  // then B is passed over once a block of A: in the second-level cache
  if (small && far && n * k <= 2 * cached) return blocked_gemm(transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  (few || (small && !far) ? &small_gemm<T> : static_cast<decltype(&small_gemm<T>)>(&blas::gemm))(transpose_a, transpose_b, m, n, k, alpha, a, lda, b,
                                                                                                 ldb, beta, c, ldc);
}

// v and w are read and written once; the gradient of one sample is never stored.
template <class T>
bool outer_step(Index m, Index n, T scale, const T* a, const T* b, T keep, T* v, T* w) {
  T total = 0;
  if (n < lanes<T>) {
    for (Index e = 0; e < m * n; ++e) {
      v[e] = keep * v[e] + scale * a[e / n] * b[e % n];
      w[e] += v[e];
      total += T(0) * w[e];
    }
    return total == T(0);
  }
  typename VectorOf<T>::Type bad[2] = {};
  Index i = 0;
  for (; i + 2 <= m; i += 2) step_rows<T, 2>(n, {scale * a[i], scale * a[i + 1]}, b, keep, v + i * n, w + i * n, bad);
  if (i < m) step_rows<T, 1>(n, {scale * a[i]}, b, keep, v + i * n, w + i * n, bad);
  for (Index l = 0; l < lanes<T>; ++l) total += bad[0][l] + bad[1][l];
  return total == T(0);
}

#define CR_DEFINE(T)                                                                                      \
  template void gemm(bool, bool, Index, Index, Index, T, const T*, Index, const T*, Index, T, T*, Index); \
  template bool outer_step(Index, Index, T, const T*, const T*, T, T*, T*);
CR_DEFINE(float)
CR_DEFINE(double)

}  // namespace chainrule::CR_ISA
