// SPDX-License-Identifier: MIT
// Each activation of the registry, g'(z) da, and g' with g''.
#include "bench.h"

using namespace chainrule;
using namespace chainrule::bench;

namespace {

template <class T>
void add_all() {
  const Kernels<T>& k = kernels<T>();
  for (int i = 0; i < k.n_activations; ++i) {
    const ActivationKernel<T>& g = k.activations[i];
    const T p = static_cast<T>(g.parameter);
    for (const Index n : lengths) {
      const double bytes = static_cast<double>(n) * sizeof(T);
      add(label<T>(g.name, n), [=](Measure& m) {
        std::vector<T> z = random<T>(n, -4, 4), a = z;
        m.bytes(2 * bytes, 2 * bytes, [&] { g.forward(a.data(), z.data(), nullptr, 1, n, n, p); });
      });
      if (i == 0) continue;  // identity: dz = da, in place, and g' = 1
      add(label<T>(std::string(g.name) + "_derivatives", n), [=](Measure& m) {
        const std::vector<T> z = random<T>(n, -4, 4);
        std::vector<T> g1 = z, g2 = z;
        m.bytes(3 * bytes, 3 * bytes, [&] { g.derivatives(g1.data(), g2.data(), z.data(), n, p); });
      });
      add(label<T>(std::string(g.name) + "_backward", n), [=](Measure& m) {
        const std::vector<T> z = random<T>(n, -4, 4), a = random<T>(n, 0, 1);
        std::vector<T> dz(z.size(), T(0));  // 0 stays 0: anything else shrinks to denormal numbers, in place again and again
        m.bytes(3 * bytes, 2 * bytes, [&] { g.backward(dz.data(), z.data(), a.data(), 1, n, n, p); });
      });
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  add_all<float>(), add_all<double>();
  return run_all(argc, argv);
}
