// SPDX-License-Identifier: MIT
// Nanoseconds an element of the kernels in the instruction set in use, on 4,096 elements (first-level cache): the columns "items_per_second" inverted.
// Activations and losses come from their registries. tests/cpp/test_kernels.cpp says that what is timed here is right.
#include <benchmark/benchmark.h>

#include <random>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "network/losses.h"

using namespace chainrule;

namespace {

constexpr Index size = 4096;

template <class T>
std::vector<T> random(double low, double high) {
  std::mt19937 source(0);
  std::uniform_real_distribution<double> draw(low, high);
  std::vector<T> x(size);
  for (T& v : x) v = static_cast<T>(draw(source));
  return x;
}

template <class Body>
void measure(const std::string& name, Index elements, Body body) {
  benchmark::RegisterBenchmark(name.c_str(), [elements, body](benchmark::State& state) mutable {
    for (auto _ : state) {
      body();
      benchmark::ClobberMemory();
    }
    state.SetItemsProcessed(state.iterations() * elements);
  });
}

template <class T>
void add_all(const std::string& type) {
  const Kernels<T>& k = kernels<T>();
  const std::string prefix = std::string(k.isa) + "/" + type + "/";
  const std::vector<T> z = random<T>(-4, 4), y = random<T>(0, 1);
  const std::vector<std::int32_t> labels(size, 0);
  for (int i = 0; i < k.n_activations; ++i) {
    const ActivationKernel<T>& g = k.activations[i];
    const T p = static_cast<T>(g.parameter);
    measure(prefix + g.name, size, [=, in = z, a = z]() mutable { g.forward(a.data(), in.data(), nullptr, 1, size, size, p); });
    measure(prefix + g.name + "_backward", size, [=, da = z]() mutable {
      da = z;  // or it shrinks to denormal numbers
      g.backward(da.data(), z.data(), y.data(), 1, size, size, p);
    });
  }
  for (const Index cols : {1, 3, 10, 100, 1000}) {
    const Index rows = size / cols, n = rows * cols;
    const std::string end = "/" + std::to_string(cols);
    measure(prefix + "softmax" + end, n, [=, &k, a = z]() mutable { k.softmax_forward(a.data(), z.data(), rows, cols); });
    const auto loss = [&](const char* name, LossKernel<T> kernel, const std::vector<T>& x, bool by_label) {
      measure(prefix + name + end, n, [=, dx = z, p = 0.5]() mutable {
        benchmark::DoNotOptimize(kernel({x.data(), dx.data(), Accum::Overwrite, by_label ? nullptr : y.data(), by_label ? labels.data() : nullptr,
                                         nullptr, 0.1, rows, cols, &p}));
      });
    };
    for (const LossRule<T>& rule : loss_rules<T>) {
      loss(rule.name, k.*rule.of_a, y, rule.kind == LossKind::CrossEntropy);
      if (rule.of_z) loss(rule.fused, k.*rule.of_z, z, rule.kind == LossKind::CrossEntropy);
    }
    measure(prefix + "column_sum" + end, n, [=, &k, db = z]() mutable { k.column_sum(db.data(), z.data(), rows, cols, cols, T(1), T(0)); });
  }
  const auto update = [&](const char* name, UpdateKernel<T> kernel, double l2) {
    measure(prefix + name, size, [=, w = z, m = z, v = y]() mutable {
      kernel({w.data(), y.data(), 1, size, m.data(), v.data(), size, 1e-9, 0.9, 0.99, 1e-8, 1, 1, false, false, 1, 0, l2, 0, 0});
    });
  };
  update("sgd_momentum", k.sgd, 0), update("sgd_momentum_l2", k.sgd, 1e-4), update("rmsprop", k.rmsprop, 0), update("adam", k.adam, 0);
  measure(prefix + "dropout", size,
          [=, &k, a = z]() mutable { k.dropout(a.data(), z.data(), 0, size, 1, 2, 3, 4, 1u << 31, T(2), Accum::Overwrite); });
  measure(prefix + "sum_square", size, [=, &k]() { benchmark::DoNotOptimize(k.sum_square(z.data(), size)); });
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  add_all<float>("float32");
  add_all<double>("float64");
  benchmark::RunSpecifiedBenchmarks();
}
