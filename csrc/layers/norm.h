// SPDX-License-Identifier: MIT
// LayerNorm, RMSNorm and GroupNorm: y = gain xhat + bias with xhat = (x - m) / sqrt(v + eps), whose m and v are those of one sample. gain, bias (channels,).
// Ba, Kiros, Hinton, Layer normalization, 2016; Zhang, Sennrich, Root mean square layer normalization, 2019; Wu, He, Group normalization, 2018.
#pragma once
#include <cmath>

#include "layers/layer.h"

namespace chainrule {

// What every normalisation has: eps, gain and bias over the last axis.
template <class Self>
class Norm : public LayerOf<Self> {
 public:
  explicit Norm(const LayerSpec& spec)
      : LayerOf<Self>(spec), eps_(spec.number("eps")), gain_(spec.flag("gain", true)), bias_(spec.flag("bias", true)) {
    CR_CHECK(eps_ > 0 && eps_ < 1e30, this->tag(), "eps is ", eps_, ": expected a number > 0");
  }
  Shape infer(const std::vector<Shape>& in) const override {
    this->expect_inputs(in, 1, 1);
    CR_CHECK(!in[0].dims.empty() && in[0].dims.back() > 0, this->tag(), "input is ", in[0].str(), ": expected a last axis of known size, at least 1");
    return in[0];
  }
  std::vector<TensorSpec> parameters(const std::vector<Shape>& in) const override {
    const Index channels = in[0].columns();
    std::vector<TensorSpec> t;
    if (gain_) t.push_back({"gain", {channels}, "ones", 0, 0, false});
    if (bias_) t.push_back({"bias", {channels}, "zeros", 0, 0, false});
    return t;
  }
  void require_device(const std::vector<Shape>&) const override {
    CR_CHECK(false, this->tag(), "normalises, which a card does not do yet: use device='cpu'");
  }
  bool reads_input() const override { return true; }
  double work(const Shape*, const Shape& out) const override { return 4 * static_cast<double>(out.columns()); }

 protected:
  double eps_;
  bool gain_, bias_;

  // The layer's gain, bias among `tensors` (parameters or their gradients); null where there is none.
  template <class T>
  T* gain_of(T* tensors) const {
    return gain_ ? tensors : nullptr;
  }
  template <class T>
  T* bias_of(T* tensors, Index channels) const {
    return bias_ ? tensors + (gain_ ? channels : 0) : nullptr;
  }
};

// Over the last axis; RMSNorm does not subtract the mean.
class RowNorm : public Norm<RowNorm> {
 public:
  explicit RowNorm(const LayerSpec& spec) : Norm(spec), centred_(spec.type == "layer_norm") {}

  template <class T>
  void run_forward(const Call<T>& c) const {
    const Index m = c.in[0].columns();
    c.k.norm_forward(c.z, c.x[0], gain_of(c.w), bias_of(c.w, m), c.n * c.in[0].rows(c.time), m, eps_, centred_);
  }
  template <class T>
  void run_backward(const Call<T>& c) const {
    const Index m = c.in[0].columns();
    if (c.dx[0]) c.k.norm_backward(c.dx[0], c.dz, c.x[0], gain_of(c.w), c.n * c.in[0].rows(c.time), m, eps_, centred_, c.dx_accum[0]);
  }
  template <class T>
  void run_gradient(const Call<T>& c) const {
    const Index m = c.in[0].columns();
    c.k.norm_gradient(gain_of(c.dw), bias_of(c.dw, m), c.dz, c.x[0], c.n * c.in[0].rows(c.time), m, eps_, centred_, c.dw_scale, c.dw_keep);
  }

 private:
  bool centred_;
};

// Over the positions of a sample (all axes but the last) and the channels of a group: m and v of each (sample, group).
class GroupNorm : public Norm<GroupNorm> {
 public:
  explicit GroupNorm(const LayerSpec& spec) : Norm(spec), groups_(spec.integer("groups", 1)) {}

  Shape infer(const std::vector<Shape>& in) const override {
    const Shape out = Norm::infer(in);
    CR_CHECK(out.columns() % groups_ == 0, tag(), "groups is ", groups_, ", which does not divide the ", out.columns(), " channels of ", out.str());
    return out;
  }

  template <class T>
  void run_forward(const Call<T>& c) const {
    Sample<T> s(*this, c);
    for (Index i = 0; i < c.n; ++i) {
      const T* x = s.look(c.x[0], i);
      for (Index j = 0; j < s.channels; ++j) {
        s.scale[at(j)] = s.gain(j) * s.factor[at(j)];
        s.shift[at(j)] = s.bias ? s.bias[j] : T(0);
      }
      c.k.affine_forward(c.z + i * s.size, x, s.mean.data(), s.scale.data(), s.shift.data(), s.positions, s.channels);
    }
  }
  // forward: y = gain xhat + bias, so dx (+)= f (g - mean g - xhat mean(g xhat)), g = gain dy, f = 1 / sqrt(v + eps), means over a group
  template <class T>
  void run_backward(const Call<T>& c) const {
    if (!c.dx[0]) return;
    Sample<T> s(*this, c);
    const Index width = s.channels / groups_;
    const double count = static_cast<double>(s.positions * width);
    for (Index i = 0; i < c.n; ++i) {
      const T* x = s.look(c.x[0], i);
      c.k.column_products(s.sum.data(), s.square.data(), c.dz + i * s.size, x, s.mean.data(), s.positions, s.channels);
      for (Index g = 0; g < s.channels; g += width) {
        double plain = 0, product = 0;
        for (Index j = g; j < g + width; ++j) {
          plain += static_cast<double>(s.gain(j)) * s.sum[at(j)];
          product += static_cast<double>(s.gain(j)) * s.square[at(j)];
        }
        const double f = static_cast<double>(s.factor[at(g)]);
        for (Index j = g; j < g + width; ++j) {
          s.scale[at(j)] = s.gain(j) * T(f);
          s.slope[at(j)] = T(-f * f * f * product / count);
          s.shift[at(j)] = T(-f * plain / count);
        }
      }
      c.k.affine_backward(c.dx[0] + i * s.size, c.dz + i * s.size, x, s.mean.data(), s.scale.data(), s.slope.data(), s.shift.data(), s.positions,
                          s.channels, c.dx_accum[0]);
    }
  }
  // dgain = sum of dy xhat, dbias = sum of dy
  template <class T>
  void run_gradient(const Call<T>& c) const {
    Sample<T> s(*this, c);
    std::vector<double> dgain(at(s.channels), 0.0), dbias(at(s.channels), 0.0);
    for (Index i = 0; i < c.n; ++i) {
      const T* x = s.look(c.x[0], i);
      c.k.column_products(s.sum.data(), s.square.data(), c.dz + i * s.size, x, s.mean.data(), s.positions, s.channels);
      for (Index j = 0; j < s.channels; ++j) {
        dgain[at(j)] += static_cast<double>(s.factor[at(j)]) * s.square[at(j)];
        dbias[at(j)] += s.sum[at(j)];
      }
    }
    put(gain_of(c.dw), dgain, c);
    put(bias_of(c.dw, s.channels), dbias, c);
  }

 private:
  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }
  template <class T>
  static void put(T* dw, const std::vector<double>& sum, const Call<T>& c) {
    if (!dw) return;
    for (std::size_t j = 0; j < sum.size(); ++j) dw[j] = (c.dw_keep == T(0) ? T(0) : c.dw_keep * dw[j]) + c.dw_scale * T(sum[j]);
  }

  // Room for one sample's statistics by channel
  template <class T>
  struct Sample {
    Sample(const GroupNorm& layer, const Call<T>& c)
        : k(c.k),
          channels(c.in[0].columns()),
          positions(c.in[0].rows(c.time)),
          size(positions * channels),
          groups(layer.groups_),
          eps(layer.eps_),
          gains(layer.gain_of(c.w)),
          bias(layer.bias_of(c.w, channels)),
          sum(at(channels)),
          square(at(channels)),
          mean(at(channels)),
          factor(at(channels)),
          scale(at(channels)),
          slope(at(channels)),
          shift(at(channels)) {}
    // mean and factor = 1 / sqrt(v + eps) of sample i, by channel
    const T* look(const T* all, Index i) {
      const T* x = all + i * size;
      const Index width = channels / groups;
      const double n = static_cast<double>(positions);
      k.column_moments(sum.data(), square.data(), x, positions, channels);
      for (Index g = 0; g < channels; g += width) {
        double m = 0, v = 0;
        for (Index j = g; j < g + width; ++j) m += sum[at(j)];
        m /= n * static_cast<double>(width);
        for (Index j = g; j < g + width; ++j) {
          const double d = sum[at(j)] / n - m;
          v += square[at(j)] + n * d * d;
        }
        const double f = 1 / std::sqrt(v / (n * static_cast<double>(width)) + eps);
        for (Index j = g; j < g + width; ++j) mean[at(j)] = T(m), factor[at(j)] = T(f);
      }
      return x;
    }
    T gain(Index j) const { return gains ? gains[j] : T(1); }

    const Kernels<T>& k;
    Index channels, positions, size, groups;
    double eps;
    const T *gains, *bias;
    std::vector<double> sum, square;
    std::vector<T> mean, factor, scale, slope, shift;
  };

  Index groups_;
};

}  // namespace chainrule
