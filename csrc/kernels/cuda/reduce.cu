// SPDX-License-Identifier: MIT
// Sums, in orders that depend on the sizes and on the card's number of processors alone: every run gives the same bits.
#include "kernels/cuda/parts.cuh"

namespace chainrule::cuda {

namespace {

// The sum of a chunk of rows by one block, `lanes` columns wide (a power of two, so that a warp holds warp / lanes rows of narrow matrices): a thread adds
// up its rows, lanes and then warps are added in order. Bytes: dz once, in runs of 128; they bound it. One chunk writes db; of several each leaves its
// sum, in double, for column_finish.
template <class T>
CR_KERNEL(1024) column_kernel(T* db, const T* dz, Index rows, Index cols, Index ld, int lanes, Index per_chunk, Index tiles, T scale,
                              T keep, double* partial) {
  __shared__ T part[warp][warp];
  const int lane = static_cast<int>(threadIdx.x) % warp, w = static_cast<int>(threadIdx.x) / warp, warps = static_cast<int>(blockDim.x) / warp;
  const Index chunks = ceil_div(rows, per_chunk);
  for (Index task = blockIdx.x; task < tiles * larger(chunks, 1); task += gridDim.x) {
    const Index chunk = task / tiles, col = task % tiles * lanes + lane % lanes, end = smaller(rows, (chunk + 1) * per_chunk);
    const int at_once = warps * (warp / lanes);
    T sum = 0;
    if (col < cols)
      for (Index i = chunk * per_chunk + w * (warp / lanes) + lane / lanes; i < end; i += at_once) sum += dz[i * ld + col];
    for (int o = warp / 2; o >= lanes; o /= 2) sum += __shfl_xor_sync(all_lanes, sum, o);
    __syncthreads();  // the task before this one may still be read
    part[w][lane] = sum;
    __syncthreads();
    if (w != 0 || lane >= lanes || col >= cols) continue;
    double total = 0;
    for (int k = 0; k < warps; ++k) total += static_cast<double>(part[k][lane]);
    if (chunks > 1)
      partial[chunk * cols + col] = total;
    else
      db[col] = (keep == T(0) ? T(0) : keep * db[col]) + scale * T(total);
  }
}
// One column a thread. chunks * 8 bytes a column, coalesced
template <class T>
CR_KERNEL(1024) column_finish_kernel(T* db, const double* partial, Index chunks, Index cols, T scale, T keep) {
  for (Index col = first_item(); col < cols; col += item_step()) {
    double total = 0;
    for (Index c = 0; c < chunks; ++c) total += partial[c * cols + col];
    db[col] = (keep == T(0) ? T(0) : keep * db[col]) + scale * T(total);
  }
}

// count numbers in and one out an element
template <class T>
struct SumSlots {
  T* g;
  const T* slots;
  Index count, stride;
  template <int N>
  __device__ void operator()(Width<N>, Index e) const {
    Pack<T, N> sum{};
    if (count > 0) sum = load<N>(slots + e);
    CR_UNROLL(2)
    for (Index c = 1; c < count; ++c) {
      const Pack<T, N> x = load<N>(slots + c * stride + e);
      CR_UNROLL(4)
      for (int j = 0; j < N; ++j) sum.v[j] += x.v[j];
    }
    store(g + e, sum);
  }
};

// One number in an element bounds these. A thread adds its packs in double: fewer than 1024 numbers share the working type.
template <class T, bool square>
struct Norm {
  const T* x;
  template <int N>
  __device__ void operator()(Width<N>, Index e, double* sum) const {
    const Pack<T, N> v = load<N>(x + e);
    T s = 0;
    CR_UNROLL(4)
    for (int j = 0; j < N; ++j) s += square ? v.v[j] * v.v[j] : absolute(v.v[j]);
    sum[0] += static_cast<double>(s);
  }
};
template <class T>
struct ExpectFinite {
  Outcome* outcome;
  const T* x;
  template <int N>
  __device__ void operator()(Width<N>, Index e) const {
    const Pack<T, N> v = load<N>(x + e);
    BitsOf<T> bad = 0;
    CR_UNROLL(4)
    for (int j = 0; j < N; ++j) bad |= bits_unless_finite(v.v[j]);
    if (bad) atomicOr(&outcome->fault, static_cast<std::uint32_t>(DeltaFault));
  }
};

template <class T, bool square>
double norm(const T* x, Index n) {
  if (n <= 0) return 0;
  Outcome* outcome = fresh_outcome();
  each_sum<T, 1>(span_of<T>(n, x), Norm<T, square>{x}, Into{&outcome->loss});
  return read_outcome().loss;
}

}  // namespace

template <class T>
void column_sum(T* db, const T* dz, Index rows, Index cols, Index ld, T scale, T keep) {
  if (cols <= 0) return;
  int lanes = warp;
  while (lanes > 1 && lanes / 2 >= cols) lanes /= 2;
  const int threads = threads_of_block(), at_once = threads / lanes;
  const Index tiles = ceil_div(cols, lanes), most = blocks_for(Index(1) << 40, threads);
  // 32 rows a thread before a second launch is worth its while
  const Index chunks = larger(1, smaller(smaller(ceil_div(rows, 32 * at_once), ceil_div(most, tiles)), current().scratch_size / cols));
  const Index per_chunk = larger(1, ceil_div(rows, chunks)), used = ceil_div(rows, per_chunk);
  launch(column_kernel<T>, smaller(most, tiles * larger(1, used)), threads, db, dz, rows, cols, ld, lanes, per_chunk, tiles, scale, keep,
         current().scratch);
  if (used > 1) launch(column_finish_kernel<T>, blocks_for(cols, threads), threads, db, current().scratch, used, cols, scale, keep);
}

template <class T>
void sum_slots(T* g, const T* slots, Index count, Index stride, Index n) {
  const bool split = count > 1 && stride % width<T>;
  each<T>(split ? Span{n, 0, 0, width<T>} : span_of<T>(n, g, slots), SumSlots<T>{g, slots, count, stride});
}
template <class T>
double sum_square(const T* x, Index n) {
  return norm<T, true>(x, n);
}
template <class T>
double sum_abs(const T* x, Index n) {
  return norm<T, false>(x, n);
}
template <class T>
void expect_finite(Outcome* outcome, const T* x, Index n) {
  each<T>(span_of<T>(n, x), ExpectFinite<T>{outcome, x});
}
template <class T>
bool all_finite(const T* x, Index n) {
  if (n <= 0) return true;
  expect_finite(fresh_outcome(), x, n);
  return read_outcome().fault == 0;
}

#define CR_DEFINE(T)                                                 \
  template void column_sum(T*, const T*, Index, Index, Index, T, T); \
  template void sum_slots(T*, const T*, Index, Index, Index);        \
  template double sum_square(const T*, Index);                       \
  template double sum_abs(const T*, Index);                          \
  template bool all_finite(const T*, Index);                         \
  template void expect_finite(Outcome*, const T*, Index);
CR_DEFINE(float)
CR_DEFINE(double)

}  // namespace chainrule::cuda
