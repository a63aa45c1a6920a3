// SPDX-License-Identifier: MIT
// The products of sparse rows with W: "<forward or backward>/<stored of n_in>x<units>/<rows>", 2 flop for each stored number and unit.
#include "bench.h"

using namespace chainrule;
using namespace chainrule::bench;

namespace {

template <class T>
void add_size(Index rows, Index n_in, Index stored, Index units) {
  const Kernels<T>& k = kernels<T>();
  const auto product = [=](const std::string& name, auto f) {
    add(label<T>(name + "/" + std::to_string(stored) + "of" + std::to_string(n_in) + "x" + std::to_string(units), rows), [=](Measure& m) {
      std::vector<Index> begin;
      std::vector<std::int32_t> column;
      const Index apart = n_in / stored;
      for (Index i = 0; i < rows; ++i) {
        begin.push_back(i * stored);
        for (Index e = 0; e < stored; ++e)
          column.push_back(static_cast<std::int32_t>(e * apart + (7 * i + e) % apart));  // increasing, others in each row
      }
      begin.push_back(rows * stored);
      const std::vector<T> value = random<T>(rows * stored, -1, 1);
      std::vector<T> z = random<T>(rows * units, -1, 1), w = random<T>(units * n_in, -1, 1);
      const SparseArgs<T> x{begin.data(), column.data(), value.data(), rows};
      m.flop(2.0 * static_cast<double>(rows * stored * units), [&] { f(z.data(), w.data(), x); });
    });
  };
  product("sparse_forward", [=, &k](T* z, const T* w, const SparseArgs<T>& x) { k.sparse_forward(z, units, x, n_in, w, units); });
  product("sparse_backward",
          [=, &k](const T* dz, T* dw, const SparseArgs<T>& x) { k.sparse_backward(dw, dz, units, x, n_in, units, T(-1e-9), T(1)); });
}

template <class T>
void add_all() {
  add_size<T>(64, 1000, 10, 100);
  add_size<T>(128, 20000, 100, 256);
  add_size<T>(128, 784, 150, 256);
}

}  // namespace

int main(int argc, char** argv) {
  add_all<float>(), add_all<double>();
  return run_all(argc, argv);
}
