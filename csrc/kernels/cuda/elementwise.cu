// SPDX-License-Identifier: MIT
// y (+)= f(x), element by element: all bound by their bytes, 16 of which a thread loads at once.
#include "kernels/cuda/parts.cuh"
#include "math/updates.h"

namespace chainrule::cuda {

namespace {

// 3 numbers an element: w and g in, g out
template <class T>
struct AddPenalty {
  T* g;
  const T* w;
  T l1, l2;
  template <int N>
  __device__ void operator()(Width<N>, Index e) const {
    const Pack<T, N> x = load<N>(w + e);
    Pack<T, N> y;
    CR_UNROLL(4)
    for (int j = 0; j < N; ++j) y.v[j] = penalty_gradient(x.v[j], l1, l2);
    store(g + e, y, Accum::Add);
  }
};

// 2 numbers an element, 3 where it adds; mean and scale stay in the caches. mean null: dx (+)= dy / scale
template <class T>
struct Standardize {
  T* y;
  const T *x, *mean, *scale;
  Index cols;
  Accum accum;
  template <int N>
  __device__ void operator()(Width<N>, Index e) const {
    Pack<T, N> v = load<N>(x + e);
    Index col = position_of(e, cols).col;
    CR_UNROLL(4)
    for (int j = 0; j < N; ++j) {
      v.v[j] = (mean ? v.v[j] - mean[col] : v.v[j]) / scale[col];
      col = col + 1 == cols ? 0 : col + 1;
    }
    store(y + e, v, accum);
  }
};

// 2 numbers an element, 3 where it adds
template <class T>
struct Add {
  T* y;
  const T* x;
  Accum accum;
  template <int N>
  __device__ void operator()(Width<N>, Index e) const {
    store(y + e, load<N>(x + e), accum);
  }
};

// 3 numbers an element, 4 where it adds
template <class T>
struct Multiply {
  T* y;
  const T *x1, *x2;
  Accum accum;
  template <int N>
  __device__ void operator()(Width<N>, Index e) const {
    Pack<T, N> v = load<N>(x1 + e);
    const Pack<T, N> by = load<N>(x2 + e);
    CR_UNROLL(4)
    for (int j = 0; j < N; ++j) v.v[j] *= by.v[j];
    store(y + e, v, accum);
  }
};

}  // namespace

template <class T>
void add_penalty(T* g, const T* w, Index n, double l1, double l2) {
  each<T>(span_of<T>(n, g, w), AddPenalty<T>{g, w, T(l1), T(l2)});
}
template <class T>
void standardize_forward(T* y, const T* x, const T* mean, const T* scale, Index rows, Index cols) {
  each<T>(span_of<T>(rows * cols, y, x), Standardize<T>{y, x, mean, scale, cols, Accum::Overwrite});
}
// forward: y = (x - mean) / scale, so dx (+)= dy / scale
template <class T>
void standardize_backward(T* dx, const T* dy, const T* scale, Index rows, Index cols, Accum accum) {
  each<T>(span_of<T>(rows * cols, dx, dy), Standardize<T>{dx, dy, nullptr, scale, cols, accum});
}
template <class T>
void add(T* y, const T* x, Index n, Accum accum) {
  each<T>(span_of<T>(n, y, x), Add<T>{y, x, accum});
}
template <class T>
void multiply(T* y, const T* x1, const T* x2, Index n, Accum accum) {
  each<T>(span_of<T>(n, y, x1, x2), Multiply<T>{y, x1, x2, accum});
}

#define CR_DEFINE(T)                                                                 \
  template void add_penalty(T*, const T*, Index, double, double);                    \
  template void standardize_forward(T*, const T*, const T*, const T*, Index, Index); \
  template void standardize_backward(T*, const T*, const T*, Index, Index, Accum);   \
  template void add(T*, const T*, Index, Accum);                                     \
  template void multiply(T*, const T*, const T*, Index, Accum);
CR_DEFINE(float)
CR_DEFINE(double)

}  // namespace chainrule::cuda
