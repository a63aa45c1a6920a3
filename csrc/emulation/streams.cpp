// SPDX-License-Identifier: MIT
// Streams are lazy: work waits in its stream until somebody waits for it, so that whoever forgets to wait, or to let one stream wait for another, finds
// what was there before. And each piece of work knows by a vector clock what is certain to have been done before it, so that the checker names two that
// touch the same memory in no order, whatever the numbers.
#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
#include <vector>

#include "emulation/emulation.h"

namespace emulation {

using Clock = std::vector<std::size_t>;  // by stream: so many of its pieces are done

struct Work {
  std::function<void()> run;
  std::vector<std::pair<cudaStream_t, std::size_t>> after;  // first so many pieces of these streams
  unsigned number;                                          // in `pieces`
};
struct Piece {
  const char* what;
  const void* kernel;
  std::size_t stream, place;
  Clock before;
};

}  // namespace emulation

struct CUstream_st {
  int device;
  bool blocking;       // waits for the null stream, and it for this one
  std::size_t number;  // of the stream
  bool alive = true;
  std::deque<emulation::Work> work{};
  std::size_t done = 0, asked = 0;  // pieces of work, since the stream was made
  emulation::Clock clock{};         // of its last piece
};
struct CUevent_st {
  cudaStream_t stream = nullptr;  // of the last record
  std::size_t place = 0;          // the record is piece number `place` of its stream
  emulation::Clock clock{};
  std::chrono::steady_clock::time_point time{};
};

namespace emulation {

namespace {

std::vector<std::unique_ptr<CUstream_st>>& streams = *new std::vector<std::unique_ptr<CUstream_st>>;  // never destroyed
std::vector<cudaStream_t>& null_streams = *new std::vector<cudaStream_t>;                             // by device
std::vector<Piece>& pieces = *new std::vector<Piece>(1);                                              // the first is the host
unsigned piece_running;
Clock& host_clock = *new Clock;                // what the host has waited for; all its threads are taken for one
constexpr std::size_t most_pending = 100'000;  // then the oldest piece runs: nobody else bounds the queue

void join(Clock& clock, const Clock& other) {
  if (clock.size() < other.size()) clock.resize(other.size());
  for (std::size_t i = 0; i < other.size(); ++i) clock[i] = std::max(clock[i], other[i]);
}

cudaStream_t make_stream(bool blocking) {
  streams.push_back(std::make_unique<CUstream_st>(CUstream_st{current_device(), blocking, streams.size()}));
  return streams.back().get();
}
cudaStream_t null_stream() {
  null_streams.resize(static_cast<std::size_t>(device_count()), nullptr);
  cudaStream_t& s = null_streams[static_cast<std::size_t>(current_device())];
  return s ? s : s = make_stream(true);
}
bool is_null(cudaStream_t s) { return std::find(null_streams.begin(), null_streams.end(), s) != null_streams.end(); }
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

// Runs the first `until` pieces that the stream ever had, and first what they wait for. Each is taken out before it runs: it may make other streams run.
void run_until(cudaStream_t s, std::size_t until) {
  const DeviceAccess access;
  while (s->done < until && !s->work.empty()) {
    const Work work = std::move(s->work.front());
    s->work.pop_front();
    for (const auto& [other, place] : work.after) run_until(other, place);
    const unsigned outer = std::exchange(piece_running, work.number);
    work.run();
    piece_running = outer;
    ++s->done;
  }
}
void host_waits(cudaStream_t s) {
  run_until(s, s->asked);
  join(host_clock, s->clock);
}

void add(cudaStream_t s, const char* what, const void* kernel, std::function<void()> run, const CUevent_st* event = nullptr) {
  Work work{std::move(run), {}, 0};
  if (event) work.after.emplace_back(event->stream, event->place), join(s->clock, event->clock);
  if (s->blocking)  // the null stream's pieces wait for those of all others that are blocking, and these for its
    for (const auto& other : streams)
      if (other.get() != s && other->blocking && other->device == s->device && (is_null(s) || is_null(other.get()))) {
        work.after.emplace_back(other.get(), other->asked);
        join(s->clock, other->clock);
      }
  ++s->asked;
  if (hooks) {
    join(s->clock, host_clock);
    if (s->clock.size() <= s->number) s->clock.resize(s->number + 1);
    s->clock[s->number] = s->asked;
    work.number = static_cast<unsigned>(pieces.size());
    pieces.push_back({what, kernel, s->number, s->asked, s->clock});
  }
  s->work.push_back(std::move(work));
  if (s->work.size() > most_pending) run_until(s, s->done + 1);
}

}  // namespace

bool stream_exists(cudaStream_t s, const char* what) { return checked(s, what) != nullptr; }
unsigned running_piece() { return piece_running; }
bool happens_before(unsigned a, unsigned b) {
  const Piece &first = pieces[a], &then = pieces[b];
  return first.stream == then.stream ? first.place <= then.place : first.stream < then.before.size() && then.before[first.stream] >= first.place;
}
std::string name_of_piece(unsigned number) {
  const Piece& p = pieces[number];
  const std::string stream = is_null(streams[p.stream].get()) ? "the null stream" : "stream " + std::to_string(p.stream);
  return (p.kernel ? source_of(p.kernel, true) : p.what) + " (" + stream + ")";
}

cudaError_t enqueue(cudaStream_t stream, const char* what, const void* kernel, std::function<void()> run) {
  const cudaStream_t s = checked(stream, what);
  if (!s) return fail(cudaErrorInvalidResourceHandle);
  if (kernel && s->device != current_device()) {
    report("a launch on device %d into a stream of device %d", current_device(), s->device);
    return fail(cudaErrorInvalidResourceHandle);
  }
  add(s, what, kernel, std::move(run));
  return cudaSuccess;
}
void wait_for_stream(cudaStream_t stream) {
  const cudaStream_t s = stream ? stream : null_stream();
  if (!stream) add(s, "a wait", nullptr, [] {});  // behind all blocking streams
  host_waits(s);
}
void wait_for_device() {
  std::vector<cudaStream_t> of_device;
  for (const auto& s : streams)
    if (s->device == current_device()) of_device.push_back(s.get());
  if (order() == Order::Reverse) std::reverse(of_device.begin(), of_device.end());
  if (order() == Order::Random)
    for (std::size_t i = of_device.size(); i > 1; --i) std::swap(of_device[i - 1], of_device[random_number() % i]);
  for (const cudaStream_t s : of_device) host_waits(s);
}

}  // namespace emulation

using namespace emulation;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned flags) {
  const Entered entered;
  null_stream();  // has a number of its own, 0 on the first device
  *s = make_stream(!(flags & cudaStreamNonBlocking));
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* s) { return cudaStreamCreateWithFlags(s, cudaStreamDefault); }
cudaError_t cudaStreamDestroy(cudaStream_t s) {
  const Entered entered;
  if (!s || !checked(s, "cudaStreamDestroy")) return fail(cudaErrorInvalidResourceHandle);
  run_until(s, s->asked);  // the host has not waited for it, as far as it knows
  s->alive = false;        // events may still name it
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Entered entered;
  if (!checked(stream, "cudaStreamSynchronize")) return fail(cudaErrorInvalidResourceHandle);
  const unsigned before = emulation_faults();
  wait_for_stream(stream);
  return emulation_faults() == before ? cudaSuccess : fail(cudaErrorLaunchFailure);
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const Entered entered;
  const cudaStream_t s = checked(stream, "cudaStreamQuery");
  if (!s) return fail(cudaErrorInvalidResourceHandle);
  if (s->work.empty()) {
    join(host_clock, s->clock);
    return cudaSuccess;
  }
  run_until(s, s->done + 1);  // who asks again and again gets there
  return cudaErrorNotReady;
}
cudaError_t cudaDeviceSynchronize() {
  const Entered entered;
  const unsigned before = emulation_faults();
  wait_for_device();
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
  add(s, "cudaEventRecord", nullptr, [e] { e->time = std::chrono::steady_clock::now(); });
  e->stream = s, e->place = s->asked, e->clock = s->clock;
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t e, unsigned) {
  const Entered entered;
  const cudaStream_t s = checked(stream, "cudaStreamWaitEvent");
  if (!e || !s) return fail(cudaErrorInvalidResourceHandle);
  if (e->stream) add(s, "cudaStreamWaitEvent", nullptr, [] {}, e);
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t e) {
  const Entered entered;
  if (!e) return fail(cudaErrorInvalidResourceHandle);
  const unsigned before = emulation_faults();
  if (e->stream) run_until(e->stream, e->place), join(host_clock, e->clock);
  return emulation_faults() == before ? cudaSuccess : fail(cudaErrorLaunchFailure);
}
cudaError_t cudaEventQuery(cudaEvent_t e) {
  const Entered entered;
  if (!e) return fail(cudaErrorInvalidResourceHandle);
  if (!e->stream || e->stream->done >= e->place) {
    join(host_clock, e->clock);
    return cudaSuccess;
  }
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
