// SPDX-License-Identifier: MIT
// The rows of a batch: out[i] = x[index[i]].
#include "kernels/cuda/parts.cuh"

namespace chainrule::cuda {

namespace {

// Bytes: the rows in and out; a row of 784 floats is read in whole sectors wherever it lies. Bound by them: 16 bytes a thread, and neighbours share
// the row's number.
template <int N, class T>
CR_KERNEL(1024) gather_kernel(T* out, const T* x, const Index* index, Index packs, Index per_row) {
  for (Index i = first_item(); i < packs; i += item_step()) {
    const Position p = position_of(i, per_row);
    store(out + i * N, load<N>(x + (index[p.row] * per_row + p.col) * N));
  }
}

}  // namespace

template <class T>
void gather(T* out, const T* x, const Index* index, Index n, Index size) {
  if (n * size <= 0) return;
  constexpr int N = width<T>;
  const Span all = span_of<T>(n * size, out, x);
  const int threads = threads_of_block();
  if (size % N == 0 && all.head == 0 && all.packs > 0)
    launch(gather_kernel<N, T>, blocks_for(n * size / N, threads), threads, out, x, index, n * size / N, size / N);
  else
    launch(gather_kernel<1, T>, blocks_for(n * size, threads), threads, out, x, index, n * size, size);
}

template void gather(float*, const float*, const Index*, Index, Index);
template void gather(double*, const double*, const Index*, Index, Index);
template void gather(std::int32_t*, const std::int32_t*, const Index*, Index, Index);

}  // namespace chainrule::cuda
