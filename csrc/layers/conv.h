// SPDX-License-Identifier: MIT
// Convolution (strictly: correlation) over images (n, h, w, c) or sequences (n, T, c), channels last; W (filters, kernel..., c / groups), b (filters,).
#pragma once
#include <algorithm>

#include "layers/activation.h"
#include "tensor/scratch.h"

namespace chainrule {

class Conv : public LayerOf<Conv> {
 public:
  explicit Conv(const LayerSpec& spec)
      : LayerOf(spec),
        axes_(spec.type == "conv1d" ? 1 : 2),
        filters_(spec.integer("filters", 1)),
        kernel_(sizes(spec, "kernel")),
        stride_(sizes(spec, "stride")),
        dilation_(sizes(spec, "dilation")),
        groups_(spec.integer("groups", 1)),
        bias_(spec.flag("bias", true)),
        initializer_(spec.string("initializer", default_initializer(find_activation(tag(), spec.string("activation", "identity"))))) {
    const Attribute* padding = spec.find("padding");
    if (padding && std::holds_alternative<std::vector<Index>>(*padding)) {
      padding_ = spec.integers("padding");
      CR_CHECK(static_cast<Index>(padding_.size()) == 2 * axes_ && *std::min_element(padding_.begin(), padding_.end()) >= 0, tag(), "padding has ",
               padding_.size(), " numbers: expected ", 2 * axes_, ", before and after on each axis, none below 0");
      CR_CHECK(*std::max_element(padding_.begin(), padding_.end()) < (Index{1} << 31), tag(), "padding: expected less than 2^31");
    } else {
      mode_ = spec.string("padding", "same");
      CR_CHECK(mode_ == "same" || mode_ == "valid" || (mode_ == "causal" && axes_ == 1), tag(), "padding is '", mode_, "': expected 'same', 'valid'",
               axes_ == 1 ? ", 'causal'" : "", " or numbers");
    }
    CR_CHECK(filters_ % groups_ == 0, tag(), filters_, " filters do not divide into ", groups_, " groups");
  }

  Shape infer(const std::vector<Shape>& in) const override {
    expect_inputs(in, 1, 1);
    CR_CHECK(static_cast<Index>(in[0].dims.size()) == axes_ + 1 && in[0].dims.back() > 0, tag(), "input is ", in[0].str(), ": expected ",
             axes_ == 2 ? "images (n, height, width, channels)" : "sequences (n, time, channels)");
    CR_CHECK(in[0].dims.back() % groups_ == 0, tag(), in[0].dims.back(), " channels do not divide into ", groups_, " groups");
    Shape out = in[0];
    for (Index axis = 0; axis < axes_; ++axis)
      out.dims[static_cast<std::size_t>(axis)] = along(axis, in[0].dims[static_cast<std::size_t>(axis)], in[0]).out;
    out.dims.back() = filters_;
    CR_CHECK(out.fits(), tag(), "output ", out.str(), " is too large");
    return out;
  }
  void require_device(const std::vector<Shape>&) const override {
    throw ValueError(text(tag(), "is a convolution, which a card does not do yet: use device='cpu'"));
  }
  std::vector<TensorSpec> parameters(const std::vector<Shape>& in) const override {
    const Index channels = in[0].columns() / groups_;
    std::vector<Index> shape{filters_};
    for (Index k : kernel_) shape.push_back(k);
    shape.push_back(channels);
    const Index taps = checked_multiply(kernel_.front(), axes_ == 2 ? kernel_.back() : 1);
    const Index fan_in = checked_multiply(taps, channels), fan_out = checked_multiply(taps, filters_ / groups_);
    std::vector<TensorSpec> t{{"W", shape, initializer_, fan_in, fan_out, true}};
    if (bias_) t.push_back({"b", {filters_}, "zeros", fan_in, fan_out, false});
    return t;
  }
  bool reads_input() const override { return true; }
  bool splits_columns() const override { return true; }
  bool splits_inputs() const override { return false; }
  bool takes_affine() const override { return true; }
  double work(const Shape* in, const Shape&) const override { return static_cast<double>(weights(in)); }
  Index bias_offset(const Shape* in) const override { return bias_ ? weights(in) : -1; }

  template <class T>
  void run_forward(const Call<T>& c) const {
    const ConvShape s = shape(c);
    if (plain(s))
      return c.k.gemm(false, true, pixels(c, s), c.column_end - c.column_begin, s.channels, T(1), c.x[0], s.channels,
                      c.w + c.column_begin * s.channels, s.channels, T(0), c.z + c.column_begin, s.filters);
    c.k.conv_forward(c.z, c.x[0], c.w, s, c.n, c.column_begin, c.column_end, scratch<T>(c.k.conv_scratch(s)));
  }
  template <class T>
  void run_backward(const Call<T>& c) const {
    if (!c.dx[0]) return;
    const ConvShape s = shape(c);
    if (plain(s))
      return c.k.gemm(false, false, pixels(c, s), c.column_end - c.column_begin, s.filters, T(1), c.dz, s.filters, c.w + c.column_begin, s.channels,
                      T(c.dx_accum[0] == Accum::Add), c.dx[0] + c.column_begin, s.channels);
    c.k.conv_backward(c.dx[0], c.dz, c.w, s, c.n, c.column_begin, c.column_end, c.dx_accum[0], scratch<T>(c.k.conv_scratch(s)));
  }
  // forward: z = W * x + b, so db = the sum of dz over images and pixels
  template <class T>
  void run_gradient(const Call<T>& c) const {
    const ConvShape s = shape(c);
    const Index f = c.column_begin, filters = c.column_end - f, rows = pixels(c, s);
    if (plain(s))
      c.k.gemm(true, false, filters, s.channels, rows, c.dw_scale, c.dz + f, s.filters, c.x[0], s.channels, c.dw_keep, c.dw + f * s.channels,
               s.channels);
    else
      c.k.conv_gradient(c.dw, c.dz, c.x[0], s, c.n, f, c.column_end, c.dw_scale, c.dw_keep, scratch<T>(c.k.conv_scratch(s)));
    if (bias_) c.k.column_sum(c.dw + weights(c.in) + f, c.dz + f, rows, filters, s.filters, c.dw_scale, c.dw_keep);
  }

 private:
  std::vector<Index> sizes(const LayerSpec& spec, const std::string& key) const {
    const std::vector<Index> v = spec.integers(key);
    CR_CHECK(static_cast<Index>(v.size()) == axes_, tag(), key, " has ", v.size(), " numbers: expected ", axes_);
    for (Index i : v) CR_CHECK(i >= 1 && i < (Index{1} << 31), tag(), key, " has a ", i, ": expected at least 1 and less than 2^31");
    return v;
  }
  struct Along {
    Index out, before;
  };
  // Output size and zeros before the first number on one axis. "same": out = ceil(size / stride), zeros as even as possible, the odd one behind.
  Along along(Index axis, Index size, const Shape& in) const {
    const std::size_t a = static_cast<std::size_t>(axis);
    const Index window = (kernel_[a] - 1) * dilation_[a] + 1, stride = stride_[a];
    if (mode_ == "same" || mode_ == "causal") {
      if (size < 0) {
        CR_CHECK(stride == 1, tag(), "input is ", in.str(), " and the stride ", stride, ": an axis of any size needs stride 1");
        return {size, mode_ == "causal" ? window - 1 : (window - 1) / 2};
      }
      const Index out = (size + stride - 1) / stride, zeros = std::max<Index>(0, (out - 1) * stride + window - size);
      return {out, mode_ == "causal" ? window - 1 : zeros / 2};
    }
    const Index before = padding_.empty() ? 0 : padding_[2 * a], after = padding_.empty() ? 0 : padding_[2 * a + 1];
    if (size < 0) {
      CR_CHECK(stride == 1 && before + after == window - 1, tag(), "input is ", in.str(),
               ": an axis of any size needs stride 1 and padding 'same', 'causal' or of as many zeros as the kernel is long, less one");
      return {size, before};
    }
    CR_CHECK(size + before + after >= window, tag(), "the kernel reaches over ", window, " numbers and the input ", in.str(),
             " has with its padding only ", size + before + after, " on that axis");
    return {(size + before + after - window) / stride + 1, before};
  }
  Index weights(const Shape* in) const { return filters_ * kernel_.front() * (axes_ == 2 ? kernel_.back() : 1) * (in[0].columns() / groups_); }
  // A sequence is an image of height 1
  template <class T>
  ConvShape shape(const Call<T>& c) const {
    const Shape in = c.in[0].bound(c.time);
    const std::size_t w = static_cast<std::size_t>(axes_) - 1;
    const Along across = along(axes_ - 1, in.dims[w], in), down = axes_ == 2 ? along(0, in.dims[0], in) : Along{1, 0};
    return {axes_ == 2 ? in.dims[0] : 1,
            in.dims[w],
            in.dims.back(),
            down.out,
            across.out,
            filters_,
            axes_ == 2 ? kernel_[0] : 1,
            kernel_.back(),
            axes_ == 2 ? stride_[0] : 1,
            stride_.back(),
            axes_ == 2 ? dilation_[0] : 1,
            dilation_.back(),
            down.before,
            across.before,
            groups_};
  }
  // A kernel of one pixel: a dense layer over the pixels
  static bool plain(const ConvShape& s) {
    return s.kernel_height * s.kernel_width * s.stride_height * s.stride_width * s.groups == 1 && s.height == s.out_height && s.width == s.out_width;
  }
  template <class T>
  static Index pixels(const Call<T>& c, const ConvShape& s) {
    return c.n * s.out_height * s.out_width;
  }

  Index axes_, filters_;
  std::vector<Index> kernel_, stride_, dilation_;
  Index groups_;
  bool bias_;
  std::string initializer_, mode_;
  std::vector<Index> padding_;
};

}  // namespace chainrule
