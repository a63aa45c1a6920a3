// SPDX-License-Identifier: MIT
// Walks a plan: by chunks (a chunk of rows through all steps) or by layers (a step over all rows, cut into tiles).
#pragma once
#include <vector>

#include "network/steps.h"
#include "tensor/parallel.h"

namespace chainrule {

struct Totals {
  double loss = 0;           // sum_j weight_j sum_i s_i L_i / sum_i s_i
  bool finite = true;        // loss and every delta
  std::vector<double> hits;  // by output: sum of s_i over rows whose largest entry is the target's (evaluate)
};

template <class T>
class Executor {
 public:
  // Another library may have set the BLAS to several threads since the last call: its bits would be others.
  Executor(const Plan& plan, const Job<T>& job) : steps_(plan, job), plan_(steps_.plan), job_(steps_.job), k_(steps_.k) { blas_assert_sequential(); }

  // Forward and, if the plan has gradients, backward. `slots` holds plan.slots(n) gradients one after the other; by layers there is one.
  // `spaces` has at least one workspace a thread (by chunks), or one. Throws Interrupted, or returns finite = false, with nothing promised about the slots.
  Totals compute(std::vector<Workspace<T>*>& spaces, T* slots, Index stride);

  // The commit's half of a late plan, after compute: keep `into` + scale dW, of every layer, in the workspace that compute had. Is not stopped.
  void late_gradients(Workspace<T>& space, Into<T> into);

  // The commit's half of a plan with layers that couple rows, after compute or backward_all: what they learn from the batch, into a block of state.
  void learn(Workspace<T>& space, T* state) const;

  // Forward only; output j goes to outputs[j] (n, ...).
  void predict(std::vector<Workspace<T>*>& spaces, T* const* outputs);

  // The user's own loop: forward keeps all in `space`; backward takes da (or dz: the derivative at the last activation's input) by output.
  void forward_all(Workspace<T>& space) { forward_all(space, 0, job_.n); }
  void forward_all(Workspace<T>& space, Index first, Index n);  // of rows [first, first + n) alone
  void backward_all(Workspace<T>& space, const std::vector<const T*>& da, bool dz, T* gradients);

  // After compute by layers with `keep`: the parameters' gradient of sample i alone.
  void sample_gradient(Workspace<T>& space, Index sample, T* gradient);

 private:
  struct Tile {
    Index begin, end, column_begin, column_end;
  };

  bool at_output(const Step& step) const;
  bool whole_gradient(const Step& step, Workspace<T>& w, Rows rows, Into<T> into) const;
  bool couple(const Step& step, Workspace<T>& w, Rows rows, bool backward, Into<T> into) const;
  bool gradient_by_rows(const Step& step, Workspace<T>& w, Rows rows, Into<T> into) const;
  bool forward_chunk(Workspace<T>& w, Rows rows, int worker) const;  // false: given up
  void forward_layers(Workspace<T>& w, Rows rows);

  enum class Phase { Forward, Backward, Gradient };
  std::vector<Tile> tiles(const Step& step, Phase phase, Index n, const Workspace<T>& w) const;
  template <class F>
  void run(const std::vector<Tile>& tiles, double work, F&& f) const;
  // At most `most` threads: those that have a workspace. set_num_threads may be called by another thread at any moment.
  template <class F>
  void parallel(Index tasks, double work, F&& f, std::size_t most = most_threads) const;

  Totals by_chunks(std::vector<Workspace<T>*>& spaces, T* slots, Index stride);
  Totals by_layers(Workspace<T>& space, T* gradients, Index first, Index n, Accum accum);
  void backward_steps(Workspace<T>& space, Rows rows, T* gradients, Accum accum, bool& finite, bool from_dz);

  const Steps<T> steps_;
  const Plan& plan_;
  const Job<T>& job_;
  const Kernels<T>& k_;
};

}  // namespace chainrule
