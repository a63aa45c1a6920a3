// SPDX-License-Identifier: MIT
// What the formula headers of this folder share. They are opened once for each instruction set: CR_ISA names the namespace that holds everything they
// define (docs/architecture.md, "One source, several instruction sets"). Always inlined: a call left in a loop would keep it from being vectorised.
#pragma once
#include <cstdint>

#ifndef CR_ISA
#error "CR_ISA names the namespace that this file is compiled for"
#endif
#define CR_PRAGMA(text) _Pragma(#text)
#ifdef __CUDACC__
#define CR_HD __host__ __device__
#ifdef __CUDA_ARCH__
#define CR_UNROLL(n) CR_PRAGMA(unroll n)
#else
#define CR_UNROLL(n)  // nvcc hands what it compiles for the host on to a compiler that knows another spelling
#endif
#else
#define CR_HD
#define CR_UNROLL(n) CR_PRAGMA(GCC unroll n)
#endif
#define CR_FN CR_HD inline __attribute__((always_inline))
