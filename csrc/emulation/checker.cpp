// SPDX-License-Identifier: MIT
// The rules of CUDA's memory, checked at each access of a kernel. The .cu files are compiled with -fsanitize=thread, which makes the compiler call
// __tsan_readN and __tsan_writeN; the program is not linked with ThreadSanitizer: the functions below take its place.
//   races           two device threads, one word, a write that is not atomic, and between them no __syncthreads (same block) or __syncwarp (same warp);
//                   threads of different blocks are never ordered within a launch
//   bounds          device memory outside a live allocation, dynamic shared memory beyond its end
//   uninitialised   reads of device or shared memory that nobody has written
//   host memory     any other address but static data, the arguments, and the thread's own stack
#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>

#include <cstdlib>
#include <set>
#include <vector>

#include "emulation/emulation.h"

namespace emulation {

namespace {

struct Access {
  unsigned block, epoch, warp_epoch;
  unsigned short thread;
  std::uint8_t mask;  // bytes of the word
  bool atomic;
  const void* pc;
};
struct Cell {               // a word of four bytes: its last write, and what is to be known of the reads since
  unsigned serial;          // of the launch (of the block, in shared memory) that all this is of
  unsigned writer, reader;  // launches and copies before it: the last that wrote, and one that has read since
  bool readers_differ, warps_differ, blocks_differ;
  Access write, read;
};
enum State : std::uint8_t { Allocated = 1, Written = 2 };
enum class Space { Global, Shared, Dynamic };

Cell* device_cells;
std::uint8_t* device_state;  // a byte each
std::vector<Cell> shared_cells, dynamic_cells;
std::vector<std::uint8_t> shared_state, dynamic_state;
std::uintptr_t shared_at, dynamic_at;
std::size_t shared_size, dynamic_size;
std::set<std::pair<const void*, const void*>> seen;  // each fault once
struct Range {
  std::uintptr_t begin, end;
};
std::vector<Range> images;  // static data of the program and its libraries

std::string who(const Access& a, bool write) {
  char text[300];
  std::snprintf(text, sizeof text, "%s%s by block %u thread (%u,%u,%u) at %s", a.atomic ? "atomic " : "", write ? "write" : "read", a.block,
                a.thread % blockDim.x, a.thread / blockDim.x % blockDim.y, a.thread / blockDim.x / blockDim.y, source_of(a.pc).c_str());
  return text;
}
const char* name(Space s) { return s == Space::Global ? "global" : s == Space::Shared ? "shared" : "dynamic shared"; }
void race(Space s, const void* p, const Access& a, bool a_writes, const Access& b, bool b_writes) {
  if (!seen.insert({a.pc, b.pc}).second) return;
  report("RACE on %s memory %p:\n    %s\n    %s", name(s), p, who(a, a_writes).c_str(), who(b, b_writes).c_str());
}

// Whether `before` happened before `now` by the rules
bool ordered(const Access& before, const Access& now, Space s) {
  if (before.block != now.block) return s != Space::Global;
  if (before.thread == now.thread || before.epoch < now.epoch) return true;
  return before.thread / 32 == now.thread / 32 && before.epoch == now.epoch && before.warp_epoch < now.warp_epoch;
}

void stream_fault(unsigned before, bool writes, const void* p, const Access& a, bool write) {
  const auto key = [](unsigned piece) { return reinterpret_cast<const void*>(static_cast<std::uintptr_t>(piece)); };
  if (!seen.insert({key(before), key(running_piece())}).second) return;
  const std::string other = name_of_piece(before), mine = name_of_piece(running_piece());
  report("STREAMS: nothing orders these on %p (%s):\n    %s by %s\n    %s%s%s", p, allocation_of(p).c_str(), writes ? "write" : "read", other.c_str(),
         a.pc    ? who(a, write).c_str()
         : write ? "write"
                 : "read",
         a.pc ? ", " : " by ", mine.c_str());
}
// What other launches and copies have done to this word, when one that is another does its first to it
void between_launches(Cell& c, unsigned piece, const void* p, const Access& a, bool write) {
  if (c.serial != piece) {
    const bool wrote = c.write.mask, read = c.read.mask;
    const unsigned reader = wrote ? 0 : read && (!c.reader || happens_before(c.reader, c.serial)) ? c.serial : c.reader;
    const unsigned writer = wrote ? c.serial : c.writer;
    c = Cell{};
    c.serial = piece, c.writer = writer, c.reader = reader;
  }
  if (!piece) return;
  if (!(write ? c.write.mask : c.read.mask) && c.writer && !happens_before(c.writer, piece)) stream_fault(c.writer, true, p, a, write);
  if (write && !c.write.mask && c.reader && !happens_before(c.reader, piece)) stream_fault(c.reader, false, p, a, true);
}

void track(Cell& c, unsigned serial, Space s, const void* p, const Access& a, bool write) {
  if (s == Space::Global)
    between_launches(c, serial, p, a, write);
  else if (c.serial != serial)
    c = Cell{}, c.serial = serial;
  if (c.write.mask & a.mask && !ordered(c.write, a, s) && !(c.write.atomic && a.atomic)) race(s, p, c.write, true, a, write);
  const bool same_phase = c.read.block == a.block && c.read.epoch == a.epoch;
  if (write) {
    if (c.read.mask & a.mask && !(c.read.atomic && a.atomic) &&
        (!ordered(c.read, a, s) || (same_phase && (c.warps_differ || (c.readers_differ && c.read.warp_epoch == a.warp_epoch))) ||
         (s == Space::Global && c.blocks_differ)))
      race(s, p, c.read, false, a, true);
    const std::uint8_t mask = ordered(c.write, a, s) && c.write.block == a.block && c.write.thread == a.thread ? c.write.mask : 0;
    c.write = a, c.write.mask |= mask;
    return;
  }
  if (c.read.mask) {
    if (c.read.block != a.block) c.blocks_differ = true;
    c.readers_differ = same_phase && (c.readers_differ || c.read.thread != a.thread);
    c.warps_differ = same_phase && (c.warps_differ || c.read.thread / 32 != a.thread / 32);
  }
  const std::uint8_t mask = c.read.mask;
  if (!(c.readers_differ && c.read.mask)) c.read = a;  // else the first reader of the phase stays
  c.read.mask = a.mask | mask;
  c.read.epoch = a.epoch, c.read.block = a.block;
}

struct Region {
  Space space;
  Cell* cells;
  std::uint8_t* state;
  std::size_t offset, limit;
};
void check(const Region& r, const char* p, std::size_t n, bool write, bool atomic, const void* pc) {
  const auto once = [&](const char* what) {
    if (!seen.insert({pc, what}).second) return;
    const uint3 t = current->index;
    const std::string where =
        r.space == Space::Global ? allocation_of(p) : "byte " + std::to_string(r.offset) + " of " + std::to_string(r.limit) + " bytes";
    report("%s: %s of %zu bytes at %p (%s memory, %s) by block (%u,%u,%u) thread (%u,%u,%u) at %s", what, write ? "write" : "read", n,
           static_cast<const void*>(p), name(r.space), where.c_str(), blockIdx.x, blockIdx.y, blockIdx.z, t.x, t.y, t.z, source_of(pc).c_str());
  };
  if (r.offset + n > r.limit) return once("OUT OF BOUNDS");
  std::uint8_t state = Allocated | Written;
  for (std::size_t i = 0; i < n; ++i) state &= r.state[r.offset + i];
  if (!(state & Allocated)) return once("OUT OF BOUNDS");
  if ((!write || atomic) && !(state & Written)) once("UNINITIALISED");
  if (n <= 16 && (n & (n - 1)) == 0 && reinterpret_cast<std::uintptr_t>(p) % n) {
    once("MISALIGNED");
    if (n == 16) std::_Exit(139);  // the load itself would end the process, without a word
  }
  if (write)
    for (std::size_t i = 0; i < n; ++i) r.state[r.offset + i] |= Written;
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  for (std::size_t i = 0; i < n;) {
    const std::size_t in = (r.offset + i) & 3, m = std::min(n - i, 4 - in);
    const Access a{block,
                   current->epoch,
                   current->warp_epoch,
                   static_cast<unsigned short>(current->number),
                   static_cast<std::uint8_t>(((1u << m) - 1) << in),
                   atomic,
                   pc};
    track(r.cells[(r.offset + i) >> 2], r.space == Space::Global ? running_piece() : block_serial, r.space, p + i, a, write);
    i += m;
  }
}

void access(const void* address, std::size_t n, bool write, bool atomic, const void* pc) {
  if (!current) return;
  const char* p = static_cast<const char*>(address);
  const auto a = reinterpret_cast<std::uintptr_t>(p);
  if (p >= stack_begin && p < stack_end) return;
  if (p >= arena && p < arena_end)
    return check({Space::Global, device_cells, device_state, static_cast<std::size_t>(p - arena), arena_size}, p, n, write, atomic, pc);
  if (a - shared_at < shared_size)
    return check({Space::Shared, shared_cells.data(), shared_state.data(), a - shared_at, shared_size}, p, n, write, atomic, pc);
  if (dynamic_size && a - dynamic_at < dynamic_size + 64)
    return check({Space::Dynamic, dynamic_cells.data(), dynamic_state.data(), a - dynamic_at, dynamic_size}, p, n, write, atomic, pc);
  if (p >= arguments_begin && p < arguments_end) return;
  for (const Range& r : images)
    if (a >= r.begin && a < r.end) return;
  if (!seen.insert({pc, "host"}).second) return;
  const uint3 t = current->index;
  report("HOST MEMORY: %s of %zu bytes at %p by block (%u,%u,%u) thread (%u,%u,%u) at %s", write ? "write" : "read", n, address, blockIdx.x,
         blockIdx.y, blockIdx.z, t.x, t.y, t.z, source_of(pc).c_str());
}

void block_begin(char* shared, std::size_t n, char* dynamic, std::size_t dynamic_n) {
  shared_at = reinterpret_cast<std::uintptr_t>(shared), shared_size = n;
  dynamic_at = reinterpret_cast<std::uintptr_t>(dynamic), dynamic_size = dynamic_n;
  shared_cells.resize(n / 4 + 2), dynamic_cells.resize(dynamic_n / 4 + 2);
  shared_state.assign(n, Allocated), dynamic_state.assign(dynamic_n, Allocated);
}
void prepare() {
  if (device_cells) return;
  const auto map = [](std::size_t n) {
    void* p = mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) std::abort();
    return p;
  };
  device_cells = static_cast<Cell*>(map(arena_size / 4 * sizeof(Cell)));
  device_state = static_cast<std::uint8_t*>(map(arena_size));
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void*) {
        for (int k = 0; k < info->dlpi_phnum; ++k) {
          const auto& h = info->dlpi_phdr[k];
          if (h.p_type == PT_LOAD) images.push_back({info->dlpi_addr + h.p_vaddr, info->dlpi_addr + h.p_vaddr + h.p_memsz});
        }
        return 0;
      },
      nullptr);
}
std::uint8_t* state_of(const void* p) { return device_state + (static_cast<const char*>(p) - arena); }
void allocated(char* p, std::size_t n) {
  prepare();
  std::memset(state_of(p), Allocated, n);
}
void freed(char* p, std::size_t n) { std::memset(state_of(p), 0, n); }
// A copy's accesses, as those of one thread
void track_copy(const void* p, std::size_t n, bool write) {
  const auto* begin = static_cast<const char*>(p);
  const Access a{0, 0, 0, 0, 0xf, false, nullptr};
  for (std::size_t i = static_cast<std::size_t>(begin - arena) / 4; i * 4 < static_cast<std::size_t>(begin - arena) + n; ++i) {
    Cell& c = device_cells[i];
    between_launches(c, running_piece(), arena + 4 * i, a, write);
    (write ? c.write : c.read) = a;
  }
}
void written(const void* p, std::size_t n) {
  std::memset(state_of(p), Allocated | Written, n);
  track_copy(p, n, true);
}
void read(const void* p, std::size_t n) {
  track_copy(p, n, false);
  for (std::size_t i = 0; i < n; ++i)
    if (!(state_of(p)[i] & Written)) return report("UNINITIALISED: copied from device memory %p + %zu", p, i);
}
void atomic_access(const void* p, std::size_t n, void* pc) { access(p, n, true, true, pc); }

Hooks table{block_begin, allocated, freed, written, read, atomic_access};
const bool installed = (hooks = &table, true);

}  // namespace
}  // namespace emulation

// ---- what -fsanitize=thread calls -----------------------------------------------------------------------------------------------------------------
#define HERE __builtin_return_address(0)
#define ACCESSES(N)                                                                       \
  void __tsan_read##N(void* p) { emulation::access(p, N, false, false, HERE); }           \
  void __tsan_write##N(void* p) { emulation::access(p, N, true, false, HERE); }           \
  void __tsan_unaligned_read##N(void* p) { emulation::access(p, N, false, false, HERE); } \
  void __tsan_unaligned_write##N(void* p) { emulation::access(p, N, true, false, HERE); }
// std::atomic_ref in the emulation's own atomics, checked by on_atomic already, and the guards of statics
#define ATOMICS(B)                                                                                                                           \
  std::uint##B##_t __tsan_atomic##B##_load(const volatile std::uint##B##_t* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }         \
  std::uint##B##_t __tsan_atomic##B##_exchange(volatile std::uint##B##_t* p, std::uint##B##_t v, int) {                                      \
    return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                                                                                      \
  }                                                                                                                                          \
  std::uint##B##_t __tsan_atomic##B##_fetch_add(volatile std::uint##B##_t* p, std::uint##B##_t v, int) {                                     \
    return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);                                                                                       \
  }                                                                                                                                          \
  int __tsan_atomic##B##_compare_exchange_strong(volatile std::uint##B##_t* p, std::uint##B##_t* e, std::uint##B##_t v, int, int) {          \
    return __atomic_compare_exchange_n(p, e, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                                                  \
  }                                                                                                                                          \
  std::uint##B##_t __tsan_atomic##B##_compare_exchange_val(volatile std::uint##B##_t* p, std::uint##B##_t e, std::uint##B##_t v, int, int) { \
    __atomic_compare_exchange_n(p, &e, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                                                        \
    return e;                                                                                                                                \
  }                                                                                                                                          \
  int __tsan_atomic##B##_compare_exchange_weak(volatile std::uint##B##_t* p, std::uint##B##_t* e, std::uint##B##_t v, int, int) {            \
    return __atomic_compare_exchange_n(p, e, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                                                  \
  }
#pragma GCC visibility push(default)
extern "C" {
ACCESSES(1) ACCESSES(2) ACCESSES(4) ACCESSES(8) ACCESSES(16) void __tsan_read_range(void* p, std::size_t n) {
  emulation::access(p, n, false, false, HERE);
}
void __tsan_write_range(void* p, std::size_t n) { emulation::access(p, n, true, false, HERE); }
void* __tsan_memcpy(void* to, const void* from, std::size_t n) {
  emulation::access(from, n, false, false, HERE);
  emulation::access(to, n, true, false, HERE);
  return std::memmove(to, from, n);
}
void* __tsan_memset(void* p, int value, std::size_t n) {
  emulation::access(p, n, true, false, HERE);
  return std::memset(p, value, n);
}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
std::uint8_t __tsan_atomic8_load(const volatile std::uint8_t* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
ATOMICS(32) ATOMICS(64)
}
#pragma GCC visibility pop
