// SPDX-License-Identifier: MIT
// MaxPool and AveragePool over windows; Mean over an axis, which is an average over one window.
#pragma once
#include "layers/window.h"

namespace chainrule {

class Pool : public LayerOf<Pool> {
 public:
  explicit Pool(const LayerSpec& spec) : LayerOf(spec), windows_(spec), max_(spec.type == "max_pool") {}

  Shape infer(const std::vector<Shape>& in) const override {
    expect_inputs(in, 1, 1);
    const Places p = windows_.over(in[0]);
    const Index channels = in[0].dims.back();
    return p.axes == 1 ? Shape{{p.across.out, channels}} : Shape{{p.down.out, p.across.out, channels}};
  }
  bool reads_input() const override { return max_; }
  bool chooses() const override { return max_; }
  void require_device(const std::vector<Shape>&) const override { CR_CHECK(false, tag(), "pools, which a card does not do yet: use device='cpu'"); }
  double work(const Shape* in, const Shape& out) const override {
    const Places p = windows_.over(in[0]);
    return static_cast<double>(p.down.size) * static_cast<double>(p.across.size) * static_cast<double>(out.columns());
  }

  // z = max or mean of x over each window
  template <class T>
  void run_forward(const Call<T>& c) const {
    (max_ ? c.k.max_pool_forward : c.k.average_pool_forward)(c.z, c.x[0], args(c));
  }
  // forward: z = max x, so dx (+)= dz at the first of the largest; z = mean x over a window of m pixels, so dx (+)= dz / m at each
  template <class T>
  void run_backward(const Call<T>& c) const {
    if (!c.dx[0]) return;
    if (max_)
      c.k.max_pool_backward(c.dx[0], c.dz, c.x[0], args(c), c.dx_accum[0]);
    else
      c.k.average_pool_backward(c.dx[0], c.dz, args(c), c.dx_accum[0]);
  }

 private:
  template <class T>
  PoolArgs args(const Call<T>& c) const {
    const auto [down, across, axes] = windows_.over(c.in[0]);
    return {c.n,         down.n,        across.n,    c.in[0].dims.back(), down.size, across.size,
            down.stride, across.stride, down.before, across.before,       down.out,  across.out};
  }
  Windows windows_;
  bool max_;
};

// Over one axis, or (global_average_pool) over all axes but that of the channels; the axes are gone.
class Mean : public LayerOf<Mean> {
 public:
  explicit Mean(const LayerSpec& spec)
      : LayerOf(spec), global_(spec.type == "global_average_pool"), axis_(global_ ? 0 : spec.integer("axis", -1000)) {}

  Shape infer(const std::vector<Shape>& in) const override {
    expect_inputs(in, 1, 1);
    const auto [first, last] = axes(in[0]);
    Shape out;
    for (std::size_t i = 0; i < in[0].dims.size(); ++i)
      if (i < first || i >= last) out.dims.push_back(in[0].dims[i]);
    return out;
  }
  void require_device(const std::vector<Shape>&) const override {
    CR_CHECK(false, tag(), "takes means, which a card does not do yet: use device='cpu'");
  }
  double work(const Shape* in, const Shape& out) const override { return static_cast<double>(in[0].size()) / static_cast<double>(out.rows()); }

  // z = (sum_j x_j) / m over the m places j of the axis
  template <class T>
  void run_forward(const Call<T>& c) const {
    c.k.average_pool_forward(c.z, c.x[0], args(c));
  }
  // forward: z = (sum_j x_j) / m, so dx_j (+)= dz / m
  template <class T>
  void run_backward(const Call<T>& c) const {
    if (c.dx[0]) c.k.average_pool_backward(c.dx[0], c.dz, args(c), c.dx_accum[0]);
  }

 private:
  std::pair<std::size_t, std::size_t> axes(const Shape& in) const {
    const std::size_t rank = in.dims.size();
    CR_CHECK(!global_ || rank >= 2, tag(), "input is ", in.str(), ": expected (n, T, channels) or (n, h, w, channels)");
    return global_ ? std::pair<std::size_t, std::size_t>{0, rank - 1} : std::pair{axis_of(tag(), axis_, in), axis_of(tag(), axis_, in) + 1};
  }
  template <class T>
  PoolArgs args(const Call<T>& c) const {
    const Shape in = c.in[0].bound(c.time);
    const auto [first, last] = axes(in);
    Index outer = c.n, m = 1, inner = 1;
    for (std::size_t i = 0; i < in.dims.size(); ++i) (i < first ? outer : i < last ? m : inner) *= in.dims[i];
    return {outer, 1, m, inner, 1, m, 1, m, 0, 0, 1, 1};
  }
  bool global_;
  Index axis_;
};

}  // namespace chainrule
