// SPDX-License-Identifier: MIT
// THE SEAM between the core and libchainrule_cuda.so (or its emulated twin): plain C structs, so that either side may have been built by another
// compiler. No exception crosses it: what fails stays in the context as the first error, every later call in it does nothing, and the core asks.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"

namespace chainrule {

// Counts every change of this header and of kernels.h; the library hands out nothing to a core of another number.
constexpr int device_abi = 3;
constexpr int device_text = 512;  // bytes of every `text`, its closing 0 included

enum class DeviceError : int {
  None,
  NoDriver,     // no driver, or one older than the toolkit
  NoDevice,     // a driver, but no card (or none that CUDA_VISIBLE_DEVICES leaves)
  OutOfMemory,  // of the card or pinned
  NoBlas,       // cuBLAS not found, or too old
  Failed,       // anything else; text has the runtime's own words
};

struct DeviceProperties {
  char name[256];
  int major, minor;  // compute capability
  Index memory;      // bytes in all
};

// Of one network: a device, a stream, a cuBLAS handle, scratch, and the first error. One thread at a time.
struct DeviceContext;
// A place in a context's stream.
struct DeviceEvent;

struct DeviceLibrary {
  int abi;
  bool emulated;                 // runs on the CPU
  const char* version;           // of the package that it was built with
  const char* toolkit;           // "13.0"
  int least_major, least_minor;  // compute capability that it has code for

  // `count` >= 0 devices; text says why there are none
  DeviceError (*devices)(int* count, char* text);
  DeviceError (*describe)(int device, DeviceProperties* out, char* text);
  // The card in whose memory p lies (managed memory too), -1 where it is the host's
  DeviceError (*locate)(const void* p, int* device, char* text);

  // Null where *error and text say why. tf32: products of float32 may round their factors to 10 bits
  DeviceContext* (*create)(int device, bool tf32, DeviceError* error, char* text);
  void (*destroy)(DeviceContext* context);
  // What this thread calls from now on runs in `context` (null: in none). Returns the one that it was in.
  DeviceContext* (*enter)(DeviceContext* context);
  // The first error since the last forget_error, without waiting; text (if not null) gets its words
  DeviceError (*error)(DeviceContext* context, char* text);
  void (*forget_error)(DeviceContext* context);
  DeviceError (*synchronize)(DeviceContext* context);  // waits for all that was asked for

  // Memory; null for none left (and an error), or for 0 bytes. Freeing waits for the stream.
  void* (*allocate)(DeviceContext* context, std::size_t bytes);
  void (*free)(DeviceContext* context, void* memory);
  void* (*allocate_pinned)(DeviceContext* context, std::size_t bytes);
  void (*free_pinned)(DeviceContext* context, void* memory);
  void (*memory)(DeviceContext* context, std::size_t* free, std::size_t* total);

  // In the stream's order, not waited for: host memory that is not pinned is waited for by the runtime, pinned memory has to stay as it is meanwhile
  void (*to_device)(DeviceContext* context, void* to, const void* from, std::size_t bytes);
  void (*to_host)(DeviceContext* context, void* to, const void* from, std::size_t bytes);
  void (*copy)(DeviceContext* context, void* to, const void* from, std::size_t bytes);
  // rows of `width` bytes, pitches in bytes
  void (*copy_rows)(DeviceContext* context, void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width,
                    std::size_t rows);
  void (*clear)(DeviceContext* context, void* memory, std::size_t bytes);  // to zero

  DeviceEvent* (*create_event)(DeviceContext* context);
  void (*destroy_event)(DeviceContext* context, DeviceEvent* event);
  void (*record)(DeviceContext* context, DeviceEvent* event);
  void (*wait)(DeviceContext* context, DeviceEvent* event);  // the host, until the stream has passed it; an event never recorded: not at all

  // Others who compute on the card: our stream, for them to wait for or to be waited for; and what comes now waits for what theirs was asked for.
  // By number, as __dlpack__ and __cuda_array_interface__ count: a pointer, or 1 and 2 for the legacy default stream and the thread's own.
  std::uintptr_t (*stream)(DeviceContext* context);
  void (*follow)(DeviceContext* context, std::uintptr_t stream);

  // Of the context that the thread has entered. `isa` is "cuda".
  const Kernels<float>* f32;
  const Kernels<double>* f64;
  const DeviceKernels<float>* device_f32;
  const DeviceKernels<double>* device_f64;

  // For tests: threads of every block (0: what the kernel asks for); kernels launched in the context so far
  void (*set_block)(DeviceContext* context, int threads);
  Index (*launches)(DeviceContext* context);
};

// The one symbol of the library: null where `abi` is not its own.
extern "C" typedef const DeviceLibrary* (*DeviceLibraryEntry)(int abi);
constexpr const char* device_library_entry = "chainrule_cuda_library";

}  // namespace chainrule
