// SPDX-License-Identifier: MIT
// The kernels over flat arrays: updates, dropout, sums, elementwise, sparse rows.
#include "device_check.h"

namespace {

template <class T>
UpdateArgs<T> update_args(const Pointers<T>& at, const std::string& name, Index n, Index slots, Index stride, int way) {
  const bool penalty = way & 8, more = way & 16, velocity = name != "sgd" || more;
  UpdateArgs<T> q{};
  q.w = at.numbers[0], q.g = at.numbers[1], q.slots = slots, q.stride = stride, q.n = n;
  q.m = name == "adam" ? at.numbers[2] : nullptr, q.v = velocity ? at.numbers[3] : nullptr;
  q.alpha = 0.1, q.mu = 0.9, q.rho = 0.95, q.eps = 1e-3, q.c1 = 0.3, q.c2 = 0.2;
  q.nesterov = way & 2, q.eps_hat = way & 4, q.clip = more ? 0.5 : 1;
  q.l1 = penalty ? 0.01 : 0, q.l2 = penalty ? 0.02 : 0, q.decay = more ? 0.03 : 0, q.threshold = more ? 0.004 : 0;
  return q;
}

template <class T>
void test_update(const std::string& name, UpdateKernel<T> Kernels<T>::* kernel) {
  for (const Index n : sizes)
    for (int way = 0; way < 32; ++way) {
      const Index slots = way & 1 ? 3 : 1, stride = n + 5 - (way & 2);
      Arrays<T> arrays{{random<T>(n), random<T>(slots * stride), random<T>(n), random<T>(n, 0.1, 1)}};
      if (n > 2) arrays.numbers[0][2] = 0;
      const auto run = [&](double UpdateSums::* sum) {
        return [&, sum](const Kernels<T>& t, const Pointers<T>& at) {
          const UpdateSums sums = (t.*kernel)(update_args(at, name, n, slots, stride, way));
          return sums.finite ? sums.*sum : std::numeric_limits<double>::infinity();
        };
      };
      compare<T>(name + ", way " + std::to_string(way), arrays, run(way & 2 ? &UpdateSums::sum_abs : &UpdateSums::sum_square), false, n > 0);
      if (n == 0 || way > 0) continue;
      for (const T bad : {std::numeric_limits<T>::infinity(), std::numeric_limits<T>::quiet_NaN()}) {
        arrays.numbers[0][static_cast<std::size_t>(n / 2)] = bad;
        compare<T>(name + " of what is not finite", arrays, run(&UpdateSums::sum_abs));
      }
    }
}

// g null: v or w hold what the products have written
template <class T>
void test_late() {
  for (const Index n : {Index(0), Index(1), Index(67), Index(2100)})
    for (const bool penalty : {false, true})
      for (const bool momentum : {false, true})
        compare<T>(
            "late sgd", Arrays<T>{{random<T>(n), {}, {}, random<T>(n)}},
            [&](const Kernels<T>& t, const Pointers<T>& at) {
              UpdateArgs<T> q = update_args(at, "sgd", n, Index(1), n, (penalty && momentum ? 8 : 0) + (momentum ? 16 : 0));
              q.g = nullptr, q.clip = 1, q.decay = 0;
              if (!momentum) q.threshold = 0;
              return t.sgd(q).sum_square;
            },
            false, n > 0);
}

template <class T>
void test_dropout() {
  for (const Index first : {Index(0), Index(1), Index(6), Index(8), (Index(1) << 34) - 10, (Index(5) << 34) + 3})
    for (const Index n : sizes)
      for (const Accum accum : {Accum::Overwrite, Accum::Add})
        compare<T>(
            "dropout", Arrays<T>{{random<T>(n), random<T>(n)}},
            [&](const Kernels<T>& t, const Pointers<T>& at) {
              T* y = at.numbers[first % 2 && accum == Accum::Overwrite ? 1 : 0];  // in place too
              t.dropout(y, at.numbers[1], first, n, 0xa4093822, 0x299f31d0, 7, 0x03001234, 0x60000000, T(1.5), accum);
              return 0.0;
            },
            accum == Accum::Overwrite, n > 0);
}

template <class T>
void test_elementwise() {
  const auto call = [](auto f) {
    return [f](const Kernels<T>& t, const Pointers<T>& at) {
      f(t, at.numbers);
      return 0.0;
    };
  };
  using Table = Kernels<T>;
  using P = std::vector<T*>;
  for (const Index rows : {0, 1, 3, 8, 29})
    for (const Index cols : sizes) {
      const Index n = rows * cols, ld = cols + 2;
      const int launches = n > 0;
      const Arrays<T> flat{{random<T>(n), random<T>(n), random<T>(n)}},
          by_row{{random<T>(n), random<T>(n), random<T>(cols), random<T>(cols, 0.5, 2)}};
      const Arrays<T> padded{{random<T>(rows * ld), random<T>(cols)}};
      const auto column_sum = [&](T scale, T keep) {
        return call([=](const Table& t, const P& p) { t.column_sum(p[1], p[0], rows, cols, ld, scale, keep); });
      };
      compare<T>("column_sum", padded, column_sum(1, 0), false, cols > 0, 1);
      compare<T>("column_sum keeping", padded, column_sum(-2, T(0.5)), false, cols > 0, 1);
      compare<T>("sum_slots", padded, call([=](const Table& t, const P& p) { t.sum_slots(p[1], p[0], rows, ld, cols); }), true, cols > 0);
      if (rows > 0)
        compare<T>("sum_slots in place", padded, call([=](const Table& t, const P& p) { t.sum_slots(p[0], p[0], rows, ld, cols); }), true, cols > 0);
      compare<T>("standardize_forward", by_row, call([=](const Table& t, const P& p) { t.standardize_forward(p[1], p[0], p[2], p[3], rows, cols); }),
                 false, launches);
      compare<T>("add_penalty", flat, call([=](const Table& t, const P& p) { t.add_penalty(p[1], p[0], n, 0.25, 0.5); }), false, launches);
      for (const Accum accum : {Accum::Overwrite, Accum::Add}) {
        compare<T>("standardize_backward", by_row,
                   call([=](const Table& t, const P& p) { t.standardize_backward(p[1], p[0], p[3], rows, cols, accum); }), false, launches);
        compare<T>("add", flat, call([=](const Table& t, const P& p) { t.add(p[1], p[0], n, accum); }), true, launches);
        compare<T>("multiply", flat, call([=](const Table& t, const P& p) { t.multiply(p[2], p[0], p[1], n, accum); }), false, launches);
      }
      compare<T>("sum_square", flat, [=](const Table& t, const Pointers<T>& at) { return t.sum_square(at.numbers[0], n); }, false, launches);
      compare<T>("sum_abs", flat, [=](const Table& t, const Pointers<T>& at) { return t.sum_abs(at.numbers[0], n); }, false, launches);
      const auto finite = [=](const Table& t, const Pointers<T>& at) { return t.all_finite(at.numbers[0], n) ? 1.0 : 2.0; };
      compare<T>("all_finite", flat, finite, false, launches);
      for (Index e = 0; e < n; e += 1 + n / 5) {
        Arrays<T> bad = flat;
        bad.numbers[0][static_cast<std::size_t>(e)] = e % 2 ? std::numeric_limits<T>::infinity() : std::numeric_limits<T>::quiet_NaN();
        compare<T>("all_finite", bad, finite);
      }
    }
  // several chunks of rows, and more columns than one tile has
  for (const Index cols : {1, 5, 40})
    compare<T>("column_sum of many rows", Arrays<T>{{random<T>(9001 * cols, 0, 1), random<T>(cols)}},
               call([=](const Table& t, const P& p) { t.column_sum(p[1], p[0], 9001, cols, cols, T(0.5), T(1)); }));
}

template <class T>
void test_sparse() {
  for (const Index rows : {0, 1, 5})
    for (const Index units : {0, 1, 3, 4, 9})
      for (const Index n_in : {1, 2, 40, 300})
        for (const double keep : {0.0, 1.0, 0.9}) {
          const Index ld = units + 2;
          std::vector<Index> begin{3};  // what lies before belongs to nobody
          for (Index i = 0; i < rows; ++i) begin.push_back(begin.back() + static_cast<Index>(uniform(0, n_in == 40 ? 90 : 7)));
          std::vector<std::int32_t> column(static_cast<std::size_t>(begin.back()), -1);
          for (std::size_t e = 3; e < column.size(); ++e) column[e] = static_cast<std::int32_t>(uniform(0, static_cast<double>(n_in)));
          Arrays<T> arrays{{random<T>(begin.back()), random<T>(units * n_in), random<T>(rows * ld), random<T>(units * n_in)}, {column}, {begin}};
          if (rows > 1 && units > 0) arrays.numbers[2][static_cast<std::size_t>(ld)] = 0;
          if (keep == 0) std::fill(arrays.numbers[3].begin(), arrays.numbers[3].end(), std::numeric_limits<T>::quiet_NaN());
          const auto x = [=](const Pointers<T>& at) { return SparseArgs<T>{at.indices[0], at.labels[0], at.numbers[0], rows}; };
          compare<T>(
              "sparse_backward", arrays,
              [=](const Kernels<T>& t, const Pointers<T>& at) {
                t.sparse_backward(at.numbers[3], at.numbers[2], ld, x(at), n_in, units, T(-0.5), T(keep));
                return 0.0;
              },
              false, units > 0, 0.1);
          compare<T>(
              "sparse_forward", arrays,
              [=](const Kernels<T>& t, const Pointers<T>& at) {
                t.sparse_forward(at.numbers[2], ld, x(at), n_in, at.numbers[1], units);
                return 0.0;
              },
              false, rows * units > 0, 0.1);
        }
}

template <class T>
void test_all() {
  test_update<T>("sgd", &Kernels<T>::sgd);
  test_update<T>("rmsprop", &Kernels<T>::rmsprop);
  test_update<T>("adam", &Kernels<T>::adam);
  test_late<T>();
  test_dropout<T>();
  test_elementwise<T>();
  test_sparse<T>();
}

}  // namespace

int main() {
  return in_context([] {
    test_all<float>();
    test_all<double>();
  });
}
