// SPDX-License-Identifier: MIT
// a = g(z + b) and dz = da g', one kernel for all of csrc/math/activations.h.
#include "kernels/cuda/parts.cuh"
#include "math/activations.h"

namespace chainrule::cuda {

namespace {

// Logical element e of (rows, cols, ld); only where ld == cols does a pack of them lie side by side
struct Matrix {
  Index cols, ld;
  CR_FN Index at(Index e) const {
    if (ld == cols) return e;
    const Position p = position_of(e, cols);
    return p.row * ld + p.col;
  }
};
template <class T, class... P>
Span span_of_matrix(Index rows, Index cols, Index ld, const P*... pointers) {
  return ld == cols ? span_of<T>(rows * cols, pointers...) : Span{rows * cols, 0, 0, width<T>};
}

// Bytes an element: z in, a out, and z out where backward reads it: 8 to 12 of float. Bound by them: 4 numbers a thread, read before they are written,
// so that a == z is allowed. b stays in the first-level cache.
template <class G, class T>
struct Forward {
  T *a, *z;
  const T* b;
  T p;
  Matrix m;
  bool keep_z;
  template <int N>
  __device__ void operator()(Width<N>, Index e) const {
    const Index at = m.at(e);
    Pack<T, N> x = load<N>(z + at);
    if (b) {
      Index col = position_of(e, m.cols).col;
      CR_UNROLL(4)
      for (int j = 0; j < N; ++j) {
        x.v[j] += b[col];
        col = col + 1 == m.cols ? 0 : col + 1;
      }
      if (keep_z) store(z + at, x);
    }
    CR_UNROLL(4)
    for (int j = 0; j < N; ++j) x.v[j] = G::g(x.v[j], p);
    store(a + at, x);
  }
};
template <class G, class T>
void forward(T* a, T* z, const T* b, Index rows, Index cols, Index ld, T p) {
  if (rows * cols == 0) return;
  each<T>(span_of_matrix<T>(rows, cols, ld, a, z), Forward<G, T>{a, z, b, p, {cols, ld}, a != z});
}

// Bytes an element: dz in and out, z or a in: 12 of float, which bound it.
template <class G, class T>
struct Backward {
  T* dz;
  const T* x;
  T p;
  Matrix m;
  template <int N>
  __device__ void operator()(Width<N>, Index e) const {
    const Index at = m.at(e);
    Pack<T, N> d = load<N>(dz + at);
    const Pack<T, N> from = load<N>(x + at);
    CR_UNROLL(4)
    for (int j = 0; j < N; ++j) d.v[j] *= G::g1(from.v[j], p);
    store(dz + at, d);
  }
};
template <class G, class T>
void backward(T* dz, const T* z, const T* a, Index rows, Index cols, Index ld, T p) {
  if (rows * cols == 0) return;
  const T* x = G::needs_z ? z : a;
  each<T>(span_of_matrix<T>(rows, cols, ld, dz, x), Backward<G, T>{dz, x, p, {cols, ld}});
}
// g' = 1: reads neither, so both may be null
template <class T>
void backward_identity(T*, const T*, const T*, Index, Index, Index, T) {}

// 3 numbers of memory traffic an element; once a training at most.
template <class G, class T>
struct Derivatives {
  T *g1, *g2;
  const T* z;
  T p;
  template <int N>
  __device__ void operator()(Width<N>, Index e) const {
    const Pack<T, N> x = load<N>(z + e);
    Pack<T, N> first, second;
    CR_UNROLL(4)
    for (int j = 0; j < N; ++j) {
      first.v[j] = G::g1(G::needs_z ? x.v[j] : G::g(x.v[j], p), p);
      second.v[j] = G::g2(x.v[j], p);
    }
    store(g1 + e, first);
    store(g2 + e, second);
  }
};
template <class G, class T>
void derivatives(T* g1, T* g2, const T* z, Index n, T p) {
  each<T>(span_of<T>(n, g1, g2, z), Derivatives<G, T>{g1, g2, z, p});
}

template <class G, class T>
constexpr auto backward_of = &backward<G, T>;
template <class T>
constexpr auto backward_of<Identity, T> = &backward_identity<T>;

template <class T>
constexpr ActivationKernel<T> registry[] = {
#define CR_ENTRY(G)                                                                                                          \
  {G::name,        G::init,           G::needs_z,        G::has_parameter, G::parameter, G::kinks, {G::kink[0], G::kink[1]}, \
   &forward<G, T>, backward_of<G, T>, &derivatives<G, T>},
    CR_ACTIVATIONS(CR_ENTRY)
#undef CR_ENTRY
};

}  // namespace

template <class T>
const ActivationKernel<T>* activation_registry() {
  return registry<T>;
}
int activation_count() { return static_cast<int>(sizeof registry<float> / sizeof registry<float>[0]); }

template const ActivationKernel<float>* activation_registry();
template const ActivationKernel<double>* activation_registry();

}  // namespace chainrule::cuda
