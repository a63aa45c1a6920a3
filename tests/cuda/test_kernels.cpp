// SPDX-License-Identifier: MIT
// Activations, softmax, losses and products of the device's table beside the CPU's.
#include "device_check.h"
#include "network/losses.h"

namespace {

template <class T>
void test_activations() {
  for (int i = 0; i < kernels<T>().n_activations; ++i) {
    const ActivationKernel<T>& expected = kernels<T>().activations[i];
    const ActivationKernel<T>& found = cuda::table<T>().activations[i];
    check(std::string(found.name) == expected.name && std::string(found.init) == expected.init && found.needs_z == expected.needs_z &&
              found.has_parameter == expected.has_parameter && found.parameter == expected.parameter && found.kinks == expected.kinks &&
              found.kink[0] == expected.kink[0] && found.kink[1] == expected.kink[1],
          "registry entry ", std::to_string(i));
    const std::string name = expected.name;
    const T p = static_cast<T>(expected.parameter);
    for (const Index rows : {0, 1, 3, 40})
      for (const Index cols : sizes)
        for (const Index pad : {0, 3}) {
          if (too_large(rows, cols) || (pad && cols > 33)) continue;
          const Index ld = cols + pad, n = rows * ld;
          const Arrays<T> arrays{{random<T>(n, -6, 6), random<T>(n), random<T>(cols)}};
          const auto k = [i](const Kernels<T>& table) { return table.activations[i]; };
          const int launches = n > 0 && cols > 0;
          compare<T>(
              name, arrays,
              [&](const Kernels<T>& t, const Pointers<T>& at) {
                k(t).forward(at.numbers[1], at.numbers[0], at.numbers[2], rows, cols, ld, p);
                return 0.0;
              },
              false, launches);
          compare<T>(
              name + " in place", arrays,
              [&](const Kernels<T>& t, const Pointers<T>& at) {
                k(t).forward(at.numbers[0], at.numbers[0], cols % 2 ? at.numbers[2] : nullptr, rows, cols, ld, p);
                return 0.0;
              },
              false, launches);
          compare<T>(
              name + " backward", arrays,
              [&](const Kernels<T>& t, const Pointers<T>& at) {
                const T* z = k(t).needs_z ? at.numbers[0] : nullptr;
                k(t).backward(at.numbers[1], z, z ? nullptr : at.numbers[0], rows, cols, ld, p);
                return 0.0;
              },
              false, launches && i > 0);
          if (rows == 1 && pad == 0)
            compare<T>(
                name + " derivatives", Arrays<T>{{arrays.numbers[0], arrays.numbers[1], arrays.numbers[1]}},
                [&](const Kernels<T>& t, const Pointers<T>& at) {
                  k(t).derivatives(at.numbers[1], at.numbers[2], at.numbers[0], n, p);
                  return 0.0;
                },
                false, launches);
        }
  }
}

template <class T>
void test_softmax() {
  const T infinity = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  const auto forward = [](Index rows, Index cols, bool in_place) {
    return [=](const Kernels<T>& t, const Pointers<T>& at) {
      t.softmax_forward(at.numbers[in_place ? 0 : 1], at.numbers[0], rows, cols);
      return 0.0;
    };
  };
  for (const Index rows : {0, 1, 2, 5, 130})
    for (const Index cols : sizes) {
      if (too_large(rows, cols)) continue;
      const int launches = rows * cols > 0;
      const Arrays<T> arrays{{random<T>(rows * cols, -10, 10), random<T>(rows * cols)}};
      compare<T>("softmax", arrays, forward(rows, cols, false), false, launches);
      compare<T>("softmax in place", arrays, forward(rows, cols, true), false, launches);
      for (const Accum accum : {Accum::Overwrite, Accum::Add})
        compare<T>(
            "softmax_backward", Arrays<T>{{random<T>(rows * cols, 0, 1), random<T>(rows * cols), random<T>(rows * cols)}},
            [&](const Kernels<T>& t, const Pointers<T>& at) {
              t.softmax_backward(at.numbers[accum == Accum::Add ? 2 : 1], at.numbers[1], at.numbers[0], rows, cols, accum);
              return 0.0;
            },
            false, launches);
    }
  compare<T>("softmax at extremes", Arrays<T>{{{T(1e4), T(-1e4), 0, T(-150), nan, 1, 1, nan, 2, -infinity, 3, 4}, std::vector<T>(12)}},
             forward(4, 3, false));
}

template <class T>
void test_loss(const std::string& name, LossKernel<T> Kernels<T>::* kernel, bool labels, const std::vector<double>& p = {}) {
  const bool shares = name == "cross_entropy" || name == "binary_cross_entropy" || name == "poisson", counts = name == "exp_poisson";
  const bool logits = name.rfind("so", 0) == 0 || name.rfind("si", 0) == 0, real = !shares && !logits;
  const Index levels = std::max<Index>(1, static_cast<Index>(p.size()));
  const auto run = [&](Index rows, Index cols, int way, const Arrays<T>& arrays) {
    const bool by_label = way & 1, weighted = way & 2, adding = way & 4;
    compare<T>(
        name, arrays,
        [&](const Kernels<T>& t, const Pointers<T>& at) {
          return (t.*kernel)({at.numbers[0], way & 8 ? nullptr : at.numbers[1], adding ? Accum::Add : Accum::Overwrite,
                              by_label ? nullptr : at.numbers[2], by_label ? at.labels[0] : nullptr, weighted ? at.numbers[3] : nullptr, 0.25, rows,
                              cols, p.data(), levels});
        },
        false, rows * cols > 0, 0.25);
  };
  for (const Index rows : {0, 1, 3, 131})
    for (const Index cols : sizes)
      for (int way = 0; way < 16; ++way) {
        if (too_large(rows, cols) || cols % levels || ((way & 1) && !labels) || (way > 8 && cols > 33)) continue;
        const double width = logits ? 8 : counts ? 3 : 1;
        Arrays<T> arrays{{random<T>(rows * cols, logits || real ? -width : 0.02, logits || real ? width : 0.98), random<T>(rows * cols),
                          random<T>(rows * cols / levels, 0, counts ? 9 : 1), random<T>(rows, 0.5, 2)},
                         {std::vector<std::int32_t>(static_cast<std::size_t>(rows))}};
        for (auto& l : arrays.labels[0]) l = static_cast<std::int32_t>(uniform(0, static_cast<double>(cols)));
        if (rows > 1) arrays.numbers[3][1] = 0;
        run(rows, cols, way, arrays);
      }
  // what is not finite: NaN stays unless its row has weight 0
  if (levels > 2) return;
  const T nan = std::numeric_limits<T>::quiet_NaN();
  for (const T bad : {nan, shares ? T(0) : counts ? T(80) : T(1e4)})
    run(2, 2, 2, Arrays<T>{{{bad, T(0.5), T(0.25), bad}, std::vector<T>(4), {0, 1, 1, 0}, {0, 1}}});
}

template <class T>
void test_losses() {
  for (const LossRule<T>& rule : loss_rules<T>) {
    const std::vector<double> p(rule.parameters == LossParameters::None ? 0 : 1, 0.25);
    test_loss<T>(rule.name, rule.of_a, rule.labels, p);
    if (rule.of_z) test_loss<T>(rule.fused, rule.of_z, rule.labels, p);
  }
  test_loss<T>("quantile", &Kernels<T>::quantile, false, {0.1, 0.5, 0.75});
  // too many parameters: an error that stays in the context
  const std::vector<double> p(257, 0.5);
  OnDevice<T> x(random<T>(257)), y(random<T>(1));
  cuda::table<T>().quantile({x.data(), nullptr, Accum::Overwrite, y.data(), nullptr, nullptr, 1, 1, 257, p.data(), 257});
  check(std::string(cuda::current().text).find("257 parameters") != std::string::npos, "257 quantiles: ", cuda::current().text);
  cuda::forget_error(cuda::current());
}

template <class T>
void test_gemm() {
  for (const bool ta : {false, true})
    for (const bool tb : {false, true})
      for (const Index m : {0, 1, 3, 17})
        for (const Index n : {0, 1, 7, 33})
          for (const Index k : {0, 1, 4, 65})
            for (const T beta : {T(0), T(-0.5)}) {
              const Index lda = (ta ? m : k) + 3, ldb = (tb ? k : n) + 1, ldc = n + 2;
              Arrays<T> arrays{{random<T>((ta ? k : m) * lda), random<T>((tb ? n : k) * ldb), random<T>(m * ldc)}};
              if (beta == T(0))
                for (Index i = 0; i < m; ++i)  // beta = 0: C is not read
                  for (Index j = 0; j < n; ++j) arrays.numbers[2][static_cast<std::size_t>(i * ldc + j)] = std::numeric_limits<T>::quiet_NaN();
              compare<T>(
                  "gemm", arrays,
                  [&](const Kernels<T>& t, const Pointers<T>& at) {
                    t.gemm(ta, tb, m, n, k, T(0.75), at.numbers[0], lda, at.numbers[1], ldb, beta, at.numbers[2], ldc);
                    return 0.0;
                  },
                  false, m * n > 0);
            }
}

template <class T>
void test_all() {
  test_activations<T>();
  test_softmax<T>();
  test_losses<T>();
  test_gemm<T>();
}

}  // namespace

int main() {
  return in_context([] {
    test_all<float>();
    test_all<double>();
  });
}
