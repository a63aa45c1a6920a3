// SPDX-License-Identifier: MIT
// That the stand-in does what NVIDIA's toolkit says of itself: indices, warp operations, atomics, memory, streams, events, several devices, products.
#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "cpp/check.h"

extern "C" unsigned emulation_faults();

namespace {

template <class... P, class... A>
cudaError_t launch(dim3 blocks, dim3 threads, std::size_t dynamic, cudaStream_t stream, void (*kernel)(P...), A... a) {
  cudaLaunchConfig_t config{};
  config.gridDim = blocks, config.blockDim = threads, config.dynamicSmemBytes = dynamic, config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, static_cast<P>(a)...);
}
template <class T>
T* on_device(const std::vector<T>& x) {
  T* p = nullptr;
  CHECK(cudaMalloc(&p, x.size() * sizeof(T)) == cudaSuccess);
  CHECK(cudaMemcpy(p, x.data(), x.size() * sizeof(T), cudaMemcpyHostToDevice) == cudaSuccess);
  return p;
}
template <class T>
std::vector<T> read(const T* p, std::size_t n) {
  std::vector<T> x(n);
  CHECK(cudaMemcpy(x.data(), p, n * sizeof(T), cudaMemcpyDeviceToHost) == cudaSuccess);
  return x;
}

template <class T>
T first_of(const T* p) {
  return read(p, 1)[0];
}

__global__ void note_place(int* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  out[block * (blockDim.x * blockDim.y * blockDim.z) + thread] += static_cast<int>(100 * block + thread);
}
void test_indices() {
  const int blocks = 2 * 3 * 2, threads = 3 * 2 * 5;
  int* p = on_device(std::vector<int>(blocks * threads, 1));
  CHECK(launch(dim3(2, 3, 2), dim3(3, 2, 5), 0, nullptr, note_place, p) == cudaSuccess);
  const std::vector<int> found = read(p, blocks * threads);
  for (int b = 0; b < blocks; ++b)
    for (int t = 0; t < threads; ++t) CHECK_THAT(found[static_cast<std::size_t>(b * threads + t)], ==, 1 + 100 * b + t);
  cudaFree(p);
}

// 48 threads: a whole warp and half a one
__global__ void warp_operations(int* out) {
  const int t = static_cast<int>(threadIdx.x), lane = t % 32;
  const unsigned all = t < 32 ? 0xffffffffu : 0xffffu;
  int* mine = out + 8 * t;
  mine[0] = __shfl_sync(all, t, 3);
  mine[1] = __shfl_sync(all, t, 3, 8);
  mine[2] = __shfl_down_sync(all, t, 2, 16);
  mine[3] = __shfl_up_sync(all, t, 3, 16);
  mine[4] = __shfl_xor_sync(all, t, 5);
  mine[5] = static_cast<int>(__ballot_sync(all, lane % 3 == 0));
  mine[6] = __any_sync(all, lane == 7) + 2 * __any_sync(all, 0);
  mine[7] = __all_sync(all, lane < 16) + 2 * __all_sync(all, 1);
}
void test_warp_operations() {
  int* p = on_device(std::vector<int>(48 * 8));
  launch(1, 48, 0, nullptr, warp_operations, p);
  const std::vector<int> found = read(p, 48 * 8);
  for (int t = 0; t < 48; ++t) {
    const int base = t / 32 * 32, lane = t % 32, lanes = t < 32 ? 32 : 16;
    unsigned ballot = 0;
    for (int l = 0; l < lanes; l += 3) ballot |= 1u << l;
    const int expected[8] = {base + 3,
                             t / 8 * 8 + 3,
                             lane % 16 + 2 < 16 ? t + 2 : t,
                             lane % 16 >= 3 ? t - 3 : t,
                             t ^ 5,
                             static_cast<int>(ballot),
                             1,
                             (lanes == 16) + 2};
    for (int k = 0; k < 8; ++k) CHECK_THAT(found[static_cast<std::size_t>(8 * t + k)], ==, expected[k]);
  }
  cudaFree(p);
}

__global__ void atomics(unsigned* out, double* sum) {
  const unsigned t = blockIdx.x * blockDim.x + threadIdx.x;
  atomicAdd(out, 1u);
  atomicOr(out + 1, 1u << t % 32);
  atomicMax(out + 2, t);
  atomicMin(out + 3, t);
  if (atomicCAS(out + 4, 0u, t + 1) == 0u) atomicExch(out + 5, 77u);
  atomicAdd(sum, 0.5);
}
__global__ void intrinsics(unsigned* out) {
  out[0] = __umulhi(0x80000001u, 6u);
  out[1] = static_cast<unsigned>(__popc(0xf0f1u) + 100 * __clz(1 << 20) + 10000 * __ffs(8));
  out[2] = static_cast<unsigned>(__float_as_int(__int_as_float(0x40490fdb)));
  out[3] = rsqrtf(4.0f) == 0.5f && rsqrt(16.0) == 0.25 && fmaf(2, 3, 4) == 10.0f;
}
void test_atomics_and_intrinsics() {
  unsigned* p = on_device(std::vector<unsigned>{0, 0, 0, 1000, 0, 0});
  double* sum = on_device(std::vector<double>{1});
  launch(3, 40, 0, nullptr, atomics, p, sum);
  std::vector<unsigned> found = read(p, 6);
  CHECK_THAT(found[0], ==, 120u);
  CHECK_THAT(found[1], ==, 0xffffffffu);
  CHECK_THAT(found[2], ==, 119u);
  CHECK_THAT(found[3], ==, 0u);
  CHECK(found[4] >= 1 && found[4] <= 120);
  CHECK_THAT(found[5], ==, 77u);
  CHECK_THAT(first_of(sum), ==, 61.0);
  launch(1, 1, 0, nullptr, intrinsics, p);
  found = read(p, 4);
  CHECK_THAT(found[0], ==, 3u);
  CHECK_THAT(found[1], ==, 9u + 1100u + 40000u);
  CHECK_THAT(found[2], ==, 0x40490fdbu);
  CHECK_THAT(found[3], ==, 1u);
  cudaFree(p), cudaFree(sum);
}

__global__ void count_bytes(int* out, std::size_t n) {
  auto* s = static_cast<unsigned char*>(emulation::dynamic_shared());
  for (std::size_t i = threadIdx.x; i < n; i += blockDim.x) s[i] = 1;
  __syncthreads();
  if (threadIdx.x != 0) return;
  int sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += s[i];
  *out = sum;
}
void test_dynamic_shared_memory() {
  int* p = on_device(std::vector<int>(1));
  const std::size_t n = 100 << 10;  // beyond the usual 48 KiB: to be asked for
  CHECK(cudaFuncSetAttribute(count_bytes, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(n)) == cudaSuccess);
  CHECK(cudaFuncSetAttribute(count_bytes, cudaFuncAttributeMaxDynamicSharedMemorySize, 300 << 10) == cudaErrorInvalidValue);
  CHECK(launch(1, 64, n, nullptr, count_bytes, p, n) == cudaSuccess);
  CHECK_THAT(first_of(p), ==, 100 << 10);
  cudaGetLastError();
  cudaFree(p);
}

void test_memory() {
  setenv("CHAINRULE_EMULATION_MEMORY", "1000000", 1);
  std::size_t free = 0, total = 0;
  CHECK(cudaMemGetInfo(&free, &total) == cudaSuccess && free == 1000000 && total == 1000000);
  float *a = nullptr, *b = nullptr, *pinned = nullptr, host = 0;
  CHECK(cudaMalloc(&a, 600000) == cudaSuccess);
  CHECK(cudaMalloc(&b, 600000) == cudaErrorMemoryAllocation && !b);
  CHECK(cudaPeekAtLastError() == cudaErrorMemoryAllocation);
  CHECK(cudaGetLastError() == cudaErrorMemoryAllocation && cudaGetLastError() == cudaSuccess);
  CHECK(cudaMemGetInfo(&free, &total) == cudaSuccess && free == 400000);
  CHECK(cudaMallocHost(&pinned, 4) == cudaSuccess);
  cudaPointerAttributes what{};
  CHECK(cudaPointerGetAttributes(&what, a + 10) == cudaSuccess && what.type == cudaMemoryTypeDevice && what.device == 0 && what.devicePointer == a + 10);
  CHECK(cudaPointerGetAttributes(&what, pinned) == cudaSuccess && what.type == cudaMemoryTypeHost && what.hostPointer == pinned);
  CHECK(cudaPointerGetAttributes(&what, &host) == cudaSuccess && what.type == cudaMemoryTypeUnregistered);
  CHECK(cudaFree(a) == cudaSuccess && cudaFree(nullptr) == cudaSuccess && cudaFreeHost(pinned) == cudaSuccess);
  CHECK(cudaMalloc(&b, 600000) == cudaSuccess && b != a);  // an address comes back late
  cudaFree(b);
  unsetenv("CHAINRULE_EMULATION_MEMORY");
  // pitches: the middle columns of (3, 4)
  float* m = on_device(std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  std::vector<float> middle(6);
  CHECK(cudaMemcpy2DAsync(middle.data(), 8, m + 1, 16, 8, 3, cudaMemcpyDeviceToHost) == cudaSuccess);
  CHECK((middle == std::vector<float>{1, 2, 5, 6, 9, 10}));
  CHECK(cudaMemset(m, 0, 8) == cudaSuccess);
  CHECK((read(m, 3) == std::vector<float>{0, 0, 2}));
  cudaFree(m);
}

void test_devices() {
  int n = -1;
  setenv("CHAINRULE_EMULATION_DEVICES", "0", 1);
  CHECK(cudaGetDeviceCount(&n) == cudaErrorNoDevice && n == 0);
  setenv("CHAINRULE_EMULATION_DEVICES", "-1", 1);
  CHECK(cudaGetDeviceCount(&n) == cudaErrorInsufficientDriver && n == 0);
  setenv("CHAINRULE_EMULATION_DEVICES", "2", 1);
  CHECK(cudaGetLastError() == cudaErrorInsufficientDriver);
  CHECK(cudaGetDeviceCount(&n) == cudaSuccess && n == 2);
  CHECK(cudaSetDevice(2) == cudaErrorInvalidDevice && cudaGetLastError() == cudaErrorInvalidDevice);
  float* first = on_device(std::vector<float>{1, 2, 3});
  CHECK(cudaSetDevice(1) == cudaSuccess && cudaGetDevice(&n) == cudaSuccess && n == 1);
  float* second = on_device(std::vector<float>{7, 8, 9});
  cudaPointerAttributes what{};
  CHECK(cudaPointerGetAttributes(&what, second) == cudaSuccess && what.device == 1);
  CHECK(cudaMemcpy(second, first, 8, cudaMemcpyDeviceToDevice) == cudaSuccess);
  CHECK((read(second, 3) == std::vector<float>{1, 2, 9}));
  cudaFree(second);
  cudaSetDevice(0);
  cudaFree(first);
  setenv("CHAINRULE_EMULATION_CAPABILITY", "7.0", 1);
  cudaDeviceProp p;
  CHECK(cudaGetDeviceProperties(&p, 1) == cudaSuccess && p.major == 7 && p.minor == 0 && p.warpSize == 32);
  unsetenv("CHAINRULE_EMULATION_CAPABILITY"), unsetenv("CHAINRULE_EMULATION_DEVICES");
  CHECK(!std::strcmp(cudaGetErrorName(cudaErrorMemoryAllocation), "cudaErrorMemoryAllocation"));
  CHECK(!std::strcmp(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory"));
}

__global__ void add(float* p, float v) { *p += v; }
__global__ void multiply(float* p, float v) { *p *= v; }
void test_streams() {
  float* p = on_device(std::vector<float>{1});
  float* pinned = nullptr;
  cudaMallocHost(&pinned, 4);
  cudaStream_t one, two;
  cudaStreamCreateWithFlags(&one, cudaStreamNonBlocking), cudaStreamCreateWithFlags(&two, cudaStreamNonBlocking);
  cudaEvent_t begin, end;
  cudaEventCreate(&begin), cudaEventCreateWithFlags(&end, cudaEventDefault);
  float ms = -1;
  cudaEventRecord(begin, one);
  launch(1, 1, 0, one, add, p, 2.0f);  // 3
  cudaEventRecord(end, one);
  CHECK(cudaEventElapsedTime(&ms, begin, end) == cudaErrorNotReady && cudaStreamQuery(one) == cudaErrorNotReady);
  CHECK(cudaStreamWaitEvent(two, end) == cudaSuccess);
  launch(1, 1, 0, two, multiply, p, 5.0f);  // 15
  cudaMemcpyAsync(pinned, p, 4, cudaMemcpyDeviceToHost, two);
  CHECK(cudaStreamSynchronize(two) == cudaSuccess);
  CHECK_THAT(*pinned, ==, 15.0f);
  CHECK(cudaEventQuery(end) == cudaSuccess && cudaEventSynchronize(end) == cudaSuccess);
  CHECK(cudaEventElapsedTime(&ms, begin, end) == cudaSuccess && ms >= 0);
  int asked = 0;  // who asks again and again gets there
  launch(1, 1, 0, one, add, p, 1.0f);  // 16
  while (cudaStreamQuery(one) == cudaErrorNotReady && asked < 10) ++asked;
  CHECK(asked < 10);
  // the null stream and one that is blocking wait for each other
  cudaStream_t blocking;
  cudaStreamCreate(&blocking);
  launch(1, 1, 0, nullptr, add, p, 4.0f);        // 20
  launch(1, 1, 0, blocking, multiply, p, 2.0f);  // 40
  launch(1, 1, 0, nullptr, add, p, 1.0f);        // 41
  cudaMemcpyAsync(pinned, p, 4, cudaMemcpyDeviceToHost, blocking);
  cudaStreamSynchronize(blocking);
  CHECK_THAT(*pinned, ==, 41.0f);
  // pageable memory is read at once
  float value = 6;
  cudaMemcpyAsync(p, &value, 4, cudaMemcpyHostToDevice, one);
  value = 7;
  cudaStreamSynchronize(one);
  CHECK_THAT(first_of(p), ==, 6.0f);
  for (cudaStream_t s : {one, two, blocking}) CHECK(cudaStreamDestroy(s) == cudaSuccess);
  CHECK(cudaEventDestroy(begin) == cudaSuccess && cudaEventDestroy(end) == cudaSuccess);
  cudaFreeHost(pinned), cudaFree(p);
}

template <class T>
void test_products() {
  cublasHandle_t h;
  CHECK(cublasCreate(&h) == CUBLAS_STATUS_SUCCESS && cublasSetMathMode(h, CUBLAS_DEFAULT_MATH) == CUBLAS_STATUS_SUCCESS);
  const std::int64_t m = 3, n = 4, k = 2, lda = 5, ldb = 6, ldc = 4;
  std::vector<T> a(5 * 5), b(6 * 6), c(4 * 4);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<T>(i % 7) - 3;
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<T>(i % 5) - 2;
  const auto number = [](const std::vector<T>& x, std::int64_t row, std::int64_t column, std::int64_t ld) { return x[static_cast<std::size_t>(row + column * ld)]; };
  T *pa = on_device(a), *pb = on_device(b);
  for (const bool ta : {false, true})
    for (const bool tb : {false, true})
      for (const T beta : {T(0), T(3)}) {
        for (std::size_t i = 0; i < c.size(); ++i) c[i] = beta == T(0) ? static_cast<T>(NAN) : static_cast<T>(i);  // beta = 0: not read
        T* pc = on_device(c);
        const T alpha = 2;
        const cublasOperation_t op_a = ta ? CUBLAS_OP_T : CUBLAS_OP_N, op_b = tb ? CUBLAS_OP_T : CUBLAS_OP_N;
        cublasStatus_t status;
        if constexpr (sizeof(T) == 4)
          status = cublasSgemm_64(h, op_a, op_b, m, n, k, &alpha, pa, lda, pb, ldb, &beta, pc, ldc);
        else
          status = cublasDgemm_64(h, op_a, op_b, m, n, k, &alpha, pa, lda, pb, ldb, &beta, pc, ldc);
        CHECK(status == CUBLAS_STATUS_SUCCESS);
        const std::vector<T> found = read(pc, c.size());
        for (std::int64_t j = 0; j < n; ++j)
          for (std::int64_t i = 0; i < m; ++i) {
            T sum = 0;
            for (std::int64_t p = 0; p < k; ++p)
              sum += (ta ? number(a, p, i, lda) : number(a, i, p, lda)) * (tb ? number(b, j, p, ldb) : number(b, p, j, ldb));
            CHECK_THAT(number(found, i, j, ldc), ==, alpha * sum + (beta == T(0) ? T(0) : beta * number(c, i, j, ldc)));
          }
        cudaFree(pc);
      }
  cudaFree(pa), cudaFree(pb);
  CHECK(cublasDestroy(h) == CUBLAS_STATUS_SUCCESS);
}

}  // namespace

int main() {
  test_indices();
  test_warp_operations();
  test_atomics_and_intrinsics();
  test_dynamic_shared_memory();
  test_memory();
  test_devices();
  test_streams();
  test_products<float>();
  test_products<double>();
  CHECK_THAT(emulation_faults(), ==, 0u);
  return failures();
}
