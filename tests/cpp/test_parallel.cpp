// SPDX-License-Identifier: MIT
// The pool: every task once, errors, nesting, callers at the same time, fork, exit. Also run under -fsanitize=thread and
// -fsanitize=address,undefined.
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "tensor/check.h"
#include "tensor/parallel.h"

using namespace chainrule;
using Clock = std::chrono::steady_clock;

// ThreadSanitizer does not follow threads that are started after a fork of several threads ("dup thread with used id").
#if defined(__SANITIZE_THREAD__)
constexpr bool forks = false;
#else
constexpr bool forks = true;
#endif

static void busy(std::chrono::microseconds time) {
  for (const auto end = Clock::now() + time; Clock::now() < end;) {
  }
}

static void every_task_once() {
  for (int threads : {1, 2, 3, 7, 64}) {
    set_num_threads(threads);
    for (Index tasks : {0, 1, 2, 3, 7, 1000}) {
      for (int asked : {0, 1, 2, 1000}) {
        std::vector<std::atomic<int>> count(static_cast<std::size_t>(tasks));
        std::atomic<int> strange{0};
        const std::thread::id caller = std::this_thread::get_id();
        const Index most = std::max<Index>(1, std::min<Index>({asked, threads, tasks}));
        parallel_for(tasks, asked, [&](Index task, int worker) {
          ++count[static_cast<std::size_t>(task)];
          if (worker < 0 || worker >= most || (worker == 0) != (std::this_thread::get_id() == caller)) ++strange;
        });
        for (const auto& c : count) CHECK_THAT(c.load(), ==, 1);
        CHECK_THAT(strange.load(), ==, 0);
      }
    }
  }
}

// What one job writes without atomics the next one and the caller read: a missing barrier shows under ThreadSanitizer.
static void jobs_are_ordered() {
  set_num_threads(4);
  std::vector<long> x(64, 0);
  for (int job = 0; job < 2000; ++job) parallel_for(64, 4, [&](Index task, int) { x[static_cast<std::size_t>((task + job) % 64)] += 1; });
  for (long seen : x) CHECK_THAT(seen, ==, 2000);
}

// More threads than cores: in time every one of them gets something to do, as contract 9's test needs.
static void all_take_part(int threads) {
  set_num_threads(threads);
  std::vector<long> tasks_of(static_cast<std::size_t>(threads), 0);
  const auto deadline = Clock::now() + std::chrono::seconds(60);
  while (*std::min_element(tasks_of.begin(), tasks_of.end()) == 0 && Clock::now() < deadline)
    parallel_for(4 * threads, threads, [&](Index, int worker) {
      ++tasks_of[static_cast<std::size_t>(worker)];
      busy(std::chrono::microseconds(100));
    });
  CHECK_THAT(*std::min_element(tasks_of.begin(), tasks_of.end()), >, 0);
}

static void lowest_error_wins() {
  for (int threads : {1, 2, 5}) {
    set_num_threads(threads);
    std::atomic<int> done{0};
    for (int round = 0; round < 200; ++round) {
      Index thrown = -1;
      try {
        parallel_for(1000, threads, [&](Index task, int) {
          if (task == 5) busy(std::chrono::microseconds(30));  // it throws first or after a higher one
          if (task % 7 == 5) throw std::out_of_range(std::to_string(task));
          ++done;
        });
      } catch (const std::out_of_range& e) {
        thrown = std::stol(e.what());
      }
      CHECK_THAT(thrown, ==, 5);
    }
    CHECK_THAT(done.load(), <, 200 * 500);  // on the average: a thread may be taken from its core just before it throws
    std::atomic<Index> sum{0};
    parallel_for(100, threads, [&](Index task, int) { sum += task; });
    CHECK_THAT(sum.load(), ==, 4950);
  }
}

static void nested_calls_are_serial() {
  set_num_threads(3);
  std::atomic<int> inner{0}, strange{0};
  parallel_for(30, 3, [&](Index, int) {
    const std::thread::id me = std::this_thread::get_id();
    Index expected = 0;
    parallel_for(5, 3, [&](Index task, int worker) {
      ++inner;
      if (worker != 0 || std::this_thread::get_id() != me || task != expected++) ++strange;
    });
  });
  CHECK_THAT(inner.load(), ==, 150);
  CHECK_THAT(strange.load(), ==, 0);
}

static void callers_at_the_same_time() {
  set_num_threads(3);
  std::vector<Index> sum(4, 0);
  std::vector<std::thread> callers;
  for (std::size_t c = 0; c < 4; ++c)
    callers.emplace_back([&, c] {
      for (int round = 0; round < 300; ++round) {
        std::atomic<Index> part{0};
        parallel_for(50, 3, [&](Index task, int) { part += task; });
        sum[c] += part;
      }
    });
  for (int n : {2, 5, 1, 8, 3}) set_num_threads(n);
  for (std::thread& t : callers) t.join();
  for (Index s : sum) CHECK_THAT(s, ==, 300 * 1225);
}

static void bad_numbers_of_threads() {
  for (int n : {0, -1, most_threads + 1}) CHECK_THROWS(set_num_threads(n), ValueError);
  CHECK_THAT(available_cores(), >=, 1);
}

static void workers_are_named_and_take_no_signals() {
  set_num_threads(2);
  std::atomic<bool> seen{false};
  const auto deadline = Clock::now() + std::chrono::seconds(30);
  while (!seen && Clock::now() < deadline)
    parallel_for(8, 2, [&](Index, int worker) {
      busy(std::chrono::microseconds(50));
      if (worker == 0) return;
      sigset_t blocked;
      pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
      for (int signal : {SIGINT, SIGTERM, SIGALRM, SIGUSR1}) CHECK_THAT(sigismember(&blocked, signal), ==, 1);
      CHECK_THAT(sigismember(&blocked, SIGSEGV), ==, 0);
      char name[32] = "";
      pthread_getname_np(pthread_self(), name, sizeof name);
      CHECK_THAT(std::string(name), ==, "chainrule");
      seen = true;
    });
  CHECK(seen);
  sigset_t blocked;
  pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
  CHECK_THAT(sigismember(&blocked, SIGINT), ==, 0);
}

// Exit status of a child that runs `body`, or -1 if it hangs or dies.
static int in_child(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    _exit(body());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int pool_works() {
  set_num_threads(2);
  const auto deadline = Clock::now() + std::chrono::seconds(30);
  for (std::atomic<int> second{0}; second == 0;) {
    std::atomic<Index> sum{0};
    parallel_for(100, 2, [&](Index task, int worker) {
      sum += task;
      second += worker;
      busy(std::chrono::microseconds(10));
    });
    if (sum != 4950) return 2;
    if (Clock::now() > deadline) return 3;
  }
  return 0;
}

static void fork_starts_a_new_pool() {
  CHECK_THAT(pool_works(), ==, 0);
  CHECK_THAT(fork_generation(), ==, 0u);
  const int status = in_child([] {
    if (fork_generation() != 1) return 10;
    if (const int s = pool_works()) return s;
    return in_child([] { return fork_generation() != 2 ? 11 : pool_works(); });
  });
  CHECK_THAT(status, ==, 0);
  CHECK_THAT(fork_generation(), ==, 0u);
  CHECK_THAT(pool_works(), ==, 0);
}

static void fork_while_the_pool_works() {
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop)
      parallel_for(16, 2, [](Index task, int) {
        busy(std::chrono::microseconds(5));
        if (task == 15) return;
      });
  });
  for (int i = 0; i < 20; ++i) CHECK_THAT(in_child(pool_works), ==, 0);
  stop = true;
  other.join();
  CHECK_THAT(pool_works(), ==, 0);
}

// The child of a task has lost the threads that its loop counted on: it hears so, and can go on.
static void fork_inside_a_task() {
  const pid_t parent = getpid();
  int status = -1;
  try {
    parallel_for(64, 2, [&](Index task, int worker) {
      busy(std::chrono::microseconds(20));
      if (worker != 0 || task < 8 || status != -1 || getpid() != parent) return;
      const pid_t child = fork();
      if (child == 0) {
        alarm(60);
        return;
      }
      waitpid(child, &status, 0);
    });
  } catch (const StateError&) {
    if (getpid() != parent) _exit(pool_works());
  }
  if (getpid() != parent) _exit(20);
  CHECK(WIFEXITED(status));
  CHECK_THAT(WEXITSTATUS(status), ==, 0);
}

// What this program, started anew with one argument, returns; -1 if it hangs or dies.
static int anew(const char* program, const char* argument, const char* ours = nullptr, const char* openmp = nullptr) {
  return in_child([=]() -> int {
    unsetenv("CHAINRULE_NUM_THREADS");
    unsetenv("OMP_NUM_THREADS");
    if (ours) setenv("CHAINRULE_NUM_THREADS", ours, 1);
    if (openmp) setenv("OMP_NUM_THREADS", openmp, 1);
    execl(program, program, argument, static_cast<char*>(nullptr));
    return 255;
  });
}

// exit runs destructors while workers spin, sleep or work for another thread: nobody waits, nobody crashes.
static int leave_early() {
  if (pool_works()) return 1;
  std::thread([] {
    for (;;) parallel_for(16, 2, [](Index, int) { busy(std::chrono::microseconds(20)); });
  }).detach();
  busy(std::chrono::microseconds(2000));
  return 0;
}

static int default_threads(const char* program, const char* ours, const char* openmp) { return anew(program, "threads", ours, openmp); }

static void defaults(const char* program) {
  const int cores = std::min(available_cores(), 200);
  CHECK_THAT(default_threads(program, nullptr, nullptr), ==, cores);
  CHECK_THAT(default_threads(program, "5", "3"), ==, 5);
  CHECK_THAT(default_threads(program, nullptr, "3"), ==, 3);
  CHECK_THAT(default_threads(program, nullptr, "4,2"), ==, 4);
  for (const char* nonsense : {"", "0", "-3", "two", "7x"}) CHECK_THAT(default_threads(program, nonsense, nullptr), ==, cores);
}

int main(int argc, char** argv) {
  if (argc > 1) return std::strcmp(argv[1], "threads") == 0 ? num_threads() : leave_early();
  defaults(argv[0]);
  if (forks) {
    fork_starts_a_new_pool();
    fork_while_the_pool_works();
    fork_inside_a_task();
  }
  every_task_once();
  jobs_are_ordered();
  all_take_part(2);
  all_take_part(7);
  lowest_error_wins();
  nested_calls_are_serial();
  callers_at_the_same_time();
  bad_numbers_of_threads();
  workers_are_named_and_take_no_signals();
  for (int i = 0; i < 5; ++i) CHECK_THAT(anew(argv[0], "exit"), ==, 0);
  return failures();
}
