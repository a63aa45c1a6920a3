// SPDX-License-Identifier: MIT
// Who may use a network now: many readers (predict), or one writer (fit, step, load). Nobody waits: a second writer, and a reader during a fit, raises at
// once. The thread that fits may read (its callbacks predict). Contract 14.
#pragma once
#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include "tensor/check.h"
#include "tensor/parallel.h"

namespace chainrule {

class Gate {
 public:
  void enter_writer(const char* what) {
    renew(what);
    std::size_t nobody = 0;
    if (!writer_.compare_exchange_strong(nobody, me()))
      throw StateError(std::string("[") + what + "] the network is being fitted: one fit, step or load at a time");
    if (readers_.load() != 0) {
      writer_ = 0;
      throw StateError(std::string("[") + what + "] another thread predicts with this network: wait for it, or use a copy");
    }
  }
  void leave_writer() { writer_ = 0; }
  void enter_reader(const char* what) {
    renew(what);
    ++readers_;
    const std::size_t writer = writer_.load();
    if (writer != 0 && writer != me()) {
      --readers_;
      throw StateError(std::string("[") + what + "] the network is being fitted by another thread: wait for it, or use a copy");
    }
  }
  void leave_reader() { --readers_; }
  // Goes on with the weights as the fork found them.
  void accept_interrupted() {
    notice_fork();
    interrupted_ = false;
  }

 private:
  static std::size_t me() { return std::hash<std::thread::id>{}(std::this_thread::get_id()) | 1; }
  // After a fork only the forking thread goes on in the child: readers and a writer of other threads will never leave.
  void notice_fork() {
    const unsigned now = fork_generation();
    if (generation_ == now) return;
    while (renewing_.test_and_set()) std::this_thread::yield();  // two threads of the child may come first
    if (generation_ == now) {
      renewing_.clear();
      return;
    }
    readers_ = 0;
    const std::size_t writer = writer_.load();
    if (writer != 0 && writer != me()) {
      writer_ = 0;
      interrupted_ = true;
    }
    generation_ = now;
    renewing_.clear();
  }
  void renew(const char* what) {
    notice_fork();
    if (interrupted_)
      throw StateError(std::string("[") + what +
                       "] the network was being fitted when this process was forked: its weights may be half a step. "
                       "Load it from a file, or accept them with net.reset_training()");
  }

  std::atomic<std::size_t> writer_{0};
  std::atomic<int> readers_{0};
  std::atomic<bool> interrupted_{false};
  std::atomic_flag renewing_;
  std::atomic<unsigned> generation_{fork_generation()};
};

class Reading {
 public:
  Reading(Gate& gate, const char* what) : gate_(gate) { gate.enter_reader(what); }
  ~Reading() { gate_.leave_reader(); }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

 private:
  Gate& gate_;
};
class Writing {
 public:
  Writing(Gate& gate, const char* what) : gate_(gate) { gate.enter_writer(what); }
  ~Writing() { gate_.leave_writer(); }
  Writing(const Writing&) = delete;
  Writing& operator=(const Writing&) = delete;

 private:
  Gate& gate_;
};

}  // namespace chainrule
