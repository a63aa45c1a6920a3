// SPDX-License-Identifier: MIT
// What the parts of the emulation know of each other. One operating-system thread at a time is inside (Entered); kernels run on it as fibers.
#pragma once
#include <cuda_runtime.h>

#include <functional>
#include <mutex>
#include <string>

namespace emulation {

// ---- settings, from the environment ----------------------------------------------------------------------------------------------------------
// CHAINRULE_EMULATION_ORDER = forward | reverse | random (which runnable thread, block, stream comes next), _SEED; _DEVICES = 1; _MEMORY = bytes a device
// has; _CAPABILITY = 8.0
enum class Order { Forward, Reverse, Random };
Order order();
unsigned random_number();
int device_count();
std::size_t device_memory();

// ---- faults -----------------------------------------------------------------------------------------------------------------------------------
// Printed to stderr with the kernel's name; the launch fails. The process's count: emulation_faults() in the library, for tests.
void report(const char* format, ...) __attribute__((format(printf, 1, 2)));
std::string source_of(const void* pc, bool function = false);  // "file:line", or the function's name
cudaError_t fail(cudaError_t);                                 // becomes the last error

struct Entered {  // the lock of every call
  Entered();
  ~Entered();
};

// ---- threads of a kernel ------------------------------------------------------------------------------------------------------------------------
struct Fiber;
struct Thread {
  uint3 index;
  int number, lane, warp;
  enum State : std::uint8_t { Fresh, Ready, AtBlock, AtWarp, Done } state;
  WarpOp op;
  unsigned mask, epoch, warp_epoch;  // epochs: block and warp barriers passed, for the checker
  std::uint64_t value, result;
  int source;
  const char* file;
  int line;
  Fiber* fiber;
};
extern Thread* current;      // the device thread that runs; null while host code does
extern const void* running;  // its kernel
extern unsigned block_serial;
extern const char *arguments_begin, *arguments_end;

// A checked launch: its own copy of the arguments.
struct Grid {
  dim3 grid, block;
  std::size_t dynamic_bytes;
  const void* kernel;
  void (*run)(const void*);
  const void* arguments;
  std::size_t bytes;
  void* (*marker)();
};
bool run_grid(const Grid&);  // false: a fault

// ---- fibers -------------------------------------------------------------------------------------------------------------------------------------
Fiber* spare_fiber();  // runs thread_main
void give_back(Fiber*);
void switch_to(Fiber*);  // null: the host's own stack
Fiber* current_fiber();
void thread_main();                          // scheduler.cpp
extern const char *stack_begin, *stack_end;  // of the fiber that runs

// ---- memory -------------------------------------------------------------------------------------------------------------------------------------
constexpr std::size_t arena_size = std::size_t{8} << 30;  // address space, of all devices together
extern char *arena, *arena_end;
bool on_device(const void* p, std::size_t n);  // all of it in one live allocation
int device_of(const void* p);                  // -1: in none
std::string allocation_of(const void* p);      // "byte 8 of 4 that were allocated", "freed" and so on, for messages
bool is_pinned(const void* p, std::size_t n);
struct DeviceAccess {  // device memory is mapped only inside kernels and copies: host code that touches it dies with a message
  DeviceAccess();
  ~DeviceAccess();
};

// ---- streams: nothing runs before somebody waits for it (streams.cpp) -----------------------------------------------------------------------------
cudaError_t enqueue(cudaStream_t, const char* what, const void* kernel, std::function<void()> work);  // kernel: null where it is none
bool stream_exists(cudaStream_t, const char* what);                                                   // false: reported
void wait_for_stream(cudaStream_t);                                                                   // the host does, for all that is in it now
void wait_for_device();                                                                               // for all streams of the current device
int current_device();
// Pieces of work have numbers; 0 is the host
unsigned running_piece();
bool happens_before(unsigned piece, unsigned other);  // by streams, events and the host's waits
std::string name_of_piece(unsigned);

// ---- the checker (checker.cpp), where it is linked ------------------------------------------------------------------------------------------------
struct Hooks {
  void (*block_begin)(char* shared, std::size_t n, char* dynamic, std::size_t dynamic_n);
  void (*allocated)(char*, std::size_t);
  void (*freed)(char*, std::size_t);
  void (*written)(const void*, std::size_t);  // by a copy
  void (*read)(const void*, std::size_t);
  void (*atomic)(const void*, std::size_t, void* pc);
};
extern Hooks* hooks;

}  // namespace emulation

// For tests: faults reported so far in this process.
extern "C" unsigned emulation_faults();
