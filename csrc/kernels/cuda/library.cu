// SPDX-License-Identifier: MIT
// The library's side of the seam: contexts, memory, copies and events for the core, which sees neither CUDA's headers nor its exceptions.
#include <cstdio>
#include <cstring>

#include "kernels/cuda/tables.h"
#include "kernels/device.h"

#define CR_TEXT_OF_(x) #x
#define CR_TEXT_OF(x) CR_TEXT_OF_(x)

namespace chainrule::cuda {

namespace {

// By what the core can say what to do
DeviceError kind_of(int code) {
  switch (code) {
    case 0: return DeviceError::None;
    case cudaErrorMemoryAllocation: return DeviceError::OutOfMemory;
    case cudaErrorInsufficientDriver: return DeviceError::NoDriver;
    case cudaErrorNoDevice: return DeviceError::NoDevice;
    case -1: return DeviceError::NoBlas;
    default: return DeviceError::Failed;
  }
}
Context& of(DeviceContext* c) { return *reinterpret_cast<Context*>(c); }
DeviceContext* seen(Context* c) { return reinterpret_cast<DeviceContext*>(c); }
cudaEvent_t of(DeviceEvent* e) { return reinterpret_cast<cudaEvent_t>(e); }

void say(char* text, const char* words) { std::snprintf(text, device_text, "%s", words); }
DeviceError answer(cudaError_t error, char* text) {
  if (error != cudaSuccess) {
    say(text, cudaGetErrorString(error));
    cudaGetLastError();  // it is told: the next call is not to find it
  }
  return kind_of(static_cast<int>(error));
}

DeviceError devices(int* count, char* text) { return answer(cudaGetDeviceCount(count), text); }
DeviceError describe(int device, DeviceProperties* out, char* text) {
  cudaDeviceProp p;
  const DeviceError error = answer(cudaGetDeviceProperties(&p, device), text);
  if (error != DeviceError::None) return error;
  std::snprintf(out->name, sizeof out->name, "%s", p.name);
  out->major = p.major, out->minor = p.minor, out->memory = static_cast<Index>(p.totalGlobalMem);
  return error;
}

DeviceError locate(const void* p, int* device, char* text) {
  cudaPointerAttributes a;
  const DeviceError error = answer(cudaPointerGetAttributes(&a, p), text);
  *device = error == DeviceError::None && (a.type == cudaMemoryTypeDevice || a.type == cudaMemoryTypeManaged) ? a.device : -1;
  return error;
}

DeviceContext* create(int device, bool tf32, DeviceError* error, char* text) {
  int code = 0;
  char words[sizeof(Context::text)] = "";
  Context* c = create_context(device, tf32, &code, words);
  *error = c ? DeviceError::None : kind_of(code);
  if (!c) say(text, words);
  return seen(c);
}
void destroy(DeviceContext* c) { destroy_context(reinterpret_cast<Context*>(c)); }
DeviceContext* enter_context(DeviceContext* c) { return seen(enter(reinterpret_cast<Context*>(c))); }
DeviceError error_of(DeviceContext* c, char* text) {
  if (text) say(text, of(c).text);
  return kind_of(of(c).code);
}
void forget(DeviceContext* c) { forget_error(of(c)); }
DeviceError wait_for_all(DeviceContext* c) { return kind_of(synchronize(of(c))); }

void* allocate(DeviceContext* c, std::size_t bytes) {
  void* p = nullptr;
  if (bytes > 0) of(c).check(cudaMalloc(&p, bytes), "cudaMalloc");
  return p;
}
void free_memory(DeviceContext* c, void* p) {
  if (p) of(c).check(cudaFree(p), "cudaFree");
}
void* allocate_pinned(DeviceContext* c, std::size_t bytes) {
  void* p = nullptr;
  if (bytes > 0) of(c).check(cudaMallocHost(&p, bytes), "cudaMallocHost");
  return p;
}
void free_pinned(DeviceContext* c, void* p) {
  if (p) of(c).check(cudaFreeHost(p), "cudaFreeHost");
}
void memory(DeviceContext* c, std::size_t* free, std::size_t* total) { of(c).check(cudaMemGetInfo(free, total), "cudaMemGetInfo"); }

void copy_bytes(DeviceContext* c, void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  if (bytes > 0 && of(c).ok()) of(c).check(cudaMemcpyAsync(to, from, bytes, kind, of(c).stream), "cudaMemcpyAsync");
}
void to_device(DeviceContext* c, void* to, const void* from, std::size_t n) { copy_bytes(c, to, from, n, cudaMemcpyHostToDevice); }
void to_host(DeviceContext* c, void* to, const void* from, std::size_t n) { copy_bytes(c, to, from, n, cudaMemcpyDeviceToHost); }
void copy(DeviceContext* c, void* to, const void* from, std::size_t n) { copy_bytes(c, to, from, n, cudaMemcpyDeviceToDevice); }
void copy_rows(DeviceContext* c, void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width, std::size_t rows) {
  if (width > 0 && rows > 0 && of(c).ok())
    of(c).check(cudaMemcpy2DAsync(to, to_pitch, from, from_pitch, width, rows, cudaMemcpyDeviceToDevice, of(c).stream), "cudaMemcpy2DAsync");
}
void clear(DeviceContext* c, void* p, std::size_t bytes) {
  if (bytes > 0 && of(c).ok()) of(c).check(cudaMemsetAsync(p, 0, bytes, of(c).stream), "cudaMemsetAsync");
}

DeviceEvent* create_event(DeviceContext* c) {
  cudaEvent_t e = nullptr;
  of(c).check(cudaEventCreateWithFlags(&e, cudaEventDisableTiming), "cudaEventCreate");
  return reinterpret_cast<DeviceEvent*>(e);
}
void destroy_event(DeviceContext* c, DeviceEvent* e) {
  if (e) of(c).check(cudaEventDestroy(of(e)), "cudaEventDestroy");
}
void record(DeviceContext* c, DeviceEvent* e) { of(c).check(cudaEventRecord(of(e), of(c).stream), "cudaEventRecord"); }
void wait(DeviceContext* c, DeviceEvent* e) { of(c).check(cudaEventSynchronize(of(e)), "cudaEventSynchronize"); }

std::uintptr_t stream_of(DeviceContext* c) { return reinterpret_cast<std::uintptr_t>(of(c).stream); }
void follow(DeviceContext* c, std::uintptr_t number) {
  const cudaStream_t stream = number == 1 ? nullptr : reinterpret_cast<cudaStream_t>(number);
  cudaEvent_t e = nullptr;
  if (stream == of(c).stream || !of(c).check(cudaEventCreateWithFlags(&e, cudaEventDisableTiming), "cudaEventCreate")) return;
  if (of(c).check(cudaEventRecord(e, stream), "cudaEventRecord")) of(c).check(cudaStreamWaitEvent(of(c).stream, e, 0), "cudaStreamWaitEvent");
  cudaEventDestroy(e);
}

void set_block(DeviceContext* c, int threads) { of(c).threads = threads; }
Index launches(DeviceContext* c) { return of(c).launches; }

DeviceLibrary make_library() {
  DeviceLibrary d{};
  d.abi = device_abi;
#ifdef CHAINRULE_EMULATION
  d.emulated = true, d.toolkit = "13.0";
#else
  d.emulated = false, d.toolkit = CR_TEXT_OF(__CUDACC_VER_MAJOR__) "." CR_TEXT_OF(__CUDACC_VER_MINOR__);
#endif
  d.version = CHAINRULE_VERSION;
  d.least_major = 7, d.least_minor = 5;
  d.devices = &devices, d.describe = &describe, d.locate = &locate;
  d.create = &create, d.destroy = &destroy, d.enter = &enter_context;
  d.error = &error_of, d.forget_error = &forget, d.synchronize = &wait_for_all;
  d.allocate = &allocate, d.free = &free_memory, d.allocate_pinned = &allocate_pinned, d.free_pinned = &free_pinned, d.memory = &memory;
  d.to_device = &to_device, d.to_host = &to_host, d.copy = &copy, d.copy_rows = &copy_rows, d.clear = &clear;
  d.create_event = &create_event, d.destroy_event = &destroy_event, d.record = &record, d.wait = &wait;
  d.stream = &stream_of, d.follow = &follow;
  d.f32 = &table<float>(), d.f64 = &table<double>();
  d.device_f32 = &device_table<float>(), d.device_f64 = &device_table<double>();
  d.set_block = &set_block, d.launches = &launches;
  return d;
}

}  // namespace

}  // namespace chainrule::cuda

extern "C" __attribute__((visibility("default"))) const chainrule::DeviceLibrary* chainrule_cuda_library(int abi);
extern "C" const chainrule::DeviceLibrary* chainrule_cuda_library(int abi) {
  static const chainrule::DeviceLibrary library = chainrule::cuda::make_library();
  return abi == library.abi ? &library : nullptr;
}
