// SPDX-License-Identifier: MIT
// A filter a channel: vectors run over the channels, and each tap's weights lie side by side, (taps, channels).
#pragma once
#include "kernels/cpu/conv.h"

namespace chainrule::CR_ISA {

namespace {

// z of `channels` of one pixel after the other; four pixels of a row share each vector of weights
template <class T, int M>
void depthwise_tile(const T* x, Index step, const Walk& walk, const T* w, T* z, Index z_step, Index channels, bool add) {
  using Vector = typename VectorOf<T>::Type;
  Index c = 0;
  for (; c + lanes<T> <= channels; c += lanes<T>) {
    Vector sum[M];
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) sum[m] = Vector{};
    const T* weight = w + c;
    for (Index r = 0; r < walk.rows; ++r)
      for (Index t = 0; t < walk.taps; ++t, weight += channels) {
        const T* a = x + r * walk.row_step + t * walk.tap_step + c;
        const Vector v = *reinterpret_cast<const Vector*>(weight);
#pragma GCC unroll 4
        for (int m = 0; m < M; ++m) sum[m] += *reinterpret_cast<const Vector*>(a + m * step) * v;
      }
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) {
      Vector* to = reinterpret_cast<Vector*>(z + m * z_step + c);
      *to = add ? *to + sum[m] : sum[m];
    }
  }
  for (; c < channels; ++c)
    for (int m = 0; m < M; ++m) {
      T sum = 0;
      const T* weight = w + c;
      for (Index r = 0; r < walk.rows; ++r)
        for (Index t = 0; t < walk.taps; ++t, weight += channels) sum += x[r * walk.row_step + t * walk.tap_step + c + m * step] * *weight;
      T* to = z + m * z_step + c;
      *to = add ? *to + sum : sum;
    }
}
template <class T>
void depthwise_rows(const Rows<T>& q, const Walk& walk, const T* w, Index channels, bool add) {
  for (Index y = 0; y < q.rows; ++y)
    blocks_of(q.pixels, 4, [&](Index first, Index m) {
      const T* from = q.x + y * q.x_row + first * q.x_step;
      T* to = q.z + y * q.z_row + first * q.z_step;
      switch (m) {
        case 1: return depthwise_tile<T, 1>(from, q.x_step, walk, w, to, q.z_step, channels, add);
        case 2: return depthwise_tile<T, 2>(from, q.x_step, walk, w, to, q.z_step, channels, add);
        case 3: return depthwise_tile<T, 3>(from, q.x_step, walk, w, to, q.z_step, channels, add);
        default: return depthwise_tile<T, 4>(from, q.x_step, walk, w, to, q.z_step, channels, add);
      }
    });
}

// acc (taps, channels) += sum over rows and pixels of x under the tap times dz
template <class T>
void depthwise_gradient(const T* x, Index x_row, Index x_step, const T* dz, Index dz_row, Index dz_step, Index rows, Index pixels, const Walk& walk,
                        Index channels, T* acc) {
  using Vector = typename VectorOf<T>::Type;
  for (Index r = 0; r < walk.rows; ++r)
    for (Index t = 0; t < walk.taps; ++t, acc += channels) {
      const T* under = x + r * walk.row_step + t * walk.tap_step;
      Index c = 0;
      for (; c + lanes<T> <= channels; c += lanes<T>) {
        Vector sum[2] = {*reinterpret_cast<const Vector*>(acc + c), Vector{}};
        for (Index y = 0; y < rows; ++y) {
          const T *a = under + y * x_row + c, *d = dz + y * dz_row + c;
          Index p = 0;
          for (; p + 2 <= pixels; p += 2, a += 2 * x_step, d += 2 * dz_step) {
            sum[0] += *reinterpret_cast<const Vector*>(a) * *reinterpret_cast<const Vector*>(d);
            sum[1] += *reinterpret_cast<const Vector*>(a + x_step) * *reinterpret_cast<const Vector*>(d + dz_step);
          }
          if (p < pixels) sum[0] += *reinterpret_cast<const Vector*>(a) * *reinterpret_cast<const Vector*>(d);
        }
        *reinterpret_cast<Vector*>(acc + c) = sum[0] + sum[1];
      }
      for (; c < channels; ++c)
        for (Index y = 0; y < rows; ++y)
          for (Index p = 0; p < pixels; ++p) acc[c] += under[y * x_row + p * x_step + c] * dz[y * dz_row + p * dz_step + c];
    }
}

}  // namespace

}  // namespace chainrule::CR_ISA
