// SPDX-License-Identifier: MIT
// The one place that knows threads: f(task, worker) for task = 0 .. tasks - 1 on a small pool of our own. What a task computes may not depend on
// `worker`, which only says whose scratch memory to use: that keeps the bits the same for any number of threads.
#pragma once
#include <cstdint>
#include <memory>
#include <type_traits>

namespace chainrule {

using Index = std::int64_t;

constexpr int most_threads = 1024;

// Cores this process may use: its affinity, and the quota of its control groups rounded up.
int available_cores();

// CHAINRULE_NUM_THREADS or OMP_NUM_THREADS where they hold a positive number, else available_cores(), until set_num_threads says otherwise. Beyond
// the cores works too, slowly. ValueError unless 1 <= n <= most_threads.
int num_threads();
void set_num_threads(int n);
// A number of threads for what the calling thread starts, instead of set_num_threads'; 0 lifts it. Returns the one before.
int limit_threads(int n);

// Forks between the first process and this one.
unsigned fork_generation();

namespace detail {
using Task = void (*)(void* body, Index task, int worker);
bool run_on_pool(Index tasks, int threads, Task call, void* body);
}  // namespace detail

// Each task once, in increasing order of start, by at most min(threads, num_threads(), tasks) workers numbered from 0, the caller. One worker, a
// call from inside a task, or a pool that another thread uses: the caller does all of it, as worker 0, and waits for nobody. After an exception no
// further task starts; the one of the lowest task is rethrown, which is the same one for any number of threads.
template <class F>
void parallel_for(Index tasks, int threads, F&& f) {
  if (threads > 1 && tasks > 1) {
    using Body = std::remove_reference_t<F>;
    const detail::Task call = [](void* body, Index task, int worker) { (*static_cast<Body*>(body))(task, worker); };
    if (detail::run_on_pool(tasks, threads, call, const_cast<void*>(static_cast<const void*>(std::addressof(f))))) return;
  }
  for (Index task = 0; task < tasks; ++task) f(task, 0);
}

}  // namespace chainrule
