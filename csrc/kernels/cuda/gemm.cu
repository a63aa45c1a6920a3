// SPDX-License-Identifier: MIT
// C = alpha op(A) op(B) + beta C through cuBLAS, by its entry points that count in 64 bits. The library is looked for at run time, so that ours loads where
// there is none: in the folder of NVIDIA's package (RUNPATH) or wherever the system has it. Its prototypes are written out, as the build needs no cuBLAS.
#include <dlfcn.h>

#include "kernels/cuda/parts.cuh"

#ifdef __CUDACC__
struct cublasContext;
#else
#include <cublas_v2.h>  // the emulation's
#endif

namespace chainrule::cuda {

namespace {

#ifdef __CUDACC__
using Handle = cublasContext*;
using Operation = int;
using Mode = int;
using Status = int;
constexpr Operation as_stored = 0, transposed = 1;
constexpr Mode full_float32 = 0, tf32_products = 3;
#else
using Handle = cublasHandle_t;
using Operation = cublasOperation_t;
using Mode = cublasMath_t;
using Status = cublasStatus_t;
constexpr Operation as_stored = CUBLAS_OP_N, transposed = CUBLAS_OP_T;
constexpr Mode full_float32 = CUBLAS_DEFAULT_MATH, tf32_products = CUBLAS_TF32_TENSOR_OP_MATH;
#endif

template <class T>
using Product = Status (*)(Handle, Operation, Operation, std::int64_t m, std::int64_t n, std::int64_t k, const T* alpha, const T* a, std::int64_t lda,
                           const T* b, std::int64_t ldb, const T* beta, T* c, std::int64_t ldc);

}  // namespace

struct Blas {
  Handle handle = nullptr;
  Status (*create)(Handle*) = nullptr;
  Status (*destroy)(Handle) = nullptr;
  Status (*set_stream)(Handle, cudaStream_t) = nullptr;
  Status (*set_math_mode)(Handle, Mode) = nullptr;
  Product<float> sgemm = nullptr;
  Product<double> dgemm = nullptr;
};

namespace {

#ifdef __CUDACC__
template <class F>
bool find(void* library, const char* name, F& f) {
  f = reinterpret_cast<F>(dlsym(library, name));
  return f != nullptr;
}
bool load_functions(Blas& b, Context& context) {
  void* library = nullptr;
  for (const char* name : {"libcublas.so.13", "libcublas.so.12"})
    if (!library) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    context.fail(-1, "cuBLAS was not found (%s): install it with pip install \"nvidia-cublas>=13,<14\"", dlerror());
    return false;
  }
  if (find(library, "cublasCreate_v2", b.create) && find(library, "cublasDestroy_v2", b.destroy) &&
      find(library, "cublasSetStream_v2", b.set_stream) && find(library, "cublasSetMathMode", b.set_math_mode) &&
      find(library, "cublasSgemm_v2_64", b.sgemm) && find(library, "cublasDgemm_v2_64", b.dgemm))
    return true;
  context.fail(-1, "cuBLAS lacks an entry point (%s): expected version 12 or 13", dlerror());
  return false;
}
#else
bool load_functions(Blas& b, Context&) {
  b.create = cublasCreate, b.destroy = cublasDestroy, b.set_stream = cublasSetStream, b.set_math_mode = cublasSetMathMode;
  b.sgemm = cublasSgemm_64, b.dgemm = cublasDgemm_64;
  return true;
}
#endif

template <class T>
Product<T> product(const Blas& b) {
  if constexpr (sizeof(T) == 4)
    return b.sgemm;
  else
    return b.dgemm;
}

}  // namespace

Blas* create_blas(Context& context, bool tf32) {
  auto* b = new Blas;
  if (load_functions(*b, context)) {
    const char* what = "cublasCreate";
    int status = static_cast<int>(b->create(&b->handle));
    if (status == 0) what = "cublasSetStream", status = static_cast<int>(b->set_stream(b->handle, context.stream));
    if (status == 0) what = "cublasSetMathMode", status = static_cast<int>(b->set_math_mode(b->handle, tf32 ? tf32_products : full_float32));
    if (status == 0) return b;
    context.fail(status, "%s: cuBLAS status %d", what, status);
  }
  destroy_blas(b);
  return nullptr;
}
void destroy_blas(Blas* b) {
  if (b && b->handle) b->destroy(b->handle);
  delete b;
}

// cuBLAS counts down columns: our row-major C (m, n) is its C^T (n, m) = op(B)^T op(A)^T, so the factors change places and nothing is transposed.
// m n k 2 operations at 67 Tflop/s (H100, float32) bound it; below m = n = k = 300 its bytes and its launch do.
template <class T>
void gemm(bool transpose_a, bool transpose_b, Index m, Index n, Index k, T alpha, const T* a, Index lda, const T* b, Index ldb, T beta, T* c,
          Index ldc) {
  Context& context = current();
  if (m <= 0 || n <= 0 || !context.ok()) return;
  const auto at_least_one = [](Index ld) { return larger(ld, 1); };  // k = 0 may come with ld = 0
  ++context.launches;
  const int status = static_cast<int>(product<T>(*context.blas)(context.blas->handle, transpose_b ? transposed : as_stored,
                                                                transpose_a ? transposed : as_stored, n, m, k, &alpha, b, at_least_one(ldb), a,
                                                                at_least_one(lda), &beta, c, ldc));
  if (status != 0)
    context.fail(status, "cuBLAS status %d for the product of (%lld, %lld) and (%lld, %lld)", status, static_cast<long long>(m),
                 static_cast<long long>(k), static_cast<long long>(k), static_cast<long long>(n));
}

template void gemm(bool, bool, Index, Index, Index, float, const float*, Index, const float*, Index, float, float*, Index);
template void gemm(bool, bool, Index, Index, Index, double, const double*, Index, const double*, Index, double, double*, Index);

}  // namespace chainrule::cuda
