// SPDX-License-Identifier: MIT
// Convolutions: "<rows>x<h>x<w>x<channels>/<filters>@<kernel>", all three products. 100 % of peak: the core's multiply-adds from registers.
#include "bench.h"

using namespace chainrule;
using namespace chainrule::bench;

namespace {

template <class T>
void add_conv(Index n, Index side, Index c, Index filters, Index kernel, Index groups) {
  const Kernels<T>& k = kernels<T>();
  const Index pad = kernel / 2;
  const ConvShape s{side, side, c, side, side, filters, kernel, kernel, 1, 1, 1, 1, pad, pad, groups};
  const Index n_in = n * side * side * c, n_out = n * side * side * filters, n_w = filters * kernel * kernel * c / groups;
  const std::string what = "/" + std::to_string(n) + "x" + std::to_string(side) + "x" + std::to_string(side) + "x" + std::to_string(c) + "/" +
                           std::to_string(filters) + "@" + std::to_string(kernel);
  const double flop = 2 * static_cast<double>(n * side * side) * static_cast<double>(n_w);
  const auto product = [=, &k](const std::string& name, auto f) {
    add(label<T>(name + what, n_in), [=, &k](Measure& m) {
      const std::vector<T> x = random<T>(n_in, -1, 1), z = random<T>(n_out, -1, 1), w = random<T>(n_w, -1, 1);
      std::vector<T> to(static_cast<std::size_t>(std::max({n_in, n_out, n_w}))), room(static_cast<std::size_t>(k.conv_scratch(s)));
      m.flop(flop, [&] { f(to.data(), x.data(), z.data(), w.data(), room.data()); });
    });
  };
  product("conv_forward",
          [=, &k](T* to, const T* x, const T*, const T* w, T* room) { k.conv_forward(to, x, w, s, n, 0, filters, Accum::Overwrite, room); });
  product("conv_backward",
          [=, &k](T* to, const T*, const T* dz, const T* w, T* room) { k.conv_backward(to, dz, w, s, n, 0, c, Accum::Overwrite, room); });
  product("conv_gradient",
          [=, &k](T* to, const T* x, const T* dz, const T*, T* room) { k.conv_gradient(to, dz, x, s, n, 0, filters, T(1), T(0), room); });
}

}  // namespace

int main(int argc, char** argv) {
  add_conv<float>(5, 28, 1, 8, 5, 1);  // LeNet's two
  add_conv<float>(5, 14, 8, 16, 5, 1);
  add_conv<float>(1, 32, 32, 32, 3, 1);   // a residual block
  add_conv<float>(1, 32, 64, 64, 3, 64);  // depthwise
  add_conv<double>(1, 32, 32, 32, 3, 1);
  return run_all(argc, argv);
}
