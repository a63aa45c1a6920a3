// SPDX-License-Identifier: MIT
// y = gain xhat + bias by channel, xhat = (x - m) / sqrt(v + eps). In training m and v are those of the batch, over all axes but the last (v with 1/N), and
// with each committed step   mean <- (1 - momentum) mean + momentum m,   variance <- (1 - momentum) variance + momentum v N / (N - 1);
// otherwise, and where the layer is frozen, m = mean and v = variance. Ioffe, Szegedy, Batch normalization, 2015, algorithms 1 and 2.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>

#include "layers/norm.h"

namespace chainrule {

class BatchNorm : public Norm<BatchNorm> {
 public:
  explicit BatchNorm(const LayerSpec& spec) : Norm(spec), momentum_(spec.number("momentum")) {
    CR_CHECK(momentum_ >= 0 && momentum_ <= 1, tag(), "momentum is ", momentum_, ": expected 0 <= momentum <= 1");
  }
  std::vector<TensorSpec> state(const std::vector<Shape>& in) const override {
    return {{"mean", {in[0].columns()}, "zeros", 0, 0, false}, {"variance", {in[0].columns()}, "ones", 0, 0, false}};
  }

  bool is_affine() const override { return true; }
  void affine(const float* w, const float* state, Index m, float* scale, float* shift) const override { fold(w, state, m, scale, shift); }
  void affine(const double* w, const double* state, Index m, double* scale, double* shift) const override { fold(w, state, m, scale, shift); }

  bool couples_rows(bool training) const override { return training && trainable; }
  Index shared(const Shape* in) const override { return Shared<float>::blocks * in[0].columns(); }
  Index part(const Shape* in) const override { return 1 + 2 * in[0].columns(); }
  void require_rows(Index rows) const override {
    CR_CHECK(rows >= 2, tag(), "got a batch of ", rows,
             " row in training, which has no variance: expected at least 2 rows; choose another batch_size, ",
             "or freeze the layer (trainable=False)");
  }

  // A range of rows: its number of rows, then sum x and sum (x - m)^2, or on the way back sum dy and sum dy (x - m), by channel
  template <class T>
  void run_reduce(const Call<T>& c, bool backward, double* part) const {
    const Index m = c.in[0].columns(), rows = c.n * c.in[0].rows(c.time);
    part[0] = static_cast<double>(rows);
    if (backward)
      c.k.column_products(part + 1, part + 1 + m, c.dz, c.x[0], Shared<T>(c.shared, m).mean, rows, m);
    else
      c.k.column_moments(part + 1, part + 1 + m, c.x[0], rows, m);
  }
  // All ranges, in their order. Forward: mean, variance, scale, shift. Backward: dgain and dbias into dw (may be null), and scale, slope, shift of
  //   dx = f (g - mean g - xhat mean(g xhat)),  g = gain dy,  f = 1 / sqrt(v + eps)
  template <class T>
  void run_combine(const Call<T>& c, bool backward, const double* parts, Index count) const {
    const Index m = c.in[0].columns(), each = part(c.in);
    const Shared<T> s(c.shared, m);
    const T *gain = gain_of(c.w), *bias = bias_of(c.w, m);
    double rows = 0;
    for (Index p = 0; p < count; ++p) rows += parts[p * each];
    require_rows(static_cast<Index>(rows));
    for (Index j = 0; j < m; ++j) {
      const double g = gain ? static_cast<double>(gain[j]) : 1;
      if (!backward) {
        double n = 0, mean = 0, square = 0;  // Chan, Golub and LeVeque (1983)
        for (Index p = 0; p < count; ++p) {
          const double *q = parts + p * each, next = n + q[0], d = q[1 + j] / q[0] - mean;
          mean += d * q[0] / next;
          square += q[1 + m + j] + d * d * n * q[0] / next;
          n = next;
        }
        s.mean[j] = T(mean), s.variance[j] = T(square / (rows - 1));
        // a variance too large for T: y = bias would train on in silence
        const double f = std::isfinite(s.variance[j]) ? 1 / std::sqrt(square / rows + eps_) : std::numeric_limits<double>::quiet_NaN();
        s.factor[j] = T(f);
        s.scale[j] = T(g * f), s.shift[j] = bias ? bias[j] : T(0);
        continue;
      }
      double plain = 0, product = 0;
      for (Index p = 0; p < count; ++p) plain += parts[p * each + 1 + j], product += parts[p * each + 1 + m + j];
      const double f = static_cast<double>(s.factor[j]);
      s.slope[j] = T(-g * f * f * f * product / rows), s.shift[j] = T(-g * f * plain / rows);
      if (c.dw) put(c, j, f * product, plain);
    }
  }

  template <class T>
  void run_forward(const Call<T>& c) const {
    const Running<T> r(*this, c);
    c.k.affine_forward(c.z, c.x[0], r.s.mean, r.s.scale, r.s.shift, c.n * c.in[0].rows(c.time), c.in[0].columns());
  }
  template <class T>
  void run_backward(const Call<T>& c) const {
    if (!c.dx[0]) return;
    Running<T> r(*this, c);
    r.without_bias();
    c.k.affine_backward(c.dx[0], c.dz, c.x[0], r.s.mean, r.s.scale, r.s.slope, r.s.shift, c.n * c.in[0].rows(c.time), c.in[0].columns(),
                        c.dx_accum[0]);
  }
  // Only where rows are independent: m and v are constants
  template <class T>
  void run_gradient(const Call<T>& c) const {
    const Index m = c.in[0].columns();
    const Running<T> r(*this, c);
    std::vector<double> sums(static_cast<std::size_t>(2 * m));
    c.k.column_products(sums.data(), sums.data() + m, c.dz, c.x[0], r.s.mean, c.n * c.in[0].rows(c.time), m);
    for (Index j = 0; j < m; ++j)
      put(c, j, static_cast<double>(r.s.factor[j]) * sums[static_cast<std::size_t>(m + j)], sums[static_cast<std::size_t>(j)]);
  }
  template <class T>
  void run_learn(const Call<T>& c, T* state) const {
    const Index m = c.in[0].columns();
    const Shared<T> s(c.shared, m);
    const T keep = T(1 - momentum_), take = T(momentum_);
    for (Index j = 0; j < m; ++j) {
      state[j] = keep * state[j] + take * s.mean[j];
      state[m + j] = keep * state[m + j] + take * s.variance[j];
    }
  }

 private:
  template <class T>
  void fold(const T* w, const T* state, Index m, T* scale, T* shift) const {
    const T *gain = gain_of(w), *bias = bias_of(w, m);
    for (Index j = 0; j < m; ++j) {
      const double s = (gain ? static_cast<double>(gain[j]) : 1) / std::sqrt(static_cast<double>(state[m + j]) + eps_);
      scale[j] = T(s), shift[j] = T((bias ? static_cast<double>(bias[j]) : 0) - s * static_cast<double>(state[j]));
    }
  }
  template <class T>
  void put(const Call<T>& c, Index j, double dgain, double dbias) const {
    const auto into = [&](T* dw, double sum) {
      if (dw) dw[j] = (c.dw_keep == T(0) ? T(0) : c.dw_keep * dw[j]) + c.dw_scale * T(sum);
    };
    into(gain_of(c.dw), dgain);
    into(bias_of(c.dw, c.in[0].columns()), dbias);
  }

  // By channel: m, v N / (N - 1), f = 1 / sqrt(v + eps), and what the affine kernels take
  template <class T>
  struct Shared {
    static constexpr Index blocks = 6;
    Shared(T* p, Index m) : mean(p), variance(p + m), factor(p + 2 * m), scale(p + 3 * m), slope(p + 4 * m), shift(p + 5 * m) {}
    T *mean, *variance, *factor, *scale, *slope, *shift;
  };
  // What combine left, or, where rows are independent, the same of the running statistics
  template <class T>
  struct Running {
    Running(const BatchNorm& layer, const Call<T>& c)
        : m(c.in[0].columns()), own(c.shared ? 0 : static_cast<std::size_t>(Shared<T>::blocks * m)), s(c.shared ? c.shared : own.data(), m) {
      if (c.shared) return;
      const T *gain = layer.gain_of(c.w), *bias = layer.bias_of(c.w, m);
      for (Index j = 0; j < m; ++j) {
        s.mean[j] = c.state[j];
        s.factor[j] = T(1 / std::sqrt(static_cast<double>(c.state[m + j]) + layer.eps_));
        s.scale[j] = (gain ? gain[j] : T(1)) * s.factor[j];
        s.shift[j] = bias ? bias[j] : T(0);
      }
    }
    void without_bias() {
      if (!own.empty()) std::fill_n(s.shift, m, T(0));
    }
    Index m;
    std::vector<T> own;
    Shared<T> s;
  };

  double momentum_;
};

}  // namespace chainrule
