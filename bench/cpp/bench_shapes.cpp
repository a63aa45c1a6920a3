// SPDX-License-Identifier: MIT
// Pools and exchanged axes: "<rows>x<h>x<w>x<channels>/<window>". 100 % of peak: `y += c x` over as much memory as the kernel reads and writes.
#include "bench.h"

using namespace chainrule;
using namespace chainrule::bench;

namespace {

template <class T>
void add_pool(Index n, Index side, Index c, Index size, Index stride, Index pad) {
  const Kernels<T>& k = kernels<T>();
  const Index out = (side + 2 * pad - size) / stride + 1;
  const PoolArgs p{n, side, side, c, size, size, stride, stride, pad, pad, out, out};
  const Index n_in = n * side * side * c, n_out = n * out * out * c;
  const std::string what = "/" + std::to_string(n) + "x" + std::to_string(side) + "x" + std::to_string(side) + "x" + std::to_string(c) + "/" +
                           std::to_string(size) + (stride == size ? "" : "_stride_" + std::to_string(stride));
  const double in_bytes = static_cast<double>(n_in) * sizeof(T), out_bytes = static_cast<double>(n_out) * sizeof(T);
  const auto pool = [=](const std::string& name, double bytes, auto f) {
    add(label<T>(name + what, n_in), [=](Measure& m) {
      const std::vector<T> x = random<T>(n_in, -1, 1), dz = random<T>(n_out, -1, 1);
      std::vector<T> z(static_cast<std::size_t>(n_out)), dx(static_cast<std::size_t>(n_in));
      m.bytes(bytes, bytes, [&] { f(z.data(), dx.data(), x.data(), dz.data()); });
    });
  };
  pool("max_pool", in_bytes + out_bytes, [=, &k](T* z, T*, const T* x, const T*) { k.max_pool_forward(z, x, p); });
  pool("max_pool_backward", 2 * in_bytes + out_bytes,
       [=, &k](T*, T* dx, const T* x, const T* dz) { k.max_pool_backward(dx, dz, x, p, Accum::Overwrite); });
  pool("average_pool", in_bytes + out_bytes, [=, &k](T* z, T*, const T* x, const T*) { k.average_pool_forward(z, x, p); });
  pool("average_pool_backward", in_bytes + out_bytes,
       [=, &k](T*, T* dx, const T*, const T* dz) { k.average_pool_backward(dx, dz, p, Accum::Overwrite); });
}

template <class T>
void add_axes(const std::string& name, const AxesArgs& q) {
  const Kernels<T>& k = kernels<T>();
  Index n = 1;
  for (int a = 0; a < q.rank; ++a) n *= q.size[a];
  const double bytes = 2 * static_cast<double>(n) * sizeof(T);
  add(label<T>("copy_axes/" + name, n), [=, &k](Measure& m) {
    const std::vector<T> x = random<T>(2 * n, -1, 1);
    std::vector<T> y(static_cast<std::size_t>(n));
    m.bytes(bytes, bytes, [&] { k.copy_axes(y.data(), x.data(), q, Accum::Overwrite); });
  });
}

template <class T>
void add_all() {
  add_pool<T>(64, 28, 8, 2, 2, 0);  // LeNet's two
  add_pool<T>(64, 14, 16, 2, 2, 0);
  add_pool<T>(32, 32, 64, 3, 2, 1);
  add_pool<T>(32, 28, 1, 2, 2, 0);
  add_pool<T>(32, 14, 256, 14, 14, 0);  // the mean of an image
  add_axes<T>("exchange_64x128_of_32", {3, {32, 128, 64}, {8192, 64, 1}, {8192, 1, 128}});
  add_axes<T>("half_of_the_channels", {2, {32768, 32}, {32, 1}, {64, 1}});
}

}  // namespace

int main(int argc, char** argv) {
  add_all<float>(), add_all<double>();
  return run_all(argc, argv);
}
