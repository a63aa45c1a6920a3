// SPDX-License-Identifier: MIT
// One job at a time. The caller opens a gate, does tasks itself, and closes the gate when no task is left to start; it then waits only for workers
// that came through. A worker that the system has not woken in time is never waited for, so that a busy machine costs speed, not latency.
//
// The pool is leaked and its threads are detached: nothing is joined at exit, when a worker may be anywhere. The library stays mapped (pin below).
// fork copies the calling thread alone: the child forgets the pool, with whatever locks were held in it, and starts another when it needs one.
#include "tensor/parallel.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <limits>
#include <mutex>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "tensor/check.h"

namespace chainrule {

namespace {

// How long a thread looks for work before it sleeps: longer than the gaps between the jobs of a training step, shorter than anybody notices.
constexpr std::chrono::microseconds patience{50};

// The gate: job number << 32 | workers that came through << 16 | threads of the job. Worker i may pass if i < threads, nobody if threads is 0.
using Gate = std::uint64_t;
constexpr Gate one_more = Gate{1} << 16;
constexpr std::uint32_t job_of(Gate g) { return static_cast<std::uint32_t>(g >> 32); }
constexpr std::uint32_t passed(Gate g) { return static_cast<std::uint32_t>(g >> 16 & 0xFFFF); }
constexpr int threads_of(Gate g) { return static_cast<int>(g & 0xFFFF); }
static_assert(most_threads < 1 << 16);

struct alignas(64) Bed {
  std::atomic<std::uint32_t> asleep{0};
};

struct Pool {
  alignas(64) std::atomic<Gate> gate{0};
  alignas(64) std::atomic<Index> next{0};          // the next task to start
  alignas(64) std::atomic<std::uint32_t> left{0};  // workers that came through and are done
  alignas(64) std::atomic<bool> busy{false};       // who sets it owns all below until it is cleared
  std::atomic<bool> crowded{false};                // more threads than cores: give way instead of spinning

  // The job. Written while the gate is shut, read by those who came through.
  Index tasks = 0;
  detail::Task call = nullptr;
  void* body = nullptr;

  std::uint32_t jobs = 0;
  int started = 0;  // workers 1 .. started exist
  const unsigned generation = fork_generation();

  std::mutex error_lock;
  std::exception_ptr error;
  Index error_task = 0;

  Pool* abandoned = nullptr;  // keeps leak checkers quiet after a fork
  Bed bed[most_threads];      // 0 is the caller's
};

std::atomic<Pool*> current_pool{nullptr};
std::atomic<int> chosen_threads{0}, counted_cores{0};
thread_local int own_limit = 0;
std::atomic<unsigned> forks{0};
Pool* abandoned_pools = nullptr;

void after_fork_in_child() {
  forks.fetch_add(1);
  if (Pool* pool = current_pool.exchange(nullptr)) {
    pool->abandoned = abandoned_pools;
    abandoned_pools = pool;
  }
}
[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, after_fork_in_child);

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

// Looks for a while, then sleeps until somebody calls wake(bed). Who makes ready() true calls wake afterwards; both sides are sequentially
// consistent, so either the sleeper sees what happened or the waker sees the sleeper.
template <class Ready>
void wait_until(Bed& bed, const std::atomic<bool>& crowded, Ready ready) {
  for (;;) {
    if (crowded.load(std::memory_order_relaxed)) {
      for (int i = 0; i < 4; ++i) {
        if (ready()) return;
        sched_yield();
      }
    } else {
      const auto end = std::chrono::steady_clock::now() + patience;
      do {
        for (int i = 0; i < 32; ++i) {
          if (ready()) return;
          relax();
        }
      } while (std::chrono::steady_clock::now() < end);
    }
    bed.asleep.store(1);
    if (ready()) {
      bed.asleep.store(0);
      return;
    }
    bed.asleep.wait(1);
  }
}

void wake(Bed& bed) {
  if (bed.asleep.load() && bed.asleep.exchange(0)) bed.asleep.notify_one();
}

void do_tasks(Pool& pool, int worker) {
  for (;;) {
    const Index task = pool.next.fetch_add(1, std::memory_order_relaxed);
    if (task >= pool.tasks) return;
    try {
      pool.call(pool.body, task, worker);
    } catch (...) {
      // Tasks start in order and a started one is finished: the lowest that throws always does.
      const std::lock_guard hold(pool.error_lock);
      if (!pool.error || task < pool.error_task) {
        pool.error = std::current_exception();
        pool.error_task = task;
      }
      pool.next.store(pool.tasks, std::memory_order_relaxed);
    }
  }
}

void work(Pool* pool, int worker) {
#if defined(__APPLE__)
  pthread_setname_np("chainrule");
#else
  pthread_setname_np(pthread_self(), "chainrule");
#endif
  std::uint32_t last = 0;
  const auto open = [&] {
    const Gate g = pool->gate.load();
    return worker < threads_of(g) && job_of(g) != last;
  };
  for (;;) {
    wait_until(pool->bed[worker], pool->crowded, open);
    Gate g = pool->gate.load();
    while (worker < threads_of(g) && job_of(g) != last) {
      if (!pool->gate.compare_exchange_weak(g, g + one_more)) continue;
      last = job_of(g);
      do_tasks(*pool, worker);
      pool->left.fetch_add(1);
      wake(pool->bed[0]);
      break;
    }
  }
}

// A thread whose code is unmapped dies: keep this library until the process ends.
void pin() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&pin), &info) && info.dli_fname) dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

// Workers take no signals, so that Ctrl-C reaches Python's thread, but those of a fault of their own, which faulthandler reports.
void start_workers(Pool& pool, int wanted) {
  if (pool.started >= wanted) return;
  if (pool.started == 0) pin();
  sigset_t blocked, before;
  sigfillset(&blocked);
  for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) sigdelset(&blocked, fault);
  pthread_sigmask(SIG_SETMASK, &blocked, &before);
  try {
    while (pool.started < wanted) {
      std::thread(work, &pool, pool.started + 1).detach();
      ++pool.started;
    }
  } catch (const std::system_error&) {  // no more threads to be had: go on with those that are there
  } catch (const std::bad_alloc&) {
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Pool* the_pool() {
  Pool* pool = current_pool.load(std::memory_order_acquire);
  if (pool) return pool;
  Pool* fresh = new Pool;
  if (current_pool.compare_exchange_strong(pool, fresh)) return fresh;
  delete fresh;
  return pool;
}

int positive(const char* name) {
  const char* value = std::getenv(name);
  if (!value) return 0;
  char* end;
  const long n = std::strtol(value, &end, 10);  // OMP_NUM_THREADS may be a list by level: the first counts
  return end != value && (*end == 0 || *end == ',') && n > 0 ? static_cast<int>(std::min<long>(n, most_threads)) : 0;
}

double quota(const std::string& folder) {
  double limit = -1, period = 0;
  if (std::ifstream v2(folder + "/cpu.max"); v2 >> limit >> period) {  // "max 100000" fails to parse: no limit
  } else {
    limit = -1;
    std::ifstream(folder + "/cpu.cfs_quota_us") >> limit;
    std::ifstream(folder + "/cpu.cfs_period_us") >> period;
  }
  return limit > 0 && period > 0 ? limit / period : std::numeric_limits<double>::infinity();
}

// Cores' worth of time that the control groups (version 2 or 1) of this process grant, all the way up; a container often sees its own as the root.
double granted() {
  double cores = std::numeric_limits<double>::infinity();
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // 0::/path, or 4:cpu,cpuacct:/path
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v1 = ("," + controllers + ",").find(",cpu,") != std::string::npos;
    if (!v1 && !controllers.empty()) continue;
    std::string path = line.substr(second + 1);
    for (bool more = true; more;) {
      if (path == "/") path.clear();
      for (const std::string& root : {std::string("/sys/fs/cgroup"), "/sys/fs/cgroup/" + controllers, std::string("/sys/fs/cgroup/cpu")})
        cores = std::min(cores, quota(root + path));
      more = !path.empty();
      path.resize(std::min(path.rfind('/'), path.size()));
    }
  }
  return cores;
}

int count_cores() {
  int cores = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) cores = CPU_COUNT(&allowed);
#endif
  const double share = std::ceil(granted());
  return std::clamp(share < cores ? static_cast<int>(share) : cores, 1, most_threads);
}

}  // namespace

int available_cores() {
  int cores = counted_cores.load(std::memory_order_relaxed);
  if (cores == 0) counted_cores.store(cores = count_cores(), std::memory_order_relaxed);
  return cores;
}

int num_threads() {
  if (own_limit) return own_limit;
  int n = chosen_threads.load(std::memory_order_relaxed);
  if (n) return n;
  n = positive("CHAINRULE_NUM_THREADS");
  if (!n) n = positive("OMP_NUM_THREADS");
  if (!n) n = available_cores();
  int unset = 0;  // set_num_threads of another thread wins
  return chosen_threads.compare_exchange_strong(unset, n) ? n : unset;
}

void set_num_threads(int n) {
  CR_CHECK(n >= 1 && n <= most_threads, "[set_num_threads] n is ", n, ": expected 1 to ", most_threads);
  chosen_threads.store(n);
}

int limit_threads(int n) {
  CR_CHECK(n >= 0 && n <= most_threads, "[limit_threads] n is ", n, ": expected 0 to ", most_threads);
  return std::exchange(own_limit, n);
}

unsigned fork_generation() { return forks.load(std::memory_order_relaxed); }

// False: nothing was done, the caller is to do it alone.
bool detail::run_on_pool(Index tasks, int threads, Task call, void* body) {
  threads = static_cast<int>(std::min<Index>({tasks, threads, num_threads()}));
  if (threads <= 1) return false;
  Pool& pool = *the_pool();
  if (pool.busy.load(std::memory_order_relaxed) || pool.busy.exchange(true, std::memory_order_acquire)) return false;
  start_workers(pool, threads - 1);
  threads = std::min(threads, pool.started + 1);

  pool.tasks = tasks, pool.call = call, pool.body = body;
  pool.crowded.store(threads > available_cores(), std::memory_order_relaxed);
  pool.next.store(0, std::memory_order_relaxed);
  pool.left.store(0, std::memory_order_relaxed);
  pool.gate.store(static_cast<Gate>(++pool.jobs) << 32 | static_cast<Gate>(threads));
  for (int worker = 1; worker < threads; ++worker) wake(pool.bed[worker]);
  do_tasks(pool, 0);
  const std::uint32_t expected = passed(pool.gate.fetch_and(~Gate{0xFFFF}));
  wait_until(pool.bed[0], pool.crowded, [&] { return pool.left.load() == expected || pool.generation != fork_generation(); });
  if (pool.generation != fork_generation()) throw StateError("the process was forked inside a parallel loop: its other threads are gone");

  const std::exception_ptr error = std::exchange(pool.error, nullptr);
  pool.busy.store(false, std::memory_order_release);
  if (error) std::rethrow_exception(error);
  return true;
}

}  // namespace chainrule
