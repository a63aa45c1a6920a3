// SPDX-License-Identifier: MIT
// Stands in for NVIDIA's cuBLAS: column-major products with the real library's checks of sizes and leading dimensions, and of extents besides.
#pragma once
#include <cuda_runtime.h>

enum cublasStatus_t {
  CUBLAS_STATUS_SUCCESS = 0,
  CUBLAS_STATUS_NOT_INITIALIZED = 1,
  CUBLAS_STATUS_INVALID_VALUE = 7,
  CUBLAS_STATUS_EXECUTION_FAILED = 13
};
enum cublasOperation_t { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1, CUBLAS_OP_C = 2 };
enum cublasMath_t { CUBLAS_DEFAULT_MATH = 0, CUBLAS_TF32_TENSOR_OP_MATH = 3 };
using cublasHandle_t = struct cublasContext*;

cublasStatus_t cublasCreate(cublasHandle_t*);
cublasStatus_t cublasDestroy(cublasHandle_t);
cublasStatus_t cublasSetStream(cublasHandle_t, cudaStream_t);
cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t);
// C (m, n, ldc) = alpha op(A) op(B) + beta C, column-major; alpha and beta on the host, beta = 0: C is not read
cublasStatus_t cublasSgemm_64(cublasHandle_t, cublasOperation_t, cublasOperation_t, std::int64_t m, std::int64_t n, std::int64_t k,
                              const float* alpha, const float* a, std::int64_t lda, const float* b, std::int64_t ldb, const float* beta, float* c,
                              std::int64_t ldc);
cublasStatus_t cublasDgemm_64(cublasHandle_t, cublasOperation_t, cublasOperation_t, std::int64_t m, std::int64_t n, std::int64_t k,
                              const double* alpha, const double* a, std::int64_t lda, const double* b, std::int64_t ldb, const double* beta,
                              double* c, std::int64_t ldc);
