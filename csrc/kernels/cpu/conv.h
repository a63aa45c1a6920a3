// SPDX-License-Identifier: MIT
// What the convolutions share. Channels lie last, so the kernel_width * channels numbers under one row of a kernel are contiguous, and neighbouring pixels
// are stride * channels apart: a matrix whose rows overlap. No patch is ever copied: only the image, with zeros around it, where there is padding.
#pragma once
#include "kernels/cpu/transpose.h"

namespace chainrule::CR_ISA {

namespace {

// The numbers under a kernel, from the first on: `rows` of `taps` runs of `run` numbers; weights lie in this order.
struct Walk {
  Index rows, row_step, taps, tap_step, run;
};

// One image with zeros around it, as far as a kernel reaches: element (y, x, c) at data[(y * width + x) * channels + c]
template <class T>
struct Padded {
  const T* data;
  Index width;
};
// Rows [-top, rows - top) and columns [-left, columns - left) of x; a negative `top` leaves rows out. Copied only where it sticks out of the image.
template <class T>
Padded<T> padded(T* scratch, const T* x, Index height, Index width, Index channels, Index top, Index left, Index rows, Index columns) {
  if (top <= 0 && left <= 0 && rows - top <= height && columns - left <= width) return {x + (-top * width - left) * channels, width};
  const Index from = left < 0 ? -left : 0, begin = left > 0 ? smaller(left, columns) : 0, most = width - from > 0 ? width - from : 0,
              count = smaller(columns - begin, most);
  for (Index y = 0; y < rows; ++y) {
    T* to = scratch + y * columns * channels;
    const bool inside = y >= top && y - top < height;
    const T* row = x + ((inside ? y - top : 0) * width + from) * channels;
    const Index a = inside ? begin * channels : 0, b = inside ? (begin + count) * channels : 0;
    for (Index j = 0; j < a; ++j) to[j] = 0;
    for (Index j = a; j < b; ++j) to[j] = row[j - a];
    for (Index j = b; j < columns * channels; ++j) to[j] = 0;
  }
  return {scratch, columns};
}

// Numbers of the image that the kernel sees from all output pixels
inline Index reach(Index out, Index stride, Index kernel, Index dilation) { return (out - 1) * stride + (kernel - 1) * dilation + 1; }

// The taps of a kernel that reach an input position p (p + pad = rest modulo stride): first, first + step, ...; outputs are `e` apart from tap to tap.
// The last of them sees output `base`, the one before it base + e, ...
struct Phase {
  Index first, count, step, e, base;
};
inline Index gcd(Index a, Index b) {
  while (b) {
    const Index r = a % b;
    a = b, b = r;
  }
  return a;
}
inline Phase phase_of(Index p, Index kernel, Index stride, Index dilation, Index pad) {
  Phase f{0, 0, stride / gcd(stride, dilation), 0, 0};
  f.e = dilation * f.step / stride;
  while (f.first < kernel && (p + pad - f.first * dilation) % stride != 0) ++f.first;
  if (f.first >= kernel) return f;
  f.count = (kernel - 1 - f.first) / f.step + 1;
  f.base = (p + pad - (f.first + (f.count - 1) * f.step) * dilation) / stride;
  return f;
}
// The outputs that any input position looks at: from lowest (maybe below 0) to highest
struct Outputs {
  Index lowest, highest;
};
inline Outputs outputs_of(Index size, Index kernel, Index stride, Index dilation, Index pad) {
  const Index low = pad - (kernel - 1) * dilation;
  return {low >= 0 ? low / stride : -((-low + stride - 1) / stride), (size - 1 + pad) / stride};
}
inline Index extent(const Outputs& o) { return o.highest - o.lowest + 1; }

// Rows of pixels of one image through one block of filters or channels
template <class T>
struct Rows {
  const T* x;
  Index x_row, x_step;
  T* z;
  Index z_row, z_step;
  Index rows, pixels;
};
template <class T>
void clear_rows(const Rows<T>& q, Index first, Index end) {
  for (Index y = 0; y < q.rows; ++y)
    for (Index x = 0; x < q.pixels; ++x)
      for (Index c = first; c < end; ++c) q.z[y * q.z_row + x * q.z_step + c] = 0;
}

// f(first pixel, pixels) over a row in even blocks of at most `most`
template <class F>
CR_FN void blocks_of(Index pixels, Index most, F&& f) {
  Index x = 0;
  for (Index blocks = (pixels + most - 1) / most; blocks > 0; --blocks) {
    const Index m = (pixels - x + blocks - 1) / blocks;
    f(x, m);
    x += m;
  }
}

}  // namespace

}  // namespace chainrule::CR_ISA
