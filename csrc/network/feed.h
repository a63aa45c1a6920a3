// SPDX-License-Identifier: MIT
// Where the rows of a batch come from, and who may stop the work. Implemented in train/ and in the bindings.
#pragma once
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>

#include "kernels/kernels.h"
#include "tensor/sparse.h"

namespace chainrule {

// Rows are counted within the batch. Called from several threads at once.
template <class T>
class Feed {
 public:
  virtual ~Feed() = default;
  // Rows [first, first + n) of input j: memory that holds them already, or `buffer` (n, size of a sample) after filling it.
  virtual const T* input(int j, Index first, Index n, T* buffer) const = 0;
  // By input: whether its rows may come sparse, which saves their dense buffer; empty: none.
  virtual std::vector<char> sparse() const { return {}; }
  virtual void sparse_input(int j, Index first, Index n, SparseRows<T>& rows) const { (void)j, (void)first, (void)n, (void)rows; }
  // Targets of output j, either as labels (rows,) or as values (rows, columns): sets one of the two pointers. Buffers are large enough.
  virtual void target(int j, Index first, Index n, std::int32_t* label_buffer, T* buffer, const std::int32_t*& labels, const T*& y) const {
    (void)j, (void)first, (void)n, (void)label_buffer, (void)buffer;
    labels = nullptr, y = nullptr;
  }
  // Weights (rows,) of output j, or null for 1.
  virtual const T* weights(int j, Index first, Index n, T* buffer) const { return (void)j, (void)first, (void)n, (void)buffer, nullptr; }
  // Sum over the batch's rows of output j.
  virtual double sum_of_weights(int j) const = 0;
  // LossKind::Custom: writes the objective's derivative at a (n, ...) to da, returns its value.
  virtual double custom_loss(int j, Index n, const T* a, T* da) const { return (void)j, (void)n, (void)a, (void)da, 0; }
};

// Rows that lie in memory one after the other: one input, no targets.
template <class T>
class RowsFeed : public Feed<T> {
 public:
  RowsFeed(const T* rows, Index size) : rows_(rows), size_(size) {}
  const T* input(int, Index first, Index, T*) const override { return rows_ + first * size_; }
  double sum_of_weights(int) const override { return 0; }

 private:
  const T* rows_;
  Index size_;
};

// Work is given up between two tasks once `flag` is set. The thread that started the work asks `poll` about every 20 ms (Ctrl-C).
class Cancel {
 public:
  std::atomic<bool> flag{false};
  std::function<bool()> poll;

  // `work`: multiply-adds since the last call. The clock, too, takes its time: it is looked at after 1e5 of them, and after 100 calls, which may have
  // waited for rows of a mapped file.
  bool check(int worker, double work = clock_every) {
    if (worker == 0 && poll && (unseen_ += std::max(work, 0.01 * clock_every)) >= clock_every) {
      unseen_ = 0;
      const auto now = std::chrono::steady_clock::now();
      if (now - last_ > std::chrono::milliseconds(20)) {
        last_ = now;
        if (poll()) flag = true;
      }
    }
    return flag.load(std::memory_order_relaxed);
  }

 private:
  static constexpr double clock_every = 1e5;
  double unseen_ = 0;
  std::chrono::steady_clock::time_point last_{};
};

}  // namespace chainrule
