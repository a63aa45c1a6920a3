// SPDX-License-Identifier: MIT
// y = (x - mean) / scale over the last axis. mean and scale are state, learned from the training rows before the first epoch (train/adapt.cpp); a column
// that does not vary has scale 1. scale = 0 means: not learned yet.
#pragma once
#include "layers/layer.h"

namespace chainrule {

class Standardize : public LayerOf<Standardize> {
 public:
  using LayerOf::LayerOf;
  Shape infer(const std::vector<Shape>& in) const override {
    expect_inputs(in, 1, 1);
    CR_CHECK(!in[0].dims.empty() && in[0].dims.back() > 0, tag(), "input is ", in[0].str(), ": expected a last axis of known size, at least 1");
    return in[0];
  }
  std::vector<TensorSpec> state(const std::vector<Shape>& in) const override {
    return {{"mean", {in[0].columns()}, "zeros", 0, 0, false}, {"scale", {in[0].columns()}, "zeros", 0, 0, false}};
  }
  template <class T>
  void run_forward(const Call<T>& c) const {
    const Index m = c.in[0].columns();
    c.k.standardize_forward(c.z, c.x[0], c.state, c.state + m, c.n * c.in[0].rows(c.time), m);
  }
  // forward: y = (x - mean) / scale, so dx (+)= dy / scale
  template <class T>
  void run_backward(const Call<T>& c) const {
    const Index m = c.in[0].columns();
    if (c.dx[0]) c.k.standardize_backward(c.dx[0], c.dz, c.state + m, c.n * c.in[0].rows(c.time), m, c.dx_accum[0]);
  }
};

}  // namespace chainrule
