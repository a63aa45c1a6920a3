// SPDX-License-Identifier: MIT
// Convolutions, their transposes and the gradients of their weights, without patches in memory: a thread reads the image where it lies.
// No room but the context's own is taken, so that conv_scratch is 0.
#include "kernels/cuda/parts.cuh"

namespace chainrule::cuda {

namespace {

// A thread's tile of 4 x 4 sums and the places it reads from take up to 128 registers, in float too.
constexpr int conv_threads = 512;
int threads_of_conv() { return threads_of_block<double>(); }

struct Axis {
  Index large, small, stride, dilation, before;
};
struct Sides {
  Axis down, across;
  Index kernel_height, kernel_width;
};
Sides sides_of(const ConvShape& s) {
  return {{s.height, s.out_height, s.stride_height, s.dilation_height, s.top},
          {s.width, s.out_width, s.stride_width, s.dilation_width, s.left},
          s.kernel_height,
          s.kernel_width};
}
// Where the kernel's number k on an axis meets the other side of `at`: of z that is in x and, back, of x in z. -1: nowhere
template <bool back>
__device__ __forceinline__ Index meets(const Axis& a, Index at, Index k) {
  if (!back) {
    const Index i = a.stride * at + a.dilation * k - a.before;
    return i < a.large ? larger(i, -1) : -1;
  }
  const Index i = at + a.before - a.dilation * k;
  if (i < 0) return -1;
  const Position p = position_of(i, a.stride);
  return p.col == 0 && p.row < a.small ? p.row : -1;
}

template <class T>
struct Product {
  T* out;
  const T *in, *w;
  Sides sides;
  Index pixels, outs, ins;               // pixels of all images of `out`, its channels and those of `in`
  Index out_group, in_group;             // of a group, channels of either
  Index out_step, in_step, tap_step;     // of W, from one channel, or tap, to the next
  Index group_step;                      // and from one group to the next
  Index first, end, first_group, tiles;  // channels of `out` that are asked for, and tiles of them in a group
  Index items;
  Accum accum;
};

// out = sum over taps and channels of W in. A thread: `wide` pixels, one behind the other, by `deep` channels of one group. Of each tap and channel
// it loads wide + deep numbers for wide deep products; the loads bound it. Neighbouring lanes work on neighbouring channels of the same pixels, whose
// numbers they share in one load. deep = 1: groups of one channel (depthwise), whose lanes read neighbours. The sum has one order.
template <bool back, int wide, int deep, class T>
CR_KERNEL(conv_threads) conv_kernel(const __grid_constant__ Product<T> q) {
  const Axis &down = q.sides.down, &across = q.sides.across;
  const Index width = back ? across.large : across.small, height = back ? down.large : down.small;
  const Index in_width = back ? across.small : across.large, in_height = back ? down.small : down.large;
  const Index groups = ceil_div(q.end, q.out_group) - q.first_group;
  for (Index item = first_item(); item < q.items; item += item_step()) {
    const Position place = position_of(item, groups * q.tiles), tile = position_of(place.col, q.tiles);
    const Index group = q.first_group + tile.row, from = group * q.out_group + tile.col * deep;
    const Index last = (group + 1) * q.out_group - 1;
    Index image[wide], y[wide], x[wide];
    CR_UNROLL(4)
    for (int p = 0; p < wide; ++p) {
      const Position row = position_of(smaller(place.row * wide + p, q.pixels - 1), width), of = position_of(row.row, height);
      image[p] = of.row * in_height, y[p] = of.col, x[p] = row.col;
    }
    const T* weights[deep];
    CR_UNROLL(4)
    for (int d = 0; d < deep; ++d) weights[d] = q.w + group * q.group_step + (smaller(from + d, last) - group * q.out_group) * q.out_step;
    T sum[wide][deep] = {};
    for (Index ky = 0; ky < q.sides.kernel_height; ++ky)
      for (Index kx = 0; kx < q.sides.kernel_width; ++kx) {
        const Index tap = (ky * q.sides.kernel_width + kx) * q.tap_step;
        const T* at[wide];
        CR_UNROLL(4)
        for (int p = 0; p < wide; ++p) {
          const Index v = meets<back>(down, y[p], ky), u = meets<back>(across, x[p], kx);
          at[p] = v < 0 || u < 0 ? nullptr : q.in + ((image[p] + v) * in_width + u) * q.ins + group * q.in_group;
        }
        for (Index c = 0; c < q.in_group; ++c) {
          T w[deep];
          CR_UNROLL(4)
          for (int d = 0; d < deep; ++d) w[d] = weights[d][tap + c * q.in_step];
          CR_UNROLL(4)
          for (int p = 0; p < wide; ++p) {
            if (!at[p]) continue;
            const T value = at[p][c];
            CR_UNROLL(4)
            for (int d = 0; d < deep; ++d) sum[p][d] += value * w[d];
          }
        }
      }
    CR_UNROLL(4)
    for (int p = 0; p < wide; ++p)
      CR_UNROLL(4)
      for (int d = 0; d < deep; ++d) {
        const Index pixel = place.row * wide + p, channel = from + d;
        if (pixel >= q.pixels || channel > last || channel < q.first || channel >= q.end) continue;
        T& out = q.out[pixel * q.outs + channel];
        out = q.accum == Accum::Add ? out + sum[p][d] : sum[p][d];
      }
  }
}

template <class T>
struct Gradient {
  T* dw;
  const T *dz, *x;
  Sides sides;
  Index pixels, filters, channels, group_filters, group_channels;
  Index first, end, first_group, filter_tiles, channel_tiles;
  Index chunks, per_chunk, items;
  T scale, keep;
  double* partial;
};

// dW of a chunk of the pixels of z. A thread: one tap, `tall` filters by `deep` channels of one group; of each pixel it loads tall + deep numbers for
// tall deep products, which bounds it as above. Few pixels a thread and a second launch where weights alone would not fill the card: each chunk
// leaves its sums, in double, for conv_finish_kernel. 256 products share the working type.
template <int tall, int deep, class T>
CR_KERNEL(conv_threads) conv_gradient_kernel(const __grid_constant__ Gradient<T> q) {
  const Axis &down = q.sides.down, &across = q.sides.across;
  const Index taps = q.sides.kernel_height * q.sides.kernel_width;
  const Index groups = ceil_div(q.end, q.group_filters) - q.first_group, all = (q.end - q.first) * taps * q.group_channels;
  for (Index item = first_item(); item < q.items; item += item_step()) {
    // channels change fastest, so that lanes read neighbours
    const Position by_channel = position_of(item, q.channel_tiles), by_tap = position_of(by_channel.row, taps);
    const Position by_filter = position_of(by_tap.row, q.filter_tiles), by_group = position_of(by_filter.row, groups);
    const Index chunk = by_group.row, group = q.first_group + by_group.col;
    const Index ky = by_tap.col / q.sides.kernel_width, kx = by_tap.col % q.sides.kernel_width;
    const Index filter = group * q.group_filters + by_filter.col * tall, last_filter = (group + 1) * q.group_filters - 1;
    const Index channel = by_channel.col * deep, last_channel = q.group_channels - 1;
    double total[tall][deep] = {};
    const Index end = smaller(q.pixels, (chunk + 1) * q.per_chunk);
    for (Index begin = chunk * q.per_chunk; begin < end; begin += 256) {
      T sum[tall][deep] = {};
      const Position start = position_of(begin, across.small), of = position_of(start.row, down.small);
      Index image = of.row * down.large, y = of.col, x = start.col;
      for (Index pixel = begin; pixel < smaller(end, begin + 256); ++pixel) {
        const Index v = meets<false>(down, y, ky), u = meets<false>(across, x, kx);
        if (v >= 0 && u >= 0) {
          const T* in = q.x + ((image + v) * across.large + u) * q.channels + group * q.group_channels;
          const T* dz = q.dz + pixel * q.filters;
          T value[deep];
          CR_UNROLL(4)
          for (int d = 0; d < deep; ++d) value[d] = in[smaller(channel + d, last_channel)];
          CR_UNROLL(4)
          for (int t = 0; t < tall; ++t) {
            const T g = dz[smaller(filter + t, last_filter)];
            CR_UNROLL(4)
            for (int d = 0; d < deep; ++d) sum[t][d] += g * value[d];
          }
        }
        if (++x < across.small) continue;
        x = 0;
        if (++y == down.small) y = 0, image += down.large;
      }
      CR_UNROLL(4)
      for (int t = 0; t < tall; ++t)
        CR_UNROLL(4)
        for (int d = 0; d < deep; ++d) total[t][d] += static_cast<double>(sum[t][d]);
    }
    CR_UNROLL(4)
    for (int t = 0; t < tall; ++t)
      CR_UNROLL(4)
      for (int d = 0; d < deep; ++d) {
        const Index f = filter + t, c = channel + d;
        if (f > last_filter || f < q.first || f >= q.end || c > last_channel) continue;
        const Index e = ((f - q.first) * taps + by_tap.col) * q.group_channels + c;
        if (q.chunks > 1) {
          q.partial[chunk * all + e] = total[t][d];
        } else {
          T& dw = q.dw[q.first * taps * q.group_channels + e];
          dw = (q.keep == T(0) ? T(0) : q.keep * dw) + q.scale * T(total[t][d]);
        }
      }
  }
}
// One weight a thread. chunks * 8 bytes a weight, coalesced
template <class T>
CR_KERNEL(1024) conv_finish_kernel(T* dw, const double* partial, Index chunks, Index n, T scale, T keep) {
  for (Index e = first_item(); e < n; e += item_step()) {
    double total = 0;
    for (Index c = 0; c < chunks; ++c) total += partial[c * n + e];
    dw[e] = (keep == T(0) ? T(0) : keep * dw[e]) + scale * T(total);
  }
}

template <bool back, int wide, int deep, class T>
void product(Product<T> q) {
  q.first_group = q.first / q.out_group;
  q.tiles = ceil_div(q.out_group, deep);
  q.items = ceil_div(q.pixels, wide) * (ceil_div(q.end, q.out_group) - q.first_group) * q.tiles;
  const int threads = threads_of_conv();
  launch(conv_kernel<back, wide, deep, T>, blocks_for(q.items, threads), threads, q);
}
template <bool back, class T>
void product(const Product<T>& q) {
  if (q.pixels <= 0 || q.end <= q.first) return;
  if (q.out_group == 1)
    product<back, 1, 1>(q);
  else
    product<back, 4, 4>(q);
}

template <int tall, int deep, class T>
void gradient(Gradient<T> q) {
  q.first_group = q.first / q.group_filters;
  q.filter_tiles = ceil_div(q.group_filters, tall);
  q.channel_tiles = ceil_div(q.group_channels, deep);
  const int threads = threads_of_conv();
  const Index taps = q.sides.kernel_height * q.sides.kernel_width, weights = (q.end - q.first) * taps * q.group_channels;
  const Index tiles = (ceil_div(q.end, q.group_filters) - q.first_group) * q.filter_tiles * taps * q.channel_tiles;
  const Index most = blocks_for(Index(1) << 40, threads) * threads;
  // 16 pixels a thread before a second launch is worth its while
  const Index chunks = larger(1, smaller(smaller(ceil_div(q.pixels, 16), ceil_div(most, tiles)), current().scratch_size / weights));
  q.per_chunk = larger(1, ceil_div(q.pixels, chunks));
  q.chunks = larger(1, ceil_div(q.pixels, q.per_chunk));
  q.items = q.chunks * tiles;
  q.partial = current().scratch;
  launch(conv_gradient_kernel<tall, deep, T>, blocks_for(q.items, threads), threads, q);
  if (q.chunks > 1) {
    const int of_finish = threads_of_block();
    launch(conv_finish_kernel<T>, blocks_for(weights, of_finish), of_finish, q.dw + q.first * taps * q.group_channels, q.partial, q.chunks, weights,
           q.scale, q.keep);
  }
}

}  // namespace

template <class T>
Index conv_scratch(const ConvShape&) {
  return 0;
}
template <class T>
void conv_forward(T* z, const T* x, const T* w, const ConvShape& s, Index n, Index first, Index end, Accum accum, T*) {
  const Index filters = s.filters / s.groups, channels = s.channels / s.groups, taps = s.kernel_height * s.kernel_width;
  product<false>(Product<T>{z, x, w, sides_of(s), n * s.out_height * s.out_width, s.filters, s.channels, filters, channels, taps * channels, 1,
                            channels, filters * taps * channels, first, end, 0, 0, 0, accum});
}
template <class T>
void conv_backward(T* dx, const T* dz, const T* w, const ConvShape& s, Index n, Index first, Index end, Accum accum, T*) {
  const Index filters = s.filters / s.groups, channels = s.channels / s.groups, taps = s.kernel_height * s.kernel_width;
  product<true>(Product<T>{dx, dz, w, sides_of(s), n * s.height * s.width, s.channels, s.filters, channels, filters, 1, taps * channels, channels,
                           filters * taps * channels, first, end, 0, 0, 0, accum});
}
template <class T>
void conv_gradient(T* dw, const T* dz, const T* x, const ConvShape& s, Index n, Index first, Index end, T scale, T keep, T*) {
  const Index filters = s.filters / s.groups, channels = s.channels / s.groups;
  if (end <= first) return;
  const Gradient<T> q{dw,       dz,      x,     sides_of(s), n * s.out_height * s.out_width, s.filters, s.channels, filters,
                      channels, first,   end,   0,           0,                              0,         0,          0,
                      0,        scale,   keep,  nullptr};
  if (filters == 1)
    gradient<1, 1>(q);
  else
    channels == 1 ? gradient<4, 1>(q) : gradient<4, 4>(q);
}

#define CR_DEFINE(T)                                                                                              \
  template Index conv_scratch<T>(const ConvShape&);                                                               \
  template void conv_forward(T*, const T*, const T*, const ConvShape&, Index, Index, Index, Accum, T*);            \
  template void conv_backward(T*, const T*, const T*, const ConvShape&, Index, Index, Index, Accum, T*);           \
  template void conv_gradient(T*, const T*, const T*, const ConvShape&, Index, Index, Index, T, T, T*);
CR_DEFINE(float)
CR_DEFINE(double)

}  // namespace chainrule::cuda
