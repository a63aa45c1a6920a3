// SPDX-License-Identifier: MIT
// The checker's rules of races, one kernel each: clean_... must not be reported, race_... must.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstring>

extern "C" unsigned emulation_faults();

namespace {

__device__ int at() { return static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); }
__device__ int me() { return static_cast<int>(threadIdx.x); }

__global__ void clean_broadcast(float* g) {
  __shared__ float s;
  if (me() == 0) s = 1;
  __syncthreads();
  g[me()] = s;
  __syncthreads();
  if (me() == 5) s = 2;
}
__global__ void race_write_after_broadcast(float* g) {
  __shared__ float s;
  if (me() == 0) s = 1;
  __syncthreads();
  g[me()] = s;
  if (me() == 5) s = 2;
}
__global__ void race_two_writes(float* g) { g[0] = static_cast<float>(me()); }
__global__ void clean_atomics(float* g) { atomicAdd(g, 1.0f); }
__global__ void race_atomic_and_read(float* g) {
  atomicAdd(g, 1.0f);
  if (me() == 3) g[1] = g[0];
}
__global__ void clean_warp(float* g) {
  __shared__ float s[64];
  s[me()] = static_cast<float>(me());
  __syncwarp();
  const float v = s[me() ^ 1];
  __syncwarp();
  s[me()] = v;
  __syncwarp();
  g[me()] = s[me() ^ 2];
}
__global__ void race_within_a_warp(float* g) {
  __shared__ float s[64];
  s[me()] = static_cast<float>(me());
  __syncwarp();
  const float v = s[me() ^ 1];
  s[me()] = v;
  __syncwarp();
  g[me()] = s[me() ^ 2];
}
__global__ void race_across_warps(float* g) {  // __syncwarp orders one warp, not two
  __shared__ float s[64];
  s[me()] = static_cast<float>(me());
  __syncwarp();
  g[me()] = s[me() ^ 32];
}
__global__ void race_shuffle_is_no_barrier(float* g) {
  __shared__ float s[64];
  s[me()] = static_cast<float>(me());
  const float v = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
  g[me()] = s[me() ^ 1] + v;
}
__global__ void race_write_after_other_warps_read(float* g) {
  __shared__ float s;
  if (me() == 0) s = 1;
  __syncthreads();
  g[me()] = s;
  __syncwarp();
  if (me() == 0) s = 2;
}
__global__ void clean_blocks(float* g) { g[at()] = 1; }
__global__ void race_between_blocks(float* g) { g[at() / 2] = 1; }
__global__ void race_block_writes_what_another_reads(float* g) {
  const float v = g[at()];
  if (me() == 0 && blockIdx.x + 1 < gridDim.x) g[at() + static_cast<int>(blockDim.x)] = v;
}
__global__ void clean_bytes_of_a_word(float* g) { reinterpret_cast<unsigned char*>(g)[me()] = 7; }
__global__ void clean_shared_memory_of_blocks(float* g) {
  __shared__ float s[64];
  s[me()] = static_cast<float>(blockIdx.x);
  g[at()] = s[me()];
}

int wrong = 0, rules = 0;
void expect(const char* name, void (*kernel)(float*), unsigned blocks) {
  float* g = nullptr;
  cudaMalloc(&g, 1024 * sizeof(float));
  cudaMemset(g, 0, 1024 * sizeof(float));
  const unsigned before = emulation_faults();
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(blocks), config.blockDim = dim3(64);
  cudaLaunchKernelEx(&config, kernel, static_cast<float*>(g));
  cudaDeviceSynchronize();
  const bool found = emulation_faults() != before, race = !std::strncmp(name, "race", 4);
  cudaFree(g);
  ++rules;
  if (found == race) return;
  ++wrong;
  std::printf("WRONG: %s: %s\n", name, found ? "reported" : "not reported");
}

}  // namespace

int main() {
#define EXPECT(kernel, blocks) expect(#kernel, kernel, blocks)
  EXPECT(clean_broadcast, 1);
  EXPECT(race_write_after_broadcast, 1);
  EXPECT(race_two_writes, 1);
  EXPECT(clean_atomics, 3);
  EXPECT(race_atomic_and_read, 1);
  EXPECT(clean_warp, 1);
  EXPECT(race_within_a_warp, 1);
  EXPECT(race_across_warps, 1);
  EXPECT(race_shuffle_is_no_barrier, 1);
  EXPECT(race_write_after_other_warps_read, 1);
  EXPECT(clean_blocks, 4);
  EXPECT(race_between_blocks, 2);
  EXPECT(race_block_writes_what_another_reads, 3);
  EXPECT(clean_bytes_of_a_word, 1);
  EXPECT(clean_shared_memory_of_blocks, 4);
  std::printf("%d rules of races, %d wrong\n", rules, wrong);
  return wrong != 0;
}
