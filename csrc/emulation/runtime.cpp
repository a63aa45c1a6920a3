// SPDX-License-Identifier: MIT
// Settings, faults, devices, and what a launch is checked for.
#include <dlfcn.h>
#include <pthread.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>

#include "emulation/emulation.h"

namespace emulation {

namespace {

std::recursive_mutex& the_lock = *new std::recursive_mutex;
unsigned faults;
constexpr unsigned most_printed = 40;

const char* setting(const char* name) {
  const char* value = std::getenv(name);
  return value && *value ? value : nullptr;
}

// Not thread_local: on this side of the border too, a module's thread-local memory is its kernels' shared memory.
struct OwnState {
  int device = 0;
  cudaError_t error = cudaSuccess;
};
OwnState& own() {
  static const pthread_key_t key = [] {
    pthread_key_t k;
    if (pthread_key_create(&k, [](void* p) { delete static_cast<OwnState*>(p); })) std::abort();
    return k;
  }();
  auto* state = static_cast<OwnState*>(pthread_getspecific(key));
  if (!state) pthread_setspecific(key, state = new OwnState);
  return *state;
}

void capability(int& major, int& minor) {
  major = 8, minor = 0;
  if (const char* text = setting("CHAINRULE_EMULATION_CAPABILITY")) std::sscanf(text, "%d.%d", &major, &minor);
}
bool has(int device) { return device >= 0 && device < device_count(); }

constexpr std::size_t shared_usual = 48 << 10, shared_most = 227 << 10;
std::map<const void*, std::size_t>& shared_limit = *new std::map<const void*, std::size_t>;

}  // namespace

Entered::Entered() { the_lock.lock(); }
Entered::~Entered() { the_lock.unlock(); }

Order order() {
  static const Order chosen = [] {
    const char* text = setting("CHAINRULE_EMULATION_ORDER");
    return !text || !std::strcmp(text, "forward") ? Order::Forward : !std::strcmp(text, "reverse") ? Order::Reverse : Order::Random;
  }();
  return chosen;
}
unsigned random_number() {
  static std::mt19937 numbers(setting("CHAINRULE_EMULATION_SEED") ? static_cast<unsigned>(std::atoi(setting("CHAINRULE_EMULATION_SEED"))) : 1u);
  return static_cast<unsigned>(numbers());
}
int device_count() {
  const char* text = setting("CHAINRULE_EMULATION_DEVICES");
  return text ? std::atoi(text) : 1;
}
std::size_t device_memory() {
  const char* text = setting("CHAINRULE_EMULATION_MEMORY");
  return text ? std::strtoull(text, nullptr, 10) : std::size_t{4} << 30;
}
int current_device() { return own().device; }

std::string source_of(const void* pc, bool function) {
  Dl_info info{};
  if (!pc || !dladdr(pc, &info)) return "?";
  char command[600], line[400] = "?";
  const auto offset = static_cast<std::size_t>(static_cast<const char*>(pc) - static_cast<const char*>(info.dli_fbase));
  std::snprintf(command, sizeof command, "addr2line -Cfse %s 0x%zx 2>/dev/null", info.dli_fname, function ? offset : offset - 1);
  if (std::FILE* f = popen(command, "r")) {
    for (int k = 0; k < (function ? 1 : 2) && std::fgets(line, sizeof line, f); ++k) {
    }
    pclose(f);
  }
  std::string s = line;
  for (std::size_t at; (at = s.find("(anonymous namespace)::")) != std::string::npos;) s.erase(at, 23);
  if (s.starts_with("void ")) s.erase(0, 5);
  return s.substr(0, s.find_first_of(function ? "(\n" : " \n"));
}

void report(const char* format, ...) {
  if (++faults > most_printed) return;
  std::fprintf(stderr, "cuda emulation: %s: ", running ? source_of(running, true).c_str() : "host");
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fputc('\n', stderr);
}
cudaError_t fail(cudaError_t error) { return own().error = error; }

cudaError_t launch(const cudaLaunchConfig_t& c, const Launch& l) {
  const Entered entered;
  const dim3 g = c.gridDim, b = c.blockDim;
  const std::size_t n = static_cast<std::size_t>(b.x) * b.y * b.z;
  const auto limit = shared_limit.find(l.kernel);
  running = l.kernel;
  const struct Reset {
    ~Reset() { running = nullptr; }
  } reset;
  if (n == 0 || n > 1024 || b.z > 64 || !g.x || !g.y || !g.z || g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535 ||
      c.dynamicSmemBytes > (limit == shared_limit.end() ? shared_usual : limit->second)) {
    report("INVALID LAUNCH: grid (%u,%u,%u), block (%u,%u,%u), %zu bytes of dynamic shared memory", g.x, g.y, g.z, b.x, b.y, b.z, c.dynamicSmemBytes);
    return fail(cudaErrorInvalidConfiguration);
  }
  for (int i = 0; i < l.n_pointers; ++i) {
    const int device = device_of(l.pointers[i]);
    if (device != current_device()) {
      report("%s: pointer argument %d, %p: %s", device < 0 ? "NO DEVICE MEMORY" : "ANOTHER DEVICE'S MEMORY", i, l.pointers[i],
             allocation_of(l.pointers[i]).c_str());
      return fail(cudaErrorIllegalAddress);
    }
  }
  struct Piece {  // what is in the queue: its own copy of the arguments
    std::unique_ptr<char[]> arguments;
    Grid grid;
  };
  auto piece = std::make_shared<Piece>();
  piece->arguments = std::make_unique<char[]>(l.bytes);
  l.copy(piece->arguments.get(), l.arguments);
  piece->grid = {g, b, c.dynamicSmemBytes, l.kernel, l.run, piece->arguments.get(), l.bytes, l.marker};
  return enqueue(c.stream, "a launch", l.kernel, [piece] { run_grid(piece->grid); });
}

}  // namespace emulation

using namespace emulation;

unsigned emulation_faults() { return faults; }

const char* cudaGetErrorName(cudaError_t e) {
  switch (e) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
    case cudaErrorInsufficientDriver: return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice: return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorInvalidResourceHandle: return "cudaErrorInvalidResourceHandle";
    case cudaErrorNotReady: return "cudaErrorNotReady";
    case cudaErrorIllegalAddress: return "cudaErrorIllegalAddress";
    case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
  }
  return "cudaErrorUnknown";
}
const char* cudaGetErrorString(cudaError_t e) {
  switch (e) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle: return "invalid resource handle";
    case cudaErrorNotReady: return "device not ready";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorLaunchFailure: return "unspecified launch failure";
  }
  return "unknown error";
}
cudaError_t cudaGetLastError() { return std::exchange(own().error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return own().error; }

cudaError_t cudaDriverGetVersion(int* v) {
  *v = 13000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* v) { return cudaDriverGetVersion(v); }
cudaError_t cudaGetDeviceCount(int* n) {
  *n = device_count();
  if (*n > 0) return cudaSuccess;
  const int missing = *n;  // 0: no card; below: no driver
  *n = 0;
  return fail(missing == 0 ? cudaErrorNoDevice : cudaErrorInsufficientDriver);
}
cudaError_t cudaGetDevice(int* device) {
  *device = own().device;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (!has(device)) return fail(cudaErrorInvalidDevice);
  own().device = device;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  if (!has(device)) return fail(cudaErrorInvalidDevice);
  *p = {};
  std::snprintf(p->name, sizeof p->name, "emulated card %d", device);
  p->totalGlobalMem = device_memory(), p->sharedMemPerBlock = shared_usual;
  capability(p->major, p->minor);
  p->multiProcessorCount = 2, p->maxThreadsPerBlock = 1024, p->maxThreadsPerMultiProcessor = 2048, p->warpSize = 32, p->memoryBusWidth = 64;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp p;
  if (const cudaError_t error = cudaGetDeviceProperties(&p, device)) return error;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: *value = p.maxThreadsPerBlock; return cudaSuccess;
    case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; return cudaSuccess;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = p.maxThreadsPerMultiProcessor; return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor: *value = p.major; return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor: *value = p.minor; return cudaSuccess;
  }
  return fail(cudaErrorInvalidValue);
}
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int bytes) {
  const Entered entered;
  if (bytes < 0 || static_cast<std::size_t>(bytes) > shared_most) return fail(cudaErrorInvalidValue);
  shared_limit[kernel] = static_cast<std::size_t>(bytes);
  return cudaSuccess;
}
