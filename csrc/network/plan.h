// SPDX-License-Identifier: MIT
// What is computed in which order into which memory, decided once for (graph, losses, purpose). docs/architecture.md, "The plan", has the rules.
#pragma once
#include <string>
#include <vector>

#include "network/graph.h"
#include "network/losses.h"

namespace chainrule {

struct Mode {
  std::vector<LossKind> losses;  // one an output, or empty; their weights and parameters are no part of the plan
  bool gradients = false;        // backward follows
  bool training = false;         // dropout is active
  bool keep = false;             // every z, a and delta stays readable to the end
  bool input_gradients = false;  // dL/dx is wanted
  bool parameter_gradients = true;
  bool late = false;         // dW follows when every delta is known: x and delta of the layers with weights live to the end
  std::vector<char> sparse;  // by input: its rows come sparse (Feed::sparse); empty: none
  bool fold = false;         // without gradients: an affine layer goes into the W and b of the layer before it
  int target = -1;           // compute this value instead of the network's outputs

  bool operator==(const Mode&) const = default;
};

// Memory of one value, n samples of `shape`; live from step `first` to `last` (forward steps 0 .. S-1, losses S, backward of step s at 2 S - s).
struct Buffer {
  Shape shape;
  int first, last;
};

struct Step {
  int op;               // the layer that runs
  int value;            // the value it makes, after the fused activation
  std::vector<int> in;  // values, aliases resolved
  std::vector<Shape> in_shapes;
  int sparse = -1;     // the input whose rows come sparse instead of in[0]'s buffer
  int activation = 0;  // fused function (0: identity)
  double parameter = 0;
  Index bias = -1;       // offset of b in the layer's parameters: added together with the activation
  int folded = -1;       // the affine op whose scale and shift are in this step's own W and b
  Index folded_at = -1;  // where those lie among the plan's
  Index shared = -1;     // offset of what `combine` leaves (Layer::couples_rows); -1: rows are independent
  bool grad = false;     // has a backward
  bool weights = false;  // has a gradient of its own parameters
  Accum dw = Accum::Overwrite;
  std::vector<int> wants;     // by input: 1 if dx is computed
  std::vector<Accum> dx;      // by input
  std::vector<int> finishes;  // by input: 1 if this was the last writer: g' of the value's own fused activation follows
};

struct ValuePlan {
  int root;                       // the value whose memory this is
  int step = -1;                  // that makes it (-1: an input)
  int z = -1, a = -1, grad = -1;  // buffers of the root
  bool needs_grad = false;
};

struct LossPlan {
  LossKind kind;
  int value;    // it reads (root)
  bool logits;  // reads z: the canonical pair
  Shape shape;  // of the output
  Accum dx = Accum::Overwrite;
  bool finishes = false;
};

// Multiply-adds from which on a second thread brings more than it costs: about 10 us.
constexpr double two_threads = 4e5;

class Plan {
 public:
  Plan(const Graph& graph, const Mode& mode);

  const Graph& graph;
  Mode mode;
  std::vector<Step> steps;
  std::vector<ValuePlan> values;
  std::vector<Buffer> buffers;
  std::vector<LossPlan> losses;
  std::vector<int> input_buffers;
  std::vector<int> outputs;  // values
  Index folded = 0;          // numbers of folded W and b
  Index shared = 0;          // numbers that layers which couple rows leave for them all
  bool whole_batch = false;  // a loss or a layer sees all rows at once
  bool symbolic = false;

  bool sparse(std::size_t input) const { return input < mode.sparse.size() && mode.sparse[input]; }

  // Offsets of the buffers, in elements, for `n` samples and that `time`; `total` is their end.
  std::vector<Index> layout(Index n, Index time, Index& total) const;

  // The chunk plan: a function of (network, rows of the batch) alone (contract 9).
  double work_per_sample(Index time) const;  // multiply-adds of one forward pass
  bool by_chunks(Index n, Index time) const;
  bool may_step(Index n, Index time) const;  // of a late plan: whether each layer can take its step itself
  Index chunk_rows(Index n, Index time) const;
  Index slots(Index n, Index time) const;
  // Whether the gradient of n samples may go straight into the velocity (contract 8): one slot, no layer with weights used twice, below 4e9 flop.
  bool may_be_late(Index n, Index time) const;

 private:
  double work1_ = 0;  // work_per_sample(1)
  Index rows1_ = 1;   // matrix rows a sample, time 1
  Index rows_per_sample(Index time) const;
  bool images(Index time) const;
  Index numbers(Index time) const;
  int new_buffer(const Shape& shape, int first);
  void use(int buffer, int time);
  void plan_backward();
};

}  // namespace chainrule
