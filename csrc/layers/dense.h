// SPDX-License-Identifier: MIT
// z = x W^T + b over the last axis; W (units, n_in), b (units,).
#pragma once
#include <algorithm>

#include "layers/activation.h"

namespace chainrule {

class Dense : public LayerOf<Dense> {
 public:
  explicit Dense(const LayerSpec& spec)
      : LayerOf(spec),
        units_(spec.integer("units", 1)),
        bias_(spec.flag("bias", true)),
        initializer_(spec.string("initializer", default_initializer(find_activation(tag(), spec.string("activation", "identity"))))) {}

  Shape infer(const std::vector<Shape>& in) const override {
    expect_inputs(in, 1, 1);
    CR_CHECK(!in[0].dims.empty() && in[0].dims.back() > 0, tag(), "input is ", in[0].str(), ": expected a last axis of known size, at least 1");
    Shape out = in[0];
    out.dims.back() = units_;
    return out;
  }
  std::vector<TensorSpec> parameters(const std::vector<Shape>& in) const override {
    const Index n_in = in[0].columns();
    std::vector<TensorSpec> t{{"W", {units_, n_in}, initializer_, n_in, units_, true}};
    if (bias_) t.push_back({"b", {units_}, "zeros", n_in, units_, false});
    return t;
  }
  bool reads_input() const override { return true; }
  bool splits_columns() const override { return true; }
  bool steps() const override { return true; }
  bool takes_sparse() const override { return true; }
  bool takes_affine() const override { return true; }
  double work(const Shape* in, const Shape&) const override { return static_cast<double>(in[0].columns()) * static_cast<double>(units_); }
  Index bias_offset(const Shape* in) const override { return bias_ ? units_ * in[0].columns() : -1; }

  // z[:, c0:c1] = x W[c0:c1]^T; b follows with the activation
  template <class T>
  void run_forward(const Call<T>& c) const {
    const Index n_in = c.in[0].columns(), rows = c.n * c.in[0].rows(c.time);
    if (c.sparse.begin)
      return c.k.sparse_forward(c.z + c.column_begin, units_, c.sparse, n_in, c.w + c.column_begin * n_in, c.column_end - c.column_begin);
    c.k.gemm(false, true, rows, c.column_end - c.column_begin, n_in, T(1), c.x[0], n_in, c.w + c.column_begin * n_in, n_in, T(0),
             c.z + c.column_begin, units_);
  }
  // forward: z = x W^T + b, so dx[:, c0:c1] (+)= dz W[:, c0:c1]
  template <class T>
  void run_backward(const Call<T>& c) const {
    if (!c.dx[0]) return;
    const Index n_in = c.in[0].columns(), rows = c.n * c.in[0].rows(c.time);
    c.k.gemm(false, false, rows, c.column_end - c.column_begin, units_, T(1), c.dz, units_, c.w + c.column_begin, n_in,
             T(c.dx_accum[0] == Accum::Add), c.dx[0] + c.column_begin, n_in);
  }
  // forward: z = x W^T + b, so dW[u0:u1, i0:i1] = dz[:, u0:u1]^T x[:, i0:i1], db[u0:u1] = sum of dz[:, u0:u1] over rows (with the first column of W)
  template <class T>
  void run_gradient(const Call<T>& c) const {
    const Index n_in = c.in[0].columns(), rows = c.n * c.in[0].rows(c.time), i0 = c.in_begin, end = c.column_end;
    const Index u = c.column_begin;
    if (c.step) {
      constexpr T one = 1;
      const Index w = u * n_in, b = units_ * n_in + u;
      const bool finite = c.k.outer_step(end - u, n_in, c.dw_scale, c.dz + u, c.x[0], c.dw_keep, c.dw + w, c.step + w) &
                          (!bias_ || c.k.outer_step(1, end - u, c.dw_scale, &one, c.dz + u, c.dw_keep, c.dw + b, c.step + b));
      if (!finite) *c.finite = false;
      return;
    }
    if (c.sparse.begin)
      c.k.sparse_backward(c.dw + u * n_in, c.dz + u, units_, c.sparse, n_in, end - u, c.dw_scale, c.dw_keep);
    else
      c.k.gemm(true, false, end - u, c.in_end - i0, rows, c.dw_scale, c.dz + u, units_, c.x[0] + i0, n_in, c.dw_keep, c.dw + u * n_in + i0, n_in);
    if (bias_ && i0 == 0) c.k.column_sum(c.dw + units_ * n_in + u, c.dz + u, rows, end - u, units_, c.dw_scale, c.dw_keep);
  }

 private:
  Index units_;
  bool bias_;
  std::string initializer_;
};

}  // namespace chainrule
