// SPDX-License-Identifier: MIT
// What the kernels of this folder share: launching, loads of 16 bytes, sums in a fixed order.
#pragma once
#define CR_ISA cuda
#include <type_traits>

#include "kernels/cuda/context.h"
#include "kernels/cuda/index.h"
#include "math/fastmath.h"

namespace chainrule::cuda {

constexpr int warp = 32;
constexpr unsigned all_lanes = 0xffffffffu;
// A block has up to 1024 threads (in tests), which leaves a kernel 64 registers; arithmetic in double needs more, so there 512 have to do.
template <class T>
constexpr int most_threads = sizeof(T) == 8 ? 512 : 1024;
// 1: without it nvcc makes room for a second such block, and spills.
#define CR_KERNEL(most) __global__ void __launch_bounds__(most, 1)

// ---- launching ------------------------------------------------------------------------------------------------------------------------------

// Threads of a block, a multiple of 32: `usual` unless a test says otherwise
inline int threads_of_block(int usual = 256) { return current().threads ? current().threads : usual; }
template <class T>
int threads_of_block(int usual = 256) {
  return static_cast<int>(smaller(threads_of_block(usual), most_threads<T>));
}
// Blocks for that many items, one a thread: at most what the card holds at once, since every kernel goes on in strides of the grid
inline Index blocks_for(Index items, int threads) {
  const Context& c = current();
  return larger(1, smaller(ceil_div(items, threads), static_cast<Index>(c.processors) * larger(1, c.threads_per_processor / threads)));
}

// cudaLaunchKernelEx and not <<<>>>: the one spelling that is C++, so that the emulation compiles it.
template <class... P, class... A>
void launch(void (*kernel)(P...), Index blocks, int threads, A... arguments) {
  Context& c = current();
  if (!c.ok()) return;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = c.stream;
  ++c.launches;
  c.check(cudaLaunchKernelEx(&config, kernel, static_cast<P>(arguments)...), "a kernel's launch");
}

__device__ __forceinline__ Index first_item() { return item_of(blockIdx.x, blockDim.x, threadIdx.x); }
__device__ __forceinline__ Index item_step() { return item_of(gridDim.x, blockDim.x, 0); }

// ---- loads and stores of N numbers at once --------------------------------------------------------------------------------------------------

template <class T, int N>
struct alignas(N * sizeof(T)) Pack {
  T v[N];
};
template <int N>
struct Width {
  static constexpr int value = N;
};

template <int N, class T>
__device__ __forceinline__ Pack<T, N> load(const T* p) {
  return *reinterpret_cast<const Pack<T, N>*>(p);
}
template <int N, class T>
__device__ __forceinline__ void store(T* p, const Pack<T, N>& x) {
  *reinterpret_cast<Pack<T, N>*>(p) = x;
}
// y (+)= x
template <int N, class T>
__device__ __forceinline__ void store(T* p, Pack<T, N> x, Accum accum) {
  if (accum == Accum::Add) {
    const Pack<T, N> old = load<N>(p);
    CR_UNROLL(4)
    for (int j = 0; j < N; ++j) x.v[j] += old.v[j];
  }
  store(p, x);
}

// f(Width<N>, e) for every pack [e, e + N) of the span and f(Width<1>, e) for its single elements
template <class F>
__device__ __forceinline__ void visit(const Span& s, F&& f) {
  for (Index i = first_item(); i < s.items(); i += item_step()) f(i);
}
template <class T, class F>
CR_KERNEL(1024) each_kernel(Span s, const __grid_constant__ F f) {
  visit(s, [&](Index i) {
    if (i < s.packs)
      f(Width<width<T>>{}, s.element(i));
    else
      f(Width<1>{}, s.element(i));
  });
}
template <class T, class F>
void each(const Span& s, const F& f) {
  if (s.n <= 0) return;
  const int threads = threads_of_block();
  launch(each_kernel<T, F>, blocks_for(s.items(), threads), threads, s, f);
}

// ---- sums -----------------------------------------------------------------------------------------------------------------------------------

struct Plus {
  template <class V>
  __device__ __forceinline__ V operator()(V a, V b) const {
    return a + b;
  }
};
// A NaN may or may not come through: whoever subtracts the result from its operands has it anyway.
struct Largest {
  template <class V>
  __device__ __forceinline__ V operator()(V a, V b) const {
    return b > a ? b : a;
  }
};

// over `lanes` neighbours of a warp, a power of two; all of them get the result, in an order that depends on `lanes` alone
template <class V, class Op>
__device__ __forceinline__ V reduce_lanes(V v, int lanes, Op op) {
  for (int o = lanes / 2; o > 0; o /= 2) v = op(v, __shfl_xor_sync(all_lanes, v, o));
  return v;
}
// over the block; all threads get it
template <class V, class Op>
__device__ __forceinline__ V reduce_block(V v, V identity, Op op) {
  __shared__ V part[warp];
  const int lane = static_cast<int>(threadIdx.x) % warp, w = static_cast<int>(threadIdx.x) / warp;
  v = reduce_lanes(v, warp, op);
  __syncthreads();  // a sum before this one may still be read
  if (lane == 0) part[w] = v;
  __syncthreads();
  v = lane < static_cast<int>(blockDim.x) / warp ? part[lane] : identity;
  return reduce_lanes(v, warp, op);
}

// K sums over the grid. One block hands them to `to`; several leave them in partial[k * blocks + block] for finish_kernel.
template <int K, class To>
__device__ __forceinline__ void deliver(const double (&sum)[K], double* partial, const To& to) {
  double total[K];
  for (int k = 0; k < K; ++k) total[k] = reduce_block(sum[k], 0.0, Plus{});
  if (threadIdx.x != 0) return;
  if (gridDim.x == 1)
    to(total);
  else
    for (int k = 0; k < K; ++k) partial[k * static_cast<Index>(gridDim.x) + blockIdx.x] = total[k];
}
// A few KB: what it takes is its launch. One block, so that the order is one order.
template <int K, class To>
CR_KERNEL(1024) finish_kernel(const double* partial, Index blocks, const __grid_constant__ To to) {
  double sum[K];
  for (int k = 0; k < K; ++k) {
    sum[k] = 0;
    for (Index b = threadIdx.x; b < blocks; b += blockDim.x) sum[k] += partial[k * blocks + b];
  }
  deliver(sum, static_cast<double*>(nullptr), to);
}

// Blocks of a kernel that ends in `deliver`: a small one takes a few strides in one block, which saves the second launch
template <int K>
Index blocks_for_sums(Index items, int threads) {
  return items <= 4 * static_cast<Index>(threads) ? 1 : smaller(blocks_for(items, threads), current().scratch_size / K);
}
template <int K, class To>
void finish(Index blocks, const To& to) {
  if (blocks > 1) launch(finish_kernel<K, To>, 1, threads_of_block(), current().scratch, blocks, to);
}

// f(Width, e, sums) adds what it likes to the thread's sums; `to` gets them all
template <class T, int K, class F, class To>
CR_KERNEL(most_threads<T>) sum_kernel(Span s, const __grid_constant__ F f, double* partial, const __grid_constant__ To to) {
  double sum[K] = {};
  visit(s, [&](Index i) {
    if (i < s.packs)
      f(Width<width<T>>{}, s.element(i), sum);
    else
      f(Width<1>{}, s.element(i), sum);
  });
  deliver(sum, partial, to);
}
template <class T, int K, class F, class To>
void each_sum(const Span& s, const F& f, const To& to) {
  const int threads = threads_of_block<T>();
  const Index blocks = blocks_for_sums<K>(s.items(), threads);
  launch(sum_kernel<T, K, F, To>, blocks, threads, s, f, current().scratch, to);
  finish<K>(blocks, to);
}

// ---- numbers on their way to the host ---------------------------------------------------------------------------------------------------------

// Where `to` leaves a total that is returned by value
struct Into {
  double* total;
  __device__ __forceinline__ void operator()(const double* sum) const { *total = sum[0]; }
};
// The context's own outcome, cleared, for a call that has none; and back, after waiting.
inline Outcome* fresh_outcome() {
  Context& c = current();
  c.check(cudaMemsetAsync(c.outcome, 0, sizeof(Outcome), c.stream), "cudaMemsetAsync");
  return c.outcome;
}
inline Outcome read_outcome() {
  Context& c = current();
  Outcome host{};
  c.check(cudaMemcpyAsync(&host, c.outcome, sizeof host, cudaMemcpyDeviceToHost, c.stream), "cudaMemcpyAsync");
  synchronize(c);
  return host;
}

}  // namespace chainrule::cuda
