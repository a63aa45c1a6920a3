// SPDX-License-Identifier: MIT
// Our own small products and the border to the BLAS: every transposition and ragged size against three loops in double, leading dimensions, beta = 0 over NaN, k = 0, sizes the
// BLAS cannot count. And the choice of the instruction set.
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "kernels/kernels.h"
#include "tensor/check.h"

using chainrule::Index;

namespace {

struct Numbers {
  std::uint32_t state = 1;
  double next() {
    state = state * 1664525u + 1013904223u;
    return static_cast<double>(state >> 8) / (1 << 23) - 1;
  }
};

template <class T>
void product(bool ta, bool tb, Index m, Index n, Index k, T alpha, T beta, double tol) {
  Numbers numbers;
  const Index lda = (ta ? m : k) + 3, ldb = (tb ? k : n) + 1, ldc = n + 2;
  const auto make = [&](Index rows, Index ld) {
    std::vector<T> x(static_cast<std::size_t>(rows * ld) + 1);
    for (T& e : x) e = static_cast<T>(numbers.next());
    return x;
  };
  const std::vector<T> a = make(ta ? k : m, lda), b = make(tb ? n : k, ldb);
  std::vector<T> c = make(m, ldc);
  if (beta == T(0))
    for (T& e : c) e = std::numeric_limits<T>::quiet_NaN();
  const std::vector<T> before = c;
  chainrule::kernels<T>().gemm(ta, tb, m, n, k, alpha, a.data(), lda, b.data(), ldb, beta, c.data(), ldc);
  const auto at = [](Index i) { return static_cast<std::size_t>(i); };
  for (Index i = 0; i < m; ++i) {
    for (Index j = 0; j < ldc; ++j) {
      const T found = c[at(i * ldc + j)], old = before[at(i * ldc + j)];
      if (j >= n) {  // between the rows: untouched
        CHECK((std::isnan(found) && std::isnan(old)) || found == old);
        continue;
      }
      double sum = beta == T(0) ? 0.0 : double(beta) * double(old), size = std::fabs(sum);
      for (Index l = 0; l < k; ++l) {
        const double term = double(alpha) * double(a[at(ta ? l * lda + i : i * lda + l)]) * double(b[at(tb ? j * ldb + l : l * ldb + j)]);
        sum += term;
        size += std::fabs(term);
      }
      CHECK_THAT(std::fabs(double(found) - sum), <=, tol * size);
    }
  }
}

template <class T>
void products(double tol) {
  for (const bool ta : {false, true})
    for (const bool tb : {false, true})
      for (const Index m : {0, 1, 3, 17})
        for (const Index n : {0, 1, 7, 33})
          for (const Index k : {0, 1, 4, 65})
            for (const T beta : {T(0), T(1), T(-0.5)}) product<T>(ta, tb, m, n, k, T(0.75), beta, tol);
  // every number of rows and columns that our own tiles are cut for, up to AVX-512's 2 x 16 columns; more than one strip deep; the BLAS
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) {
      for (Index m = 1; m <= 14; ++m)
        for (Index n = 1; n <= 35; ++n)
          for (const Index k : {1, 5, 37}) product<T>(ta, tb, m, n, k, T(1), T((m + n) % 2), tol);
      product<T>(ta, tb, 5, 18, 600, T(-1), T(0.5), tol);
      product<T>(ta, tb, 13, 9, 257, T(2), T(0), tol);
      product<T>(ta, tb, 1, 300, 1500, T(1), T(1), tol);
      product<T>(ta, tb, 2, 4100, 19, T(0.5), T(0), tol);
      product<T>(ta, tb, 300, 260, 300, T(1), T(0), tol);
    }
}

template <class T>
void too_large() {
  const Index large = Index{1} << 31;
  T x = 0;
  const auto gemm = chainrule::kernels<T>().gemm;
  CHECK_THROWS(gemm(false, false, large, 1, 1, T(1), &x, 1, &x, 1, T(0), &x, 1), chainrule::ValueError);
  CHECK_THROWS(gemm(false, false, 1, 1, large, T(1), &x, large, &x, 1, T(0), &x, 1), chainrule::ValueError);
  CHECK_THROWS(gemm(false, false, 512, 4096, 512, T(1), &x, 512, &x, large, T(0), &x, 4096), chainrule::ValueError);
}

}  // namespace

int main() {
  products<float>(1e-6);
  products<double>(1e-14);
  too_large<float>();
  too_large<double>();

  const std::string in_use = chainrule::isa_in_use(), available = std::string(" ") + chainrule::isa_available() + " ";
  CHECK(available.find(" " + in_use + " ") != std::string::npos);
  CHECK_THAT(std::string(chainrule::kernels<float>().isa), ==, in_use);
  CHECK_THAT(std::string(chainrule::kernels<double>().isa), ==, in_use);
  CHECK(*chainrule::blas_core() != '\0');
  return failures();
}
