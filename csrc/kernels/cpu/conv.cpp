// SPDX-License-Identifier: MIT
// Convolution as products of a matrix with overlapping rows (conv.h): vectors over the filters, numbers of the image broadcast, six pixels at a time, so that
// 12 sums in registers hide the latency of the multiply-adds. W is packed once a call, two vectors wide.
#include "kernels/cpu/conv.h"

#include "kernels/cpu/depthwise.h"

namespace chainrule::CR_ISA {

namespace {

template <class T>
constexpr Index wide = 2 * lanes<T>;
// Width of the block of columns that begins at j, of n: one vector or two
template <class T>
constexpr Index width_of(Index left) {
  return left <= lanes<T> ? lanes<T> : wide<T>;
}
template <class T>
constexpr Index padded_width(Index n) {
  return (n + lanes<T> - 1) / lanes<T> * lanes<T>;
}

// ---- z of M pixels, V vectors of filters ----------------------------------------------------------------------------------------------------
// Pixel m reads from x + m * step and writes to z + m * z_step; w (walk's numbers, V lanes); the first `columns` of the lanes are stored.
template <class T, int M, int V>
void conv_tile(const T* x, Index step, const Walk& walk, const T* w, T* z, Index z_step, Index columns, bool add) {
  using Vector = typename VectorOf<T>::Type;
  Vector sum[M][V];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) sum[m][v] = Vector{};
  constexpr int half = M > 8 ? (M + 1) / 2 : M;
  for (Index r = 0; r < walk.rows; ++r)
    for (Index t = 0; t < walk.taps; ++t) {
      const T *a = x + r * walk.row_step + t * walk.tap_step, *b = a + half * step;
      if constexpr (half < M) asm("" : "+r"(b));  // a pointer of its own: 13 multiples of `step` would not fit into the registers
#pragma GCC unroll 2
      for (Index i = 0; i < walk.run; ++i, w += V * lanes<T>) {
        Vector row[V];
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) row[v] = *reinterpret_cast<const Vector*>(w + v * lanes<T>);
#pragma GCC unroll 16
        for (int m = 0; m < M; ++m) {
          const T number = m < half ? a[m * step + i] : b[(m - half) * step + i];
#pragma GCC unroll 2
          for (int v = 0; v < V; ++v) sum[m][v] += number * row[v];
        }
      }
    }
  if (columns == V * lanes<T>) {
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) {
        Vector* to = reinterpret_cast<Vector*>(z + m * z_step + v * lanes<T>);
        *to = add ? *to + sum[m][v] : sum[m][v];
      }
    return;
  }
  T out[M * V * lanes<T>];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) *reinterpret_cast<Vector*>(out + (m * V + v) * lanes<T>) = sum[m][v];
  for (int m = 0; m < M; ++m)
    for (Index j = 0; j < columns; ++j) {
      T* to = z + m * z_step + j;
      *to = add ? *to + out[m * V * lanes<T> + j] : out[m * V * lanes<T> + j];
    }
}

// Tiles of up to 14 pixels with one vector of filters, of six with two: with a register for W and one for x all 16 are taken
template <int V>
constexpr int most_rows = V == 1 ? 14 : 6;

template <class T, int V>
void conv_row(const T* x, Index step, const Walk& walk, const T* w, T* z, Index z_step, Index pixels, Index columns, bool add) {
  blocks_of(pixels, most_rows<V>, [&](Index first, Index m) {
    with_count<most_rows<V>>(
        m, [&](auto count) { conv_tile<T, count.value, V>(x + first * step, step, walk, w, z + first * z_step, z_step, columns, add); });
  });
}

template <class T>
void conv_rows(const Rows<T>& q, const Walk& walk, const T* w, Index width, Index columns, bool add) {
  for (Index y = 0; y < q.rows; ++y)
    (width == lanes<T> ? &conv_row<T, 1> : &conv_row<T, 2>)(q.x + y * q.x_row, q.x_step, walk, w, q.z + y * q.z_row, q.z_step, q.pixels, columns,
                                                            add);
}

// f(group, first, end): the parts of columns [first, end) that lie in one of the groups of `size`
template <class F>
void each_group(Index first, Index end, Index size, F&& f) {
  for (Index g = first / size; g * size < end; ++g) f(g, first > g * size ? first : g * size, smaller(end, (g + 1) * size));
}
// f(begin, columns, width): blocks of at most two vectors
template <class T, class F>
void each_block(Index first, Index end, F&& f) {
  for (Index j = first; j < end; j += wide<T>) f(j, smaller(wide<T>, end - j), width_of<T>(end - j));
}

// ---- dW of M numbers of the image, V vectors of filters ------------------------------------------------------------------------------------
// acc (M, V lanes) += sum over rows and pixels of x[row, pixel][m] dz[row, pixel]
template <class T, int M, int V>
void gradient_tile(const T* x, Index x_row, Index x_step, const T* dz, Index dz_row, Index dz_step, Index rows, Index pixels, T* acc) {
  using Vector = typename VectorOf<T>::Type;
  Vector sum[M][V];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) sum[m][v] = *reinterpret_cast<const Vector*>(acc + (m * V + v) * lanes<T>);
  for (Index r = 0; r < rows; ++r) {
    const T *a = x + r * x_row, *d = dz + r * dz_row;
    for (Index p = 0; p < pixels; ++p, a += x_step, d += dz_step) {
      Vector row[V];
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) row[v] = *reinterpret_cast<const Vector*>(d + v * lanes<T>);
#pragma GCC unroll 16
      for (int m = 0; m < M; ++m)
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) sum[m][v] += a[m] * row[v];
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) *reinterpret_cast<Vector*>(acc + (m * V + v) * lanes<T>) = sum[m][v];
}

template <class T, int V>
void gradient_run(const T* x, Index x_row, Index x_step, const T* dz, Index dz_row, Index dz_step, Index rows, Index pixels, Index run, T* acc) {
  blocks_of(run, most_rows<V>, [&](Index e, Index m) {
    with_count<most_rows<V>>(
        m, [&](auto count) { gradient_tile<T, count.value, V>(x + e, x_row, x_step, dz, dz_row, dz_step, rows, pixels, acc + e * V * lanes<T>); });
  });
}

constexpr Index pixels_at_once = 96;  // of dW's sums between two visits of memory: 12 loads and stores beside 12 x 96 multiply-adds

// The walk over x (or dz) under the kernel: whole rows of it where the taps are neighbours and nothing is left out between them
Walk walk_over(Index rows, Index row_step, Index taps, Index tap_step, Index run, Index pixel) {
  return tap_step == run && run == pixel ? Walk{rows, row_step, 1, 0, taps * run} : Walk{rows, row_step, taps, tap_step, run};
}

template <class T>
struct Sizes {
  Index image, weights;  // numbers: an image with zeros around it, forward's or backward's; W packed
};
template <class T>
Sizes<T> sizes_of(const ConvShape& s) {
  const Index forward = reach(s.out_height, s.stride_height, s.kernel_height, s.dilation_height) *
                        reach(s.out_width, s.stride_width, s.kernel_width, s.dilation_width) * s.channels;
  const Index backward = extent(outputs_of(s.height, s.kernel_height, s.stride_height, s.dilation_height, s.top)) *
                         extent(outputs_of(s.width, s.kernel_width, s.stride_width, s.dilation_width, s.left)) * s.filters;
  const Index taps = s.kernel_height * s.kernel_width, per_channel = s.channels / s.groups, per_filter = s.filters / s.groups;
  const Index filters = padded_width<T>(per_filter) * s.groups * per_channel, channels = padded_width<T>(per_channel) * s.groups * per_filter;
  return {forward > backward ? forward : backward, taps * (filters > channels ? filters : channels)};
}

}  // namespace

template <class T>
Index conv_scratch(const ConvShape& s) {
  const Sizes<T> sizes = sizes_of<T>(s);
  return sizes.image + sizes.weights + (pixels_at_once + s.out_width) * wide<T>;
}

template <class T>
void conv_forward(T* z, const T* x, const T* w, const ConvShape& s, Index n, Index first, Index end, Accum accum, T* scratch) {
  const Index per_channel = s.channels / s.groups, per_filter = s.filters / s.groups, k = s.kernel_height * s.kernel_width * per_channel;
  T* image = scratch + sizes_of<T>(s).weights;
  const bool depthwise = per_channel == 1 && per_filter == 1;
  T* packed = scratch;
  if (depthwise)
    for (Index tap = 0, taps = s.kernel_height * s.kernel_width; tap < taps; ++tap)
      for (Index f = first; f < end; ++f) *packed++ = w[f * taps + tap];
  else
    each_group(first, end, per_filter, [&](Index, Index begin, Index stop) {
      each_block<T>(begin, stop, [&](Index f, Index columns, Index width) {
        transpose_strip(packed, w + f * k, k, k, columns, width);
        packed += k * width;
      });
    });
  const Index rows = reach(s.out_height, s.stride_height, s.kernel_height, s.dilation_height),
              columns = reach(s.out_width, s.stride_width, s.kernel_width, s.dilation_width);
  for (Index i = 0; i < n; ++i) {
    const Padded<T> p = padded(image, x + i * s.height * s.width * s.channels, s.height, s.width, s.channels, s.top, s.left, rows, columns);
    const Index row = p.width * s.channels;
    Rows<T> q{p.data,
              s.stride_height * row,
              s.stride_width * s.channels,
              z + i * s.out_height * s.out_width * s.filters,
              s.out_width * s.filters,
              s.filters,
              s.out_height,
              s.out_width};
    if (depthwise) {
      const Walk walk{s.kernel_height, s.dilation_height * row, s.kernel_width, s.dilation_width * s.channels, 1};
      q.x += first, q.z += first;
      depthwise_rows(q, walk, scratch, end - first, accum == Accum::Add);
      continue;
    }
    const Walk walk = walk_over(s.kernel_height, s.dilation_height * row, s.kernel_width, s.dilation_width * s.channels, per_channel, s.channels);
    const T* weights = scratch;
    each_group(first, end, per_filter, [&](Index g, Index begin, Index stop) {
      each_block<T>(begin, stop, [&](Index f, Index count, Index width) {
        Rows<T> block = q;
        block.x += g * per_channel, block.z += f;
        conv_rows(block, walk, weights, width, count, accum == Accum::Add);
        weights += k * width;
      });
    });
  }
}

// Input positions of equal rest modulo the stride see the same taps: for each such phase a convolution of dz, stride 1, with those taps in reverse.
template <class T>
void conv_backward(T* dx, const T* dz, const T* w, const ConvShape& s, Index n, Index first, Index end, Accum accum, T* scratch) {
  const Index per_channel = s.channels / s.groups, per_filter = s.filters / s.groups;
  const bool depthwise = per_channel == 1 && per_filter == 1, add = accum == Accum::Add;
  const Outputs oy = outputs_of(s.height, s.kernel_height, s.stride_height, s.dilation_height, s.top),
                ox = outputs_of(s.width, s.kernel_width, s.stride_width, s.dilation_width, s.left);
  T* image = scratch + sizes_of<T>(s).weights;
  // f(phase in y, phase in x, its first row and column)
  const auto each_phase = [&](auto&& f) {
    for (Index y = 0; y < smaller(s.stride_height, s.height); ++y)
      for (Index x = 0; x < smaller(s.stride_width, s.width); ++x)
        f(phase_of(y, s.kernel_height, s.stride_height, s.dilation_height, s.top),
          phase_of(x, s.kernel_width, s.stride_width, s.dilation_width, s.left), y, x);
  };
  T* packed = scratch;
  each_phase([&](const Phase& py, const Phase& px, Index, Index) {
    const Index taps = s.kernel_height * s.kernel_width;
    const auto taps_in_reverse = [&](auto&& f) {
      for (Index a = py.count; a-- > 0;)
        for (Index b = px.count; b-- > 0;) f((py.first + a * py.step) * s.kernel_width + px.first + b * px.step);
    };
    if (depthwise)
      return taps_in_reverse([&](Index tap) {
        for (Index c = first; c < end; ++c) *packed++ = w[c * taps + tap];
      });
    each_group(first, end, per_channel, [&](Index g, Index begin, Index stop) {
      each_block<T>(begin, stop, [&](Index c, Index columns, Index width) {
        taps_in_reverse([&](Index tap) {
          for (Index f = g * per_filter; f < (g + 1) * per_filter; ++f, packed += width)
            for (Index j = 0; j < width; ++j) packed[j] = j < columns ? w[(f * taps + tap) * per_channel + c - g * per_channel + j] : T(0);
        });
      });
    });
  });
  for (Index i = 0; i < n; ++i) {
    const Padded<T> p = padded(image, dz + i * s.out_height * s.out_width * s.filters, s.out_height, s.out_width, s.filters, -oy.lowest, -ox.lowest,
                               extent(oy), extent(ox));
    const T* weights = scratch;
    each_phase([&](const Phase& py, const Phase& px, Index y0, Index x0) {
      const Index row = p.width * s.filters;
      const Rows<T> q{p.data + (py.base - oy.lowest) * row + (px.base - ox.lowest) * s.filters,
                      row,
                      s.filters,
                      dx + ((i * s.height + y0) * s.width + x0) * s.channels,
                      s.stride_height * s.width * s.channels,
                      s.stride_width * s.channels,
                      (s.height - y0 + s.stride_height - 1) / s.stride_height,
                      (s.width - x0 + s.stride_width - 1) / s.stride_width};
      if (py.count == 0 || px.count == 0) {
        if (!add) clear_rows(q, first, end);
        return;
      }
      const Walk walk = depthwise ? Walk{py.count, py.e * row, px.count, px.e * s.filters, 1}
                                  : walk_over(py.count, py.e * row, px.count, px.e * s.filters, per_filter, s.filters);
      if (depthwise) {
        Rows<T> of_channels = q;
        of_channels.x += first, of_channels.z += first;
        depthwise_rows(of_channels, walk, weights, end - first, add);
        weights += (end - first) * py.count * px.count;
        return;
      }
      each_group(first, end, per_channel, [&](Index g, Index begin, Index stop) {
        each_block<T>(begin, stop, [&](Index c, Index columns, Index width) {
          Rows<T> block = q;
          block.x += g * per_filter, block.z += c;
          conv_rows(block, walk, weights, width, columns, add);
          weights += walk.rows * walk.taps * walk.run * width;
        });
      });
    });
  }
}

// Sums for a block of filters and a run of numbers stay in registers over a few rows of pixels; between them in `acc` (blocks, kernel, width).
template <class T>
void conv_gradient(T* dw, const T* dz, const T* x, const ConvShape& s, Index n, Index first, Index end, T scale, T keep, T* scratch) {
  const Index per_channel = s.channels / s.groups, per_filter = s.filters / s.groups, taps = s.kernel_height * s.kernel_width, k = taps * per_channel;
  const bool depthwise = per_channel == 1 && per_filter == 1;
  const Sizes<T> sizes = sizes_of<T>(s);
  T *acc = scratch, *image = scratch + sizes.weights, *ragged = image + sizes.image;
  for (Index j = 0; j < sizes.weights; ++j) acc[j] = 0;
  const Index rows = reach(s.out_height, s.stride_height, s.kernel_height, s.dilation_height),
              columns = reach(s.out_width, s.stride_width, s.kernel_width, s.dilation_width),
              at_once = smaller(s.out_height, (pixels_at_once + s.out_width - 1) / s.out_width);
  const Index step = s.stride_width * s.channels, dz_row = s.out_width * s.filters;
  for (Index i = 0; i < n; ++i) {
    const Padded<T> p = padded(image, x + i * s.height * s.width * s.channels, s.height, s.width, s.channels, s.top, s.left, rows, columns);
    const Index row = p.width * s.channels, x_row = s.stride_height * row;
    for (Index y = 0; y < s.out_height; y += at_once) {
      const Index m = smaller(at_once, s.out_height - y);
      const T *from = p.data + y * x_row, *delta = dz + (i * s.out_height + y) * dz_row;
      if (depthwise) {
        const Walk walk{s.kernel_height, s.dilation_height * row, s.kernel_width, s.dilation_width * s.channels, 1};
        depthwise_gradient(from + first, x_row, step, delta + first, dz_row, s.filters, m, s.out_width, walk, end - first, acc);
        continue;
      }
      const Walk walk = walk_over(s.kernel_height, s.dilation_height * row, s.kernel_width, s.dilation_width * s.channels, per_channel, s.channels);
      T* to = acc;
      each_group(first, end, per_filter, [&](Index g, Index begin, Index stop) {
        each_block<T>(begin, stop, [&](Index f, Index count, Index width) {
          const T* d = delta + f;
          Index d_row = dz_row, d_step = s.filters;
          if (f + width > s.filters) {  // full vectors would leave the image
            d = ragged, d_row = s.out_width * width, d_step = width;
            for (Index e = 0; e < m * s.out_width; ++e)
              for (Index j = 0; j < width; ++j) ragged[e * width + j] = j < count ? delta[e * s.filters + f + j] : T(0);
          }
          for (Index r = 0; r < walk.rows; ++r)
            for (Index t = 0; t < walk.taps; ++t, to += walk.run * width)
              (width == lanes<T> ? &gradient_run<T, 1> : &gradient_run<T, 2>)(from + g * per_channel + r * walk.row_step + t * walk.tap_step, x_row,
                                                                              step, d, d_row, d_step, m, s.out_width, walk.run, to);
        });
      });
    }
  }
  const auto put = [&](Index f, Index e, T sum) {
    T* to = dw + f * k + e;
    *to = keep == T(0) ? scale * sum : keep * *to + scale * sum;
  };
  if (depthwise) {
    for (Index tap = 0; tap < taps; ++tap)
      for (Index f = first; f < end; ++f) put(f, tap, acc[tap * (end - first) + f - first]);
    return;
  }
  each_group(first, end, per_filter, [&](Index, Index begin, Index stop) {
    each_block<T>(begin, stop, [&](Index f, Index count, Index width) {
      for (Index j = 0; j < count; ++j)
        for (Index e = 0; e < k; ++e) put(f + j, e, acc[e * width + j]);
      acc += k * width;
    });
  });
}

#define CR_DEFINE(T)                                                                                     \
  template Index conv_scratch<T>(const ConvShape&);                                                      \
  template void conv_forward(T*, const T*, const T*, const ConvShape&, Index, Index, Index, Accum, T*);  \
  template void conv_backward(T*, const T*, const T*, const ConvShape&, Index, Index, Index, Accum, T*); \
  template void conv_gradient(T*, const T*, const T*, const ConvShape&, Index, Index, Index, T, T, T*);
CR_DEFINE(float)
CR_DEFINE(double)

}  // namespace chainrule::CR_ISA
