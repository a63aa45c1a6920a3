// SPDX-License-Identifier: MIT
// What a kernel's launch needs beside its arguments. One a network; the thread that calls a table's functions has entered it. Errors stay in it, the
// first one, until they are taken: a kernel of the table returns nothing that could carry one.
#pragma once
#include <cuda_runtime.h>

#include "kernels/kernels.h"

namespace chainrule::cuda {

struct Blas;  // gemm.cu

struct Context {
  int device = 0;
  cudaStream_t stream = nullptr;
  Blas* blas = nullptr;
  double* scratch = nullptr;  // sums of blocks, for the kernel that follows in the stream
  Index scratch_size = 0;
  Outcome* outcome = nullptr;  // where numbers lie that are returned by value
  int processors = 1, threads_per_processor = 2048;
  int threads = 0;  // of a block, in tests; 0: what the kernel asks for
  Index launches = 0;
  int code = 0;  // 0: no error
  char text[256] = "";

  bool ok() const { return code == 0; }
  bool check(cudaError_t error, const char* what);  // whether all is well, now and before
  void fail(int error, const char* format, ...) __attribute__((format(printf, 3, 4)));
};

// Null where there is no memory, library or device; then *code and text (256 bytes) say why. tf32: products of float may round their factors to 10 bits.
Context* create_context(int device, bool tf32, int* code, char* text);
void destroy_context(Context* context);
Context* enter(Context* context);  // returns the one that this thread was in; null: none
Context& current();                // an aborting error if this thread has entered none
int synchronize(Context& context);
void forget_error(Context& context);

// gemm.cu: cuBLAS, found at run time. Null with context.text where it is not.
Blas* create_blas(Context& context, bool tf32);
void destroy_blas(Blas* blas);

}  // namespace chainrule::cuda
