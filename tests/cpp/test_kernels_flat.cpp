// SPDX-License-Identifier: MIT
// The kernels over flat arrays: updates, dropout, sums, elementwise. As test_kernels.cpp: once for each value of CHAINRULE_ISA.
#include "kernel_check.h"

#define CR_ISA test
#include "math/philox.h"

namespace {

using Words = test::Philox<std::uint32_t>;

template <class T>
void test_update(const std::string& name, UpdateKernel<T> kernel) {
  const auto at = [](Index j) { return static_cast<std::size_t>(j); };
  for (const Index n : sizes)
    for (int way = 0; way < 32; ++way) {
      const Index slots = way & 1 ? 3 : 1, stride = n + 5;
      const bool nesterov = way & 2, eps_hat = way & 4, penalty = way & 8, more = way & 16, velocity = name != "sgd" || more;
      const std::vector<T> before = random<T>(n), g = random<T>(slots * stride), m0 = random<T>(n), v0 = random<T>(n, 0.1, 1);
      std::vector<T> w = before, m = m0, v = v0;
      if (n > 2) w[2] = 0;
      const std::vector<T> start = w;
      UpdateArgs<T> q{w.data(),
                      g.data(),
                      slots,
                      stride,
                      name == "adam" ? m.data() : nullptr,
                      velocity ? v.data() : nullptr,
                      n,
                      0.1,
                      0.9,
                      0.95,
                      1e-3,
                      0.3,
                      0.2,
                      nesterov,
                      eps_hat,
                      more ? 0.5 : 1.0,
                      penalty ? 0.01 : 0.0,
                      penalty ? 0.02 : 0.0,
                      more ? 0.03 : 0.0,
                      more ? 0.004 : 0.0};
      const UpdateSums sums = kernel(q);
      Real sum_abs = 0, sum_square = 0;
      for (Index j = 0; j < n; ++j) {
        const Real w0 = start[at(j)];
        Real gj = 0, mj = m0[at(j)], vj = v0[at(j)], wj = w0 - q.decay * w0;
        for (Index c = 0; c < slots; ++c) gj += g[at(c * stride + j)];
        gj = q.clip * gj + q.l2 * w0 + q.l1 * Real((w0 > 0) - (w0 < 0));
        if (name == "sgd") {
          const Real step = q.alpha * gj;
          vj = velocity ? q.mu * vj - step : vj;
          wj += !velocity ? -step : nesterov ? q.mu * vj - step : vj;
        } else if (name == "rmsprop") {
          vj = q.rho * vj + (1 - q.rho) * gj * gj;
          wj -= q.alpha * gj / (std::sqrt(vj) + q.eps);
        } else {
          mj = q.mu * mj + (1 - q.mu) * gj, vj = q.rho * vj + (1 - q.rho) * gj * gj;
          wj -= eps_hat ? q.alpha * (std::sqrt(Real(q.c2)) / q.c1) * mj / (std::sqrt(vj) + q.eps)
                        : q.alpha * (mj / q.c1) / (std::sqrt(vj / q.c2) + q.eps);
        }
        if (q.threshold > 0) wj = wj > q.threshold ? wj - q.threshold : wj < -q.threshold ? wj + q.threshold : 0;
        near(w[at(j)], wj, 16, name, " w");
        near(v[at(j)], velocity ? vj : Real(v0[at(j)]), 8, name, " v");
        near(m[at(j)], name == "adam" ? mj : Real(m0[at(j)]), 8, name, " m");
        if (penalty) sum_abs += std::fabs(w0), sum_square += w0 * w0;
      }
      check(std::fabs(sums.sum_abs - sum_abs) <= 32 * std::numeric_limits<T>::epsilon() * sum_abs, name, " sum_abs");
      check(std::fabs(sums.sum_square - sum_square) <= 32 * std::numeric_limits<T>::epsilon() * sum_square, name, " sum_square");
      check(sums.finite, name, " finite");
      for (const T bad : {std::numeric_limits<T>::infinity(), std::numeric_limits<T>::quiet_NaN()})
        if (n > 0) {
          w[at(n / 2)] = bad;
          check(!kernel(q).finite, name, " overlooks what is not finite");
        }
    }
}

template <class T>
void test_dropout(const Kernels<T>& k) {
  const std::uint32_t key0 = 0xa4093822, key1 = 0x299f31d0, step = 7, stream = 0x03001234;
  const auto u = [&](Index e) {
    const auto q = static_cast<std::uint64_t>(e) / 4;
    const Words p = test::philox4x32_10(Words{static_cast<std::uint32_t>(q), static_cast<std::uint32_t>(q >> 32), step, stream}, key0, key1);
    const std::uint32_t lanes[] = {p.x0, p.x1, p.x2, p.x3};
    return lanes[e % 4];
  };
  for (const Index first : {Index(0), Index(1), Index(6), (Index(1) << 34) - 10, (Index(5) << 34) + 3})
    for (const Index n : sizes) {
      const std::uint32_t threshold = u(first + n / 2);  // an element that lies on it is kept
      const std::vector<T> x = random<T>(n + 1);
      std::vector<T> y = x, added = x;
      k.dropout(y.data() + 1, y.data() + 1, first, n, key0, key1, step, stream, threshold, T(1.6), Accum::Overwrite);
      k.dropout(added.data() + 1, x.data() + 1, first, n, key0, key1, step, stream, threshold, T(1.6), Accum::Add);
      for (Index e = 0; e < n; ++e) {
        const T xe = x[static_cast<std::size_t>(e + 1)], ye = u(first + e) >= threshold ? xe * T(1.6) : T(0);
        check(y[static_cast<std::size_t>(e + 1)] == ye, "dropout");
        near(added[static_cast<std::size_t>(e + 1)], Real(xe) + ye, 1, "dropout adding");
      }
    }
}

template <class T>
void test_elementwise(const Kernels<T>& k) {
  for (const Index rows : {0, 1, 3, 8, 29})
    for (const Index cols : sizes) {
      const Index ld = cols + 2, n = rows * cols;
      const auto at = [](Index j) { return static_cast<std::size_t>(j); };
      const std::vector<T> x = random<T>(rows * ld + 1), x2 = random<T>(n), mean = random<T>(cols), scale = random<T>(cols, 0.5, 2);
      std::vector<T> db = mean, added = mean, y = x2, dx = x2, sum = x2, product = x2, penalty = x2, slots = x;
      k.column_sum(db.data(), x.data() + 1, rows, cols, ld, T(1), T(0));
      k.column_sum(added.data(), x.data() + 1, rows, cols, ld, T(-2), T(0.5));
      for (Index j = 0; j < cols; ++j) {
        T s = 0;
        for (Index i = 0; i < rows; ++i) s += x[at(1 + i * ld + j)];
        check(db[at(j)] == s && added[at(j)] == T(0.5) * mean[at(j)] - 2 * s, "column_sum");
      }
      if (rows > 0) k.sum_slots(slots.data() + 1, slots.data() + 1, rows, ld, cols);
      for (Index j = 0; rows > 0 && j < cols; ++j) check(slots[at(1 + j)] == db[at(j)], "sum_slots");
      k.standardize_forward(y.data(), x2.data(), mean.data(), scale.data(), rows, cols);
      k.standardize_backward(dx.data(), x.data() + 1, scale.data(), rows, cols, Accum::Add);
      k.add(sum.data(), x.data() + 1, n, Accum::Add);
      k.multiply(product.data(), x.data() + 1, x2.data(), n, Accum::Add);
      k.add_penalty(penalty.data(), x.data() + 1, n, 0.25, 0.5);
      Real square = 0, absolute = 0;
      for (Index e = 0; e < n; ++e) {
        const Real v = x[at(e + 1)], v2 = x2[at(e)], s = scale[at(e % cols)];
        near(y[at(e)], (v2 - mean[at(e % cols)]) / s, 4, "standardize_forward");
        near(dx[at(e)], v2 + v / s, 4, "standardize_backward");
        near(sum[at(e)], v2 + v, 1, "add");
        near(product[at(e)], v2 + v * v2, 2, "multiply");
        near(penalty[at(e)], v2 + 0.5L * v + (v > 0 ? 0.25L : -0.25L), 4, "add_penalty");
        square += v * v, absolute += std::fabs(v);
      }
      k.standardize_backward(dx.data(), x.data() + 1, scale.data(), rows, cols, Accum::Overwrite);
      k.add(sum.data(), x.data() + 1, n, Accum::Overwrite);
      k.multiply(product.data(), x.data() + 1, x2.data(), n, Accum::Overwrite);
      for (Index e = 0; e < n; ++e) {
        near(dx[at(e)], Real(x[at(e + 1)]) / scale[at(e % cols)], 1, "standardize_backward");
        check(sum[at(e)] == x[at(e + 1)], "add");
        check(product[at(e)] == x[at(e + 1)] * x2[at(e)], "multiply");
      }
      std::vector<T> aligned(x.begin() + 1, x.begin() + 1 + n), bad = aligned;
      near(static_cast<T>(k.sum_square(x.data() + 1, n)), square, 32, "sum_square");
      near(static_cast<T>(k.sum_abs(x.data() + 1, n)), absolute, 32, "sum_abs");
      check(k.sum_square(x.data() + 1, n) == k.sum_square(aligned.data(), n) && k.sum_abs(x.data() + 1, n) == k.sum_abs(aligned.data(), n),
            "a sum depends on alignment");
      check(k.all_finite(aligned.data(), n), "all_finite");
      for (Index e = 0; e < n; e += 1 + n / 7)
        for (const T v : {std::numeric_limits<T>::infinity(), -std::numeric_limits<T>::infinity(), std::numeric_limits<T>::quiet_NaN()}) {
          bad = aligned, bad[at(e)] = v;
          check(!k.all_finite(bad.data(), n), "all_finite overlooks one");
        }
    }
}

template <class T>
void test_sparse(const Kernels<T>& k) {
  const auto at = [](Index j) { return static_cast<std::size_t>(j); };
  const std::string type = sizeof(T) == 4 ? "float" : "double";
  for (Index rows : {0, 1, 5}) {
    for (Index units : {0, 1, 3, 4, 9}) {
      for (Index n_in : {1, 2, 40}) {
        const Index ld = units + 2;
        std::vector<Index> begin{3};  // what lies before belongs to nobody
        for (Index i = 0; i < rows; ++i) begin.push_back(begin.back() + static_cast<Index>(uniform(0, 7)));
        const std::vector<T> value = random<T>(begin.back()), w = random<T>(units * n_in), dz = random<T>(rows * ld), old = random<T>(units * n_in);
        std::vector<std::int32_t> column(value.size(), -1);
        for (std::size_t e = 3; e < column.size(); ++e) column[e] = static_cast<std::int32_t>(uniform(0, static_cast<double>(n_in)));
        const SparseArgs<T> x{begin.data(), column.data(), value.data(), rows};
        std::vector<Real> dense(static_cast<std::size_t>(rows * n_in), 0);
        for (Index i = 0; i < rows; ++i)
          for (Index e = begin[at(i)]; e < begin[at(i + 1)]; ++e) dense[at(i * n_in + column[at(e)])] += value[at(e)];
        std::vector<T> z(static_cast<std::size_t>(rows * ld), T(9));
        k.sparse_forward(z.data(), ld, x, n_in, w.data(), units);
        for (Index i = 0; i < rows; ++i)
          for (Index u = 0; u < ld; ++u) {
            Real s = u < units ? 0 : 9;
            for (Index j = 0; u < units && j < n_in; ++j) s += dense[at(i * n_in + j)] * w[at(u * n_in + j)];
            near(z[at(i * ld + u)], s, 20, "sparse_forward ", type);
          }
        for (double keep : {0.0, 1.0, 0.9}) {
          std::vector<T> dw = old;
          if (keep == 0) std::fill(dw.begin(), dw.end(), std::numeric_limits<T>::quiet_NaN());
          k.sparse_backward(dw.data(), dz.data(), ld, x, n_in, units, T(-0.5), T(keep));
          for (Index u = 0; u < units; ++u)
            for (Index j = 0; j < n_in; ++j) {
              Real s = Real(T(keep)) * old[at(u * n_in + j)];
              for (Index i = 0; i < rows; ++i) s -= Real(0.5) * dz[at(i * ld + u)] * dense[at(i * n_in + j)];
              near(dw[at(u * n_in + j)], s, 20, "sparse_backward ", type);
            }
        }
      }
    }
  }
}

void test_philox() {  // the known answers that Random123 publishes (kat_vectors)
  const std::uint32_t f = 0xffffffff;
  const auto is = [](Words p, std::uint32_t x0, std::uint32_t x1, std::uint32_t x2, std::uint32_t x3) {
    check(p.x0 == x0 && p.x1 == x1 && p.x2 == x2 && p.x3 == x3, "philox4x32_10");
  };
  is(test::philox4x32_10(Words{0, 0, 0, 0}, 0, 0), 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8);
  is(test::philox4x32_10(Words{f, f, f, f}, f, f), 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd);
  is(test::philox4x32_10(Words{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0), 0xd16cfe09, 0x94fdcceb, 0x5001e420,
     0x24126ea1);
}

template <class T>
void test_outer_step(const Kernels<T>& k) {
  for (const Index m : {1, 2, 3, 8, 29})
    for (const Index n : sizes) {
      if (n == 0) continue;
      const auto at = [](Index e) { return static_cast<std::size_t>(e); };
      const std::vector<T> a = random<T>(m), b = random<T>(n), v0 = random<T>(m * n), w0 = random<T>(m * n + 1);
      std::vector<T> v = v0, w = w0;
      check(k.outer_step(m, n, T(-0.3), a.data(), b.data(), T(0.9), v.data(), w.data()), "outer_step is finite");
      for (Index i = 0; i < m; ++i)
        for (Index j = 0; j < n; ++j) {
          const std::size_t e = at(i * n + j);
          const Real moved = Real(T(0.9)) * v0[e] + Real(T(-0.3)) * a[at(i)] * b[at(j)];
          near(v[e], moved, 2, "outer_step v");
          near(w[e], w0[e] + moved, 2, "outer_step w");
        }
      check(w[at(m * n)] == w0[at(m * n)], "outer_step writes no further");
      for (const Index e : {Index{0}, m * n / 2, m * n - 1}) {  // wherever it is, it is seen
        std::vector<T> bad = w0;
        bad[at(e)] = std::numeric_limits<T>::infinity();
        v = v0;
        check(!k.outer_step(m, n, T(-0.3), a.data(), b.data(), T(0.9), v.data(), bad.data()), "outer_step sees an infinite w");
      }
    }
}

template <class T>
void test_all() {
  const Kernels<T>& k = kernels<T>();
  test_update("sgd", k.sgd);
  test_update("rmsprop", k.rmsprop);
  test_update("adam", k.adam);
  test_dropout(k);
  test_elementwise(k);
  test_outer_step(k);
  test_sparse(k);
}

}  // namespace

int main() {
  test_philox();
  test_all<float>();
  test_all<double>();
  return report();
}
