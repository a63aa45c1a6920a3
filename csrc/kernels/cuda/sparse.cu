// SPDX-License-Identifier: MIT
// Products with sparse rows.
#include "kernels/cuda/parts.cuh"

namespace chainrule::cuda {

namespace {

// z (rows, units) = x W^T, one number a warp: its lanes take the stored numbers of the row in turn, so that value and column come in runs of 128 bytes and
// the columns of one row of W, which lie near each other, share sectors. Bound by those sectors: 32 bytes a stored number and unit at worst.
template <class T>
CR_KERNEL(most_threads<T>) sparse_forward_kernel(T* z, Index ldz, SparseArgs<T> x, Index n_in, const T* w, Index units) {
  const int lane = static_cast<int>(threadIdx.x) % warp;
  for (Index task = first_item() / warp; task < x.rows * units; task += item_step() / warp) {
    const Position at = position_of(task, units);
    const T* wu = w + at.col * n_in;
    T sum = 0;
    for (Index e = x.begin[at.row] + lane; e < x.begin[at.row + 1]; e += warp) sum += x.value[e] * wu[x.column[e]];
    sum = reduce_lanes(sum, warp, Plus{});
    if (lane == 0) z[at.row * ldz + at.col] = sum;
  }
}

// dW (units, n_in) = keep dW + scale dz^T x, one unit a warp: no two warps write one number, and a warp goes through the rows in order. Bound by the time
// from one of its loads of dW to the store that depends on it; as many units as the card has warps hide that. A column that occurs twice among 32
// numbers is added up by the first lane that has it.
template <class T>
CR_KERNEL(most_threads<T>) sparse_backward_kernel(T* dw, const T* dz, Index ldz, SparseArgs<T> x, Index n_in, Index units, T scale, T keep) {
  const int lane = static_cast<int>(threadIdx.x) % warp;
  for (Index u = first_item() / warp; u < units; u += item_step() / warp) {
    T* dwu = dw + u * n_in;
    if (keep != T(1))
      for (Index j = lane; j < n_in; j += warp) dwu[j] = keep == T(0) ? T(0) : keep * dwu[j];
    for (Index i = 0; i < x.rows; ++i) {
      const T delta = scale * dz[i * ldz + u];
      if (delta == T(0)) continue;  // half of them behind relu
      for (Index first = x.begin[i]; first < x.begin[i + 1]; first += warp) {
        const bool mine = first + lane < x.begin[i + 1];
        const std::int32_t column = mine ? x.column[first + lane] : -1;
        const T value = mine ? x.value[first + lane] : T(0);
        T sum = 0;
        bool leads = mine;
        for (int k = 0; k < warp; ++k) {
          const std::int32_t other = __shfl_sync(all_lanes, column, k);
          const T number = __shfl_sync(all_lanes, value, k);
          if (other != column) continue;
          if (k < lane) leads = false;
          sum += number;
        }
        __syncwarp();  // what another lane wrote to this column is there
        if (leads) dwu[column] += delta * sum;
      }
    }
  }
}

}  // namespace

template <class T>
void sparse_forward(T* z, Index ldz, const SparseArgs<T>& x, Index n_in, const T* w, Index units) {
  if (x.rows * units <= 0) return;
  const int threads = threads_of_block<T>();
  launch(sparse_forward_kernel<T>, blocks_for(x.rows * units * warp, threads), threads, z, ldz, x, n_in, w, units);
}
template <class T>
void sparse_backward(T* dw, const T* dz, Index ldz, const SparseArgs<T>& x, Index n_in, Index units, T scale, T keep) {
  if (units <= 0) return;
  const int threads = threads_of_block<T>(64);  // few units: over as many processors as there are
  launch(sparse_backward_kernel<T>, blocks_for(units * warp, threads), threads, dw, dz, ldz, x, n_in, units, scale, keep);
}

#define CR_DEFINE(T)                                                                     \
  template void sparse_forward(T*, Index, const SparseArgs<T>&, Index, const T*, Index); \
  template void sparse_backward(T*, const T*, Index, const SparseArgs<T>&, Index, Index, T, T);
CR_DEFINE(float)
CR_DEFINE(double)

}  // namespace chainrule::cuda
