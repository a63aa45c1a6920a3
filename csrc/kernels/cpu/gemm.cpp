// SPDX-License-Identifier: MIT
// C = alpha op(A) op(B) + beta C through the BLAS, on the calling thread. Compiled once: the BLAS chooses its own kernels for the processor.
#include "kernels/cpu/gemm.h"

#include <climits>

#include "tensor/check.h"

// CR_BLAS_PREFIX is scipy_ for the vendored library, empty for a system's OpenBLAS.
#ifndef CR_BLAS_PREFIX
#define CR_BLAS_PREFIX
#endif
#define CR_JOIN_(prefix, name) prefix##name
#define CR_JOIN(prefix, name) CR_JOIN_(prefix, name)
#define CR_BLAS(name) CR_JOIN(CR_BLAS_PREFIX, name)

extern "C" {
void CR_BLAS(cblas_sgemm)(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float* a, int lda, const float* b,
                          int ldb, float beta, float* c, int ldc);
void CR_BLAS(cblas_dgemm)(int order, int transpose_a, int transpose_b, int m, int n, int k, double alpha, const double* a, int lda, const double* b,
                          int ldb, double beta, double* c, int ldc);
int CR_BLAS(openblas_get_num_threads)();
void CR_BLAS(openblas_set_num_threads)(int n);
char* CR_BLAS(openblas_get_corename)();
char* CR_BLAS(openblas_get_config)();
}

namespace chainrule {

namespace {

constexpr int row_major = 101, no_transpose = 111, transpose = 112;

void product(int ta, int tb, int m, int n, int k, float alpha, const float* a, int lda, const float* b, int ldb, float beta, float* c, int ldc) {
  CR_BLAS(cblas_sgemm)(row_major, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
void product(int ta, int tb, int m, int n, int k, double alpha, const double* a, int lda, const double* b, int ldb, double beta, double* c, int ldc) {
  CR_BLAS(cblas_dgemm)(row_major, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

template <class T>
void gemm_checked(bool transpose_a, bool transpose_b, Index m, Index n, Index k, T alpha, const T* a, Index lda, const T* b, Index ldb, T beta, T* c,
                  Index ldc) {
  if (m <= 0 || n <= 0) return;
  if (k <= 0) {
    for (Index i = 0; i < m; ++i)
      for (Index j = 0; j < n; ++j) c[i * ldc + j] = beta == T(0) ? T(0) : beta * c[i * ldc + j];
    return;
  }
  const auto to_int = [&](Index size) {
    CR_CHECK(size <= INT_MAX, "[gemm] (", m, ", ", k, ") times (", k, ", ", n, ") has the size or leading dimension ", size, ": the BLAS counts to ",
             INT_MAX);
    return static_cast<int>(size);
  };
  product(transpose_a ? transpose : no_transpose, transpose_b ? transpose : no_transpose, to_int(m), to_int(n), to_int(k), alpha, a, to_int(lda), b,
          to_int(ldb), beta, c, to_int(ldc));
}

}  // namespace

namespace blas {

void gemm(bool transpose_a, bool transpose_b, Index m, Index n, Index k, float alpha, const float* a, Index lda, const float* b, Index ldb,
          float beta, float* c, Index ldc) {
  gemm_checked(transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
void gemm(bool transpose_a, bool transpose_b, Index m, Index n, Index k, double alpha, const double* a, Index lda, const double* b, Index ldb,
          double beta, double* c, Index ldc) {
  gemm_checked(transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

const char* config() { return CR_BLAS(openblas_get_config)(); }

}  // namespace blas

const char* blas_core() { return CR_BLAS(openblas_get_corename)(); }

void blas_assert_sequential() {
  if (CR_BLAS(openblas_get_num_threads)() != 1) CR_BLAS(openblas_set_num_threads)(1);
}

namespace {
// Once when the library is loaded, so that a first product outside of training is sequential too.
[[maybe_unused]] const bool sequential_from_the_start = (blas_assert_sequential(), true);
}  // namespace

}  // namespace chainrule
