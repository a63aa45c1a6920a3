// SPDX-License-Identifier: MIT
#include "kernels/cuda/context.h"

#include <pthread.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace chainrule::cuda {

namespace {

// Not thread_local: the emulation takes a module's thread-local memory for the shared memory of its kernels.
pthread_key_t make_key() {
  pthread_key_t key;
  if (pthread_key_create(&key, nullptr)) std::abort();
  return key;
}
const pthread_key_t key = make_key();

constexpr Index scratch_size = Index(1) << 19;  // numbers, 4 MiB

bool fill(Context& c, bool tf32) {
  if (!c.check(cudaSetDevice(c.device), "cudaSetDevice")) return false;
  if (!c.check(cudaDeviceGetAttribute(&c.processors, cudaDevAttrMultiProcessorCount, c.device), "cudaDeviceGetAttribute")) return false;
  if (!c.check(cudaDeviceGetAttribute(&c.threads_per_processor, cudaDevAttrMaxThreadsPerMultiProcessor, c.device), "cudaDeviceGetAttribute"))
    return false;
  if (!c.check(cudaStreamCreateWithFlags(&c.stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags")) return false;
  if (!c.check(cudaMalloc(&c.scratch, scratch_size * sizeof(double)), "cudaMalloc")) return false;
  c.scratch_size = scratch_size;
  if (!c.check(cudaMalloc(&c.outcome, sizeof(Outcome)), "cudaMalloc")) return false;
  c.blas = create_blas(c, tf32);
  return c.blas != nullptr;
}

}  // namespace

bool Context::check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) fail(static_cast<int>(error), "%s: %s", what, cudaGetErrorString(error));
  return ok();
}
void Context::fail(int error, const char* format, ...) {
  if (!ok()) return;
  code = error;
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
}

Context* create_context(int device, bool tf32, int* code, char* text) {
  auto* c = new Context;
  c->device = device;
  if (fill(*c, tf32)) return c;
  *code = c->code;
  std::memcpy(text, c->text, sizeof c->text);
  destroy_context(c);
  return nullptr;
}
void destroy_context(Context* c) {
  if (!c) return;
  if (pthread_getspecific(key) == c) pthread_setspecific(key, nullptr);
  destroy_blas(c->blas);
  if (c->stream) cudaStreamSynchronize(c->stream);
  if (c->outcome) cudaFree(c->outcome);
  if (c->scratch) cudaFree(c->scratch);
  if (c->stream) cudaStreamDestroy(c->stream);
  delete c;
}
Context* enter(Context* context) {
  auto* before = static_cast<Context*>(pthread_getspecific(key));
  pthread_setspecific(key, context);
  if (context && context != before) context->check(cudaSetDevice(context->device), "cudaSetDevice");
  return before;
}
Context& current() {
  auto* context = static_cast<Context*>(pthread_getspecific(key));
  if (!context) {
    std::fputs("chainrule: a CUDA kernel was called by a thread that is in no context\n", stderr);
    std::abort();
  }
  return *context;
}
int synchronize(Context& c) {
  c.check(cudaStreamSynchronize(c.stream), "cudaStreamSynchronize");
  return c.code;
}
void forget_error(Context& c) {
  c.code = 0;
  c.text[0] = 0;
  cudaGetLastError();
}

}  // namespace chainrule::cuda
