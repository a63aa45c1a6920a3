// SPDX-License-Identifier: MIT
// Products as kernels of the emulation, so that the checker sees their reads and writes. One thread an element: exact, slow.
#include <cublas_v2.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "emulation/emulation.h"

struct cublasContext {
  cudaStream_t stream = nullptr;
  cublasMath_t mode = CUBLAS_DEFAULT_MATH;
};

namespace {

// TF32: a factor of 10 bits behind the point
float tf32(float x) { return std::isfinite(x) ? std::bit_cast<float>((std::bit_cast<std::uint32_t>(x) + 0x1000u) & ~0x1fffu) : x; }
double tf32(double x) { return x; }

template <class T>
__global__ void product(bool rounded, bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n, std::int64_t k, T alpha, const T* a,
                        std::int64_t lda, const T* b, std::int64_t ldb, T beta, T* c, std::int64_t ldc) {
  for (std::int64_t e = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; e < m * n;
       e += static_cast<std::int64_t>(gridDim.x) * blockDim.x) {
    const std::int64_t i = e % m, j = e / m;
    T sum = 0;
    for (std::int64_t p = 0; p < k; ++p) {
      const T x = transpose_a ? a[p + i * lda] : a[i + p * lda], y = transpose_b ? b[j + p * ldb] : b[p + j * ldb];
      sum += rounded ? tf32(x) * tf32(y) : x * y;
    }
    T& out = c[i + j * ldc];
    out = beta == T(0) ? alpha * sum : alpha * sum + beta * out;
  }
}

struct Matrix {  // column-major
  const char* name;
  const void* data;
  std::int64_t rows, columns, ld;
};
// By the real library's rules, and whether it lies in one allocation; empty: nothing is
std::string what_is_wrong(const Matrix& x, std::size_t size) {
  if (x.rows < 0 || x.columns < 0) return "NEGATIVE SIZE";
  if (x.ld < std::max<std::int64_t>(1, x.rows)) return "LEADING DIMENSION TOO SMALL, expected at least " + std::to_string(x.rows);
  if (x.rows == 0 || x.columns == 0) return "";
  const std::size_t bytes = static_cast<std::size_t>((x.columns - 1) * x.ld + x.rows) * size;
  return emulation::on_device(x.data, bytes) ? "" : std::to_string(bytes) + " bytes are OUT OF BOUNDS: begin at " + emulation::allocation_of(x.data);
}

template <class T>
cublasStatus_t gemm(cublasHandle_t h, cublasOperation_t op_a, cublasOperation_t op_b, std::int64_t m, std::int64_t n, std::int64_t k, const T* alpha,
                    const T* a, std::int64_t lda, const T* b, std::int64_t ldb, const T* beta, T* c, std::int64_t ldc) {
  const emulation::Entered entered;
  if (!h) return CUBLAS_STATUS_NOT_INITIALIZED;
  const bool ta = op_a != CUBLAS_OP_N, tb = op_b != CUBLAS_OP_N;
  const Matrix matrices[] = {{"A", a, ta ? k : m, ta ? m : k, lda}, {"B", b, tb ? n : k, tb ? k : n, ldb}, {"C", c, m, n, ldc}};
  for (const Matrix& x : matrices)
    if (const std::string wrong = what_is_wrong(x, sizeof(T)); !wrong.empty()) {
      emulation::report("cuBLAS gemm, m %ld n %ld k %ld: %s (%ld, %ld) with leading dimension %ld: %s", static_cast<long>(m), static_cast<long>(n),
                        static_cast<long>(k), x.name, static_cast<long>(x.rows), static_cast<long>(x.columns), static_cast<long>(x.ld),
                        wrong.c_str());
      return CUBLAS_STATUS_INVALID_VALUE;
    }
  if (m == 0 || n == 0) return CUBLAS_STATUS_SUCCESS;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(std::min<std::int64_t>((m * n + 127) / 128, 1024)));
  config.blockDim = dim3(128);
  config.stream = h->stream;
  const cudaError_t error =
      cudaLaunchKernelEx(&config, product<T>, h->mode == CUBLAS_TF32_TENSOR_OP_MATH, ta, tb, m, n, k, *alpha, a, lda, b, ldb, *beta, c, ldc);
  return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // namespace

cublasStatus_t cublasCreate(cublasHandle_t* h) {
  *h = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy(cublasHandle_t h) {
  delete h;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream(cublasHandle_t h, cudaStream_t s) {
  if (!h) return CUBLAS_STATUS_NOT_INITIALIZED;
  h->stream = s;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t h, cublasMath_t mode) {
  if (!h) return CUBLAS_STATUS_NOT_INITIALIZED;
  h->mode = mode;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSgemm_64(cublasHandle_t h, cublasOperation_t op_a, cublasOperation_t op_b, std::int64_t m, std::int64_t n, std::int64_t k,
                              const float* alpha, const float* a, std::int64_t lda, const float* b, std::int64_t ldb, const float* beta, float* c,
                              std::int64_t ldc) {
  return gemm(h, op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
cublasStatus_t cublasDgemm_64(cublasHandle_t h, cublasOperation_t op_a, cublasOperation_t op_b, std::int64_t m, std::int64_t n, std::int64_t k,
                              const double* alpha, const double* a, std::int64_t lda, const double* b, std::int64_t ldb, const double* beta,
                              double* c, std::int64_t ldc) {
  return gemm(h, op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
