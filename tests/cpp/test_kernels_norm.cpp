// SPDX-License-Identifier: MIT
// The kernels of normalisation against sums in long double. As test_kernels.cpp: once for each value of CHAINRULE_ISA.
#include "kernel_check.h"

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

// A row's mean (0 unless centred), 1 / sqrt(v + eps), and sums over the row of g and g xhat
template <class T>
struct Row {
  Row(const T* x, const T* dy, const T* gain, Index n, Real eps, bool centred) : x_(x) {
    for (Index j = 0; j < n && centred; ++j) mean += Real(x[j]) / Real(n);
    Real v = 0;
    for (Index j = 0; j < n; ++j) v += (x[j] - mean) * (x[j] - mean) / Real(n);
    factor = 1 / std::sqrt(v + eps);
    for (Index j = 0; j < n; ++j) {
      const Real g = Real(dy[j]) * (gain ? Real(gain[j]) : 1);
      plain += g / Real(n), product += g * hat(j) / Real(n);
    }
  }
  Real hat(Index j) const { return (x_[j] - mean) * factor; }
  Real mean = 0, factor = 0, plain = 0, product = 0;

 private:
  const T* x_;
};

template <class T>
void test_rows(const Kernels<T>& k) {
  const double eps = 1e-3;
  for (const Index rows : {0, 1, 2, 65, 130})
    for (const Index cols : {1, 2, 7, 8, 16, 33, 64, 250, 300, 1025}) {
      if (too_large(rows, cols)) continue;
      for (int way = 0; way < 16; ++way) {
        const bool centred = way & 1, gained = way & 2, biased = way & 4, add = way & 8;
        const std::vector<T> x = random<T>(rows * cols + 1), dy = random<T>(rows * cols + 1), gain = random<T>(cols), bias = random<T>(cols),
                             old = random<T>(rows * cols);
        const T *px = x.data() + 1, *pdy = dy.data() + 1, *g = gained ? gain.data() : nullptr, *b = biased ? bias.data() : nullptr;
        std::vector<T> y(at(rows * cols)), place(px, px + rows * cols), dx = old, dgain = gain, dbias = bias;
        k.norm_forward(y.data(), px, g, b, rows, cols, eps, centred);
        k.norm_forward(place.data(), place.data(), g, b, rows, cols, eps, centred);
        check(place == y, "norm_forward in place");
        k.norm_backward(dx.data(), pdy, px, g, rows, cols, eps, centred, add ? Accum::Add : Accum::Overwrite);
        const T keep = add ? T(0.5) : T(0);
        if (!add) std::fill(dgain.begin(), dgain.end(), std::numeric_limits<T>::quiet_NaN());
        k.norm_gradient(gained ? dgain.data() : nullptr, biased ? dbias.data() : nullptr, pdy, px, rows, cols, eps, centred, T(-2), keep);
        std::vector<Real> sum_gain(at(cols), 0), sum_bias(at(cols), 0);
        for (Index i = 0; i < rows; ++i) {
          const Row<T> r(px + i * cols, pdy + i * cols, g, cols, eps, centred);
          for (Index j = 0; j < cols; ++j) {
            const Index e = i * cols + j;
            const Real gj = Real(pdy[e]) * (gained ? Real(gain[at(j)]) : 1);
            near(y[at(e)], (gained ? Real(gain[at(j)]) : 1) * r.hat(j) + (biased ? Real(bias[at(j)]) : 0), 64, "norm_forward");
            const Real d = r.factor * (gj - (centred ? r.plain : 0) - r.hat(j) * r.product);
            const Real size = r.factor * (1 + std::fabs(r.hat(j)));  // what cancels
            check(std::fabs(Real(dx[at(e)]) - (d + (add ? Real(old[at(e)]) : 0))) <= 64 * std::numeric_limits<T>::epsilon() * size, "norm_backward");
            sum_gain[at(j)] += pdy[e] * r.hat(j), sum_bias[at(j)] += pdy[e];
          }
        }
        for (Index j = 0; j < cols; ++j) {
          if (gained) near(dgain[at(j)], Real(keep) * gain[at(j)] - 2 * sum_gain[at(j)], 400, "norm_gradient gain");
          if (biased) near(dbias[at(j)], Real(keep) * bias[at(j)] - 2 * sum_bias[at(j)], 400, "norm_gradient bias");
        }
      }
    }
}

template <class T>
void test_columns(const Kernels<T>& k) {
  for (const Index rows : {0, 1, 2, 3, 63, 64, 65, 200, 1025})
    for (const Index cols : {1, 2, 3, 5, 16, 64, 127, 128, 129, 256, 300, 600}) {
      if (rows * cols > 80000) continue;
      std::vector<T> x = random<T>(rows * cols + 1);
      for (T& v : x) v += T(30);  // a mean far from 0: squares about it, not about 0
      const std::vector<T> dy = random<T>(rows * cols + 1), mean = random<T>(cols, 29, 31), scale = random<T>(cols), slope = random<T>(cols),
                           shift = random<T>(cols), old = random<T>(rows * cols);
      const T *px = x.data() + 1, *pdy = dy.data() + 1;
      std::vector<double> sum(at(cols)), square(at(cols)), plain(at(cols)), product(at(cols)), again(at(cols)), aligned(at(cols));
      k.column_moments(sum.data(), square.data(), px, rows, cols);
      k.column_products(plain.data(), product.data(), pdy, px, mean.data(), rows, cols);
      const std::vector<T> moved(px, px + rows * cols);
      k.column_moments(again.data(), aligned.data(), moved.data(), rows, cols);
      check(again == sum && aligned == square, "column_moments depends on alignment");
      const Real unit = 40 * Real(std::numeric_limits<T>::epsilon());
      for (Index j = 0; j < cols; ++j) {
        Real s = 0, m = 0, q = 0, p = 0, d = 0;
        for (Index i = 0; i < rows; ++i) s += px[i * cols + j];
        for (Index i = 0; i < rows; ++i) {
          m = px[i * cols + j] - s / Real(rows);
          q += m * m;
          p += pdy[i * cols + j] * (px[i * cols + j] - Real(mean[at(j)])), d += pdy[i * cols + j];
        }
        check(std::fabs(sum[at(j)] - s) <= unit * std::fabs(s), "column_moments sum");
        check(std::fabs(square[at(j)] - q) <= unit * (q + 32 * std::sqrt(Real(rows) * q)), "column_moments square");
        check(std::fabs(plain[at(j)] - d) <= unit * Real(rows), "column_products sum");
        check(std::fabs(product[at(j)] - p) <= unit * 2 * Real(rows), "column_products product");
      }
      std::vector<T> y(at(rows * cols)), place(px, px + rows * cols), dx(at(rows * cols)), more = old;
      k.affine_forward(y.data(), px, mean.data(), scale.data(), shift.data(), rows, cols);
      k.affine_forward(place.data(), place.data(), mean.data(), scale.data(), shift.data(), rows, cols);
      check(place == y, "affine_forward in place");
      k.affine_backward(dx.data(), pdy, px, mean.data(), scale.data(), slope.data(), shift.data(), rows, cols, Accum::Overwrite);
      k.affine_backward(more.data(), pdy, px, mean.data(), scale.data(), slope.data(), shift.data(), rows, cols, Accum::Add);
      for (Index e = 0; e < rows * cols; ++e) {
        const std::size_t j = at(e % cols);
        const Real middle = px[e] - Real(mean[j]), d = scale[j] * Real(pdy[e]) + slope[j] * middle + shift[j];
        near(y[at(e)], scale[j] * middle + shift[j], 4, "affine_forward");
        near(dx[at(e)], d, 4, "affine_backward");
        near(more[at(e)], d + old[at(e)], 4, "affine_backward adds");
      }
    }
}

template <class T>
void test_all() {
  test_rows(kernels<T>());
  test_columns(kernels<T>());
}

}  // namespace

int main() {
  test_all<float>();
  test_all<double>();
  return report();
}
