// SPDX-License-Identifier: MIT
// Every fault that the emulation has to catch, planted: `faults NAME bug` has it, `faults NAME clean` is the same without. What is printed is the test
// (CMakeLists.txt). A clean run ends with "clean" and the right numbers.
#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

extern "C" unsigned emulation_faults();

namespace {

bool bug;  // on the host: kernels get it as an argument

template <class... P, class... A>
void launch(int blocks, int threads, std::size_t dynamic, cudaStream_t stream, void (*kernel)(P...), A... a) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks)), config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = dynamic, config.stream = stream;
  cudaLaunchKernelEx(&config, kernel, static_cast<P>(a)...);
}

struct Device {  // n floats of value 1
  float* p = nullptr;
  explicit Device(int n) {
    cudaMalloc(&p, static_cast<std::size_t>(n) * sizeof(float));
    const std::vector<float> ones(static_cast<std::size_t>(n), 1.0f);
    cudaMemcpy(p, ones.data(), ones.size() * sizeof(float), cudaMemcpyHostToDevice);
  }
};
float first_of(const float* p) {
  float x = 0;
  cudaMemcpy(&x, p, sizeof x, cudaMemcpyDeviceToHost);
  return x;
}

__global__ void add_one(float* p, int n, bool bug) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n || bug) p[i] += 1;
}
void global_bounds() {
  Device x(100);
  launch(1, 128, 0, nullptr, add_one, x.p, 100, bug);
}

__global__ void reverse(float* p, bool bug) {
  __shared__ float s[64];
  const int i = static_cast<int>(threadIdx.x);
  s[bug ? i + 1 : i] = p[i];
  __syncthreads();
  p[i] = s[63 - i];
}
void shared_bounds() {
  Device x(64);
  launch(1, 64, 0, nullptr, reverse, x.p, bug);
}

__global__ void through_dynamic(float* p) {
  auto* s = static_cast<float*>(emulation::dynamic_shared());
  const int i = static_cast<int>(threadIdx.x);
  s[i] = p[i];
  __syncthreads();
  p[i] = s[63 - i];
}
void dynamic_bounds() {
  Device x(64);
  launch(1, 64, (bug ? 32 : 64) * sizeof(float), nullptr, through_dynamic, x.p);
}

__global__ void neighbour(float* p, bool bug) {
  __shared__ float s[64];
  const int i = static_cast<int>(threadIdx.x);
  s[i] = p[i];
  if (!bug) __syncthreads();
  p[i] = s[63 - i];
}
void read_after_write() {
  Device x(64);
  launch(1, 64, 0, nullptr, neighbour, x.p, bug);
}
__global__ void twice(float* p, bool bug) {
  __shared__ float s[64];
  const int i = static_cast<int>(threadIdx.x);
  for (int round = 0; round < 2; ++round) {
    s[i] = p[i];
    __syncthreads();
    p[i] = s[63 - i];
    if (!bug) __syncthreads();  // the next round writes what others still read
  }
}
void write_after_read() {
  Device x(64);
  launch(1, 64, 0, nullptr, twice, x.p, bug);
}

__global__ void total(float* sum, const float* p, bool bug) {
  const float x = p[blockIdx.x * blockDim.x + threadIdx.x];
  if (bug)
    *sum += x;
  else
    atomicAdd(sum, x);
}
void global_race() {
  Device x(128), sum(1);
  launch(2, 64, 0, nullptr, total, sum.p, x.p, bug);
}

__global__ void divergent(float* p, bool bug) {
  if (bug && threadIdx.x < 32) {
    __syncthreads();
    p[0] = 2;
  } else {
    __syncthreads();
  }
}
void divergent_barrier() {
  Device x(1);
  launch(1, 64, 0, nullptr, divergent, x.p, bug);
}
__global__ void leaves(float* p, bool bug) {
  if (bug && threadIdx.x >= 48) return;
  __syncthreads();
  p[threadIdx.x] = 2;
}
void exit_before_barrier() {
  Device x(64);
  launch(1, 64, 0, nullptr, leaves, x.p, bug);
}
__global__ void shuffles(float* p, bool bug) {
  if (bug && threadIdx.x >= 16) return;
  p[threadIdx.x] = __shfl_xor_sync(0xffffffffu, p[threadIdx.x], 16);
}
void shuffle_from_a_lane_that_left() {
  Device x(32);
  launch(1, 32, 0, nullptr, shuffles, x.p, bug);
}
__global__ void warp_exchange(float* p, bool bug) {
  __shared__ float s[32];
  const int i = static_cast<int>(threadIdx.x);
  s[i] = p[i];
  if (!bug) __syncwarp();
  p[i] = s[31 - i];
}
void missing_syncwarp() {
  Device x(32);
  launch(1, 32, 0, nullptr, warp_exchange, x.p, bug);
}

__global__ void half_filled(float* p, bool bug) {
  __shared__ float s[64];
  const int i = static_cast<int>(threadIdx.x);
  if (i < 32 || !bug) s[i] = 1;
  __syncthreads();
  p[i] = s[63 - i];
}
void uninitialised_shared() {
  Device x(64);
  launch(1, 64, 0, nullptr, half_filled, x.p, bug);
}

void host_pointer() {
  std::vector<float> host(64, 1.0f);
  Device x(64);
  launch(1, 64, 0, nullptr, add_one, bug ? host.data() : x.p, 64, false);
}
struct Inside {  // a pointer that no launch can see
  float* p;
};
__global__ void through_struct(Inside x) { x.p[threadIdx.x] += 1; }
void host_pointer_in_a_struct() {
  std::vector<float> host(64, 1.0f);
  Device x(64);
  launch(1, 64, 0, nullptr, through_struct, Inside{bug ? host.data() : x.p});
  cudaDeviceSynchronize();  // while `host` is there
}
void use_after_free_in_a_struct() {
  Device x(64), y(64);
  if (bug) cudaFree(x.p);
  launch(1, 64, 0, nullptr, through_struct, Inside{x.p});
}
void another_device() {
  setenv("CHAINRULE_EMULATION_DEVICES", "2", 1);
  Device x(64);
  cudaSetDevice(1);
  Device y(64);
  launch(1, 64, 0, nullptr, add_one, bug ? x.p : y.p, 64, false);
}
void host_touches_device() {
  Device x(64);
  if (bug) x.p[0] = 2;
}

__global__ void vector_copy(float* to, const float* from, bool bug) {
  const int i = static_cast<int>(threadIdx.x);
  *reinterpret_cast<float4*>(to + 4 * i) = *reinterpret_cast<const float4*>(from + 4 * i + (bug ? 1 : 0));
}
void misaligned() {
  Device x(68), y(68);
  launch(1, 16, 0, nullptr, vector_copy, y.p, x.p, bug);
}

void leading_dimension() {
  Device a(6), b(12), c(8);  // C (2, 4) = A (2, 3) B (3, 4), column-major
  cublasHandle_t h;
  cublasCreate(&h);
  const float one = 1, zero = 0;
  cublasSgemm_64(h, CUBLAS_OP_N, CUBLAS_OP_N, 2, 4, 3, &one, a.p, bug ? 3 : 2, b.p, 3, &zero, c.p, 2);
  cudaDeviceSynchronize();
  cublasDestroy(h);
}

// The same product, A's rows said to be shorter than they are: cuBLAS itself refuses that.
void leading_dimension_too_small() {
  Device a(6), b(12), c(8);
  cublasHandle_t h;
  cublasCreate(&h);
  const float one = 1, zero = 0;
  cublasSgemm_64(h, CUBLAS_OP_N, CUBLAS_OP_N, 2, 4, 3, &one, a.p, bug ? 1 : 2, b.p, 3, &zero, c.p, 2);
  cudaDeviceSynchronize();
  cublasDestroy(h);
}

void empty_launch() {
  Device x(1);
  launch(bug ? 0 : 1, 1, 0, nullptr, add_one, x.p, 1, false);
}
void oversized_launch() {
  Device x(2048);
  launch(bug ? 1 : 2, bug ? 2048 : 1024, 0, nullptr, add_one, x.p, 2048, false);
}
void too_much_shared() {
  Device x(64);
  launch(1, 64, bug ? 49 << 10 : 48 << 10, nullptr, through_dynamic, x.p);
}
void use_after_free() {
  Device x(64);
  if (bug) cudaFree(x.p);
  launch(1, 64, 0, nullptr, add_one, x.p, 64, false);
}

void double_free() {
  Device x(64);
  cudaFree(x.p);
  if (bug) cudaFree(x.p);
}
void copy_bounds() {
  Device x(64);
  const std::vector<float> host(65);
  cudaMemcpy(x.p, host.data(), (bug ? 65 : 64) * sizeof(float), cudaMemcpyHostToDevice);
}
void copy_kind() {
  Device x(64);
  std::vector<float> host(64);
  cudaMemcpy(host.data(), x.p, 64 * sizeof(float), bug ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost);
}

// Two streams: the second copies what the first writes, and waits for it, or not
void stream_dependency() {
  cudaStream_t one, two;
  cudaStreamCreateWithFlags(&one, cudaStreamNonBlocking);
  cudaStreamCreateWithFlags(&two, cudaStreamNonBlocking);
  cudaEvent_t written;
  cudaEventCreate(&written);
  Device x(64), y(64);
  launch(1, 64, 0, one, add_one, x.p, 64, false);
  cudaEventRecord(written, one);
  if (!bug) cudaStreamWaitEvent(two, written);
  cudaMemcpyAsync(y.p, x.p, 64 * sizeof(float), cudaMemcpyDeviceToDevice, two);
  cudaStreamSynchronize(two);
  std::printf("copied %g\n", static_cast<double>(first_of(y.p)));
}
// The host reads a result that it has not waited for
void missing_wait() {
  cudaStream_t one;
  cudaStreamCreateWithFlags(&one, cudaStreamNonBlocking);
  Device x(64);
  launch(1, 64, 0, one, add_one, x.p, 64, false);
  if (!bug) cudaStreamSynchronize(one);
  std::printf("copied %g\n", static_cast<double>(first_of(x.p)));
}
// The second stream overwrites what the first still reads
void overwritten_too_early() {
  cudaStream_t one, two;
  cudaStreamCreateWithFlags(&one, cudaStreamNonBlocking);
  cudaStreamCreateWithFlags(&two, cudaStreamNonBlocking);
  cudaEvent_t read;
  cudaEventCreate(&read);
  Device x(64), y(64);
  cudaMemcpyAsync(y.p, x.p, 64 * sizeof(float), cudaMemcpyDeviceToDevice, one);
  cudaEventRecord(read, one);
  if (!bug) cudaStreamWaitEvent(two, read);
  launch(1, 64, 0, two, add_one, x.p, 64, false);
  cudaDeviceSynchronize();
}
// The host reads pinned memory before the copy into it has had its turn
void pinned_read() {
  cudaStream_t one;
  cudaStreamCreateWithFlags(&one, cudaStreamNonBlocking);
  float* result = nullptr;
  cudaMallocHost(&result, sizeof(float));
  Device x(1);
  *result = 2;
  launch(1, 1, 0, one, add_one, x.p, 1, false);
  cudaMemcpyAsync(result, x.p, sizeof(float), cudaMemcpyDeviceToHost, one);
  if (!bug) cudaStreamSynchronize(one);
  std::printf("copied %g\n", static_cast<double>(*result));
}
// Pinned memory is overwritten while a copy from it is still to come
void pinned_reuse() {
  cudaStream_t one;
  cudaStreamCreateWithFlags(&one, cudaStreamNonBlocking);
  float* staging = nullptr;
  cudaMallocHost(&staging, sizeof(float));
  Device x(1);
  *staging = 2;
  cudaMemcpyAsync(x.p, staging, sizeof(float), cudaMemcpyHostToDevice, one);
  if (!bug) cudaStreamSynchronize(one);
  *staging = 5;
  cudaStreamSynchronize(one);
  std::printf("copied %g\n", static_cast<double>(first_of(x.p)));
}

struct Case {
  const char* name;
  void (*run)();
};
const Case cases[] = {
    {"global_bounds", global_bounds},
    {"shared_bounds", shared_bounds},
    {"dynamic_bounds", dynamic_bounds},
    {"read_after_write", read_after_write},
    {"write_after_read", write_after_read},
    {"global_race", global_race},
    {"divergent_barrier", divergent_barrier},
    {"exit_before_barrier", exit_before_barrier},
    {"shuffle_from_a_lane_that_left", shuffle_from_a_lane_that_left},
    {"missing_syncwarp", missing_syncwarp},
    {"uninitialised_shared", uninitialised_shared},
    {"host_pointer", host_pointer},
    {"host_pointer_in_a_struct", host_pointer_in_a_struct},
    {"use_after_free_in_a_struct", use_after_free_in_a_struct},
    {"another_device", another_device},
    {"host_touches_device", host_touches_device},
    {"misaligned", misaligned},
    {"leading_dimension", leading_dimension},
    {"leading_dimension_too_small", leading_dimension_too_small},
    {"empty_launch", empty_launch},
    {"oversized_launch", oversized_launch},
    {"too_much_shared", too_much_shared},
    {"use_after_free", use_after_free},
    {"double_free", double_free},
    {"copy_bounds", copy_bounds},
    {"copy_kind", copy_kind},
    {"stream_dependency", stream_dependency},
    {"missing_wait", missing_wait},
    {"overwritten_too_early", overwritten_too_early},
    {"pinned_read", pinned_read},
    {"pinned_reuse", pinned_reuse},
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  bug = !std::strcmp(argv[2], "bug");
  for (const Case& c : cases)
    if (!std::strcmp(c.name, argv[1])) {
      c.run();
      cudaDeviceSynchronize();
      std::puts(emulation_faults() ? "faults" : "clean");
      return 0;
    }
  return 2;
}
