// SPDX-License-Identifier: MIT
// Device memory: one range of addresses, which only kernels and copies can touch; behind each allocation lies a gap, and all of it is NaN at first.
// Under AddressSanitizer an allocation is the heap's, its begin poisoned while host code runs.
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>

#include "emulation/emulation.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace emulation {

char *arena, *arena_end;

namespace {

constexpr std::size_t granule = 256;
struct Allocation {
  std::size_t bytes;
  int device;
};
std::map<char*, Allocation>& live = *new std::map<char*, Allocation>;  // never destroyed: a network may be, after main
std::map<char*, std::size_t>& pinned = *new std::map<char*, std::size_t>;
std::map<char*, std::size_t>& freed = *new std::map<char*, std::size_t>;  // and not given out again since
[[maybe_unused]] std::size_t used_to, next;                               // of the arena, from its begin: whole pages, and where to look for room
constexpr std::size_t least_range = std::size_t{16} << 20;
// Of the arena, where the processor has protection keys: shut and opened by one instruction, for this thread alone (it is shut for all others from the
// start). Elsewhere mprotect does it, page by page: with 4 KB pages that took nine tenths of the tests' time, so that pages are large, and cut nowhere.
constexpr std::size_t page = std::size_t{2} << 20;
[[maybe_unused]] int key = -1;
int access_depth;

#if !defined(__SANITIZE_ADDRESS__)
struct sigaction before;
void on_fault(int signal, siginfo_t* info, void* context) {
  const char* p = static_cast<const char*>(info->si_addr);
  if (!arena || p < arena || p >= arena_end) {  // not ours
    if (before.sa_flags & SA_SIGINFO) return before.sa_sigaction(signal, info, context);
    sigaction(signal, &before, nullptr);
    return;
  }
  const char* text = current ? "cuda emulation: OUT OF BOUNDS: a kernel touched device memory that nobody has allocated\n"
                             : "cuda emulation: HOST code touched DEVICE memory\n";
  (void)!write(2, text, std::strlen(text));
  _exit(139);
}
void prepare_arena() {
  if (arena) return;
  void* memory = mmap(nullptr, arena_size + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return;
  arena = static_cast<char*>(memory) + (page - reinterpret_cast<std::uintptr_t>(memory) % page) % page;
  madvise(arena, arena_size, MADV_HUGEPAGE);
  arena_end = arena + arena_size;
  key = pkey_alloc(0, PKEY_DISABLE_ACCESS);
  if (key >= 0 && pkey_mprotect(arena, arena_size, PROT_READ | PROT_WRITE, key) != 0) key = -1;
  static char stack[64 << 10];  // the fault may be a fiber's stack that has overflowed
  const stack_t other{stack, 0, sizeof stack};
  sigaltstack(&other, nullptr);
  struct sigaction action{};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, &before);
}
#endif

void make_accessible([[maybe_unused]] bool on) {
#if defined(__SANITIZE_ADDRESS__)
  for (const auto& [p, a] : live) {
    const std::size_t n = std::min<std::size_t>(a.bytes, 4096);  // its begin: all of it, at every launch, took a third of the tests' time
    on ? __asan_unpoison_memory_region(p, n) : __asan_poison_memory_region(p, n);
  }
#else
  if (!arena) return;
  if (key >= 0)
    pkey_set(key, on ? 0u : static_cast<unsigned>(PKEY_DISABLE_ACCESS));
  else if (used_to)
    mprotect(arena, used_to, on ? PROT_READ | PROT_WRITE : PROT_NONE);
#endif
}

auto find(const void* p) {
  auto at = live.upper_bound(static_cast<char*>(const_cast<void*>(p)));
  if (at == live.begin()) return live.end();
  --at;
  return static_cast<const char*>(p) < at->first + std::max<std::size_t>(at->second.bytes, 1) ? at : live.end();
}

std::size_t used_by(int device) {
  std::size_t all = 0;
  for (const auto& [p, a] : live)
    if (a.device == device) all += a.bytes;
  return all;
}

#if !defined(__SANITIZE_ADDRESS__)
// The first place in [from, to) of the arena where nothing lives, or npos
std::size_t gap(std::size_t from, std::size_t to, std::size_t size) {
  auto at = live.lower_bound(arena + from);
  const auto end_of = [](const auto& a) {
    return static_cast<std::size_t>(a->first - arena) + (a->second.bytes + granule - 1) / granule * granule + granule;
  };
  if (at != live.begin()) from = std::max(from, end_of(std::prev(at)));
  for (; at != live.end() && static_cast<std::size_t>(at->first - arena) < from + size; ++at) from = end_of(at);
  return from + size <= to ? from : std::string::npos;
}
#endif
// Null: no room
char* take(std::size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  void* p = nullptr;
  return posix_memalign(&p, granule, std::max<std::size_t>(bytes, 1)) ? nullptr : static_cast<char*>(p);
#else
  prepare_arena();
  if (!arena) return nullptr;
  const std::size_t size = (bytes + granule - 1) / granule * granule + granule;  // a gap behind each
  // An address comes back when as many others have been given out: who uses what was freed shall not meet what came after.
  const std::size_t usual = std::max(least_range, used_to);
  std::size_t offset = gap(next, usual, size);
  if (offset == std::string::npos) offset = gap(0, usual, size);
  if (offset == std::string::npos) offset = gap(0, arena_size, size);
  if (offset == std::string::npos) return nullptr;
  freed.erase(freed.lower_bound(arena + offset), freed.lower_bound(arena + offset + size));
  next = offset + size;
  used_to = std::max(used_to, (next + page - 1) / page * page);
  return arena + offset;
#endif
}

}  // namespace

DeviceAccess::DeviceAccess() {
  if (access_depth++ == 0) make_accessible(true);
}
DeviceAccess::~DeviceAccess() {
  if (--access_depth == 0) make_accessible(false);
}

bool on_device(const void* p, std::size_t n) {
  const auto at = find(p);
  return at != live.end() && static_cast<const char*>(p) + n <= at->first + at->second.bytes;
}
int device_of(const void* p) {
  const auto at = find(p);
  return at == live.end() ? -1 : at->second.device;
}
std::string allocation_of(const void* p) {
  const auto* at = static_cast<const char*>(p);
  const auto text = [at](const char* begin, std::size_t bytes, const char* state) {
    return "byte " + std::to_string(at - begin) + " of " + std::to_string(bytes) + " that were " + state;
  };
  const auto before = [at](const auto& map) {
    const auto next = map.upper_bound(const_cast<char*>(at));
    return next == map.begin() ? map.end() : std::prev(next);
  };
  const auto mine = before(live);
  const auto gone = before(freed);
  if (mine != live.end() && at < mine->first + mine->second.bytes) return text(mine->first, mine->second.bytes, "allocated");
  if (gone != freed.end() && at < gone->first + gone->second) return text(gone->first, gone->second, "FREED");
  if (mine != live.end() && at < mine->first + mine->second.bytes + granule) return text(mine->first, mine->second.bytes, "allocated");
  return is_pinned(p, 1) ? "pinned memory of the host" : at >= arena && at < arena_end ? "device memory that nobody has" : "memory of the host";
}
bool is_pinned(const void* p, std::size_t n) {
  auto at = pinned.upper_bound(static_cast<char*>(const_cast<void*>(p)));
  if (at == pinned.begin()) return false;
  --at;
  return static_cast<const char*>(p) + n <= at->first + at->second;
}

}  // namespace emulation

using namespace emulation;

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  const Entered entered;
  *total = device_memory();
  *free = *total - used_by(current_device());
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** p, std::size_t bytes) {
  const Entered entered;
  *p = nullptr;
  if (bytes == 0) return cudaSuccess;
  const std::size_t used = used_by(current_device());
  char* at = bytes > device_memory() || used + bytes > device_memory() ? nullptr : take(bytes);
  if (!at) return fail(cudaErrorMemoryAllocation);
  live[at] = {bytes, current_device()};
  {
    const DeviceAccess access;
    std::memset(at, 0xff, bytes);
  }
  if (hooks) hooks->allocated(at, bytes);
  *p = at;
  return cudaSuccess;
}

cudaError_t cudaFree(void* p) {
  const Entered entered;
  if (!p) return cudaSuccess;
  const auto at = live.find(static_cast<char*>(p));
  if (at == live.end()) {
    report("cudaFree of %p: %s", p, allocation_of(p).c_str());
    return fail(cudaErrorInvalidValue);
  }
  wait_for_device();  // as the real one
  if (hooks) hooks->freed(at->first, at->second.bytes);
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(at->first, at->second.bytes);
  std::free(at->first);
#else
  {
    const DeviceAccess access;
    std::memset(p, 0xff, at->second.bytes);
  }
  freed[at->first] = at->second.bytes;
#endif
  live.erase(at);
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** p, std::size_t bytes, unsigned) {
  const Entered entered;
  *p = nullptr;
  if (bytes == 0) return cudaSuccess;
  if (posix_memalign(p, granule, bytes)) return fail(cudaErrorMemoryAllocation);
  std::memset(*p, 0xff, bytes);
  pinned[static_cast<char*>(*p)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** p, std::size_t bytes) { return cudaHostAlloc(p, bytes, 0); }
cudaError_t cudaFreeHost(void* p) {
  const Entered entered;
  if (!p) return cudaSuccess;
  if (!pinned.count(static_cast<char*>(p))) {
    report("cudaFreeHost of %p: %s", p, allocation_of(p).c_str());
    return fail(cudaErrorInvalidValue);
  }
  wait_for_device();
  pinned.erase(static_cast<char*>(p));
  std::free(p);
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* out, const void* p) {
  const Entered entered;
  const int device = device_of(p);
  void* mine = const_cast<void*>(p);
  if (device >= 0)
    *out = {cudaMemoryTypeDevice, device, mine, nullptr};
  else if (is_pinned(p, 1))
    *out = {cudaMemoryTypeHost, current_device(), mine, mine};
  else
    *out = {cudaMemoryTypeUnregistered, -1, nullptr, mine};
  return cudaSuccess;
}
