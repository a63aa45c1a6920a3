// SPDX-License-Identifier: MIT
// Sums, in orders that depend on the sizes alone.
#include "kernels/cpu/parts.h"
#include "math/fastmath.h"

namespace chainrule::CR_ISA {

// db (cols,) (+)= sum_i dz (rows, cols, ld), each column in increasing i; eight rows at a time, so that db is fetched and stored once for them
template <class T>
void column_sum(T* db, const T* dz, Index rows, Index cols, Index ld, Accum accum) {
  T* __restrict s = db;
  if (accum == Accum::Overwrite)
    for (Index j = 0; j < cols; ++j) s[j] = 0;
  Index i = 0;
  for (; i + 8 <= rows; i += 8) {
    const T* __restrict x = dz + i * ld;
    for (Index j = 0; j < cols; ++j) {
      T t = s[j];
      for (Index r = 0; r < 8; ++r) t += x[r * ld + j];
      s[j] = t;
    }
  }
  for (; i < rows; ++i) {
    const T* __restrict x = dz + i * ld;
    for (Index j = 0; j < cols; ++j) s[j] += x[j];
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

// Adding one to an exponent of all ones (inf, NaN) carries into the sign bit.
template <class T>
bool all_finite(const T* x, Index n) {
  using Bits = BitsOf<T>;
  constexpr Bits one = Bits(1) << Real<T>::mantissa, exponent = (~Bits(0) >> 1) & ~(one - 1);
  for (Index i = 0; i < n; i += run) {
    Bits carry = 0;
    const Index m = smaller(run, n - i);
    for (Index j = 0; j < m; ++j) carry |= (to_bits(x[i + j]) & exponent) + one;
    if (carry & ~(~Bits(0) >> 1)) return false;
  }
  return true;
}

#define CR_DEFINE(T)                                                  \
  template void column_sum(T*, const T*, Index, Index, Index, Accum); \
  template void sum_slots(T*, const T*, Index, Index, Index);         \
  template double sum_square(const T*, Index);                        \
  template double sum_abs(const T*, Index);                           \
  template bool all_finite(const T*, Index);
CR_DEFINE(float)
CR_DEFINE(double)

}  // namespace chainrule::CR_ISA
