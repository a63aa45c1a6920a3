// SPDX-License-Identifier: MIT
// One row after the other by a group of threads that share it: several rows a warp up to 32 columns, a warp a row up to 512 (double: 256), a block a row beyond. Up
// to there a row is read once and stays in registers; beyond, what was read a moment ago comes out of the first-level cache.
#pragma once
#include "kernels/cuda/parts.cuh"

namespace chainrule::cuda {

// `size` neighbours of a warp
struct LaneGroup {
  int size, lane;
  template <class T>
  __device__ __forceinline__ T sum(T v) const {
    return reduce_lanes(v, size, Plus{});
  }
  template <class T>
  __device__ __forceinline__ T largest(T v) const {
    return reduce_lanes(v, size, Largest{});
  }
};
struct BlockGroup {
  int size, lane;
  template <class T>
  __device__ __forceinline__ T sum(T v) const {
    return reduce_block(v, T(0), Plus{});
  }
  template <class T>
  __device__ __forceinline__ T largest(T v) const {
    return reduce_block(v, -infinity<T>(), Largest{});
  }
};

// f(j, k) for the columns of this thread: the k-th of at most K, or, if K = 0, of any number, where k is 0
template <int K, class Group, class F>
__device__ __forceinline__ void columns(const Group& group, Index cols, F&& f) {
  if constexpr (K > 0) {
    CR_UNROLL(16)
    for (int k = 0; k < K; ++k) {
      const int j = group.lane + k * group.size;
      if (j < static_cast<int>(cols)) f(j, k);
    }
  } else {
    for (Index j = group.lane; j < cols; j += group.size) f(j, 0);
  }
}

struct Nowhere {};
// Columns of a row that the lanes of a warp keep in registers
template <class T>
struct Row {
  static constexpr int most_columns = sizeof(T) == 4 ? 512 : 256;
};

// row.run<K>(group, i, inside) computes row i and returns the thread's share of the sum that goes to `to`. The groups of a warp go along to its last
// row: what they share is shuffled by all lanes, so one that is past the end says inside = false and touches nothing.
template <int K, class R, class To>
CR_KERNEL(1024) rows_kernel(Index rows, int lanes, const __grid_constant__ R row, double* partial, const __grid_constant__ To to) {
  double sum[1] = {0};
  if constexpr (K > 0) {
    const int size = K > 1 ? warp : lanes, lane = static_cast<int>(threadIdx.x) % warp, per_warp = warp / size;
    const Index step = item_step() / warp * per_warp;
    for (Index first = first_item() / warp * per_warp; first < rows; first += step) {
      const Index i = first + lane / size;
      sum[0] += row.template run<K>(LaneGroup{size, lane % size}, i, i < rows);
    }
  } else {
    const BlockGroup group{static_cast<int>(blockDim.x), static_cast<int>(threadIdx.x)};
    for (Index i = blockIdx.x; i < rows; i += gridDim.x) sum[0] += row.template run<0>(group, i, true);
  }
  if constexpr (!std::is_same_v<To, Nowhere>) deliver(sum, partial, to);
}

template <class R, class To>
void each_row(Index rows, Index cols, const R& row, const To& to) {
  constexpr bool sums = !std::is_same_v<To, Nowhere>;
  const int threads = threads_of_block();
  int lanes = warp;
  while (lanes > 1 && lanes / 2 >= cols) lanes /= 2;
  constexpr int most = R::most_columns / warp;
  const Index items = cols > R::most_columns ? rows * threads : ceil_div(rows, warp / lanes) * warp;
  const Index blocks = sums ? blocks_for_sums<1>(items, threads) : blocks_for(items, threads);
  double* partial = current().scratch;
  if (cols <= 32)
    launch(rows_kernel<1, R, To>, blocks, threads, rows, lanes, row, partial, to);
  else if (cols <= 128)
    launch(rows_kernel<4, R, To>, blocks, threads, rows, lanes, row, partial, to);
  else if (cols <= R::most_columns)
    launch(rows_kernel<most, R, To>, blocks, threads, rows, lanes, row, partial, to);
  else
    launch(rows_kernel<0, R, To>, blocks, threads, rows, lanes, row, partial, to);
  if constexpr (sums) finish<1>(blocks, to);
}

}  // namespace chainrule::cuda
