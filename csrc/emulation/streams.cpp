// SPDX-License-Identifier: MIT
// Streams are lazy: work waits in its stream until somebody waits for it, so that whoever forgets to wait, or to let one stream wait for another, finds
// what was there before (NaN). A copy from pageable memory takes its bytes at once and one to pageable memory waits, as on a card; pinned memory is
// read and written only when the copy's turn comes.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "emulation/emulation.h"

struct CUstream_st {
  int device;
  bool blocking;  // waits for the null stream, and it for this one
  bool alive = true;
  std::deque<std::function<void()>> work{};
  std::size_t done = 0, asked = 0;  // pieces of work, since the stream was made
};
struct CUevent_st {
  cudaStream_t stream = nullptr;  // of the last record
  std::size_t place = 0;          // the record is piece number `place` of its stream
  std::chrono::steady_clock::time_point time{};
};

namespace emulation {

namespace {

std::vector<std::unique_ptr<CUstream_st>>& streams = *new std::vector<std::unique_ptr<CUstream_st>>;  // never destroyed
std::vector<cudaStream_t>& null_streams = *new std::vector<cudaStream_t>;                             // by device
constexpr std::size_t most_pending = 100'000;  // then the oldest piece runs: nobody else bounds the queue

cudaStream_t make_stream(bool blocking) {
  streams.push_back(std::make_unique<CUstream_st>(CUstream_st{current_device(), blocking}));
  return streams.back().get();
}
cudaStream_t null_stream() {
  null_streams.resize(static_cast<std::size_t>(device_count()), nullptr);
  cudaStream_t& s = null_streams[static_cast<std::size_t>(current_device())];
  return s ? s : s = make_stream(true);
}
bool known(cudaStream_t s) {
  return std::any_of(streams.begin(), streams.end(), [s](const auto& other) { return other.get() == s && other->alive; });
}
// The stream itself, or null and an error
cudaStream_t checked(cudaStream_t s, const char* what) {
  if (!s) return null_stream();
  if (known(s)) return s;
  report("%s: %p is no stream", what, static_cast<void*>(s));
  return nullptr;
}

// Runs the first `until` pieces that the stream ever had. Each is taken out before it runs: it may itself make other streams run.
void run_until(cudaStream_t s, std::size_t until) {
  const DeviceAccess access;
  while (s->done < until && !s->work.empty()) {
    const std::function<void()> work = std::move(s->work.front());
    s->work.pop_front();
    work();
    ++s->done;
  }
}
void run_all(bool blocking_only) {
  std::vector<cudaStream_t> of_device;
  for (const auto& s : streams)
    if (s->device == current_device() && (!blocking_only || s->blocking)) of_device.push_back(s.get());
  if (order() == Order::Reverse) std::reverse(of_device.begin(), of_device.end());
  if (order() == Order::Random)
    for (std::size_t i = of_device.size(); i > 1; --i) std::swap(of_device[i - 1], of_device[random_number() % i]);
  for (const cudaStream_t s : of_device) run_until(s, s->asked);
}

bool ends_on_device(cudaMemcpyKind kind) { return kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice; }
bool begins_on_device(cudaMemcpyKind kind) { return kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice; }

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
  void operator()() const {
    if (!valid())
      return report("a copy of %zu x %zu bytes from %p to %p: freed meanwhile", rows, width, static_cast<const void*>(from), static_cast<void*>(to));
    for (std::size_t r = 0; r < rows; ++r) {
      if (hooks && begins_on_device(kind)) hooks->read(from + r * from_pitch, width);
      std::memmove(to + r * to_pitch, from + r * from_pitch, width);
      if (hooks && ends_on_device(kind)) hooks->written(to + r * to_pitch, width);
    }
  }
};

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
  const cudaStream_t s = checked(stream, what);
  if (!s) return fail(cudaErrorInvalidResourceHandle);
  const bool host_source = !begins_on_device(c.kind) && !is_pinned(c.from, c.from_extent());
  const bool host_target = !ends_on_device(c.kind) && !is_pinned(c.to, c.to_extent());
  if (host_source) {
    auto bytes = std::make_shared<std::vector<char>>(c.from, c.from + c.from_extent());
    enqueue(s, [c, bytes]() mutable {
      c.from = bytes->data();
      c();
    });
  } else {
    enqueue(s, c);
  }
  if (wait && !stream) run_null_stream();
  if (wait || host_target) run_until(s, s->asked);
  return cudaSuccess;
}

cudaError_t set_memory(void* p, int value, std::size_t n, cudaStream_t stream, const char* what) {
  if (n == 0) return cudaSuccess;
  if (!on_device(p, n)) {
    report("%s(%p, %zu): outside an allocation", what, p, n);
    return fail(cudaErrorInvalidValue);
  }
  const cudaStream_t s = checked(stream, what);
  if (!s) return fail(cudaErrorInvalidResourceHandle);
  return enqueue(s, [=] {
    if (!on_device(p, n)) return report("%s(%p, %zu): freed meanwhile", what, p, n);
    std::memset(p, value, n);
    if (hooks) hooks->written(p, n);
  });
}

}  // namespace

cudaError_t enqueue(cudaStream_t stream, std::function<void()> work) {
  const cudaStream_t s = checked(stream, "a launch");
  if (!s) return fail(cudaErrorInvalidResourceHandle);
  s->work.push_back(std::move(work));
  ++s->asked;
  if (s->work.size() > most_pending) run_until(s, s->done + 1);
  return cudaSuccess;
}
void run_stream(cudaStream_t s) { run_until(s, s->asked); }
void run_device() { run_all(false); }
void run_null_stream() { run_all(true); }

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
  run_null_stream();
  return error;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned flags) {
  const Entered entered;
  *s = make_stream(!(flags & cudaStreamNonBlocking));
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* s) { return cudaStreamCreateWithFlags(s, cudaStreamDefault); }
cudaError_t cudaStreamDestroy(cudaStream_t s) {
  const Entered entered;
  if (!s || !checked(s, "cudaStreamDestroy")) return fail(cudaErrorInvalidResourceHandle);
  run_stream(s);
  s->alive = false;  // events may still name it
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Entered entered;
  const cudaStream_t s = checked(stream, "cudaStreamSynchronize");
  if (!s) return fail(cudaErrorInvalidResourceHandle);
  const unsigned before = emulation_faults();
  stream ? run_stream(s) : run_null_stream();
  return emulation_faults() == before ? cudaSuccess : fail(cudaErrorLaunchFailure);
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const Entered entered;
  const cudaStream_t s = checked(stream, "cudaStreamQuery");
  if (!s) return fail(cudaErrorInvalidResourceHandle);
  if (s->work.empty()) return cudaSuccess;
  run_until(s, s->done + 1);  // who asks again and again gets there
  return cudaErrorNotReady;
}
cudaError_t cudaDeviceSynchronize() {
  const Entered entered;
  const unsigned before = emulation_faults();
  run_device();
  return emulation_faults() == before ? cudaSuccess : fail(cudaErrorLaunchFailure);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) {
  const Entered entered;
  *e = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* e) { return cudaEventCreateWithFlags(e, cudaEventDefault); }
cudaError_t cudaEventDestroy(cudaEvent_t e) {
  const Entered entered;
  if (e && e->stream) run_until(e->stream, e->place);
  delete e;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t stream) {
  const Entered entered;
  const cudaStream_t s = checked(stream, "cudaEventRecord");
  if (!e || !s) return fail(cudaErrorInvalidResourceHandle);
  if (e->stream) run_until(e->stream, e->place);  // its last record is not to write into this one
  enqueue(s, [e] { e->time = std::chrono::steady_clock::now(); });
  e->stream = s, e->place = s->asked;
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t e, unsigned) {
  const Entered entered;
  const cudaStream_t s = checked(stream, "cudaStreamWaitEvent");
  if (!e || !s) return fail(cudaErrorInvalidResourceHandle);
  if (!e->stream) return cudaSuccess;
  return enqueue(s, [other = e->stream, place = e->place] { run_until(other, place); });
}
cudaError_t cudaEventSynchronize(cudaEvent_t e) {
  const Entered entered;
  if (!e) return fail(cudaErrorInvalidResourceHandle);
  const unsigned before = emulation_faults();
  if (e->stream) run_until(e->stream, e->place);
  return emulation_faults() == before ? cudaSuccess : fail(cudaErrorLaunchFailure);
}
cudaError_t cudaEventQuery(cudaEvent_t e) {
  const Entered entered;
  if (!e) return fail(cudaErrorInvalidResourceHandle);
  if (!e->stream || e->stream->done >= e->place) return cudaSuccess;
  run_until(e->stream, e->stream->done + 1);
  return cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t a, cudaEvent_t b) {
  const Entered entered;
  if (!a || !b || !a->stream || !b->stream) return fail(cudaErrorInvalidResourceHandle);
  if (a->stream->done < a->place || b->stream->done < b->place) return fail(cudaErrorNotReady);
  *ms = std::chrono::duration<float, std::milli>(b->time - a->time).count();
  return cudaSuccess;
}
