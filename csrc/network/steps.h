// SPDX-License-Identifier: MIT
// One step of a plan on a range of samples and columns; the losses on a range of samples. In which order, and in which thread: executor.h.
#pragma once
#include <vector>

#include "network/feed.h"
#include "network/plan.h"
#include "tensor/arena.h"

namespace chainrule {

// Memory of one pass over at most `capacity` samples. Grows when asked for more, never shrinks.
template <class T>
class Workspace {
 public:
  void fit(const Plan& plan, Index capacity, Index time);

  std::vector<T*> buffer;             // by buffer of the plan: its first sample
  std::vector<const T*> input;        // by input: where its samples are (a buffer, or the user's own memory)
  std::vector<SparseRows<T>> sparse;  // by input: its samples where they come sparse
  // Targets and weights of the loss that is being computed. Tasks of a batch may be at different losses: each sample has room for the largest.
  std::vector<std::int32_t> labels;
  std::vector<T> y, s;
  Index target_rows = 0, target_size = 0;  // of a sample, the most of any loss
  std::vector<T> scratch, shared;          // shared: of the plan's layers that couple rows
  T* spare = nullptr;                      // Call::spare
  Index elements() const { return memory_.size(); }
  const Plan* plan() const { return plan_; }

 private:
  Block<T> memory_{0};
  const Plan* plan_ = nullptr;
  Index capacity_ = -1, time_ = -1;
};

// What a computation needs beside the plan: the blocks, the batch, the random numbers' step.
template <class T>
struct Job {
  const T* parameters = nullptr;
  const T* state = nullptr;
  const Feed<T>* feed = nullptr;
  Index n = 0, time = 1;  // samples of the batch
  std::uint64_t seed = 0;
  std::uint32_t step = 0;
  const LossChoice* losses = nullptr;  // by output: weights and parameters; null where every loss is External or Custom: weights of 1
  Cancel* cancel = nullptr;
  std::vector<Index>* chunks_by_thread = nullptr;
  bool count_hits = false;
  Accum gradients = Accum::Overwrite;  // by layers: whether dW is added to what the block holds

  double loss_weight(std::size_t output) const { return losses ? losses[output].weight : 1; }
};

// Samples [begin, end) of a workspace, whose first sample is `first` of the batch.
struct Rows {
  Index begin, end, first;
};

// The block of gradients, and what is done with what it holds.
template <class T>
struct Into {
  T* block;
  T scale, keep;
  bool alone = false;                   // `block` holds the gradient of this layer and no other
  T* step = nullptr;                    // Call::step, of all parameters
  std::atomic<bool>* finite = nullptr;  // Call::finite
};

template <class T>
class Steps {
 public:
  Steps(const Plan& plan, const Job<T>& job, const Kernels<T>& table = kernels<T>()) : plan(plan), job(job), k(table) {
    if (plan.folded) fold();
  }

  void load_inputs(Workspace<T>& w, Rows rows) const;
  void load_sparse_inputs(Workspace<T>& w, Rows rows) const;
  void forward(const Step& step, Workspace<T>& w, Rows rows, Index c0, Index c1) const;
  void backward(const Step& step, Workspace<T>& w, Rows rows, Index c0, Index c1) const;
  // Whether delta is finite in these rows and units: one that is not must not reach W.
  bool finite(const Step& step, Workspace<T>& w, Rows rows, Index c0, Index c1) const;
  // Units [c0, c1), inputs [i0, i1): into = keep into + scale dW
  void gradient(const Step& step, Workspace<T>& w, Rows rows, Index c0, Index c1, Index i0, Index i1, Into<T> into) const;
  // Of a step that couples rows: Layer::reduce of these rows; Layer::combine, which adds dW `into` a block on the way back; Layer::learn
  void reduce(const Step& step, Workspace<T>& w, Rows rows, bool backward, double* part) const;
  void combine(const Step& step, Workspace<T>& w, Rows rows, bool backward, const std::vector<double>& parts, Index count, Into<T> into) const;
  void learn(const Step& step, Workspace<T>& w, T* state) const;
  // g' of the fused activation that made `value`: turns its da into delta
  void finish(int value, Workspace<T>& w, Index begin, Index end, Index rows_per_sample, Index ld, Index c0, Index c1) const;
  LossArgs<T> loss_args(std::size_t output, Workspace<T>& w, Rows rows) const;
  // Value of the losses of these rows; writes their derivatives. Adds to *hits by output if it is not null.
  double losses(Workspace<T>& w, Rows rows, std::vector<double>* hits) const;
  double custom_losses(Workspace<T>& w) const;            // those that see the whole batch
  const T* a_of(int value, const Workspace<T>& w) const;  // its first sample in the workspace

  const Plan& plan;
  const Job<T> job;
  const Kernels<T>& k;

 private:
  void fold();
  std::vector<T> folded_;  // W and b of the steps that have an affine layer in them: of this call alone (contract 2)
  Call<T> call(const Step& step, Workspace<T>& w, Rows rows, const T** x, T** dx) const;
};

}  // namespace chainrule
