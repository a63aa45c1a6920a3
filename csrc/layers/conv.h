// SPDX-License-Identifier: MIT
// Convolution (strictly: correlation) over images (n, h, w, c) or sequences (n, T, c), channels last; W (filters, kernel..., c / groups), b (filters,).
// Its transpose over images: z is what the derivative to x of a convolution makes of dz = x, whose filters are the channels of x: W (c, kernel..., filters /
// groups). Below, `small` is the side of that convolution's output (z, or x of the transpose), `large` that of its input.
#pragma once
#include <algorithm>

#include "layers/activation.h"
#include "layers/window.h"
#include "tensor/scratch.h"

namespace chainrule {

class Conv : public LayerOf<Conv> {
 public:
  explicit Conv(const LayerSpec& spec)
      : LayerOf(spec),
        transposed_(spec.type == "conv_transpose2d"),
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
  std::vector<TensorSpec> parameters(const std::vector<Shape>& in) const override {
    const Index channels = in[0].columns();
    std::vector<Index> shape{transposed_ ? channels : filters_};
    for (Index k : kernel_) shape.push_back(k);
    shape.push_back((transposed_ ? filters_ : channels) / groups_);
    const Index taps = checked_multiply(kernel_.front(), axes_ == 2 ? kernel_.back() : 1);
    Index fan_in = checked_multiply(taps, channels / groups_), fan_out = checked_multiply(taps, filters_ / groups_);
    if (transposed_) fan_in = std::max<Index>(1, fan_in / checked_multiply(stride_[0], stride_[1]));  // a number of z sees every stride-th tap
    std::vector<TensorSpec> t{{"W", shape, initializer_, fan_in, fan_out, true}};
    if (bias_) t.push_back({"b", {filters_}, "zeros", fan_in, fan_out, false});
    return t;
  }
  bool reads_input() const override { return true; }
  bool splits_columns() const override { return true; }
  bool splits_inputs() const override { return false; }
  bool takes_affine() const override { return !transposed_; }
  double work(const Shape* in, const Shape& out) const override {
    return static_cast<double>(weights(in)) * (transposed_ ? static_cast<double>(in[0].rows()) / static_cast<double>(out.rows()) : 1.0);
  }
  Index bias_offset(const Shape* in) const override { return bias_ ? weights(in) : -1; }

  template <class T>
  void run_forward(const Call<T>& c) const {
    (this->*(transposed_ ? &Conv::to_large<T> : &Conv::to_small<T>))(c, c.z, c.x[0], Accum::Overwrite);
  }
  // forward: z = W * x + b, so dx (+)= its transpose applied to dz; the transpose's is W * dz
  template <class T>
  void run_backward(const Call<T>& c) const {
    if (c.dx[0]) (this->*(transposed_ ? &Conv::to_small<T> : &Conv::to_large<T>))(c, c.dx[0], c.dz, c.dx_accum[0]);
  }
  // forward: z = W * x + b, so dW is a sum of dz x and db the sum of dz over images and pixels. W of the transpose is cut by the channels of x: they are to
  // all of them what these filters are to all filters.
  template <class T>
  void run_gradient(const Call<T>& c) const {
    const ConvShape s = shape(c);
    const Index first = transposed_ ? c.column_begin * s.filters / filters_ : c.column_begin,
                end = transposed_ ? c.column_end * s.filters / filters_ : c.column_end;
    const T *small = transposed_ ? c.x[0] : c.dz, *large = transposed_ ? c.dz : c.x[0];
    if (plain(s))
      c.k.gemm(true, false, end - first, s.channels, c.n * s.height * s.width, c.dw_scale, small + first, s.filters, large, s.channels, c.dw_keep,
               c.dw + first * s.channels, s.channels);
    else
      c.k.conv_gradient(c.dw, small, large, s, c.n, first, end, c.dw_scale, c.dw_keep, scratch<T>(c.k.conv_scratch(s)));
    if (bias_)
      c.k.column_sum(c.dw + weights(c.in) + c.column_begin, c.dz + c.column_begin, c.n * c.out->rows(c.time), c.column_end - c.column_begin, filters_,
                     c.dw_scale, c.dw_keep);
  }

 private:
  // small (n, out_height, out_width, filters) (+)= W * large (n, height, width, channels), the call's columns of it
  template <class T>
  void to_small(const Call<T>& c, T* small, const T* large, Accum accum) const {
    const ConvShape s = shape(c);
    const Index begin = c.column_begin, end = c.column_end;
    if (plain(s))
      return c.k.gemm(false, true, c.n * s.height * s.width, end - begin, s.channels, T(1), large, s.channels, c.w + begin * s.channels, s.channels,
                      T(accum == Accum::Add), small + begin, s.filters);
    c.k.conv_forward(small, large, c.w, s, c.n, begin, end, accum, scratch<T>(c.k.conv_scratch(s)));
  }
  // large (+)= the transpose of W * applied to small, the call's columns of it
  template <class T>
  void to_large(const Call<T>& c, T* large, const T* small, Accum accum) const {
    const ConvShape s = shape(c);
    const Index begin = c.column_begin, end = c.column_end;
    if (plain(s))
      return c.k.gemm(false, false, c.n * s.height * s.width, end - begin, s.filters, T(1), small, s.filters, c.w + begin, s.channels,
                      T(accum == Accum::Add), large + begin, s.channels);
    c.k.conv_backward(large, small, c.w, s, c.n, begin, end, accum, scratch<T>(c.k.conv_scratch(s)));
  }

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
    if (transposed_) return back(a, size, window, in);
    if (mode_ == "same" || mode_ == "causal") {
      if (size < 0) {
        CR_CHECK(stride == 1, tag(), "input is ", in.str(), " and the stride ", stride, ": an axis of any size needs stride 1");
        return {size, mode_ == "causal" ? window - 1 : (window - 1) / 2};
      }
      return {(size - 1) / stride + 1, mode_ == "causal" ? window - 1 : padding_for_same(size, window, stride) / 2};
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
  // The same of the transpose, whose `size` is that convolution's output: the zeros are left out of z. "same": out = stride size.
  Along back(std::size_t a, Index size, Index window, const Shape& in) const {
    CR_CHECK(size > 0, tag(), "input is ", in.str(), ": expected known sizes");
    const Index stride = stride_[a], full = checked_multiply(size - 1, stride) + window;
    if (mode_ == "same") return {checked_multiply(size, stride), padding_for_same(checked_multiply(size, stride), window, stride) / 2};
    const Index before = padding_.empty() ? 0 : padding_[2 * a], after = padding_.empty() ? 0 : padding_[2 * a + 1];
    CR_CHECK(before + after < full, tag(), "padding leaves out ", before + after, " numbers of ", full, " on an axis of the input ", in.str(),
             ": expected fewer");
    return {full - before - after, before};
  }
  Index weights(const Shape* in) const { return filters_ * kernel_.front() * (axes_ == 2 ? kernel_.back() : 1) * (in[0].columns() / groups_); }
  // A sequence is an image of height 1
  template <class T>
  ConvShape shape(const Call<T>& c) const {
    const Shape in = c.in[0].bound(c.time);
    const std::size_t w = static_cast<std::size_t>(axes_) - 1;
    const Index height = axes_ == 2 ? in.dims[0] : 1, width = in.dims[w], channels = in.dims.back();
    const Along across = along(axes_ - 1, width, in), down = axes_ == 2 ? along(0, height, in) : Along{1, 0};
    return {transposed_ ? down.out : height,
            transposed_ ? across.out : width,
            transposed_ ? filters_ : channels,
            transposed_ ? height : down.out,
            transposed_ ? width : across.out,
            transposed_ ? channels : filters_,
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

  bool transposed_;
  Index axes_, filters_;
  std::vector<Index> kernel_, stride_, dilation_;
  Index groups_;
  bool bias_;
  std::string initializer_, mode_;
  std::vector<Index> padding_;
};

}  // namespace chainrule
