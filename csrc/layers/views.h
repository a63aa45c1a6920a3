// SPDX-License-Identifier: MIT
// The same numbers in another shape or order: Flatten and Reshape, Transpose, Slice.
#pragma once
#include <algorithm>
#include <cstring>

#include "layers/layer.h"

namespace chainrule {

class Reshape : public LayerOf<Reshape> {
 public:
  explicit Reshape(const LayerSpec& spec) : LayerOf(spec), shape_{spec.type == "flatten" ? std::vector<Index>{-1} : spec.integers("shape")} {
    Index open = 0;
    for (Index d : shape_.dims) {
      CR_CHECK(d == -1 || (d >= 1 && d < (Index{1} << 31)), tag(), "shape has an axis of size ", d, ": expected at least 1, or -1 for what is left");
      open += d == -1;
    }
    CR_CHECK(open <= 1, tag(), "shape has ", open, " axes of size -1: expected at most one");
    CR_CHECK(shape_.fits(), tag(), "shape is ", shape_.str(), ": expected fewer than 2^48 elements");
  }
  Shape infer(const std::vector<Shape>& in) const override {
    expect_inputs(in, 1, 1);
    CR_CHECK(!in[0].symbolic(), tag(), "input is ", in[0].str(), ": expected known sizes");
    const Index known = shape_.size(1), size = in[0].size();
    CR_CHECK(shape_.symbolic() ? size % known == 0 : size == known, tag(), "input is ", in[0].str(), ", ", size, " numbers a sample: shape (n",
             sizes(shape_), ") ", shape_.symbolic() ? "needs a multiple of " : "has ", known);
    return shape_.bound(size / known);
  }
  bool alias(bool) const override { return true; }

 private:
  static std::string sizes(const Shape& s) {
    std::string list;
    for (Index d : s.dims) list += ", " + std::to_string(d);
    return list.empty() ? "," : list;
  }
  Shape shape_;
};

// Both are a walk over the axes of the smaller value.
class Transpose : public LayerOf<Transpose> {
 public:
  explicit Transpose(const LayerSpec& spec) : LayerOf(spec), given_(spec.find("axes") ? spec.integers("axes") : std::vector<Index>()) {}

  Shape infer(const std::vector<Shape>& in) const override {
    expect_inputs(in, 1, 1);
    Shape out;
    for (std::size_t axis : order(in[0])) out.dims.push_back(in[0].dims[axis]);
    return out;
  }
  void require_device(const std::vector<Shape>&) const override {
    CR_CHECK(false, tag(), "exchanges axes, which a card does not do yet: use device='cpu'");
  }
  // z[i_0, i_1, ...] = x[i at the axes' places]
  template <class T>
  void run_forward(const Call<T>& c) const {
    c.k.copy_axes(c.z, c.x[0], args(c, false), Accum::Overwrite);
  }
  // forward: z is x with its axes in another order, so dx (+)= dz with them in the order before
  template <class T>
  void run_backward(const Call<T>& c) const {
    if (c.dx[0]) c.k.copy_axes(c.dx[0], c.dz, args(c, true), c.dx_accum[0]);
  }

 private:
  std::vector<std::size_t> order(const Shape& in) const {
    const std::size_t rank = in.dims.size();
    CR_CHECK(rank < AxesArgs::most, tag(), "input is ", in.str(), ": expected at most ", AxesArgs::most - 1, " axes a sample");
    std::vector<std::size_t> axes;
    for (std::size_t i = 0; given_.empty() && i < rank; ++i) axes.push_back(rank - 1 - i);
    std::vector<char> seen(rank, 0);
    for (Index a : given_) {
      const std::size_t axis = axis_of(tag(), a, in);
      CR_CHECK(!seen[axis], tag(), "axes names axis ", axis + 1, " twice");
      seen[axis] = 1;
      axes.push_back(axis);
    }
    CR_CHECK(axes.size() == rank, tag(), "axes names ", axes.size(), " axes and the input is ", in.str(), ": expected each of its ", rank,
             " axes after that of the samples");
    return axes;
  }
  // The walk of the array that is written, in its order of memory.
  template <class T>
  AxesArgs args(const Call<T>& c, bool back) const {
    const Shape in = c.in[0].bound(c.time), out = c.out->bound(c.time);
    const std::vector<std::size_t> axes = order(in);
    const std::size_t rank = axes.size();
    std::vector<Index> in_stride(rank + 1, 1), out_stride(rank + 1, 1);  // at i + 1 that of axis i, at 0 the whole
    for (std::size_t i = rank; i-- > 0;) in_stride[i] = in_stride[i + 1] * in.dims[i], out_stride[i] = out_stride[i + 1] * out.dims[i];
    AxesArgs q{};
    q.rank = static_cast<int>(rank) + 1;
    q.size[0] = c.n, q.y[0] = q.x[0] = in_stride[0];
    for (std::size_t i = 0; i < rank; ++i) {
      const std::size_t to = back ? axes[i] : i;
      q.size[to + 1] = out.dims[i];
      q.y[to + 1] = back ? in_stride[axes[i] + 1] : out_stride[i + 1];
      q.x[to + 1] = back ? out_stride[i + 1] : in_stride[axes[i] + 1];
    }
    return q;
  }
  std::vector<Index> given_;
};

// x[..., start : stop : step, ...] along one axis, as Python counts.
class Slice : public LayerOf<Slice> {
 public:
  explicit Slice(const LayerSpec& spec)
      : LayerOf(spec),
        axis_(spec.find("axis") ? spec.integer("axis", -1000) : -1),
        start_(spec.find("start") ? spec.integer("start", -largest) : 0),
        stop_(spec.find("stop") ? spec.integer("stop", -largest) : largest),
        step_(spec.find("step") ? spec.integer("step", 1) : 1) {}

  Shape infer(const std::vector<Shape>& in) const override {
    expect_inputs(in, 1, 1);
    const std::size_t axis = axis_of(tag(), axis_, in[0]);
    CR_CHECK(in[0].dims[axis] > 0, tag(), "input is ", in[0].str(), ": expected an axis ", axis_, " of known size");
    const auto [first, count] = range(in[0].dims[axis]);
    CR_CHECK(count > 0, tag(), "of ", in[0].dims[axis], " places along axis ", axis_, " nothing is left (", in[0].str(), "): expected start < stop");
    Shape out = in[0];
    out.dims[axis] = count;
    return out;
  }
  void require_device(const std::vector<Shape>&) const override {
    CR_CHECK(false, tag(), "cuts an axis, which a card does not do yet: use device='cpu'");
  }
  // z_i = x_{start + i step}
  template <class T>
  void run_forward(const Call<T>& c) const {
    Index first = 0;
    const AxesArgs q = args(c, first);
    c.k.copy_axes(c.z, c.x[0] + first, q, Accum::Overwrite);
  }
  // forward: z_i = x_{start + i step}, so dx_{start + i step} (+)= dz_i, all others (+)= 0
  template <class T>
  void run_backward(const Call<T>& c) const {
    if (!c.dx[0]) return;
    Index first = 0;
    AxesArgs q = args(c, first);
    std::swap(q.x, q.y);
    if (c.dx_accum[0] == Accum::Overwrite) std::memset(c.dx[0], 0, static_cast<std::size_t>(c.n * c.in[0].size(c.time)) * sizeof(T));
    c.k.copy_axes(c.dx[0] + first, c.dz, q, c.dx_accum[0]);
  }

 private:
  static constexpr Index largest = Index{1} << 62;
  // Of an axis of n places: the first and how many.
  std::pair<Index, Index> range(Index n) const {
    const Index first = std::clamp<Index>(start_ < 0 ? start_ + n : start_, 0, n), end = std::clamp<Index>(stop_ < 0 ? stop_ + n : stop_, 0, n);
    return {first, end > first ? (end - first - 1) / step_ + 1 : 0};
  }
  template <class T>
  AxesArgs args(const Call<T>& c, Index& offset) const {
    const Shape in = c.in[0].bound(c.time);
    const std::size_t axis = axis_of(tag(), axis_, in);
    const auto [first, count] = range(in.dims[axis]);
    Index outer = c.n, inner = 1;
    for (std::size_t i = 0; i < in.dims.size(); ++i)
      if (i != axis) (i < axis ? outer : inner) *= in.dims[i];
    offset = first * inner;
    return {3, {outer, count, inner}, {count * inner, inner, 1}, {in.dims[axis] * inner, step_ * inner, 1}};
  }
  Index axis_, start_, stop_, step_;
};

}  // namespace chainrule
