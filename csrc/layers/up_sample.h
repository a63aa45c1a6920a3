// SPDX-License-Identifier: MIT
// UpSample: images and sequences with each place `size` times along each axis, or with places between, linear between the nearest.
#pragma once
#include <algorithm>
#include <cmath>

#include "layers/window.h"
#include "tensor/scratch.h"

namespace chainrule {

class UpSample : public LayerOf<UpSample> {
 public:
  explicit UpSample(const LayerSpec& spec) : LayerOf(spec), windows_(spec) {
    const std::string mode = spec.string("mode", "nearest");
    CR_CHECK(mode == "nearest" || mode == "bilinear", tag(), "mode is '", mode, "': expected 'nearest' or 'bilinear'");
    linear_ = mode == "bilinear";
  }

  Shape infer(const std::vector<Shape>& in) const override {
    expect_inputs(in, 1, 1);
    const auto [down, across, axes] = windows_.under(in[0]);
    Shape out = axes == 1 ? Shape{{across.n, in[0].dims.back()}} : Shape{{down.n, across.n, in[0].dims.back()}};
    CR_CHECK(out.fits(), tag(), "output ", out.str(), " is too large");
    return out;
  }
  void require_device(const std::vector<Shape>&) const override {
    CR_CHECK(false, tag(), "makes images larger, which a card does not do yet: use device='cpu'");
  }
  // nearest: z[s y + a, s x + b] = x[y, x], 0 <= a, b < s; bilinear: z[j] = sum_i max(0, 1 - |j - s (i + 1/2) + 1/2| / s) x[i] along each axis, the first and
  // the last place of x also standing before and behind it
  template <class T>
  void run_forward(const Call<T>& c) const {
    const auto [down, across, axes] = windows_.under(c.in[0]);
    const Index m = c.in[0].columns(), row = across.n * m;
    if (linear_) {
      const Tents<T> t(c.k, down, across, m);
      for (Index i = 0; i < c.n; ++i) {
        t.each_place([&](Index e, Index inside) { std::copy_n(c.x[0] + i * t.size + inside, m, t.padded + e); });
        c.k.conv_backward(c.z + i * down.n * row, t.padded, t.w, t.shape, 1, 0, m, Accum::Overwrite, t.room);
      }
      return;
    }
    c.k.copy_axes(
        c.z, c.x[0],
        {5, {c.n * down.out, down.size, across.out, across.size, m}, {down.size * row, row, across.size * m, m, 1}, {across.out * m, 0, m, 0, 1}},
        Accum::Overwrite);
  }
  // forward: z[s y + a, s x + b] = x[y, x], so dx[y, x] (+)= sum over a, b of dz[s y + a, s x + b]; bilinear: the transpose of the same sum
  template <class T>
  void run_backward(const Call<T>& c) const {
    if (!c.dx[0]) return;
    const auto [down, across, axes] = windows_.under(c.in[0]);
    const Index m = c.in[0].columns(), row = across.n * m;
    if (linear_) {
      const Tents<T> t(c.k, down, across, m);
      if (c.dx_accum[0] == Accum::Overwrite) std::fill_n(c.dx[0], c.n * t.size, T(0));
      for (Index i = 0; i < c.n; ++i) {
        c.k.conv_forward(t.padded, c.dz + i * down.n * row, t.w, t.shape, 1, 0, m, Accum::Overwrite, t.room);
        t.each_place([&](Index e, Index inside) { c.k.add(c.dx[0] + i * t.size + inside, t.padded + e, m, Accum::Add); });
      }
      return;
    }
    const AxesArgs q{3, {c.n * down.out, across.out, m}, {across.out * m, m, 1}, {down.size * row, across.size * m, 1}};
    for (Index a = 0; a < down.size; ++a)
      for (Index b = 0; b < across.size; ++b) c.k.copy_axes(c.dx[0], c.dz + a * row + b * m, q, a + b == 0 ? c.dx_accum[0] : Accum::Add);
  }

 private:
  // Linear interpolation is a depthwise transposed convolution with a tent, of x with its border once more around it
  template <class T>
  struct Tents {
    Tents(const Kernels<T>& k, const Window& down, const Window& across, Index m)
        : height(down.out),
          width(across.out),
          channels(m),
          size(height * width * m),
          shape{down.n,      across.n, m, height + 2,        width + 2,           m, taps(down.size), taps(across.size), down.size,
                across.size, 1,        1, before(down.size), before(across.size), m} {
      const Index numbers = (height + 2) * (width + 2) * m, kernel = shape.kernel_height * shape.kernel_width;
      padded = scratch<T>(numbers + m * kernel + k.conv_scratch(shape));
      w = padded + numbers, room = w + m * kernel;
      for (Index c = 0; c < m; ++c)
        for (Index a = 0; a < shape.kernel_height; ++a)
          for (Index b = 0; b < shape.kernel_width; ++b)
            w[c * kernel + a * shape.kernel_width + b] = static_cast<T>(tent(a, down.size) * tent(b, across.size));
    }
    // f(place in `padded`, the place of x that stands there)
    template <class F>
    void each_place(F&& f) const {
      for (Index y = 0; y < height + 2; ++y)
        for (Index x = 0; x < width + 2; ++x)
          f((y * (width + 2) + x) * channels, (std::clamp<Index>(y - 1, 0, height - 1) * width + std::clamp<Index>(x - 1, 0, width - 1)) * channels);
    }
    static Index taps(Index s) { return 2 * s - s % 2; }
    static Index before(Index s) { return (3 * s - s % 2) / 2; }
    static double tent(Index j, Index s) { return 1 - std::abs(static_cast<double>(2 * j + 1 - taps(s))) / static_cast<double>(2 * s); }

    Index height, width, channels, size;
    ConvShape shape;
    T *padded, *w, *room;
  };
  Windows windows_;
  bool linear_;
};

}  // namespace chainrule
