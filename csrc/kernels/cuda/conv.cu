// SPDX-License-Identifier: MIT
// Convolutions, their transposes and the gradients of their weights: products of matrices whose patches are gathered where they are needed and never
// lie in memory. No room but the context's own is taken, so that conv_scratch is 0.
#include "kernels/cuda/parts.cuh"

namespace chainrule::cuda {

namespace {

// A block is a tile of `lanes` threads across and the others down, each with side x side sums; `depth` numbers of each sum's factors are in shared
// memory at a time. 256 threads at most, 128 of 4 lanes: a thread may have 255 registers, a tile 128 x 16, 128 x 32 or 64 x 64 sums.
constexpr int conv_threads = 256, side = 4, depth = 16, most_rows = 128, most_cols = 64;
// Numbers that are added to each other alone; these sums are then added
constexpr Index run = 64;
// Groups with fewer filters would leave most of a tile empty: there a number is a thread's own.
constexpr Index least_tile = 4;

constexpr Index nowhere = -(Index(1) << 60);  // of a place that is outside every image, whatever is added to it

// A pixel of the output, or a tap and channel, by what it adds to where the two meet in the input
struct Spot {
  Index base, y, x;
};
struct Axis {
  Index in, out, stride, dilation, before;
};
// back: the input is z, the output x
template <bool back>
struct Window {
  Axis down, across;
  Index in_channels, in_group, kernel_width, k;  // k: taps times channels of a group, which are added up

  __device__ __forceinline__ Spot pixel(Index e) const {
    const Position row = position_of(e, across.out), of = position_of(row.row, down.out);
    if (back) return {of.row * down.in, of.col + down.before, row.col + across.before};
    return {of.row * down.in, down.stride * of.col - down.before, across.stride * row.col - across.before};
  }
  __device__ __forceinline__ Spot tap(Index t, Index channel) const {
    const Position at = position_of(t, kernel_width);
    const Index y = down.dilation * at.row, x = across.dilation * at.col;
    return {channel, back ? -y : y, back ? -x : x};
  }
  // The number of the input where both meet; 0 outside
  template <class T>
  __device__ __forceinline__ T gather(const T* in, const Spot& pixel, const Spot& tap) const {
    const Index y = meets(down, pixel.y + tap.y), x = meets(across, pixel.x + tap.x);
    return y < 0 || x < 0 ? T(0) : in[((pixel.base + y) * across.in + x) * in_channels + tap.base];
  }

 private:
  static __device__ __forceinline__ Index meets(const Axis& a, Index i) {
    if (back && a.stride != 1) {
      const Position p = position_of(i, a.stride);
      i = p.col == 0 ? p.row : nowhere;
    }
    return i < a.in ? i : nowhere;
  }
};
// Patches a and the other factor b, and where the numbers of a come from. One a type for all kernels: the emulation gives each array of each kernel a
// place of its own, and clears them all at each block. In this order what is written behind an array races with readers of the next.
template <class T>
struct Tile {
  Spot down[most_rows], deep[depth];
  Index weights[depth];
  alignas(sizeof(Pack<T, side>)) T b[depth][most_cols + side], a[depth][most_rows + side];

  // sum += a^T b; two loads of 4 numbers for 16 products
  __device__ __forceinline__ void multiply(T (&sum)[side][side], int row, int col) const {
    CR_UNROLL(4)
    for (int k = 0; k < depth; ++k) {
      const Pack<T, side> p = load<side>(&a[k][row]), q = load<side>(&b[k][col]);
      CR_UNROLL(4)
      for (int i = 0; i < side; ++i)
        CR_UNROLL(4)
        for (int j = 0; j < side; ++j) sum[i][j] += p.v[i] * q.v[j];
    }
  }
};
template <class T>
__device__ __forceinline__ Tile<T>& tile_of_block() {
  __shared__ Tile<T> tile;
  return tile;
}

template <bool back, class T>
struct Product {
  Window<back> at;
  T* out;
  const T *in, *w;
  Index pixels, outs, out_group;  // pixels of all images of the output, its channels, and those of a group
  Index out_step, group_step;     // of W, from one of them, or one group, to the next
  Index tap_step, channel_step;   // from one tap, or channel of the input, to the next
  Index first, end;               // channels of the output that are asked for
  Accum accum;
  Index tiles, items;  // of a group; of all

  __device__ __forceinline__ void put(Index pixel, Index channel, T sum) const {
    T& z = out[pixel * outs + channel];
    z = accum == Accum::Add ? z + sum : sum;
  }
};

// out (pixels, channels of a group) = patches W^T, a tile a block. A patch's number is read once a tile, in runs of 64 bytes where there are 16
// channels, and neighbouring blocks share it in the cache. With many channels arithmetic bounds it, of which finding the patch's place is up to half;
// else the bytes of both images. Each sum has one order, whatever the block.
template <bool back, int lanes, class T>
CR_KERNEL(conv_threads) product_kernel(const __grid_constant__ Product<back, T> q) {
  constexpr int cols = lanes * side, N = depth * side / lanes;
  Tile<T>& s = tile_of_block<T>();
  const int t = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x), rows = threads / lanes * side;
  const int row = t / lanes * side, col = t % lanes * side;
  const Index first_group = q.first / q.out_group, groups = ceil_div(q.end, q.out_group) - first_group;
  for (Index item = blockIdx.x; item < q.items; item += gridDim.x) {
    const Position place = position_of(item, groups * q.tiles), of_group = position_of(place.col, q.tiles);
    const Index group = first_group + of_group.row, out = of_group.col * cols, pixel = place.row * rows;
    if (t < rows) s.down[t] = pixel + t < q.pixels ? q.at.pixel(pixel + t) : Spot{0, nowhere, nowhere};
    T sum[side][side] = {};
    for (Index k = 0; k < q.at.k; k += depth) {
      if (t < depth) {
        const Position of = position_of(k + t, q.at.in_group);
        s.deep[t] = q.at.tap(of.row, group * q.at.in_group + of.col);
        s.weights[t] = group * q.group_step + of.row * q.tap_step + of.col * q.channel_step;
        if (k + t >= q.at.k) s.deep[t].y = nowhere, s.weights[t] = group * q.group_step;  // 0 times some weight
      }
      __syncthreads();
      CR_UNROLL(4)
      for (int i = 0; i < N; ++i) {
        const int c = t % depth, r = t / depth + i * (threads / depth);
        s.a[c][r] = q.at.gather(q.in, s.down[r], s.deep[c]);
      }
      // neighbours read neighbours: W has its outputs last on the way back, else its k
      for (int e = t; e < depth * cols; e += threads) {
        const int c = back ? e / cols : e % depth, o = back ? e % cols : e / depth;
        s.b[c][o] = out + o < q.out_group ? q.w[s.weights[c] + (out + o) * q.out_step] : T(0);
      }
      __syncthreads();
      s.multiply(sum, row, col);
    }
    CR_UNROLL(4)
    for (int i = 0; i < side; ++i)
      CR_UNROLL(4)
      for (int j = 0; j < side; ++j) {
        const Index channel = group * q.out_group + out + col + j;
        if (pixel + row + i >= q.pixels || out + col + j >= q.out_group || channel < q.first || channel >= q.end) continue;
        q.put(pixel + row + i, channel, sum[i][j]);
      }
  }
}
// The same, a number a thread, for groups of few outputs (depthwise: of one): neighbouring lanes read neighbouring channels. Two loads a product and
// their places bound it, most of them from the caches.
template <bool back, class T>
CR_KERNEL(conv_threads) thin_product_kernel(const __grid_constant__ Product<back, T> q) {
  for (Index item = first_item(); item < q.items; item += item_step()) {
    const Position p = position_of(item, q.end - q.first), of = position_of(q.first + p.col, q.out_group);
    const Spot pixel = q.at.pixel(p.row);
    const T* w = q.w + of.row * q.group_step + of.col * q.out_step;
    T sum = 0;
    for (Index k = 0; k < q.at.k; k += q.at.in_group)
      for (Index c = 0; c < q.at.in_group; ++c) {
        const Position tap = position_of(k, q.at.in_group);
        sum += q.at.gather(q.in, pixel, q.at.tap(tap.row, of.row * q.at.in_group + c)) * w[tap.row * q.tap_step + c * q.channel_step];
      }
    q.put(p.row, q.first + p.col, sum);
  }
}

template <class T>
struct Gradient {
  Window<false> at;
  T* dw;
  const T *dz, *x;
  Index pixels, filters, group_filters;
  Index first, end;
  T scale, keep;
  Index k_tiles, filter_tiles, per_chunk, items;
  double* partial;  // of chunk c and weight e at c weights() + e; null: there is one chunk

  __device__ __forceinline__ Index weights() const { return (end - first) * at.k; }
  __device__ __forceinline__ void put(Index chunk, Index filter, Index k, T sum) const {
    const Index e = (filter - first) * at.k + k;
    if (partial) {
      partial[chunk * weights() + e] = static_cast<double>(sum);
    } else {
      T& w = dw[first * at.k + e];
      w = (keep == T(0) ? T(0) : keep * w) + scale * sum;
    }
  }
};

// dW^T (k, filters of a group) = patches^T dz over a chunk of the pixels, a tile a block; bound as product_kernel is, the pixels in the place of k.
// Chunks where the weights alone would not fill the card: each leaves its sums, in double, for gradient_finish_kernel.
template <int lanes, class T>
CR_KERNEL(conv_threads) gradient_kernel(const __grid_constant__ Gradient<T> q) {
  constexpr int cols = lanes * side, N = depth * side / lanes;
  Tile<T>& s = tile_of_block<T>();
  const int t = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x), rows = threads / lanes * side;
  const int row = t / lanes * side, col = t % lanes * side;
  const Index first_group = q.first / q.group_filters, groups = ceil_div(q.end, q.group_filters) - first_group;
  for (Index item = blockIdx.x; item < q.items; item += gridDim.x) {
    const Position by_k = position_of(item, q.k_tiles), by_filter = position_of(by_k.row, q.filter_tiles);
    const Position by_group = position_of(by_filter.row, groups);
    const Index chunk = by_group.row, group = first_group + by_group.col, k = by_k.col * rows, filter = by_filter.col * cols;
    if (t < rows) {
      const Position of = position_of(k + t, q.at.in_group);
      s.down[t] = q.at.tap(of.row, group * q.at.in_group + of.col);
    }
    const Index end = smaller(q.pixels, (chunk + 1) * q.per_chunk);
    T total[side][side] = {};
    for (Index begin = chunk * q.per_chunk; begin < end; begin += run) {
      T sum[side][side] = {};
      for (Index pixel = begin; pixel < smaller(end, begin + run); pixel += depth) {
        if (t < depth) s.deep[t] = pixel + t < end ? q.at.pixel(pixel + t) : Spot{0, nowhere, nowhere};
        __syncthreads();
        CR_UNROLL(4)
        for (int i = 0; i < N; ++i) {
          const int r = t % rows, p = t / rows + i * lanes / side;
          s.a[p][r] = q.at.gather(q.x, s.deep[p], s.down[r]);
        }
        for (int e = t; e < depth * cols; e += threads) {
          const int p = e / cols, f = e % cols;
          const bool inside = pixel + p < end && filter + f < q.group_filters;
          s.b[p][f] = inside ? q.dz[(pixel + p) * q.filters + group * q.group_filters + filter + f] : T(0);
        }
        __syncthreads();
        s.multiply(sum, row, col);
      }
      CR_UNROLL(4)
      for (int i = 0; i < side; ++i)
        CR_UNROLL(4)
        for (int j = 0; j < side; ++j) total[i][j] += sum[i][j];
    }
    CR_UNROLL(4)
    for (int i = 0; i < side; ++i)
      CR_UNROLL(4)
      for (int j = 0; j < side; ++j) {
        const Index f = group * q.group_filters + filter + col + j;
        if (k + row + i >= q.at.k || filter + col + j >= q.group_filters || f < q.first || f >= q.end) continue;
        q.put(chunk, f, k + row + i, total[i][j]);
      }
  }
}
// The same, a weight and a chunk a thread, for groups of few filters: neighbouring lanes read neighbouring filters.
template <class T>
CR_KERNEL(conv_threads) thin_gradient_kernel(const __grid_constant__ Gradient<T> q) {
  for (Index item = first_item(); item < q.items; item += item_step()) {
    const Position by_filter = position_of(item, q.end - q.first), by_k = position_of(by_filter.row, q.at.k);
    const Position of = position_of(by_k.col, q.at.in_group);
    const Index chunk = by_k.row, f = q.first + by_filter.col;
    const Spot tap = q.at.tap(of.row, f / q.group_filters * q.at.in_group + of.col);
    const Index end = smaller(q.pixels, (chunk + 1) * q.per_chunk), width = q.at.across.out;
    T total = 0;
    for (Index begin = chunk * q.per_chunk; begin < end; begin += run) {
      T sum = 0;
      Spot pixel = q.at.pixel(begin);
      Index col = begin % width;
      for (Index p = begin; p < smaller(end, begin + run); ++p, ++col, pixel.x += q.at.across.stride) {
        if (col == width) pixel = q.at.pixel(p), col = 0;
        sum += q.dz[p * q.filters + f] * q.at.gather(q.x, pixel, tap);
      }
      total += sum;
    }
    q.put(chunk, f, by_k.col, total);
  }
}
// One weight a thread. chunks * 8 bytes a weight, coalesced
template <class T>
CR_KERNEL(1024) gradient_finish_kernel(T* dw, const double* partial, Index chunks, Index n, T scale, T keep) {
  for (Index e = first_item(); e < n; e += item_step()) {
    double total = 0;
    for (Index c = 0; c < chunks; ++c) total += partial[c * n + e];
    dw[e] = (keep == T(0) ? T(0) : keep * dw[e]) + scale * T(total);
  }
}

Index most_blocks(int threads) { return blocks_for(Index(1) << 40, threads); }
// Of a block with so many lanes; `usual` unless a test says otherwise
int threads_of_tile(int lanes, int usual = conv_threads) {
  return static_cast<int>(smaller(threads_of_block(usual), smaller(conv_threads, most_rows / side * lanes)));
}

template <bool back, int lanes, class T>
void launch_product(Product<back, T> q, Index groups) {
  q.tiles = ceil_div(q.out_group, lanes * side);
  int usual = conv_threads;
  // smaller tiles where there would be fewer than processors
  while (usual > 64 && ceil_div(q.pixels, side) * groups * q.tiles * lanes < static_cast<Index>(usual) * current().processors) usual /= 2;
  const int threads = threads_of_tile(lanes, usual);
  q.items = ceil_div(q.pixels, threads / lanes * side) * groups * q.tiles;
  launch(product_kernel<back, lanes, T>, smaller(q.items, most_blocks(threads)), threads, q);
}
template <bool back, class T>
void product(Product<back, T> q) {
  if (q.pixels <= 0 || q.end <= q.first) return;
  const Index groups = ceil_div(q.end, q.out_group) - q.first / q.out_group;
  if (q.out_group < least_tile) {
    const int threads = threads_of_tile(warp);
    q.items = q.pixels * (q.end - q.first);
    launch(thin_product_kernel<back, T>, blocks_for(q.items, threads), threads, q);
  } else if (q.out_group <= 4 * side) {
    launch_product<back, 4>(q, groups);
  } else if (q.out_group <= 8 * side) {
    launch_product<back, 8>(q, groups);
  } else {
    launch_product<back, 16>(q, groups);
  }
}

// Chunks of the pixels, of `least` at least, so that `tiles` of them each fill `most`; the partial sums fit into the context's room.
template <class T>
Index cut(Gradient<T>& q, Index tiles, Index most, Index least) {
  const Index weights = (q.end - q.first) * q.at.k;
  const Index wanted = larger(1, smaller(smaller(ceil_div(q.pixels, least), ceil_div(most, tiles)), current().scratch_size / weights));
  q.per_chunk = larger(1, ceil_div(q.pixels, wanted));
  const Index chunks = larger(1, ceil_div(q.pixels, q.per_chunk));
  q.partial = chunks > 1 ? current().scratch : nullptr;
  return chunks;
}
template <int lanes, class T>
Index launch_gradient(Gradient<T> q, Index groups) {
  q.filter_tiles = ceil_div(q.group_filters, lanes * side);
  const int threads = threads_of_tile(lanes);
  q.k_tiles = ceil_div(q.at.k, threads / lanes * side);
  const Index tiles = groups * q.filter_tiles * q.k_tiles, chunks = cut(q, tiles, most_blocks(threads), 2 * run);
  q.items = chunks * tiles;
  launch(gradient_kernel<lanes, T>, smaller(q.items, most_blocks(threads)), threads, q);
  return chunks;
}
template <class T>
Index launch_thin_gradient(Gradient<T> q) {
  const int threads = threads_of_tile(warp);
  const Index weights = (q.end - q.first) * q.at.k, chunks = cut(q, weights, most_blocks(threads) * threads, 16);
  q.items = chunks * weights;
  launch(thin_gradient_kernel<T>, blocks_for(q.items, threads), threads, q);
  return chunks;
}
template <class T>
void gradient(const Gradient<T>& q) {
  if (q.end <= q.first) return;
  const Index groups = ceil_div(q.end, q.group_filters) - q.first / q.group_filters, weights = (q.end - q.first) * q.at.k;
  const Index chunks = q.group_filters < least_tile   ? launch_thin_gradient(q)
                       : q.group_filters <= 4 * side ? launch_gradient<4>(q, groups)
                       : q.group_filters <= 8 * side ? launch_gradient<8>(q, groups)
                                                     : launch_gradient<16>(q, groups);
  if (chunks == 1) return;
  const int threads = threads_of_block();
  launch(gradient_finish_kernel<T>, blocks_for(weights, threads), threads, q.dw + q.first * q.at.k, current().scratch, chunks, weights, q.scale,
         q.keep);
}

template <bool back>
Window<back> window(const ConvShape& s) {
  const auto axis = [](Index x, Index z, Index stride, Index dilation, Index before) {
    return Axis{back ? z : x, back ? x : z, stride, dilation, before};
  };
  const Index channels = back ? s.filters : s.channels, of_group = channels / s.groups;
  return {axis(s.height, s.out_height, s.stride_height, s.dilation_height, s.top),
          axis(s.width, s.out_width, s.stride_width, s.dilation_width, s.left),
          channels,
          of_group,
          s.kernel_width,
          s.kernel_height * s.kernel_width * of_group};
}

}  // namespace

template <class T>
Index conv_scratch(const ConvShape&) {
  return 0;
}
template <class T>
void conv_forward(T* z, const T* x, const T* w, const ConvShape& s, Index n, Index first, Index end, Accum accum, T*) {
  const Window<false> at = window<false>(s);
  const Index filters = s.filters / s.groups, pixels = n * s.out_height * s.out_width;
  product(Product<false, T>{at, z, x, w, pixels, s.filters, filters, at.k, filters * at.k, at.in_group, 1, first, end, accum, 0, 0});
}
template <class T>
void conv_backward(T* dx, const T* dz, const T* w, const ConvShape& s, Index n, Index first, Index end, Accum accum, T*) {
  const Window<true> at = window<true>(s);
  const Index channels = s.channels / s.groups, filter_step = s.kernel_height * s.kernel_width * channels;
  product(Product<true, T>{at, dx, dz, w, n * s.height * s.width, s.channels, channels, 1, at.in_group * filter_step, channels, filter_step, first,
                           end, accum, 0, 0});
}
template <class T>
void conv_gradient(T* dw, const T* dz, const T* x, const ConvShape& s, Index n, Index first, Index end, T scale, T keep, T*) {
  const Index pixels = n * s.out_height * s.out_width;
  gradient(Gradient<T>{window<false>(s), dw, dz, x, pixels, s.filters, s.filters / s.groups, first, end, scale, keep, 0, 0, 0, 0, nullptr});
}

#define CR_DEFINE(T)                                                                                     \
  template Index conv_scratch<T>(const ConvShape&);                                                      \
  template void conv_forward(T*, const T*, const T*, const ConvShape&, Index, Index, Index, Accum, T*);  \
  template void conv_backward(T*, const T*, const T*, const ConvShape&, Index, Index, Index, Accum, T*); \
  template void conv_gradient(T*, const T*, const T*, const ConvShape&, Index, Index, Index, T, T, T*);
CR_DEFINE(float)
CR_DEFINE(double)

}  // namespace chainrule::cuda
