// SPDX-License-Identifier: MIT
// Inverted dropout: y_e (+)= u_e >= threshold ? x_e scale : 0. The mask is a function of the element's number (the CPU draws the same), so backward draws
// it again instead of keeping it.
#include "kernels/cuda/parts.cuh"
#include "math/philox.h"

namespace chainrule::cuda {

namespace {

template <class T>
struct Dropout {
  T* y;
  const T* x;
  Index first, n;
  std::uint32_t key0, key1, step, purpose_stream, threshold;
  T scale;
  Accum accum;
};

// Bytes an element: 8 of float, 12 where it adds; and ten rounds of two products, about 20 integer operations an element: memory still bounds it.
// A thread draws one block of Philox and applies it to its four elements, the first and last of which may lie outside.
template <class T>
CR_KERNEL(1024) dropout_kernel(Dropout<T> q, Index first_block, Index blocks, bool aligned) {
  for (Index i = first_item(); i < blocks; i += item_step()) {
    const Index block = first_block + i, e = 4 * block - q.first;
    const auto p = philox4x32_10(Philox<std::uint32_t>{static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), q.step, q.purpose_stream},
                                 q.key0, q.key1);
    const std::uint32_t u[4] = {p.x0, p.x1, p.x2, p.x3};
    if (aligned && e >= 0 && e + 4 <= q.n) {
      constexpr int N = width<T>;
      CR_UNROLL(2)
      for (int k = 0; k < 4; k += N) {
        Pack<T, N> v = load<N>(q.x + e + k);
        CR_UNROLL(4)
        for (int j = 0; j < N; ++j) v.v[j] = u[k + j] >= q.threshold ? v.v[j] * q.scale : T(0);
        store(q.y + e + k, v, q.accum);
      }
      continue;
    }
    CR_UNROLL(4)
    for (int j = 0; j < 4; ++j)
      if (e + j >= 0 && e + j < q.n) store<1>(q.y + e + j, Pack<T, 1>{{u[j] >= q.threshold ? q.x[e + j] * q.scale : T(0)}}, q.accum);
  }
}

}  // namespace

template <class T>
void dropout(T* y, const T* x, Index first, Index n, std::uint32_t key0, std::uint32_t key1, std::uint32_t step, std::uint32_t purpose_stream,
             std::uint32_t threshold, T scale, Accum accum) {
  if (n <= 0) return;
  const Index first_block = first / 4, blocks = (first + n - 1) / 4 - first_block + 1;
  // element 4 q - first of x has to lie on a boundary; before x, where it is -1 to -3, nothing is read
  const auto at = [&](const T* p) { return (reinterpret_cast<std::uintptr_t>(p) - static_cast<std::uintptr_t>(first % 4) * sizeof(T)) % 16; };
  const int threads = threads_of_block();
  launch(dropout_kernel<T>, blocks_for(blocks, threads), threads,
         Dropout<T>{y, x, first, n, key0, key1, step, purpose_stream, threshold, scale, accum}, first_block, blocks, at(x) == 0 && at(y) == 0);
}

#define CR_DEFINE(T) \
  template void dropout(T*, const T*, Index, Index, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t, T, Accum);
CR_DEFINE(float)
CR_DEFINE(double)

}  // namespace chainrule::cuda
