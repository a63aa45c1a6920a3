// SPDX-License-Identifier: MIT
// What a kernel finds: its indices, barriers, shuffles, votes, atomics, intrinsics. Each barrier and shuffle knows its place in the source by default
// arguments, so that a fault can name it.
#pragma once
#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <new>

inline uint3 threadIdx, blockIdx;  // written by the scheduler at every switch
inline dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace emulation {
enum class WarpOp { Sync, Shuffle, Ballot };
// `value` is what this lane publishes, `source` the lane it wants to read. Returns what it read, or the ballot.
std::uint64_t warp_barrier(WarpOp, unsigned mask, std::uint64_t value, int source, const char* file, int line);
void block_barrier(const char* file, int line);
int lane();
void* dynamic_shared();
void on_atomic(const void* p, std::size_t n);

template <class T>
T shuffle(unsigned mask, T v, int source, const char* file, int line) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  std::uint64_t raw = 0;
  std::memcpy(&raw, &v, sizeof v);
  raw = warp_barrier(WarpOp::Shuffle, mask, raw, source, file, line);
  std::memcpy(&v, &raw, sizeof v);
  return v;
}
// *p <- f(old); returns old
template <class T, class F>
T atomically(T* p, F f) {
  on_atomic(p, sizeof(T));
  std::atomic_ref<T> r(*p);
  T old = r.load(std::memory_order_relaxed);
  while (!r.compare_exchange_weak(old, f(old), std::memory_order_relaxed)) {
  }
  return old;
}
}  // namespace emulation

#define EMULATION_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(EMULATION_HERE) { emulation::block_barrier(file, line); }
inline void __syncwarp(unsigned mask = 0xffffffffu, EMULATION_HERE) { emulation::warp_barrier(emulation::WarpOp::Sync, mask, 0, 0, file, line); }
inline void __threadfence() {}
inline void __threadfence_block() {}

template <class T>
T __shfl_sync(unsigned mask, T v, int source, int width = 32, EMULATION_HERE) {
  return emulation::shuffle(mask, v, (emulation::lane() & ~(width - 1)) + (source & (width - 1)), file, line);
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32, EMULATION_HERE) {
  const int l = emulation::lane(), to = l + static_cast<int>(delta);
  return emulation::shuffle(mask, v, (l & (width - 1)) + static_cast<int>(delta) < width ? to : l, file, line);
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32, EMULATION_HERE) {
  const int l = emulation::lane();
  return emulation::shuffle(mask, v, (l & (width - 1)) >= static_cast<int>(delta) ? l - static_cast<int>(delta) : l, file, line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32, EMULATION_HERE) {
  const int l = emulation::lane(), to = l ^ bits;
  return emulation::shuffle(mask, v, to / width <= l / width ? to : l, file, line);
}
inline unsigned __ballot_sync(unsigned mask, int vote, EMULATION_HERE) {
  return static_cast<unsigned>(emulation::warp_barrier(emulation::WarpOp::Ballot, mask, vote != 0, 0, file, line));
}
inline int __any_sync(unsigned mask, int vote, EMULATION_HERE) { return __ballot_sync(mask, vote, file, line) != 0; }
inline int __all_sync(unsigned mask, int vote, EMULATION_HERE) { return __ballot_sync(mask, !vote, file, line) == 0; }

template <class T>
T atomicAdd(T* p, std::type_identity_t<T> v) {
  return emulation::atomically(p, [=](T old) { return static_cast<T>(old + v); });
}
template <class T>
T atomicExch(T* p, std::type_identity_t<T> v) {
  return emulation::atomically(p, [=](T) { return v; });
}
template <class T>
T atomicOr(T* p, std::type_identity_t<T> v) {
  return emulation::atomically(p, [=](T old) { return static_cast<T>(old | v); });
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> v) {
  return emulation::atomically(p, [=](T old) { return std::max(old, v); });
}
template <class T>
T atomicMin(T* p, std::type_identity_t<T> v) {
  return emulation::atomically(p, [=](T old) { return std::min(old, v); });
}
template <class T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v) {
  return emulation::atomically(p, [=](T old) { return old == expected ? v : old; });
}

template <class T>
T __ldg(const T* p) {
  return *p;
}
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((static_cast<std::uint64_t>(a) * b) >> 32); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return x ? std::countr_zero(static_cast<unsigned>(x)) + 1 : 0; }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
