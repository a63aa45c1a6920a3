// SPDX-License-Identifier: MIT
// Products with sparse rows. A column of W lies n_in apart from one unit to the next, so units are taken one after the other: a row of W, or some
// of them, stays in the caches for all samples. Every sum adds up in the order of the rows and of what is stored in them.
#include "kernels/cpu/parts.h"

namespace chainrule::CR_ISA {

namespace {

// z[:, 0:units] = x W^T; the numbers of x and their columns are fetched once for all these units
template <int units, class T>
void some_units(T* z, Index ldz, const SparseArgs<T>& x, Index n_in, const T* w) {
  for (Index i = 0; i < x.rows; ++i) {
    T sum[units] = {};
    for (Index e = x.begin[i]; e < x.begin[i + 1]; ++e) {
      const T v = x.value[e];
      const T* column = w + x.column[e];
      for (Index u = 0; u < units; ++u) sum[u] += v * column[u * n_in];
    }
    for (Index u = 0; u < units; ++u) z[i * ldz + u] = sum[u];
  }
}

}  // namespace

template <class T>
void sparse_forward(T* z, Index ldz, const SparseArgs<T>& x, Index n_in, const T* w, Index units) {
  Index u = 0;
  for (; u + 4 <= units; u += 4) some_units<4>(z + u, ldz, x, n_in, w + u * n_in);
  for (; u < units; ++u) some_units<1>(z + u, ldz, x, n_in, w + u * n_in);
}

template <class T>
void sparse_backward(T* dw, const T* dz, Index ldz, const SparseArgs<T>& x, Index n_in, Index units, T scale, T keep) {
  for (Index u = 0; u < units; ++u, dw += n_in) {
    if (keep == T(0))
      for (Index j = 0; j < n_in; ++j) dw[j] = 0;
    else if (keep != T(1))
      for (Index j = 0; j < n_in; ++j) dw[j] *= keep;
    for (Index i = 0; i < x.rows; ++i) {
      const T delta = scale * dz[i * ldz + u];
      if (delta == T(0)) continue;  // half of them behind relu
      for (Index e = x.begin[i]; e < x.begin[i + 1]; ++e) dw[x.column[e]] += delta * x.value[e];
    }
  }
}

#define CR_DEFINE(T)                                                                     \
  template void sparse_forward(T*, Index, const SparseArgs<T>&, Index, const T*, Index); \
  template void sparse_backward(T*, const T*, Index, const SparseArgs<T>&, Index, Index, T, T);
CR_DEFINE(float)
CR_DEFINE(double)

}  // namespace chainrule::CR_ISA
