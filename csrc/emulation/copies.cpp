// SPDX-License-Identifier: MIT
// Copies and fills by the rules of the toolkit: one from pageable memory takes its bytes at once and one to it waits, while pinned memory is read and
// written when the copy's turn comes. Until then it is watched: nobody may change what is still to be read, and who reads what is still to be written
// finds NaN.
#include <algorithm>
#include <cstring>
#include <list>
#include <memory>
#include <string_view>
#include <vector>

#include "emulation/emulation.h"

namespace emulation {

namespace {

bool ends_on_device(cudaMemcpyKind kind) { return kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice; }
bool begins_on_device(cudaMemcpyKind kind) { return kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice; }

struct Waiting {  // a copy in a queue, from or to this pinned memory
  const char *begin, *end;
};
std::list<Waiting>& waiting = *new std::list<Waiting>;

struct Copy {
  char* to;
  std::size_t to_pitch;
  const char* from;
  std::size_t from_pitch, width, rows;
  cudaMemcpyKind kind;

  std::size_t to_extent() const { return (rows - 1) * to_pitch + width; }
  std::size_t from_extent() const { return (rows - 1) * from_pitch + width; }
  bool valid() const {
    const auto fits = [](const void* p, std::size_t n, bool device) { return device ? on_device(p, n) : device_of(p) < 0; };
    return fits(to, to_extent(), ends_on_device(kind)) && fits(from, from_extent(), begins_on_device(kind));
  }
  std::size_t hash_of_source() const {
    std::size_t h = 0;
    for (std::size_t r = 0; r < rows; ++r) h = h * 31 + std::hash<std::string_view>()({from + r * from_pitch, width});
    return h;
  }
  void operator()() const {
    if (!valid())
      return report("a copy of %zu x %zu bytes from %p to %p: USE AFTER FREE", rows, width, static_cast<const void*>(from), static_cast<void*>(to));
    for (std::size_t r = 0; r < rows; ++r) {
      if (hooks && begins_on_device(kind)) hooks->read(from + r * from_pitch, width);
      std::memmove(to + r * to_pitch, from + r * from_pitch, width);
      if (hooks && ends_on_device(kind)) hooks->written(to + r * to_pitch, width);
    }
  }
};

// Puts a copy from or to pinned memory into the queue.
void enqueue_watched(const Copy& c, cudaStream_t s, const char* what) {
  const bool source = !begins_on_device(c.kind);
  const char* begin = source ? c.from : c.to;
  const char* end = begin + (source ? c.from_extent() : c.to_extent());
  const bool alone = std::none_of(waiting.begin(), waiting.end(), [&](const Waiting& w) { return w.begin < end && begin < w.end; });
  const auto entry = waiting.insert(waiting.end(), {begin, end});
  if (!source && alone)
    for (std::size_t r = 0; r < c.rows; ++r) std::memset(c.to + r * c.to_pitch, 0xff, c.width);
  const std::size_t hash = source && alone ? c.hash_of_source() : 0;
  enqueue(s, what, nullptr, [=] {
    waiting.erase(entry);
    if (source && alone && c.hash_of_source() != hash)
      report("%s from pinned %p, %zu x %zu bytes: PINNED MEMORY changed before the copy had its turn", what, static_cast<const void*>(c.from), c.rows,
             c.width);
    c();
  });
}

cudaError_t copy(Copy c, cudaStream_t stream, bool wait, const char* what) {
  if (c.width == 0 || c.rows == 0) return cudaSuccess;
  if (c.kind == cudaMemcpyDefault) {
    const bool to = device_of(c.to) >= 0, from = device_of(c.from) >= 0;
    c.kind = to ? (from ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice) : (from ? cudaMemcpyDeviceToHost : cudaMemcpyHostToHost);
  }
  if (!c.valid() || c.to_pitch < c.width || c.from_pitch < c.width) {
    report("%s(%p, %p, %zu x %zu, kind %d): the wrong kind, or outside its allocation", what, static_cast<void*>(c.to),
           static_cast<const void*>(c.from), c.rows, c.width, static_cast<int>(c.kind));
    return fail(cudaErrorInvalidValue);
  }
  const bool host_source = !begins_on_device(c.kind), host_target = !ends_on_device(c.kind);
  const bool pageable_source = host_source && !is_pinned(c.from, c.from_extent()), pageable_target = host_target && !is_pinned(c.to, c.to_extent());
  if (!stream_exists(stream, what)) return fail(cudaErrorInvalidResourceHandle);
  if (pageable_source) {
    auto bytes = std::make_shared<std::vector<char>>(c.from, c.from + c.from_extent());
    enqueue(stream, what, nullptr, [c, bytes]() mutable {
      c.from = bytes->data();
      c();
    });
  } else if ((host_source != host_target) && !pageable_target) {
    enqueue_watched(c, stream, what);
  } else {
    enqueue(stream, what, nullptr, c);
  }
  if (wait || pageable_target) wait_for_stream(stream);
  return cudaSuccess;
}

cudaError_t set_memory(void* p, int value, std::size_t n, cudaStream_t stream, const char* what) {
  if (n == 0) return cudaSuccess;
  if (!on_device(p, n)) {
    report("%s(%p, %zu): outside an allocation", what, p, n);
    return fail(cudaErrorInvalidValue);
  }
  return enqueue(stream, what, nullptr, [=] {
    if (!on_device(p, n)) return report("%s(%p, %zu): USE AFTER FREE", what, p, n);
    std::memset(p, value, n);
    if (hooks) hooks->written(p, n);
  });
}

}  // namespace

}  // namespace emulation

using namespace emulation;

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t n, cudaMemcpyKind kind, cudaStream_t s) {
  const Entered entered;
  return copy({static_cast<char*>(to), n, static_cast<const char*>(from), n, n, 1, kind}, s, false, "cudaMemcpyAsync");
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t n, cudaMemcpyKind kind) {
  const Entered entered;
  return copy({static_cast<char*>(to), n, static_cast<const char*>(from), n, n, 1, kind}, nullptr, true, "cudaMemcpy");
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width, std::size_t rows,
                              cudaMemcpyKind kind, cudaStream_t s) {
  const Entered entered;
  return copy({static_cast<char*>(to), to_pitch, static_cast<const char*>(from), from_pitch, width, rows, kind}, s, false, "cudaMemcpy2DAsync");
}
cudaError_t cudaMemsetAsync(void* p, int value, std::size_t n, cudaStream_t s) {
  const Entered entered;
  return set_memory(p, value, n, s, "cudaMemsetAsync");
}
cudaError_t cudaMemset(void* p, int value, std::size_t n) {
  const Entered entered;
  const cudaError_t error = set_memory(p, value, n, nullptr, "cudaMemset");
  wait_for_stream(nullptr);
  return error;
}
