// SPDX-License-Identifier: MIT
// y (+)= f(x), element by element
#include "kernels/cpu/parts.h"

namespace chainrule::CR_ISA {

// g += l2 w + l1 sign(w), sign(0) = 0
template <class T>
void add_penalty(T* g, const T* w, Index n, double l1, double l2) {
  const T square = T(l2), absolute = T(l1);
  CR_VECTOR_LOOP
  for (Index j = 0; j < n; ++j) g[j] += square * w[j] + (w[j] > T(0) ? absolute : w[j] < T(0) ? -absolute : T(0));
}

// y = (x - mean) / scale
template <class T>
void standardize_forward(T* y, const T* x, const T* mean, const T* scale, Index rows, Index cols) {
  for (Index i = 0; i < rows; ++i) {
    T* yi = y + i * cols;
    const T* xi = x + i * cols;
    CR_VECTOR_LOOP
    for (Index j = 0; j < cols; ++j) yi[j] = (xi[j] - mean[j]) / scale[j];
  }
}
// forward: y = (x - mean) / scale, so dx (+)= dy / scale
template <class T>
void standardize_backward(T* dx, const T* dy, const T* scale, Index rows, Index cols, Accum accum) {
  for (Index i = 0; i < rows; ++i) {
    T* dxi = dx + i * cols;
    const T* dyi = dy + i * cols;
    if (accum == Accum::Add) {
      CR_VECTOR_LOOP
      for (Index j = 0; j < cols; ++j) dxi[j] += dyi[j] / scale[j];
    } else {
      CR_VECTOR_LOOP
      for (Index j = 0; j < cols; ++j) dxi[j] = dyi[j] / scale[j];
    }
  }
}

template <class T>
void add(T* y, const T* x, Index n, Accum accum) {
  if (accum == Accum::Add) {
    CR_VECTOR_LOOP
    for (Index j = 0; j < n; ++j) y[j] += x[j];
  } else {
    CR_VECTOR_LOOP
    for (Index j = 0; j < n; ++j) y[j] = x[j];
  }
}

template <class T>
void multiply(T* y, const T* x1, const T* x2, Index n, Accum accum) {
  if (accum == Accum::Add) {
    CR_VECTOR_LOOP
    for (Index j = 0; j < n; ++j) y[j] += x1[j] * x2[j];
  } else {
    CR_VECTOR_LOOP
    for (Index j = 0; j < n; ++j) y[j] = x1[j] * x2[j];
  }
}

#define CR_DEFINE(T)                                                                 \
  template void add_penalty(T*, const T*, Index, double, double);                    \
  template void standardize_forward(T*, const T*, const T*, const T*, Index, Index); \
  template void standardize_backward(T*, const T*, const T*, Index, Index, Accum);   \
  template void add(T*, const T*, Index, Accum);                                     \
  template void multiply(T*, const T*, const T*, Index, Accum);
CR_DEFINE(float)
CR_DEFINE(double)

}  // namespace chainrule::CR_ISA
