// SPDX-License-Identifier: MIT
// a = g(z + b) and dz = da g', one loop for all of csrc/math/activations.h.
#include "kernels/cpu/parts.h"
#include "math/activations.h"

namespace chainrule::CR_ISA {

namespace {

// a = g(z); a == z allowed. One loop for every way through forward: it is most of what there is to compile.
template <class G, class T>
__attribute__((noinline)) void apply(T* a, T* z, Index n, T p) {
#pragma GCC unroll 4
  CR_VECTOR_LOOP
  for (Index j = 0; j < n; ++j) a[j] = G::g(z[j], p);
}

// z (rows, cols) += b (cols,)
template <class T>
__attribute__((noinline)) void add_bias(T* z, const T* b, Index rows, Index cols) {
  using Vector = typename VectorOf<T>::Type;
  constexpr Index lanes = VectorOf<T>::lanes;
  Index j = 0;
  for (; j + 2 * lanes <= cols; j += 2 * lanes) {
    const Vector b0 = *reinterpret_cast<const Vector*>(b + j), b1 = *reinterpret_cast<const Vector*>(b + j + lanes);
#pragma GCC unroll 4
    for (Index r = 0; r < rows; ++r) {
      Vector* to = reinterpret_cast<Vector*>(z + r * cols + j);
      to[0] += b0, to[1] += b1;
    }
  }
  if (j + lanes <= cols) {
    const Vector b0 = *reinterpret_cast<const Vector*>(b + j);
    for (Index r = 0; r < rows; ++r) *reinterpret_cast<Vector*>(z + r * cols + j) += b0;
    j += lanes;
  }
  for (; j < cols; ++j)
    for (Index r = 0; r < rows; ++r) z[r * cols + j] += b[j];
}

// z += b, a = g(z), by runs that stay in the first-level cache. Contiguous rows share a run, so that g sees full vectors: the incomplete last vector
// of a row of 10 would cost more than the rest of it.
template <class G, class T>
void forward(T* a, T* z, const T* b, Index rows, Index cols, Index ld, T p) {
  if (ld == cols && !b) return apply<G>(a, z, rows * cols, p);
  const Index block = ld == cols ? rows_a_run(cols) : 1, width = smaller(cols, run);
  for (Index i = 0; i < rows; i += block) {
    const Index m = smaller(block, rows - i);
    for (Index j = 0; j < cols; j += width) {
      const Index n = smaller(width, cols - j), at = i * ld + j;  // m > 1 only where a row is one piece
      if (b) add_bias(z + at, b + j, m, n);
      apply<G>(a + at, z + at, m * n, p);
    }
  }
}

// forward: a = g(z), so dz = da g'(z)
template <class G, class T>
void backward(T* dz, const T* z, const T* a, Index rows, Index cols, Index ld, T p) {
  const T* from = G::needs_z ? z : a;
  if (ld == cols) {
    cols = ld = rows * cols;
    rows = cols > 0;
  }
  for (Index i = 0; i < rows; ++i) {
    T* __restrict d = dz + i * ld;
    const T* __restrict x = from + i * ld;
    for (Index j = 0; j < cols; ++j) d[j] *= G::g1(x[j], p);
  }
}
// g' = 1: reads neither, so both may be null
template <class T>
void backward_identity(T*, const T*, const T*, Index, Index, Index, T) {}

template <class G, class T>
void derivatives(T* g1, T* g2, const T* z, Index n, T p) {
  T* __restrict first = g1;
  T* __restrict second = g2;
  for (Index j = 0; j < n; ++j) first[j] = G::g1(G::needs_z ? z[j] : G::g(z[j], p), p);
  for (Index j = 0; j < n; ++j) second[j] = G::g2(z[j], p);
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
const ActivationKernel<T>* activation_registry() noexcept {
  return registry<T>;
}
int activation_count() noexcept { return static_cast<int>(sizeof registry<float> / sizeof registry<float>[0]); }

template const ActivationKernel<float>* activation_registry() noexcept;
template const ActivationKernel<double>* activation_registry() noexcept;

}  // namespace chainrule::CR_ISA
