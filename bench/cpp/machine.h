// SPDX-License-Identifier: MIT
// What the machine can do, measured: the yardsticks of every share that the benchmarks print. Its rate drifts (other machines compute on the same
// hardware), so a share divides by a yardstick that was taken beside it, not by a constant.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include "kernels/kernels.h"
#include "tensor/arena.h"
#include "tensor/parallel.h"

namespace chainrule::bench {

inline double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

template <class F>
double seconds(F&& f) {
  const double start = now();
  f();
  return now() - start;
}

inline double median(std::vector<double> x) {
  const auto middle = x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2);
  std::nth_element(x.begin(), middle, x.end());
  return x.size() % 2 ? *middle : (*middle + *std::max_element(x.begin(), middle)) / 2;
}

// Uniform in low .. high, the same at every call: a hash of the index (the finalizer of MurmurHash3)
template <class T>
void fill(T* x, Index n, double low, double high) {
  for (Index i = 0; i < n; ++i) {
    auto h = static_cast<std::uint32_t>(i + 1);
    h = (h ^ h >> 16) * 0x85EBCA6Bu;
    h = (h ^ h >> 13) * 0xC2B2AE35u;
    x[i] = static_cast<T>(low + (high - low) * 0x1p-32 * (h ^ h >> 16));
  }
}

// ---- the loops, in vectors of `width` bytes: the benchmarks themselves are compiled for the plainest processor --------------------------------
namespace loops {

inline volatile float keep;             // so that no result is unused
inline volatile float factor = 0.999f;  // so that none is known to the compiler

template <int width>
struct Vector {
  typedef float type __attribute__((vector_size(width), aligned(4), may_alias));
};

// 2 flop an element of `sums` vectors, which are independent of each other: 8 hide a latency of 4 cycles at 2 a cycle
template <int width, int sums>
[[gnu::always_inline]] inline float multiply_adds(Index turns) {
  using V = typename Vector<width>::type;
  V s[sums], x = V{} + factor, y = 1 - x;
#pragma GCC unroll 32
  for (int j = 0; j < sums; ++j) s[j] = V{} + static_cast<float>(j);
  for (Index t = 0; t < turns; ++t) {
#pragma GCC unroll 32
    for (int j = 0; j < sums; ++j) s[j] = s[j] * x + y;
  }
#pragma GCC unroll 32
  for (int j = 1; j < sums; ++j) s[0] += s[j];
  return s[0][0];
}

// Two arrays at once: one alone keeps fewer of the prefetchers busy
template <int width>
[[gnu::always_inline]] inline float read(const float* x, const float* y, Index n, Index passes) {
  using V = typename Vector<width>::type;
  constexpr Index lanes = width / 4, step = 4 * lanes;
  V s[8] = {};
  for (; passes > 0; --passes)
    for (Index i = 0; i + step <= n; i += step) {
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        s[j] += *reinterpret_cast<const V*>(x + i + j * lanes);
        s[j + 4] += *reinterpret_cast<const V*>(y + i + j * lanes);
      }
    }
  for (int j = 1; j < 8; ++j) s[0] += s[j];
  return s[0][0];
}

// y += x / 16
template <int width>
[[gnu::always_inline]] inline float update(float* y, const float* x, Index n, Index passes) {
  using V = typename Vector<width>::type;
  constexpr Index lanes = width / 4, step = 4 * lanes;
  for (; passes > 0; --passes)
    for (Index i = 0; i + step <= n; i += step) {
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) *reinterpret_cast<V*>(y + i + j * lanes) += *reinterpret_cast<const V*>(x + i + j * lanes) * 0.0625f;
    }
  return y[0];
}

struct Level {
  int width, sums;
  float (*multiply_adds)(Index turns);
  float (*read)(const float*, const float*, Index, Index);
  float (*update)(float*, const float*, Index, Index);
};
#define CR_LEVEL(name, width, sums, target)                                                                                       \
  target inline float name##_multiply_adds(Index turns) { return multiply_adds<width, sums>(turns); }                             \
  target inline float name##_read(const float* x, const float* y, Index n, Index passes) { return read<width>(x, y, n, passes); } \
  target inline float name##_update(float* y, const float* x, Index n, Index passes) { return update<width>(y, x, n, passes); }   \
  constexpr Level name { width, sums, name##_multiply_adds, name##_read, name##_update }
CR_LEVEL(plain, 16, 12, );
#if defined(__x86_64__)
CR_LEVEL(avx2, 32, 12, [[gnu::target("avx2,fma")]]);
CR_LEVEL(avx512, 64, 24, [[gnu::target("avx512f,fma")]]);
inline const Level& best() { return __builtin_cpu_supports("avx512f") ? avx512 : __builtin_cpu_supports("fma") ? avx2 : plain; }
#else
inline const Level& best() { return plain; }
#endif
#undef CR_LEVEL

}  // namespace loops

// ---- GFLOP/s -----------------------------------------------------------------------------------------------------------------------------------
// Float32 multiply-adds from registers, `threads` at once: nothing computes faster.
inline double multiply_add_rate(int threads, double duration) {
  const loops::Level& level = loops::best();
  const Index turns = static_cast<Index>(duration * 3e9 / level.sums * 2);  // near enough at 3 GHz
  const double time = seconds([&] { parallel_for(threads, threads, [&](Index, int) { loops::keep = level.multiply_adds(turns); }); });
  return 2e-9 * threads * static_cast<double>(turns) * level.sums * (level.width / 4) / time;
}

// The 4096^3 sgemm of the BLAS, C cut into one strip of columns (or of rows) a thread: the machine's peak as bench.peers has it.
class LargeProduct {
 public:
  LargeProduct() : a_(size * size), b_(size * size), c_(size * size) { fill(a_.data(), size * size, -1, 1), fill(b_.data(), size * size, -1, 1); }
  double rate(int threads, bool columns) {
    const Index strip = (size + threads - 1) / threads;
    const double time = seconds([&] {
      parallel_for(threads, threads, [&](Index i, int) {
        const Index begin = i * strip, n = std::min(size, begin + strip) - begin;
        const float *a = a_.data(), *b = b_.data();
        if (columns)
          kernels<float>().gemm(false, false, size, n, size, 1.0f, a, size, b + begin, size, 0.0f, c_.data() + begin, size);
        else
          kernels<float>().gemm(false, false, n, size, size, 1.0f, a + begin * size, size, b, size, 0.0f, c_.data() + begin * size, size);
      });
    });
    return 2e-9 * static_cast<double>(size) * static_cast<double>(size) * static_cast<double>(size) / time;
  }

 private:
  static constexpr Index size = 4096;
  Block<float> a_, b_, c_;
};

// ---- GB/s --------------------------------------------------------------------------------------------------------------------------------------
// Over two arrays of `bytes` together, so that the size decides from which level of memory they come.
class Stream {
 public:
  explicit Stream(double bytes) : n_(std::max<Index>(1024, static_cast<Index>(bytes / 8) / 64 * 64)), x_(n_), y_(n_) {
    fill(x_.data(), n_, -1, 1), fill(y_.data(), n_, -1, 1);
  }
  // Sums of both arrays: 8 bytes an element.
  double read(int threads, double duration) {
    return rate(threads, duration, 8,
                [&](Index begin, Index n, Index passes) { loops::keep = loops::best().read(x_.data() + begin, y_.data() + begin, n, passes); });
  }
  // y += x / 16, as an optimizer's pass does: 12 bytes an element.
  double update(int threads, double duration) {
    return rate(threads, duration, 12,
                [&](Index begin, Index n, Index passes) { loops::keep = loops::best().update(y_.data() + begin, x_.data() + begin, n, passes); });
  }

 private:
  template <class F>
  double rate(int threads, double duration, double bytes, F&& pass) {
    const Index part = (n_ / threads + 63) / 64 * 64;
    const auto run = [&](Index passes) {
      return seconds([&] {
        parallel_for(threads, threads, [&](Index i, int) {
          const Index begin = std::min(n_, i * part);
          pass(begin, std::min(n_, begin + part) - begin, passes);
        });
      });
    };
    const Index passes = std::max<Index>(1, static_cast<Index>(duration / std::max(run(1), 1e-9)));
    return 1e-9 * bytes * static_cast<double>(n_) * static_cast<double>(passes) / run(passes);
  }

  Index n_;
  Block<float> x_, y_;
};

}  // namespace chainrule::bench
