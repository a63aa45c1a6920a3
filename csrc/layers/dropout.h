// SPDX-License-Identifier: MIT
// Inverted dropout (Srivastava et al. 2014): y = m x / (1 - rate) with m Bernoulli(1 - rate) in training, y = x otherwise. The mask is drawn again in backward.
// Stochastic depth (Huang et al. 2016): the same with one m a sample.
#pragma once
#include <algorithm>
#include <cmath>

#include "layers/layer.h"

namespace chainrule {

class Dropout : public LayerOf<Dropout> {
 public:
  explicit Dropout(const LayerSpec& spec) : LayerOf(spec), rate_(spec.number("rate")), whole_samples_(spec.type == "stochastic_depth") {
    CR_CHECK(rate_ >= 0 && rate_ < 1, tag(), "rate is ", rate_, ": expected 0 <= rate < 1");
  }
  Shape infer(const std::vector<Shape>& in) const override {
    expect_inputs(in, 1, 1);
    return in[0];
  }
  void require_device(const std::vector<Shape>&) const override {
    CR_CHECK(!whole_samples_, tag(), "drops whole samples, which a card does not do yet: use device='cpu'");
  }
  bool alias(bool training) const override { return !training || rate_ == 0; }

  template <class T>
  void run_forward(const Call<T>& c) const {
    mask(c, c.z, c.x[0], Accum::Overwrite);
  }
  // forward: y = m x / (1 - rate), so dx (+)= m dy / (1 - rate)
  template <class T>
  void run_backward(const Call<T>& c) const {
    if (c.dx[0]) mask(c, c.dx[0], c.dz, c.dx_accum[0]);
  }

 private:
  template <class T>
  void mask(const Call<T>& c, T* y, const T* x, Accum accum) const {
    const Index size = c.in[0].size(c.time);
    if (!whole_samples_) return draw(c, y, x, c.first * size, c.n * size, accum);
    T factor[64], one[64];
    std::fill_n(one, 64, T(1));
    for (Index i = 0; i < c.n; i += 64) {
      const Index m = std::min<Index>(64, c.n - i);
      draw(c, factor, one, c.first + i, m, Accum::Overwrite);
      for (Index s = 0; s < m; ++s) {
        T* ys = y + (i + s) * size;
        const T *xs = x + (i + s) * size, f = factor[s];
        if (accum == Accum::Overwrite)
          for (Index e = 0; e < size; ++e) ys[e] = f == T(0) ? T(0) : f * xs[e];
        else if (f != T(0))
          for (Index e = 0; e < size; ++e) ys[e] += f * xs[e];
      }
    }
  }
  // Elements [first, first + n) of the step's random numbers
  template <class T>
  void draw(const Call<T>& c, T* y, const T* x, Index first, Index n, Accum accum) const {
    const auto threshold =
        static_cast<std::uint32_t>(std::lround(rate_ * 4294967296.0) > 4294967295 ? 4294967295 : std::lround(rate_ * 4294967296.0));
    c.k.dropout(y, x, first, n, static_cast<std::uint32_t>(c.key.seed), static_cast<std::uint32_t>(c.key.seed >> 32), c.key.step,
                c.key.purpose_stream, threshold, T(1 / (1 - rate_)), accum);
  }
  double rate_;
  bool whole_samples_;
};

}  // namespace chainrule
