// SPDX-License-Identifier: MIT
// Softmax, and the losses of the registry with their gradients, on a batch of about 32,768 elements: "<loss>/<columns>/<elements>". Every one reads x and writes dx; values y
// are read too, labels are not counted.
#include "bench.h"
#include "network/losses.h"

using namespace chainrule;
using namespace chainrule::bench;

namespace {

template <class T>
void add_loss(const std::string& name, LossKernel<T> kernel, Index rows, Index columns, bool with_labels) {
  const Index n = rows * columns;
  add(label<T>(name + "/" + std::to_string(columns), n), [=](Measure& m) {
    const std::vector<T> x = random<T>(n, 0.1, 0.9), y = random<T>(n, 0, 1);
    const std::vector<std::int32_t> labels(static_cast<std::size_t>(rows), 0);
    std::vector<T> dx = x;
    const double p = 0.5;
    const LossArgs<T> args{
        x.data(), dx.data(), Accum::Overwrite, with_labels ? nullptr : y.data(), with_labels ? labels.data() : nullptr, nullptr, 0.1, rows,
        columns,  &p};
    const double blocks = with_labels ? 2 : 3, bytes = blocks * static_cast<double>(n) * sizeof(T);
    m.bytes(bytes, bytes, [&] { benchmark::DoNotOptimize(kernel(args)); });
  });
}

template <class T>
void add_all() {
  const Kernels<T>& k = kernels<T>();
  for (const Index columns : {1, 3, 10, 100, 1000}) {
    const Index rows = 32768 / columns, n = rows * columns;
    const double bytes = static_cast<double>(n) * sizeof(T);
    add(label<T>("softmax/" + std::to_string(columns), n), [=, &k](Measure& m) {
      std::vector<T> z = random<T>(n, -4, 4), a = z;
      m.bytes(2 * bytes, 2 * bytes, [&] { k.softmax_forward(a.data(), z.data(), rows, columns); });
    });
    add(label<T>("softmax_backward/" + std::to_string(columns), n), [=, &k](Measure& m) {
      std::vector<T> da = random<T>(n, -1, 1), a = random<T>(n, 0, 1), dz = da;
      m.bytes(3 * bytes, 3 * bytes, [&] { k.softmax_backward(dz.data(), da.data(), a.data(), rows, columns, Accum::Overwrite); });
    });
    for (const LossRule<T>& rule : loss_rules<T>) {
      const bool with_labels = rule.kind == LossKind::CrossEntropy;
      add_loss<T>(rule.name, k.*rule.of_a, rows, columns, with_labels);
      if (rule.of_z) add_loss<T>(rule.fused, k.*rule.of_z, rows, columns, with_labels);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  add_all<float>(), add_all<double>();
  return run_all(argc, argv);
}
