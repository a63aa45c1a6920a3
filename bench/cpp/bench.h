// SPDX-License-Identifier: MIT
// How a kernel is measured with Google Benchmark: its rate on one thread and the share of the machine's own, taken right before and after.
#pragma once
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "machine.h"

namespace chainrule::bench {

constexpr double yardstick = 1e-3;  // seconds of one

class Measure {
 public:
  explicit Measure(benchmark::State& state) : state_(state) {}

  // `flop` of one body. 100 % of peak: multiply-adds from registers.
  template <class F>
  void flop(double flop, F&& body) {
    run("GFLOP/s", flop, [] { return multiply_add_rate(1, yardstick); }, body);
  }
  // `bytes` that one body reads and writes, as kernels.h says it: what it reads twice counts once. 100 % of peak: `y += c x` over `memory` bytes, those
  // that the body touches.
  template <class F>
  void bytes(double bytes, double memory, F&& body) {
    Stream stream(memory);
    run("GB/s", bytes, [&] { return stream.update(1, yardstick); }, body);
  }
  // The same of a body that only reads, or whose results stay in the first-level cache.
  template <class F>
  void read(double bytes, double memory, F&& body) {
    Stream stream(memory);
    run("GB/s", bytes, [&] { return stream.read(1, yardstick); }, body);
  }

 private:
  // The best of a few yardsticks on each side: one alone may be the one that was interrupted.
  template <class Peak, class F>
  void run(const char* unit, double work, Peak&& peak, F& body) {
    double best = 0;
    const auto look = [&] {
      for (int i = 0; i < 4; ++i) best = std::max(best, peak());
    };
    look();
    const double time = seconds([&] {
      for (auto _ : state_) {
        body();
        benchmark::ClobberMemory();
      }
    });
    look();
    const double rate = 1e-9 * work * static_cast<double>(state_.iterations()) / time;
    state_.counters[unit] = rate;
    state_.counters["% of peak"] = 100 * rate / best;
  }
  benchmark::State& state_;
};

// f(measure) makes its data, then calls one of measure's functions once.
template <class F>
void add(const std::string& name, F f) {
  benchmark::RegisterBenchmark(name.c_str(), [f](benchmark::State& state) {
    Measure measure(state);
    f(measure);
  });
}

template <class T>
std::vector<T> random(Index n, double low, double high) {
  std::vector<T> x(static_cast<std::size_t>(n));
  fill(x.data(), n, low, high);
  return x;
}

// "v3/float32/sgd/4096": set, type, what, elements
template <class T>
std::string label(const std::string& what, Index n) {
  return std::string(kernels<T>().isa) + (sizeof(T) == 4 ? "/float32/" : "/float64/") + what + "/" + std::to_string(n);
}

// First-level cache, a tile of the executor (second level), memory
inline const std::vector<Index> lengths{4096, 32768, Index{1} << 24};

inline int run_all(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace chainrule::bench
