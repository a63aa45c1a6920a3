// SPDX-License-Identifier: MIT
// Convolutions against their equation in long double, in arrays that end where they must (AddressSanitizer looks on): ragged filters and channels, strides,
// dilations, padding larger than the kernel, groups to depthwise, parts of filters and channels, adding.
#include "kernel_check.h"

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

// f(index in z, in x, in W) for each product
template <class F>
void each_product(const ConvShape& s, Index n, F&& f) {
  const Index per_channel = s.channels / s.groups, per_filter = s.filters / s.groups;
  for (Index i = 0, z = 0; i < n; ++i)
    for (Index oy = 0; oy < s.out_height; ++oy)
      for (Index ox = 0; ox < s.out_width; ++ox)
        for (Index q = 0; q < s.filters; ++q, ++z)
          for (Index ky = 0; ky < s.kernel_height; ++ky)
            for (Index kx = 0; kx < s.kernel_width; ++kx) {
              const Index y = s.stride_height * oy + s.dilation_height * ky - s.top, x = s.stride_width * ox + s.dilation_width * kx - s.left;
              if (y < 0 || y >= s.height || x < 0 || x >= s.width) continue;
              for (Index c = 0; c < per_channel; ++c)
                f(z, ((i * s.height + y) * s.width + x) * s.channels + q / per_filter * per_channel + c,
                  ((q * s.kernel_height + ky) * s.kernel_width + kx) * per_channel + c);
            }
}

template <class T>
void test_conv(const Kernels<T>& k, const ConvShape& s) {
  const Index n = 2, n_x = n * s.height * s.width * s.channels, n_z = n * s.out_height * s.out_width * s.filters,
              n_w = s.filters * s.kernel_height * s.kernel_width * s.channels / s.groups;
  const std::vector<T> x = random<T>(n_x), dz = random<T>(n_z), w = random<T>(n_w), dx0 = random<T>(n_x), dw0 = random<T>(n_w);
  std::vector<Real> z(at(n_z), 0), dx(at(n_x), 0), dw(at(n_w), 0);
  each_product(s, n, [&](Index i, Index j, Index e) {
    z[at(i)] += static_cast<Real>(w[at(e)]) * x[at(j)];
    dx[at(j)] += static_cast<Real>(w[at(e)]) * dz[at(i)];
    dw[at(e)] += static_cast<Real>(dz[at(i)]) * x[at(j)];
  });
  std::vector<T> room(at(k.conv_scratch(s)), T(7)), found(at(n_z), T(9)), more = dz, back(at(n_x), T(9)), added = dx0, gradient = dw0;
  // in two parts each, that end within a group
  const Index filters[] = {0, (s.filters + 2) / 3, s.filters}, channels[] = {0, (s.channels + 1) / 2, s.channels};
  for (int part = 0; part < 2; ++part) {
    k.conv_forward(found.data(), x.data(), w.data(), s, n, filters[part], filters[part + 1], Accum::Overwrite, room.data());
    k.conv_forward(more.data(), x.data(), w.data(), s, n, filters[part], filters[part + 1], Accum::Add, room.data());
    k.conv_backward(back.data(), dz.data(), w.data(), s, n, channels[part], channels[part + 1], Accum::Overwrite, room.data());
    k.conv_backward(added.data(), dz.data(), w.data(), s, n, channels[part], channels[part + 1], Accum::Add, room.data());
    k.conv_gradient(gradient.data(), dz.data(), x.data(), s, n, filters[part], filters[part + 1], T(0.5), T(0.25), room.data());
  }
  const auto close = [&](T value, Real expected, Index terms, const char* what) {
    const Real bound =
        4 * static_cast<Real>(std::numeric_limits<T>::epsilon()) * std::sqrt(static_cast<Real>(terms + 4)) * static_cast<Real>(terms + 4);
    check(std::abs(value - expected) <= bound, what);
  };
  const Index taps = s.kernel_height * s.kernel_width;
  for (Index i = 0; i < n_z; ++i) {
    close(found[at(i)], z[at(i)], taps * s.channels / s.groups, "conv_forward");
    close(more[at(i)], dz[at(i)] + z[at(i)], taps * s.channels / s.groups, "conv_forward, adding");
  }
  for (Index i = 0; i < n_x; ++i) {
    close(back[at(i)], dx[at(i)], taps * s.filters / s.groups, "conv_backward");
    close(added[at(i)], dx0[at(i)] + dx[at(i)], taps * s.filters / s.groups, "conv_backward, adding");
  }
  for (Index i = 0; i < n_w; ++i) close(gradient[at(i)], T(0.25) * dw0[at(i)] + T(0.5) * dw[at(i)], n * s.out_height * s.out_width, "conv_gradient");
}

template <class T>
void test_all() {
  const Kernels<T>& k = kernels<T>();
  const Index groups[][3] = {{1, 1, 1},  {3, 5, 1}, {2, 16, 1},   {1, 17, 1},   {8, 33, 1}, {6, 4, 2},
                             {6, 27, 3}, {5, 5, 5}, {16, 16, 16}, {19, 19, 19}, {4, 8, 4}};
  for (const auto& [channels, filters, count] : groups)
    for (const Index kernel : {1, 2, 3})
      for (const Index stride : {1, 2, 3})
        for (const Index dilation : {1, 2})
          for (const Index pad : {0, 1, 4}) {
            const Index kernel_width = kernel + 1, height = 5, width = 10;
            const auto out = [&](Index size, Index taps) { return (size + 2 * pad - (taps - 1) * dilation - 1) / stride + 1; };
            test_conv(k, {height, width, channels, out(height, kernel), out(width, kernel_width), filters, kernel, kernel_width, stride, stride,
                          dilation, dilation, pad, pad, count});
          }
  test_conv(k, {1, 40, 3, 1, 40, 6, 1, 5, 1, 1, 1, 2, 0, 8, 1});  // a sequence, causal
}

}  // namespace

int main() {
  test_all<float>();
  test_all<double>();
  return report();
}
