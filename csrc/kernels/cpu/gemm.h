// SPDX-License-Identifier: MIT
// The matrix product that every instruction set's table points at: the BLAS has its own dispatch. Plain declarations: per-ISA files include this.
#pragma once
#include "kernels/kernels.h"

namespace chainrule::blas {

// C (m, n, ldc) = alpha op(A) op(B) + beta C, as Kernels::gemm. beta = 0 overwrites whatever C held; k = 0 leaves beta C.
// ValueError where a size or leading dimension exceeds what the BLAS counts in (2^31 - 1).
void gemm(bool transpose_a, bool transpose_b, Index m, Index n, Index k, float alpha, const float* a, Index lda, const float* b, Index ldb,
          float beta, float* c, Index ldc);
void gemm(bool transpose_a, bool transpose_b, Index m, Index n, Index k, double alpha, const double* a, Index lda, const double* b, Index ldb,
          double beta, double* c, Index ldc);

const char* config();  // what the BLAS was built as: "OpenBLAS 0.3.34 ..."

}  // namespace chainrule::blas
