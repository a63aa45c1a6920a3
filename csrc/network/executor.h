// SPDX-License-Identifier: MIT
// Walks a plan: by chunks (a chunk of rows through all steps) or by layers (a step over all rows, cut into tiles).
#pragma once
#include <vector>

#include "network/feed.h"
#include "network/plan.h"
#include "tensor/arena.h"
#include "tensor/parallel.h"

namespace chainrule {

// Memory of one pass over at most `capacity` samples. Grows when asked for more, never shrinks.
template <class T>
class Workspace {
 public:
  void fit(const Plan& plan, Index capacity, Index time);

  std::vector<T*> buffer;           // by buffer of the plan: its first sample
  std::vector<const T*> input;      // by input: where its samples are (a buffer, or the user's own memory)
  std::vector<std::int32_t> labels;
  std::vector<T> y, s, scratch;
  Index elements() const { return memory_.size(); }
  const Plan* plan() const { return plan_; }

 private:
  Block<T> memory_{0};
  const Plan* plan_ = nullptr;
  Index capacity_ = -1, time_ = -1;
};

struct Totals {
  double loss = 0;           // sum_j weight_j sum_i s_i L_i / sum_i s_i
  bool finite = true;        // loss and every delta
  std::vector<double> hits;  // by output: sum of s_i over rows whose largest entry is the target's (evaluate)
};

// What a computation needs beside the plan: the blocks, the batch, the random numbers' step.
template <class T>
struct Job {
  const T* parameters = nullptr;
  const T* state = nullptr;
  const Feed<T>* feed = nullptr;
  Index n = 0, time = 1;       // samples of the batch
  std::uint64_t seed = 0;
  std::uint32_t step = 0;
  Cancel* cancel = nullptr;
  std::vector<Index>* chunks_by_thread = nullptr;
  bool count_hits = false;
  Accum gradients = Accum::Overwrite;  // by layers: whether dW is added to what the block holds
};

template <class T>
class Executor {
 public:
  // Another library may have set the BLAS to several threads since the last call: its bits would be others.
  Executor(const Plan& plan, const Job<T>& job) : plan_(plan), job_(job), k_(kernels<T>()) { blas_assert_sequential(); }

  // Forward and, if the plan has gradients, backward. `slots` holds plan.slots(n) gradients one after the other; by layers there is one.
  // `spaces` has at least one workspace a thread (by chunks), or one. Throws Interrupted, or returns finite = false, with nothing promised about the slots.
  Totals compute(std::vector<Workspace<T>*>& spaces, T* slots, Index stride);

  // Forward only; output j goes to outputs[j] (n, ...).
  void predict(std::vector<Workspace<T>*>& spaces, T* const* outputs);

  // The user's own loop: forward keeps all in `space`; backward takes da (or dz: the derivative at the last activation's input) by output.
  void forward_all(Workspace<T>& space) { forward_all(space, 0, job_.n); }
  void forward_all(Workspace<T>& space, Index first, Index n);  // of rows [first, first + n) alone
  void backward_all(Workspace<T>& space, const std::vector<const T*>& da, bool dz, T* gradients);

  // After compute by layers with `keep`: the parameters' gradient of sample i alone.
  void sample_gradient(Workspace<T>& space, Index sample, T* gradient);

 private:
  struct Rows {  // samples [begin, end) of the workspace, whose first sample is `first` of the batch
    Index begin, end, first;
  };
  struct Tile {
    Index begin, end, column_begin, column_end;
  };

  void load_inputs(Workspace<T>& w, Rows rows) const;
  void forward(const Step& step, Workspace<T>& w, Rows rows, Index c0, Index c1) const;
  void backward(const Step& step, Workspace<T>& w, Rows rows, Index c0, Index c1) const;
  bool gradient(const Step& step, Workspace<T>& w, Rows rows, Index c0, Index c1, T* dw, Accum accum) const;
  void finish(int value, Workspace<T>& w, Index begin, Index end, Index rows_per_sample, Index ld, Index c0, Index c1) const;
  double losses(Workspace<T>& w, Rows rows, std::vector<double>* hits) const;
  double custom_losses(Workspace<T>& w) const;
  bool at_output(const Step& step) const;
  void forward_chunk(Workspace<T>& w, Rows rows) const;
  void forward_layers(Workspace<T>& w, Rows rows);

  enum class Phase { Forward, Backward, Gradient };
  std::vector<Tile> tiles(const Step& step, Phase phase, Index n) const;
  template <class F>
  void run(const std::vector<Tile>& tiles, double work, F&& f) const;
  // At most `most` threads: those that have a workspace. set_num_threads may be called by another thread at any moment.
  template <class F>
  void parallel(Index tasks, double work, F&& f, std::size_t most = most_threads) const;

  Totals by_chunks(std::vector<Workspace<T>*>& spaces, T* slots, Index stride);
  Totals by_layers(Workspace<T>& space, T* gradients, Index first, Index n, Accum accum);
  void backward_steps(Workspace<T>& space, Rows rows, T* gradients, Accum accum, bool& finite, bool skip_output_softmax);

  const Plan& plan_;
  Job<T> job_;
  const Kernels<T>& k_;
};

}  // namespace chainrule
