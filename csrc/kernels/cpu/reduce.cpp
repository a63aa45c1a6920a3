// SPDX-License-Identifier: MIT
// Sums, in orders that depend on the sizes alone.
#include "kernels/cpu/parts.h"
#include "math/fastmath.h"

namespace chainrule::CR_ISA {

// db (cols,) = keep db + scale sum_i dz (rows, cols, ld), each column in increasing i; eight rows at a time, and 256 columns, whose sums stay in the
// first-level cache
template <class T>
void column_sum(T* db, const T* dz, Index rows, Index cols, Index ld, T scale, T keep) {
  for (Index first = 0; first < cols; first += 256) {
    const Index m = smaller(256, cols - first);
    T sum[256];
    T* __restrict s = sum;
    Index i = rows % 8 ? 1 : 0;
    for (Index j = 0; j < m; ++j) s[j] = i ? dz[first + j] : T(0);
    for (; i < rows % 8; ++i) {
      const T* __restrict x = dz + i * ld + first;
      for (Index j = 0; j < m; ++j) s[j] += x[j];
    }
    for (; i < rows; i += 8) {
      const T* __restrict x = dz + i * ld + first;
      for (Index j = 0; j < m; ++j) {
        T t = s[j];
        for (Index r = 0; r < 8; ++r) t += x[r * ld + j];
        s[j] = t;
      }
    }
    T* __restrict y = db + first;
    if (keep == T(0))
      for (Index j = 0; j < m; ++j) y[j] = scale * s[j];
    else
      for (Index j = 0; j < m; ++j) y[j] = keep * y[j] + scale * s[j];
  }
}

// g (n,) = sum_c slots[c * stride + j], c in index order; a run of g stays in the first-level cache for all slots
template <class T>
void sum_slots(T* g, const T* slots, Index count, Index stride, Index n) {
  for (Index i = 0; i < n; i += run) {
    const Index m = smaller(run, n - i);
    T* y = g + i;
    const T* first = slots + i;
    if (count == 0)
      for (Index j = 0; j < m; ++j) y[j] = 0;
    else if (y != first)
      for (Index j = 0; j < m; ++j) y[j] = first[j];
    for (Index c = 1; c < count; ++c) {
      const T* x = slots + c * stride + i;
      CR_VECTOR_LOOP
      for (Index j = 0; j < m; ++j) y[j] += x[j];
    }
  }
}

template <class T>
double sum_square(const T* x, Index n) {
  double total = 0;
  for (Index i = 0; i < n; i += run) total += static_cast<double>(sum_of(x + i, smaller(run, n - i), [](auto v) { return v * v; }));
  return total;
}

template <class T>
double sum_abs(const T* x, Index n) {
  double total = 0;
  for (Index i = 0; i < n; i += run) total += static_cast<double>(sum_of(x + i, smaller(run, n - i), [](auto v) { return v < 0 ? -v : v; }));
  return total;
}

template <class T>
bool all_finite(const T* x, Index n) {
  for (Index i = 0; i < n; i += run) {
    BitsOf<T> bad = 0;
    const Index m = smaller(run, n - i);
    for (Index j = 0; j < m; ++j) bad |= bits_unless_finite(x[i + j]);
    if (bad) return false;
  }
  return true;
}

#define CR_DEFINE(T)                                                 \
  template void column_sum(T*, const T*, Index, Index, Index, T, T); \
  template void sum_slots(T*, const T*, Index, Index, Index);        \
  template double sum_square(const T*, Index);                       \
  template double sum_abs(const T*, Index);                          \
  template bool all_finite(const T*, Index);
CR_DEFINE(float)
CR_DEFINE(double)

}  // namespace chainrule::CR_ISA
