// SPDX-License-Identifier: MIT
// Add and Multiply (broadcasting over the axes of a sample, aligned at the right as in NumPy; the axis of the samples is never broadcast), Concatenate.
#pragma once
#include <algorithm>
#include <cstring>

#include "layers/layer.h"

namespace chainrule {

// Walks one sample of `out` in runs of its last axis: f(offset in out, offset in x, length, step of x along the run: 0 or 1).
template <class F>
void broadcast_runs(const Shape& out, const Shape& in, F&& f) {
  const std::size_t rank = out.dims.size();
  if (rank == 0) return f(Index{0}, Index{0}, Index{1}, Index{1});
  std::vector<Index> stride(rank, 0), at(rank, 0);
  Index product = 1;
  for (std::size_t i = in.dims.size(); i-- > 0;) {
    stride[rank - in.dims.size() + i] = in.dims[i] == 1 ? 0 : product;
    product *= in.dims[i];
  }
  const Index run = out.dims[rank - 1], total = out.size();
  for (Index o = 0, x = 0; o < total; o += run) {
    f(o, x, run, stride[rank - 1]);
    for (std::size_t axis = rank - 1; axis-- > 0;) {
      x += stride[axis];
      if (++at[axis] < out.dims[axis]) break;
      x -= stride[axis] * out.dims[axis];
      at[axis] = 0;
    }
  }
}

class Merge : public LayerOf<Merge> {
 public:
  explicit Merge(const LayerSpec& spec) : LayerOf(spec), product_(spec.type == "multiply") {}

  Shape infer(const std::vector<Shape>& in) const override {
    expect_inputs(in, 2, 1000000);
    Shape out;
    for (const Shape& s : in) out.dims.resize(std::max(out.dims.size(), s.dims.size()), 1);
    for (const Shape& s : in)
      for (std::size_t i = 0; i < s.dims.size(); ++i) {
        Index& d = out.dims[out.dims.size() - s.dims.size() + i];
        CR_CHECK(d == s.dims[i] || d == 1 || s.dims[i] == 1, tag(), "inputs of shape ", shapes(in), " do not broadcast");
        if (d == 1) d = s.dims[i];
      }
    return out;
  }
  bool reads_input() const override { return product_; }
  void require_device(const std::vector<Shape>& in) const override {
    for (const Shape& s : in)
      CR_CHECK(s == in[0], tag(), "inputs of shape ", shapes(in), " broadcast, which a card does not do yet: use device='cpu'");
    CR_CHECK(!product_ || in.size() == 2, tag(), "multiplies ", in.size(), " inputs, a card only two: use device='cpu', or a product of products");
  }

  template <class T>
  void run_forward(const Call<T>& c) const {
    const Shape out = c.out->bound(c.time);
    const Index size = out.size();
    for (int i = 0; i < c.n_inputs; ++i) {
      const Shape in = c.in[i].bound(c.time);
      if (in == out) {
        if (product_ && i)
          c.k.multiply(c.z, c.z, c.x[i], c.n * size, Accum::Overwrite);
        else
          c.k.add(c.z, c.x[i], c.n * size, i ? Accum::Add : Accum::Overwrite);
        continue;
      }
      for (Index row = 0; row < c.n; ++row) {
        T* z = c.z + row * size;
        const T* x = c.x[i] + row * in.size();
        broadcast_runs(out, in, [&](Index o, Index at, Index run, Index step) {
          for (Index j = 0; j < run; ++j) z[o + j] = !i ? x[at + j * step] : product_ ? z[o + j] * x[at + j * step] : z[o + j] + x[at + j * step];
        });
      }
    }
  }
  // forward: z = sum_i x_i, so dx_i (+)= dz; z = prod_i x_i, so dx_i (+)= dz prod_{j != i} x_j; summed over the axes that were broadcast
  template <class T>
  void run_backward(const Call<T>& c) const {
    const Shape out = c.out->bound(c.time);
    const Index size = out.size();
    std::vector<T> factor(product_ ? static_cast<std::size_t>(size) : 0);
    for (int i = 0; i < c.n_inputs; ++i) {
      if (!c.dx[i]) continue;
      const Shape in = c.in[i].bound(c.time);
      const Index in_size = in.size();
      if (in == out && !product_) {
        c.k.add(c.dx[i], c.dz, c.n * size, c.dx_accum[i]);
        continue;
      }
      if (in == out && c.n_inputs == 2 && c.in[1 - i].bound(c.time) == out) {
        c.k.multiply(c.dx[i], c.dz, c.x[1 - i], c.n * size, c.dx_accum[i]);
        continue;
      }
      if (c.dx_accum[i] == Accum::Overwrite) std::memset(c.dx[i], 0, static_cast<std::size_t>(c.n * in_size) * sizeof(T));
      for (Index row = 0; row < c.n; ++row) {
        const T* d = c.dz + row * size;
        if (product_) {
          std::copy(d, d + size, factor.begin());
          for (int j = 0; j < c.n_inputs; ++j) {
            if (j == i) continue;
            const Shape other = c.in[j].bound(c.time);
            const T* x = c.x[j] + row * other.size();
            broadcast_runs(out, other, [&](Index o, Index at, Index run, Index step) {
              for (Index e = 0; e < run; ++e) factor[static_cast<std::size_t>(o + e)] *= x[at + e * step];
            });
          }
          d = factor.data();
        }
        T* dx = c.dx[i] + row * in_size;
        broadcast_runs(out, in, [&](Index o, Index at, Index run, Index step) {
          for (Index e = 0; e < run; ++e) dx[at + e * step] += d[o + e];
        });
      }
    }
  }

  static std::string shapes(const std::vector<Shape>& in) {
    std::string s;
    for (const Shape& x : in) s += (s.empty() ? "" : " and ") + x.str();
    return s;
  }

 private:
  bool product_;
};

class Concatenate : public LayerOf<Concatenate> {
 public:
  explicit Concatenate(const LayerSpec& spec) : LayerOf(spec), axis_(spec.find("axis") ? spec.integer("axis", -1000) : -1) {}

  Shape infer(const std::vector<Shape>& in) const override {
    expect_inputs(in, 2, 1000000);
    const std::size_t at = axis_of(tag(), axis_, in[0]);
    Shape out = in[0];
    for (std::size_t i = 1; i < in.size(); ++i) {
      Shape expected = in[0];
      bool fits = in[i].dims.size() == expected.dims.size();
      if (fits) expected.dims[at] = in[i].dims[at];
      CR_CHECK(fits && in[i] == expected && out.dims[at] > 0 && in[i].dims[at] > 0, tag(), "inputs of shape ", Merge::shapes(in),
               " do not fit together: expected the same known sizes but along axis ", axis_);
      out.dims[at] += in[i].dims[at];
    }
    return out;
  }

  template <class T>
  void run_forward(const Call<T>& c) const {
    walk(c, [&](Index out_at, int i, Index in_at, Index run) {
      if (c.spare)
        c.k.add(c.z + out_at, c.x[i] + in_at, run, Accum::Overwrite);
      else
        std::memcpy(c.z + out_at, c.x[i] + in_at, static_cast<std::size_t>(run) * sizeof(T));
    });
  }
  // forward: z = [x_0, x_1, ...], so dx_i (+)= its part of dz
  template <class T>
  void run_backward(const Call<T>& c) const {
    walk(c, [&](Index out_at, int i, Index in_at, Index run) {
      if (c.dx[i]) c.k.add(c.dx[i] + in_at, c.dz + out_at, run, c.dx_accum[i]);
    });
  }

 private:
  template <class T, class F>
  void walk(const Call<T>& c, F&& f) const {
    const Shape out = c.out->bound(c.time);
    const std::size_t at = axis_of(tag(), axis_, out);
    Index outer = c.n, inner = 1;
    for (std::size_t i = 0; i < at; ++i) outer *= out.dims[i];
    for (std::size_t i = at + 1; i < out.dims.size(); ++i) inner *= out.dims[i];
    for (Index o = 0, position = 0; o < outer; ++o)
      for (int i = 0; i < c.n_inputs; ++i) {
        const Index run = c.in[i].bound(c.time).dims[at] * inner;
        f(position, i, o * run, run);
        position += run;
      }
  }
  Index axis_;
};

}  // namespace chainrule
