// SPDX-License-Identifier: MIT
// softmax over rows. exp runs over a block of rows at once: with 3 or 10 columns a row alone would not fill a vector.
#include "kernels/cpu/parts.h"
#include "math/fastmath.h"

namespace chainrule::CR_ISA {

// a_m = exp(z_m - max z) / sum_l exp(z_l - max z)
template <class T>
void softmax_forward(T* a, const T* z, Index rows, Index cols) {
  if (cols == 0) return;
  const Index block = rows_a_run(cols);
  for (Index i = 0; i < rows; i += block) {
    const Index m = smaller(block, rows - i);
    const T* zi = z + i * cols;
    T* ai = a + i * cols;
    for (Index r = 0; r < m; ++r) {
      const T largest = largest_of(zi + r * cols, cols);
      CR_VECTOR_LOOP
      for (Index j = 0; j < cols; ++j) ai[r * cols + j] = zi[r * cols + j] - largest;
    }
    CR_VECTOR_LOOP
    for (Index e = 0; e < m * cols; ++e) ai[e] = exp_bounded(ai[e]);
    for (Index r = 0; r < m; ++r) {
      const T factor = T(1) / sum_of(ai + r * cols, cols);
      CR_VECTOR_LOOP
      for (Index j = 0; j < cols; ++j) ai[r * cols + j] *= factor;
    }
  }
}

// forward: a = softmax(z), so dz_m (+)= a_m (da_m - sum_l a_l da_l)
template <class T>
void softmax_backward(T* dz, const T* da, const T* a, Index rows, Index cols, Accum accum) {
  for (Index i = 0; i < rows; ++i) {
    const T *ai = a + i * cols, *dai = da + i * cols;
    T* dzi = dz + i * cols;
    const T mean = dot(ai, dai, cols);
    if (accum == Accum::Add) {
      CR_VECTOR_LOOP
      for (Index j = 0; j < cols; ++j) dzi[j] += ai[j] * (dai[j] - mean);
    } else {
      CR_VECTOR_LOOP
      for (Index j = 0; j < cols; ++j) dzi[j] = ai[j] * (dai[j] - mean);
    }
  }
}

#define CR_DEFINE(T)                                         \
  template void softmax_forward(T*, const T*, Index, Index); \
  template void softmax_backward(T*, const T*, const T*, Index, Index, Accum);
CR_DEFINE(float)
CR_DEFINE(double)

}  // namespace chainrule::CR_ISA
