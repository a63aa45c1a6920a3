// SPDX-License-Identifier: MIT
// A block after the other, a thread at a time: it runs until a barrier or shuffle, then the runnable one of the lowest rank goes on. So one warp runs
// ahead of the others as far as barriers allow, which shows a missing barrier best (a fair order hides it). Not to be compiled with -fsanitize=thread.
#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include "emulation/emulation.h"

namespace emulation {

Thread* current;
const void* running;
unsigned block_serial;
const char *arguments_begin, *arguments_end;
Hooks* hooks;

namespace {

struct Warp {
  unsigned existing, alive, waiting;
};
std::vector<Thread> threads;
std::vector<Warp> warps;
std::vector<int> by_rank, rank_of;
std::size_t started;      // threads by_rank[0 .. started) have been started
std::uint64_t ready[16];  // a bit a rank: threads that a barrier has released (a heap took a fifth of the tests' time)
unsigned ready_words;     // a bit a word that is not 0
int arrived, finished;
const Grid* grid;
char* dynamic;

void new_order(int n) {
  by_rank.resize(static_cast<std::size_t>(n)), rank_of.resize(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) by_rank[static_cast<std::size_t>(i)] = order() == Order::Reverse ? n - 1 - i : i;
  if (order() == Order::Random) {
    for (std::size_t i = by_rank.size(); i > 1; --i) std::swap(by_rank[i - 1], by_rank[random_number() % i]);
    if (random_number() & 1) {  // whole warps in random order
      const unsigned salt = random_number();
      const auto key = [salt](int t) { return (static_cast<unsigned>(t) >> 5) * 2654435761u ^ salt; };
      std::stable_sort(by_rank.begin(), by_rank.end(), [&](int a, int b) { return key(a) < key(b); });
    }
  }
  for (int i = 0; i < n; ++i) rank_of[static_cast<std::size_t>(by_rank[static_cast<std::size_t>(i)])] = i;
}
Thread& thread(int i) { return threads[static_cast<std::size_t>(i)]; }
Warp& warp(int i) { return warps[static_cast<std::size_t>(i)]; }

void make_ready(int i) {
  const auto rank = static_cast<unsigned>(rank_of[static_cast<std::size_t>(i)]);
  thread(i).state = Thread::Ready;
  ready[rank / 64] |= std::uint64_t{1} << rank % 64;
  ready_words |= 1u << rank / 64;
}
// The next thread to run, -1: none can
int pick() {
  if (ready_words) {  // whoever is ready has been started, and so has a lower rank than those that have not
    const auto word = static_cast<std::size_t>(std::countr_zero(ready_words));
    const auto bit = static_cast<std::size_t>(std::countr_zero(ready[word]));
    ready[word] &= ready[word] - 1;
    if (!ready[word]) ready_words &= ready_words - 1;
    return by_rank[word * 64 + bit];
  }
  return started < by_rank.size() ? by_rank[started++] : -1;
}
void make_current(Thread& t) {
  current = &t;
  threadIdx = t.index;
}
std::string line_of(const Thread& t) {
  const char* slash = t.file ? std::strrchr(t.file, '/') : nullptr;
  return std::string(slash ? slash + 1 : t.file ? t.file : "?") + ":" + std::to_string(t.line);
}
std::string where(const Thread& t) {
  char text[200];
  std::snprintf(text, sizeof text, "block (%u,%u,%u) thread (%u,%u,%u) at %s", blockIdx.x, blockIdx.y, blockIdx.z, t.index.x, t.index.y, t.index.z,
                line_of(t).c_str());
  return text;
}

// The running thread has noted why it waits.
void suspend() {
  Thread* self = current;
  const int n = pick();
  if (n < 0) return switch_to(nullptr);  // a deadlock: nobody comes back
  Thread& next = thread(n);
  if (&next == self) return;
  if (!next.fiber) next.fiber = spare_fiber();
  make_current(next);
  switch_to(next.fiber);
}

// Completes the operation of a warp if all lanes of `mask` that are left have come to it.
void complete(int w, int first, unsigned mask) {
  Warp& all = warp(w);
  Thread* lanes = &thread(w * 32);
  const unsigned need = mask & all.alive;
  if (!need || (all.waiting & need) != need) return;
  unsigned ballot = 0;
  for (unsigned left = need; left; left &= left - 1) {
    const int i = std::countr_zero(left);
    if (lanes[i].op != lanes[first].op || lanes[i].mask != mask)
      report("warp operations do not match: %s, %s", where(lanes[first]).c_str(), where(lanes[i]).c_str());
    ballot |= static_cast<unsigned>(lanes[i].value & 1) << i;
  }
  for (unsigned left = need; left; left &= left - 1) {
    Thread& t = lanes[std::countr_zero(left)];
    make_ready(t.number);
    if (t.op == WarpOp::Ballot) t.result = ballot;
    if (t.op == WarpOp::Sync) ++t.warp_epoch;
    if (t.op != WarpOp::Shuffle) continue;
    const bool there = need >> t.source & 1;
    t.result = there ? lanes[t.source].value : ~std::uint64_t{0};
    if (!there) report("SHUFFLE reads lane %d, which takes no part: %s", t.source, where(t).c_str());
  }
  all.waiting &= ~need;
}

struct Segment {
  void* marker;
  char* begin;
  std::size_t size;
};
// The thread-local segment, on this operating-system thread, of the module that `marker` lies in: its shared memory
[[maybe_unused]] Segment segment_of(void* marker) {
  Segment s{marker, nullptr, 0};
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* data) {
        auto* s = static_cast<Segment*>(data);
        auto* begin = static_cast<char*>(info->dlpi_tls_data);
        for (int k = 0; begin && k < info->dlpi_phnum; ++k)
          if (info->dlpi_phdr[k].p_type == PT_TLS && s->marker >= begin && s->marker < begin + info->dlpi_phdr[k].p_memsz) {
            s->begin = begin, s->size = info->dlpi_phdr[k].p_memsz;
            return 1;
          }
        return 0;
      },
      &s);
  return s;
}

void report_deadlock() {
  std::map<std::string, std::pair<int, std::string>> groups;
  for (const Thread& t : threads) {
    char text[300] = "have exited";
    if (t.state != Thread::Done)
      std::snprintf(text, sizeof text, "wait in %s at %s", t.state == Thread::AtBlock ? "__syncthreads" : "a warp operation", line_of(t).c_str());
    auto& [count, first] = groups[text];
    if (!count++) first = std::to_string(t.index.x) + "," + std::to_string(t.index.y) + "," + std::to_string(t.index.z);
  }
  std::string all;
  for (const auto& [text, group] : groups) all += "\n    " + std::to_string(group.first) + " threads (first " + group.second + ") " + text;
  report("DEADLOCK in block (%u,%u,%u):%s", blockIdx.x, blockIdx.y, blockIdx.z, all.c_str());
}

// False: its threads wait for each other. Their stacks are abandoned.
bool run_block(uint3 index, const Segment& shared, bool first) {
  const dim3 b = grid->block;
  const int n = static_cast<int>(b.x * b.y * b.z);
  blockIdx = index, blockDim = b, gridDim = grid->grid;
  ++block_serial;
  threads.resize(static_cast<std::size_t>(n));
  warps.assign(static_cast<std::size_t>((n + 31) / 32), Warp{});
  std::fill(std::begin(ready), std::end(ready), 0), ready_words = 0;
  if (static_cast<int>(by_rank.size()) != n || first || order() == Order::Random) new_order(n);
  started = 0, arrived = finished = 0;
  uint3 at{0, 0, 0};
  for (int i = 0; i < n; ++i) {
    Thread& t = thread(i) = Thread{};
    t.index = at, t.number = i, t.lane = i & 31, t.warp = i >> 5;
    warp(t.warp).existing = warp(t.warp).alive |= 1u << t.lane;
    if (++at.x == b.x) at.x = 0, ++at.y;
    if (at.y == b.y) at.y = 0, ++at.z;
  }
  if (shared.size) std::memset(shared.begin, 0xff, shared.size);  // NaN for every floating type
  if (dynamic) std::memset(dynamic, 0xff, grid->dynamic_bytes);
  if (hooks) hooks->block_begin(shared.begin, shared.size, dynamic, grid->dynamic_bytes);
  Thread& start = thread(pick());
  start.fiber = spare_fiber();
  make_current(start);
  switch_to(start.fiber);
  current = nullptr;
  if (finished != n) report_deadlock();
  return finished == n;
}

}  // namespace

void thread_main() {
  Fiber* self = current_fiber();
  for (;;) {
    grid->run(grid->arguments);
    Thread& t = *current;
    t.state = Thread::Done;
    ++finished;
    Warp& w = warp(t.warp);
    w.alive &= ~(1u << t.lane);
    for (int l = 0; l < 32 && w.waiting; ++l)
      if (w.waiting >> l & 1) {
        complete(t.warp, l, thread(t.warp * 32 + l).mask);
        break;
      }
    const int n = pick();
    if (n >= 0 && !thread(n).fiber) {  // starts on this very stack: no switch
      thread(n).fiber = self;
      make_current(thread(n));
      continue;
    }
    give_back(self);
    if (n >= 0) make_current(thread(n));
    switch_to(n < 0 ? nullptr : thread(n).fiber);
  }
}

std::uint64_t warp_barrier(WarpOp op, unsigned mask, std::uint64_t value, int source, const char* file, int line) {
  Thread& t = *current;
  t.op = op, t.mask = mask, t.value = value, t.source = source & 31, t.file = file, t.line = line;
  if (!(mask >> t.lane & 1)) {
    report("lane %d is not in its own mask %08x: %s", t.lane, mask, where(t).c_str());
    return value;
  }
  if (const unsigned gone = mask & warp(t.warp).existing & ~warp(t.warp).alive)
    report("mask %08x names lanes that have exited (%08x): %s", mask, gone, where(t).c_str());
  t.state = Thread::AtWarp;
  warp(t.warp).waiting |= 1u << t.lane;
  complete(t.warp, t.lane, mask);
  suspend();
  return current->result;
}

void block_barrier(const char* file, int line) {
  Thread& t = *current;
  t.file = file, t.line = line, t.state = Thread::AtBlock;
  if (++arrived == static_cast<int>(threads.size())) {
    bool same = true;
    for (Thread& other : threads) {
      ++other.epoch;
      if (same && (other.line != line || (other.file != file && std::strcmp(other.file, file) != 0))) {
        same = false;
        report("BARRIERS DIVERGE: %s, %s", where(t).c_str(), where(other).c_str());
      }
    }
    arrived = 0;
    if (order() == Order::Random) new_order(static_cast<int>(threads.size()));
    for (const Thread& other : threads) make_ready(other.number);
  }
  suspend();
}

int lane() { return current->lane; }
void* dynamic_shared() { return dynamic; }
void on_atomic(const void* p, std::size_t n) {
  if (hooks) hooks->atomic(p, n, __builtin_return_address(0));
}

bool run_grid(const Grid& g) {
  const unsigned before = emulation_faults();
  grid = &g;
  running = g.kernel;
  arguments_begin = static_cast<const char*>(g.arguments), arguments_end = arguments_begin + g.bytes;
#if defined(__SANITIZE_ADDRESS__)
  const Segment shared{};
  dynamic = g.dynamic_bytes ? static_cast<char*>(std::malloc(g.dynamic_bytes)) : nullptr;  // exactly: a red zone follows
#else
  const Segment shared = segment_of(g.marker());
  dynamic = g.dynamic_bytes ? static_cast<char*>(std::aligned_alloc(4096, (g.dynamic_bytes / 4096 + 17) * 4096))
                            : nullptr;  // an overrun is to be seen, not to hurt
#endif
  const std::size_t n = static_cast<std::size_t>(g.grid.x) * g.grid.y * g.grid.z;
  std::vector<unsigned> blocks(n);
  for (std::size_t i = 0; i < n; ++i) blocks[i] = static_cast<unsigned>(order() == Order::Reverse ? n - 1 - i : i);
  if (order() == Order::Random)
    for (std::size_t i = n; i > 1; --i) std::swap(blocks[i - 1], blocks[random_number() % i]);
  bool first = true;
  for (const unsigned i : blocks) {
    if (!run_block({i % g.grid.x, i / g.grid.x % g.grid.y, i / g.grid.x / g.grid.y}, shared, first)) break;
    first = false;
  }
  std::free(dynamic);
  dynamic = nullptr, running = nullptr, grid = nullptr;
  return emulation_faults() == before;
}

}  // namespace emulation
