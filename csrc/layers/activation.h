// SPDX-License-Identifier: MIT
// a = g(z), elementwise or softmax over the last axis. Mostly fused into the step that makes z (network/plan.cpp); this is the rest.
#pragma once
#include <algorithm>
#include <cstring>

#include "layers/layer.h"

namespace chainrule {

// Index of a function in the registry, -1 for softmax; ValueError with the known names otherwise. `who` opens the message.
int find_activation(const std::string& who, const std::string& function);
// The initialiser that keeps the variance of a layer feeding that function (contract 19); each in the distribution of its paper.
inline std::string default_initializer(int activation) {
  const std::string family = activation < 0 ? "glorot" : kernels<double>().activations[activation].init;
  return family + (family == "glorot" ? "_uniform" : "_normal");
}

class Activation : public LayerOf<Activation> {
 public:
  explicit Activation(const LayerSpec& spec) : LayerOf(spec), index_(find_activation(tag(), spec.string("function", ""))) {
    const bool given = spec.find("parameter") != nullptr;
    if (index_ >= 0) {
      const auto& g = kernels<double>().activations[index_];
      CR_CHECK(!given || g.has_parameter, tag(), g.name, " takes no parameter");
      parameter_ = given ? spec.number("parameter") : g.parameter;
      // Below 0 the function would not be monotone, and g' could not be had from a.
      CR_CHECK(parameter_ >= 0 && parameter_ < 1e30, tag(), "parameter is ", parameter_, ": expected a finite number >= 0");
    } else {
      CR_CHECK(!given, tag(), "softmax takes no parameter");
    }
  }

  Shape infer(const std::vector<Shape>& in) const override {
    expect_inputs(in, 1, 1);
    CR_CHECK(index_ >= 0 || !in[0].dims.empty(), tag(), "softmax needs an axis to run over, the input is ", in[0].str());
    return in[0];
  }
  bool alias(bool) const override { return index_ == 0; }
  bool reads_input() const override { return index_ > 0 && kernels<double>().activations[index_].needs_z; }
  bool reads_output() const override { return index_ < 0 || !reads_input(); }
  int activation() const override { return index_; }
  double activation_parameter() const override { return parameter_; }
  bool softmax() const override { return index_ < 0; }

  template <class T>
  void run_forward(const Call<T>& c) const {
    if (index_ < 0) return c.k.softmax_forward(c.z, c.x[0], c.n * c.in[0].rows(c.time), c.in[0].columns(c.time));
    const Index count = c.n * c.in[0].size(c.time);
    // the kernel works in place on z, and x is not ours to write
    if (c.spare)
      c.k.add(c.z, c.x[0], count, Accum::Overwrite);
    else
      std::memcpy(c.z, c.x[0], static_cast<std::size_t>(count) * sizeof(T));
    c.k.activations[index_].forward(c.z, c.z, nullptr, 1, count, count, T(parameter_));
  }
  // forward: a = g(x), so dx (+)= da g'(x)
  template <class T>
  void run_backward(const Call<T>& c) const {
    if (!c.dx[0]) return;
    if (index_ < 0) return c.k.softmax_backward(c.dx[0], c.dz, c.a, c.n * c.in[0].rows(c.time), c.in[0].columns(c.time), c.dx_accum[0]);
    const Index count = c.n * c.in[0].size(c.time), run = 512;
    if (c.spare) {
      T* d = c.dx_accum[0] == Accum::Add ? c.spare : c.dx[0];
      c.k.add(d, c.dz, count, Accum::Overwrite);
      c.k.activations[index_].backward(d, c.x[0], c.a, 1, count, count, T(parameter_));
      if (d == c.spare) c.k.add(c.dx[0], d, count, Accum::Add);
      return;
    }
    T block[run];
    for (Index i = 0; i < count; i += run) {
      const Index m = std::min(run, count - i);
      T* d = c.dx_accum[0] == Accum::Add ? block : c.dx[0] + i;
      std::memcpy(d, c.dz + i, static_cast<std::size_t>(m) * sizeof(T));
      c.k.activations[index_].backward(d, c.x[0] ? c.x[0] + i : nullptr, c.a ? c.a + i : nullptr, 1, m, m, T(parameter_));
      if (d == block) c.k.add(c.dx[0] + i, block, m, Accum::Add);
    }
  }

 private:
  int index_;
  double parameter_ = 0;
};

}  // namespace chainrule
