// SPDX-License-Identifier: MIT
// Activations, softmax and losses of the kernel table (of the instruction set in use: run it once for each value of CHAINRULE_ISA) against their
// equations in long double, at ragged sizes, unaligned, in place and adding.
#include <cstring>
#include <functional>
#include <map>

#include "kernel_check.h"
#include "network/losses.h"

namespace {

// The activations again, each as the textbook has it
const std::map<std::string, std::function<Real(Real, Real)>> textbook = {
    {"identity", [](Real z, Real) { return z; }},
    {"sigmoid", [](Real z, Real) { return 1 / (1 + std::exp(-z)); }},
    {"tanh", [](Real z, Real) { return std::tanh(z); }},
    {"relu", [](Real z, Real) { return z > 0 ? z : 0; }},
    {"leaky_relu", [](Real z, Real p) { return z > 0 ? z : p * z; }},
    {"elu", [](Real z, Real p) { return z > 0 ? z : p * std::expm1(z); }},
    {"selu", [](Real z, Real) { return 1.0507009873554804934193L * (z > 0 ? z : 1.6732632423543772848170L * std::expm1(z)); }},
    {"softplus", [](Real z, Real) { return z > 0 ? z + std::log1p(std::exp(-z)) : std::log1p(std::exp(z)); }},
    {"gelu", [](Real z, Real) { return z / 2 * std::erfc(-z / std::sqrt(Real(2))); }},
    {"gelu_tanh", [](Real z, Real) { return z / (1 + std::exp(-2 * std::sqrt(2 / std::acos(Real(-1))) * (z + 0.044715L * z * z * z))); }},
    {"silu", [](Real z, Real) { return z / (1 + std::exp(-z)); }},
    {"exp", [](Real z, Real) { return std::exp(z); }},
};

template <class T>
void test_activation(const ActivationKernel<T>& k) {
  const std::string name = k.name;
  const auto& g = textbook.at(name);
  const T p = static_cast<T>(k.parameter);
  for (const Index rows : {0, 1, 3, 40})
    for (const Index cols : sizes)
      for (const Index pad : {0, 3}) {
        if (too_large(rows, cols)) continue;
        const Index ld = cols + pad, n = rows * ld;
        const std::vector<T> before = random<T>(n + 1, -6, 6), b = random<T>(cols);
        std::vector<T> z = before, a(z.size(), T(99)), in_place = before, da = random<T>(n + 1), dz = da;
        k.forward(a.data() + 1, z.data() + 1, b.data(), rows, cols, ld, p);
        k.forward(in_place.data() + 1, in_place.data() + 1, b.data(), rows, cols, ld, p);
        k.backward(dz.data() + 1, z.data() + 1, a.data() + 1, rows, cols, ld, p);
        bool same = true, kept = true;
        for (Index i = 0; i < rows; ++i)
          for (Index j = 0; j < ld; ++j) {
            const auto e = static_cast<std::size_t>(1 + i * ld + j);
            if (j >= cols) {
              kept = kept && z[e] == before[e] && a[e] == T(99) && in_place[e] == before[e] && dz[e] == da[e];
              continue;
            }
            near(z[e], Real(before[e]) + b[static_cast<std::size_t>(j)], 1, name, " z");
            near(a[e], g(z[e], p), 8, name, " a");
            same = same && a[e] == in_place[e];
          }
        check(kept, name, " wrote between the rows");
        check(same, name, " in place differs");
      }
  // g' and g'' by central differences of the textbook's g; backward through g' too
  std::vector<T> z = random<T>(999, -8, 8), g1(z), g2(z), a(z), dz(z.size(), T(1));
  for (T& v : z)
    if (std::fabs(v) < T(0.01)) v = T(0.5);
  const Index n = static_cast<Index>(z.size());
  k.derivatives(g1.data(), g2.data(), z.data(), n, p);
  k.forward(a.data(), z.data(), nullptr, 1, n, n, p);
  k.backward(dz.data(), k.needs_z ? z.data() : nullptr, k.needs_z ? nullptr : a.data(), 1, n, n, p);
  for (std::size_t i = 0; i < z.size(); ++i) {
    const Real x = z[i], h = 1e-5L, h2 = 1e-4L;
    const double slack = 1e-7 / std::numeric_limits<T>::epsilon();
    near(g1[i], (g(x + h, p) - g(x - h, p)) / (2 * h), 16 + std::min(slack, 1e6), name, " g'");
    near(g2[i], (g(x + h2, p) - 2 * g(x, p) + g(x - h2, p)) / (h2 * h2), 32 + std::min(slack, 1e8), name, " g''");
    check(dz[i] == g1[i] || std::fabs(dz[i] - g1[i]) <= 8 * std::numeric_limits<T>::epsilon(), name, " backward");
  }
  // extremes: finite and right; infinity: no NaN; NaN: stays
  const T infinity = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN(), denormal = std::numeric_limits<T>::denorm_min();
  for (T x : {T(150), T(-150), T(1e4), T(-1e4), denormal, -denormal, T(0), infinity, -infinity, nan}) {
    T y = x, first, second, slope = 1, in = x;
    k.forward(&y, &in, nullptr, 1, 1, 1, p);
    k.derivatives(&first, &second, &x, 1, p);
    k.backward(&slope, &x, &y, 1, 1, 1, p);
    const std::string at = name + " at " + std::to_string(x);
    if (std::isnan(x)) {
      check(std::isnan(y), at);
      if (name == "relu") check(std::isnan(first), at, ": g'");
    } else if (std::isinf(x)) {
      check(!std::isnan(y) && (name == "exp" ? first == y && second == y : std::isfinite(first) && std::isfinite(second)), at);
    } else if (g(x, p) > std::numeric_limits<T>::max()) {
      check(y == infinity && first == infinity && second == infinity && slope == infinity, at, " overflows");
    } else {
      near(y, g(x, p), 4, at);
      check(std::isfinite(first) && std::isfinite(second) && first == slope, at, ": derivatives");
      if (std::fabs(x) > 1)
        near(first,
             x > 0 ? (name == "exp"                         ? g(x, p)
                      : name == "selu"                      ? 1.0507009873554805
                      : name == "sigmoid" || name == "tanh" ? 0
                                                            : 1)
                   : (name == "identity"     ? 1
                      : name == "leaky_relu" ? Real(p)
                                             : 0),
             4, at, ": g'");
      if (x == 0 && name == "relu") check(first == 0, "relu'(0)");
    }
  }
  // the far tails keep relative accuracy
  for (const T x : {T(-5), T(-9), T(-12)})
    if (name == "sigmoid" || name == "softplus" || name == "gelu" || name == "silu" || name == "exp") {
      T y = x, in = x;
      k.forward(&y, &in, nullptr, 1, 1, 1, p);
      const Real expected = g(x, p);
      check(std::fabs(y - expected) <= 16 * std::numeric_limits<T>::epsilon() * std::fabs(expected), name, " in the tail");
    }
}

template <class T>
void test_softmax(const Kernels<T>& k) {
  for (const Index rows : {1, 2, 5, 130})
    for (const Index cols : sizes) {
      if (cols == 0 || too_large(rows, cols)) continue;
      const std::vector<T> z = random<T>(rows * cols + 1, -10, 10), da = random<T>(rows * cols);
      std::vector<T> a(z.size()), in_place = z, dz = da, dz_added = da;
      k.softmax_forward(a.data() + 1, z.data() + 1, rows, cols);
      k.softmax_forward(in_place.data() + 1, in_place.data() + 1, rows, cols);
      check(!std::memcmp(a.data() + 1, in_place.data() + 1, sizeof(T) * static_cast<std::size_t>(rows * cols)), "softmax in place");
      k.softmax_backward(dz.data(), dz.data(), a.data() + 1, rows, cols, Accum::Overwrite);
      k.softmax_backward(dz_added.data(), da.data(), a.data() + 1, rows, cols, Accum::Add);
      for (Index i = 0; i < rows; ++i) {
        const T *zi = z.data() + 1 + i * cols, *ai = a.data() + 1 + i * cols, *di = da.data() + i * cols;
        Real sum = 0, mean = 0;
        for (Index j = 0; j < cols; ++j) sum += std::exp(Real(zi[j])), mean += Real(ai[j]) * di[j];
        for (Index j = 0; j < cols; ++j) {
          const Real p = std::exp(Real(zi[j])) / sum;
          check(std::fabs(ai[j] - p) <= 24 * std::numeric_limits<T>::epsilon() * p, "softmax");
          near(dz[static_cast<std::size_t>(i * cols + j)], ai[j] * (di[j] - mean), 8, "softmax_backward");
          near(dz_added[static_cast<std::size_t>(i * cols + j)], di[j] + ai[j] * (di[j] - mean), 8, "softmax_backward adding");
        }
      }
    }
  const T nan = std::numeric_limits<T>::quiet_NaN();
  std::vector<T> z = {T(1e4), T(-1e4), 0, T(-150), nan, 1, 1, nan, 2}, a(z.size());
  k.softmax_forward(a.data(), z.data(), 3, 3);
  check(a[0] == 1 && a[1] == 0 && a[2] == 0, "softmax at 1e4");
  for (std::size_t i = 3; i < 9; ++i) check(std::isnan(a[i]), "softmax of a row with NaN");
}

// ---- losses: value and gradient of one row, as kernels.h states them -----------------------------------------------------------------------------

struct Row {
  Real value;
  std::vector<Real> gradient;
};
template <class T>
Row loss_row(const std::string& name, const T* x, const std::vector<Real>& y, const std::vector<double>& p) {
  Row row{0, {}};
  const Real tiny = std::numeric_limits<T>::min();
  Real largest = -INFINITY, sum = 0, mass = 0;
  for (std::size_t m = 0; m < y.size(); ++m) largest = std::max(largest, Real(x[m])), mass += y[m];
  for (std::size_t m = 0; m < y.size(); ++m) sum += std::exp(x[m] - largest);
  for (std::size_t m = 0; m < y.size(); ++m) {
    const Real a = x[m], t = y[m], low = std::max(a, tiny), high = std::max(1 - a, tiny), d = t - a;
    const Real q = p.empty() ? 0 : T(p[m % p.size()]), rest = t > 0 ? t * std::log(t) : 0;
    if (name == "softmax_cross_entropy") {
      row.value -= t * (a - largest - std::log(sum));
      row.gradient.push_back(mass * std::exp(a - largest) / sum - t);
    } else if (name == "sigmoid_binary_cross_entropy") {
      row.value += std::max(a, Real(0)) - a * t + std::log1p(std::exp(-std::fabs(a)));
      row.gradient.push_back((a >= 0 ? 1 / (1 + std::exp(-a)) : std::exp(a) / (1 + std::exp(a))) - t);
    } else if (name == "cross_entropy") {
      row.value -= t * std::log(low);
      row.gradient.push_back(-t / low);
    } else if (name == "binary_cross_entropy") {
      row.value -= t * std::log(low) + (1 - t) * std::log(high);
      row.gradient.push_back((a - t) / (low * high));
    } else if (name == "squared_error") {
      row.value += d * d / 2;
      row.gradient.push_back(-d);
    } else if (name == "absolute_error") {
      row.value += std::fabs(d);
      row.gradient.push_back(d > 0 ? -1 : d < 0 ? 1 : d);
    } else if (name == "huber") {
      row.value += std::fabs(d) <= q ? d * d / 2 : q * std::fabs(d) - q * q / 2;
      row.gradient.push_back(std::fabs(d) <= q ? -d : std::copysign(q, -d));
    } else if (name == "quantile") {
      row.value += std::max(q * d, (q - 1) * d);
      row.gradient.push_back(d > 0 ? -q : d < 0 ? 1 - q : d);
    } else if (name == "exp_poisson") {
      row.value += std::exp(a) - t - t * a + rest;
      row.gradient.push_back(std::exp(a) - t);
    } else if (name == "poisson") {
      row.value += a - t - t * std::log(low) + rest;
      row.gradient.push_back((a - t) / low);
    }
  }
  return row;
}

template <class T>
void test_loss(const std::string& name, LossKernel<T> kernel, const std::vector<double>& p = {}) {
  const bool shares = name == "cross_entropy" || name == "binary_cross_entropy" || name == "poisson", counts = name == "exp_poisson";
  const bool logits = name.rfind("so", 0) == 0 || name.rfind("si", 0) == 0, real = !shares && !logits;
  const Index levels = std::max<Index>(1, static_cast<Index>(p.size()));
  for (const Index rows : {0, 1, 3, 131})
    for (const Index cols : sizes)
      for (int way = 0; way < 8; ++way) {
        if (cols == 0 || too_large(rows, cols) || cols % levels || ((way & 1) && !p.empty())) continue;
        const bool by_label = way & 1, weighted = way & 2, adding = way & 4;
        const auto n = static_cast<std::size_t>(rows * cols);
        const double width = logits ? (way == 2 ? 1e4 : 8) : counts ? 3 : 1;
        const std::vector<T> x = random<T>(rows * cols + 1, logits || real ? -width : 0.02, logits || real ? width : 0.98);
        std::vector<T> y = random<T>(rows * cols / levels + 1, 0, counts ? 9 : 1), s = random<T>(rows, 0.5, 2), dx(n + 1, T(0.5));
        std::vector<std::int32_t> labels(static_cast<std::size_t>(rows));
        for (auto& l : labels) l = static_cast<std::int32_t>(uniform(0, static_cast<double>(cols)));
        if (rows > 1) s[1] = 0;
        const double scale = 0.25;
        LossArgs<T> q{x.data() + 1,
                      dx.data() + 1,
                      adding ? Accum::Add : Accum::Overwrite,
                      by_label ? nullptr : y.data() + 1,
                      by_label ? labels.data() : nullptr,
                      weighted ? s.data() : nullptr,
                      scale,
                      rows,
                      cols,
                      p.data(),
                      levels};
        const double value = kernel(q);
        Real expected = 0, size = 1;
        for (Index i = 0; i < rows; ++i) {
          std::vector<Real> t;
          for (Index j = 0; j < cols; ++j)
            t.push_back(by_label ? Real(labels[static_cast<std::size_t>(i)] == j) : Real(y[static_cast<std::size_t>(1 + (i * cols + j) / levels)]));
          const Row row = loss_row(name, q.x + i * cols, t, p);
          const Real weight = weighted ? s[static_cast<std::size_t>(i)] : 1;
          expected += weight * row.value, size += weight * std::fabs(row.value);
          Real mass = 1;
          if (!counts)
            for (const Real v : t) mass += v;
          for (Index j = 0; j < cols; ++j) {
            const Real d = scale * weight * row.gradient[static_cast<std::size_t>(j)];
            near(q.dx[i * cols + j], adding ? 0.5L + d : d, 16 * static_cast<double>(mass), name, " dx");
          }
        }
        check(std::fabs(value - expected) <= 32 * std::numeric_limits<T>::epsilon() * size * (logits ? width / 8 : 1), name, ": value");
        q.dx = nullptr;
        check(kernel(q) == value, name, " without dx");
      }
  // NaN stays unless its row has weight 0; a weight of 0 gives exactly 0 whatever the row holds
  const T nan = std::numeric_limits<T>::quiet_NaN(), large = shares ? T(0) : counts ? T(80) : T(1e4);
  for (const T bad : {nan, large, -large}) {
    const std::vector<T> x = {bad, T(0.5), T(0.25), bad}, y = {0, 1, 1, 0}, zero = {0, 1}, one = {1, 1};
    std::vector<T> dx(4);
    LossArgs<T> q{x.data(), dx.data(), Accum::Overwrite, y.data(), nullptr, zero.data(), 1, 1, 2, p.data(), levels};
    check(kernel(q) == 0 && dx[0] == 0 && dx[1] == 0, name, " of weight 0");
    q.s = one.data(), q.rows = 2;
    const double value = kernel(q);
    if (std::isnan(bad))
      check(std::isnan(value) && std::isnan(dx[0]) && std::isnan(dx[3]), name, " hides NaN");
    else
      check(std::isfinite(value) && std::isfinite(dx[0]) && std::isfinite(dx[3]), name, " at the extreme");
  }
}

template <class T>
void test_all() {
  const Kernels<T>& k = kernels<T>();
  check(k.n_activations == static_cast<int>(textbook.size()) && std::string(k.activations[0].name) == "identity", "registry");
  for (int i = 0; i < k.n_activations; ++i) test_activation(k.activations[i]);
  test_softmax(k);
  for (const LossRule<T>& rule : loss_rules<T>) {
    const std::vector<double> p(rule.parameters == LossParameters::None ? 0 : 1, 0.25);
    test_loss(rule.name, k.*rule.of_a, p);
    if (rule.of_z) test_loss(rule.fused, k.*rule.of_z, p);
  }
  test_loss("quantile", k.quantile, {0.1, 0.5, 0.75});
}

}  // namespace

int main() {
  test_all<float>();
  test_all<double>();
  return report();
}
