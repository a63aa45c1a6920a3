// SPDX-License-Identifier: MIT
// Pools and copy_axes against their equations in long double: ragged channels, windows that overlap, leave places out and are padded, unaligned, adding.
#include "kernel_check.h"

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

template <class T>
void test_pool(const Kernels<T>& k, const PoolArgs& p) {
  const Index n_in = p.n * p.h * p.w * p.c, n_out = p.n * p.oh * p.ow * p.c;
  std::vector<T> x = random<T>(n_in + 1), dz = random<T>(n_out + 1);
  for (Index i = 0; i < n_in; i += 3) x[at(i)] = T(0.5);  // the first of several equals
  const std::vector<T> before = random<T>(n_in + 1);
  std::vector<T> largest(at(n_out + 1), T(9)), mean(largest), max_written(before), max_added(before), mean_written(before), mean_added(before);
  k.max_pool_forward(largest.data() + 1, x.data() + 1, p);
  k.average_pool_forward(mean.data() + 1, x.data() + 1, p);
  k.max_pool_backward(max_written.data() + 1, dz.data() + 1, x.data() + 1, p, Accum::Overwrite);
  k.max_pool_backward(max_added.data() + 1, dz.data() + 1, x.data() + 1, p, Accum::Add);
  k.average_pool_backward(mean_written.data() + 1, dz.data() + 1, p, Accum::Overwrite);
  k.average_pool_backward(mean_added.data() + 1, dz.data() + 1, p, Accum::Add);
  std::vector<Real> to_largest(at(n_in), 0), to_all(at(n_in), 0);
  Index z = 0;
  for (Index i = 0; i < p.n; ++i)
    for (Index oy = 0; oy < p.oh; ++oy)
      for (Index ox = 0; ox < p.ow; ++ox)
        for (Index c = 0; c < p.c; ++c, ++z) {
          std::vector<Index> window;
          for (Index y = oy * p.sh - p.top; y < oy * p.sh - p.top + p.kh; ++y)
            for (Index e = ox * p.sw - p.left; e < ox * p.sw - p.left + p.kw; ++e)
              if (y >= 0 && y < p.h && e >= 0 && e < p.w) window.push_back(((i * p.h + y) * p.w + e) * p.c + c);
          Index best = window[0];
          Real sum = 0;
          for (const Index e : window) {
            if (x[at(e + 1)] > x[at(best + 1)]) best = e;
            sum += x[at(e + 1)];
          }
          const Real count = static_cast<Real>(window.size());
          check(largest[at(z + 1)] == x[at(best + 1)], "max_pool_forward");
          near(mean[at(z + 1)], sum / count, 8, "average_pool_forward");
          to_largest[at(best)] += dz[at(z + 1)];
          for (const Index e : window) to_all[at(e)] += dz[at(z + 1)] / count;
        }
  for (Index e = 0; e < n_in; ++e) {
    near(max_written[at(e + 1)], to_largest[at(e)], 8, "max_pool_backward");
    near(max_added[at(e + 1)], before[at(e + 1)] + to_largest[at(e)], 8, "max_pool_backward, adding");
    near(mean_written[at(e + 1)], to_all[at(e)], 8, "average_pool_backward");
    near(mean_added[at(e + 1)], before[at(e + 1)] + to_all[at(e)], 8, "average_pool_backward, adding");
  }
  check(largest[0] == T(9) && mean[0] == T(9) && max_written[0] == before[0] && mean_added[0] == before[0], "a pool wrote before its output");
}

template <class T>
void test_pools(const Kernels<T>& k) {
  const auto out = [](Index n, Index size, Index stride, Index before, Index after) { return (n + before + after - size) / stride + 1; };
  for (const Index c : {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 24, 33})
    for (const Index kh : {1, 2, 3})
      for (const Index kw : {1, 2, 5})
        for (const Index stride : {1, 2, 3})
          for (const Index pad : {0, 1}) {
            const Index h = 6, w = 7, top = pad && kh > 1, left = pad && kw > 1;
            test_pool(k, {2, h, w, c, kh, kw, stride, stride, top, left, out(h, kh, stride, top, 0), out(w, kw, stride, left, left)});
          }
  test_pool(k, {3, 1, 40, 1, 1, 40, 1, 40, 0, 0, 1, 1});
  test_pool(k, {3, 1, 41, 5, 1, 41, 1, 41, 0, 0, 1, 1});
  for (const Index c : {31, 32, 70, 1030}) test_pool(k, {2, 6, 7, c, 5, 6, 2, 1, 1, 2, 2, 5});
  const T nan = std::numeric_limits<T>::quiet_NaN();
  for (Index place = 0; place < 4; ++place) {
    std::vector<T> x(4 * 5, T(1)), z(5, T(0));
    x[at(place * 5 + 2)] = nan;
    k.max_pool_forward(z.data(), x.data(), {1, 2, 2, 5, 2, 2, 2, 2, 0, 0, 1, 1});
    check(std::isnan(z[2]) && z[1] == T(1) && z[3] == T(1), "max_pool_forward loses a NaN");
  }
}

template <class T>
void test_copy_axes(const Kernels<T>& k) {
  const Index axes[][4] = {{0, 1, 2, 3}, {0, 2, 1, 3}, {3, 2, 1, 0}, {1, 0, 3, 2}, {0, 1, 3, 2}, {2, 3, 0, 1}};
  for (const auto& order : axes)
    for (const Index last : {1, 3, 17, 40})
      for (const Index step : {1, 2}) {
        const Index shape[4] = {3, 1, 19, last};
        AxesArgs q{};
        q.rank = 4;
        Index stride[4], n = 1, total = 1;
        for (int a = 4; a-- > 0;) stride[a] = n * (a == 2 ? step : 1), n *= shape[a] * (a == 2 ? step : 1);
        for (int a = 4; a-- > 0;) q.size[a] = shape[order[a]], q.x[a] = stride[order[a]], q.y[a] = total, total *= q.size[a];
        const std::vector<T> x = random<T>(n), before = random<T>(total);
        std::vector<T> y = before, sum = before, back(x.size(), T(0));
        k.copy_axes(y.data(), x.data(), q, Accum::Overwrite);
        k.copy_axes(sum.data(), x.data(), q, Accum::Add);
        AxesArgs r = q;
        std::swap(r.x, r.y);
        k.copy_axes(back.data(), y.data(), r, Accum::Overwrite);
        for (Index e = 0; e < total; ++e) {
          Index from = 0, left = e;
          for (int a = 4; a-- > 0;) from += left % q.size[a] * q.x[a], left /= q.size[a];
          check(y[at(e)] == x[at(from)], "copy_axes");
          check(sum[at(e)] == before[at(e)] + x[at(from)], "copy_axes, adding");
          check(back[at(from)] == x[at(from)], "copy_axes, back");
        }
      }
  AxesArgs none{};
  none.rank = 2, none.size[0] = 3, none.size[1] = 0;
  k.copy_axes(static_cast<T*>(nullptr), static_cast<const T*>(nullptr), none, Accum::Overwrite);
}

template <class T>
void test_all() {
  test_pools(kernels<T>());
  test_copy_axes(kernels<T>());
}

}  // namespace

int main() {
  test_all<float>();
  test_all<double>();
  return report();
}
