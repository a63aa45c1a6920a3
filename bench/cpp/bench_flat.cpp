// SPDX-License-Identifier: MIT
// The other passes over flat memory: dropout, standardizing, sums of two values, sums over columns and blocks.
#include "bench.h"

using namespace chainrule;
using namespace chainrule::bench;

namespace {

template <class T>
void add_all() {
  const Kernels<T>& k = kernels<T>();
  for (const Index n : lengths) {
    const double block = static_cast<double>(n) * sizeof(T);
    // f(y, x, x2) reads or writes `blocks` times n elements; 1: it only reads
    const auto flat = [=](const std::string& name, double blocks, auto f) {
      add(label<T>(name, n), [=](Measure& m) {
        std::vector<T> y = random<T>(n, 0, 1);
        const std::vector<T> x = random<T>(n, 0.5, 1), x2 = random<T>(n, 0.5, 1);
        const auto body = [&] { f(y.data(), x.data(), x2.data()); };
        blocks == 1 ? m.read(block, block, body) : m.bytes(blocks * block, blocks * block, body);
      });
    };
    const Index columns = 64, rows = n / columns;
    flat("dropout", 2, [=, &k](T* y, const T* x, const T*) { k.dropout(y, x, 0, n, 1, 2, 3, 4, 1u << 31, T(2), Accum::Overwrite); });
    flat("standardize", 2, [=, &k](T* y, const T* x, const T* x2) { k.standardize_forward(y, x, x2, x2, rows, columns); });
    flat("standardize_backward", 2, [=, &k](T* y, const T* x, const T* x2) { k.standardize_backward(y, x, x2, rows, columns, Accum::Overwrite); });
    flat("norm_forward", 2, [=, &k](T* y, const T* x, const T* x2) { k.norm_forward(y, x, x2, x2, rows, columns, 1e-5, true); });
    flat("norm_backward", 3, [=, &k](T* y, const T* x, const T* x2) { k.norm_backward(y, x2, x, x2, rows, columns, 1e-5, true, Accum::Overwrite); });
    flat("norm_gradient", 2,
         [=, &k](T* y, const T* x, const T* x2) { k.norm_gradient(y, y + columns, x2, x, rows, columns, 1e-5, true, T(1), T(0)); });
    static double sums[2 * 64];
    flat("column_moments", 1, [=, &k](T*, const T* x, const T*) {
      k.column_moments(sums, sums + columns, x, rows, columns);
      benchmark::DoNotOptimize(sums[0]);
    });
    flat("column_products", 2, [=, &k](T*, const T* x, const T* x2) {
      k.column_products(sums, sums + columns, x2, x, x, rows, columns);
      benchmark::DoNotOptimize(sums[0]);
    });
    flat("affine_forward", 2, [=, &k](T* y, const T* x, const T* x2) { k.affine_forward(y, x, x2, x2, x2, rows, columns); });
    flat("affine_backward", 3,
         [=, &k](T* y, const T* x, const T* x2) { k.affine_backward(y, x2, x, x2, x2, x2, x2, rows, columns, Accum::Overwrite); });
    flat("add", 2, [=, &k](T* y, const T* x, const T*) { k.add(y, x, n, Accum::Overwrite); });
    flat("multiply", 3, [=, &k](T* y, const T* x, const T* x2) { k.multiply(y, x, x2, n, Accum::Overwrite); });
    flat("column_sum", 1, [=, &k](T* y, const T* x, const T*) { k.column_sum(y, x, rows, columns, columns, T(1), T(0)); });
    flat("sum_square", 1, [=, &k](T*, const T* x, const T*) { benchmark::DoNotOptimize(k.sum_square(x, n)); });
    flat("sum_abs", 1, [=, &k](T*, const T* x, const T*) { benchmark::DoNotOptimize(k.sum_abs(x, n)); });
    flat("all_finite", 1, [=, &k](T*, const T* x, const T*) { benchmark::DoNotOptimize(k.all_finite(x, n)); });
    flat("add_penalty", 3, [=, &k](T* y, const T* x, const T*) { k.add_penalty(y, x, n, 1e-30, 1e-30); });
    flat("outer_step", 2,
         [=, &k](T* y, const T* x, const T* x2) { benchmark::DoNotOptimize(k.outer_step(rows / 2, columns, T(1e-3), x, x2, T(0.9), y, y + n / 2)); });
    flat("sum_slots", 1.125, [=, &k](T* y, const T* x, const T*) { k.sum_slots(y, x, 8, n / 8, n / 8); });
  }
}

}  // namespace

int main(int argc, char** argv) {
  add_all<float>(), add_all<double>();
  return run_all(argc, argv);
}
