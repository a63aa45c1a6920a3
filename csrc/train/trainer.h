// SPDX-License-Identifier: MIT
// Training: an epoch, one step, evaluation, prediction, and what Standardize learns. Each is one call without the interpreter.
#pragma once
#include <string>
#include <vector>

#include "network/network.h"
#include "optim/schedule.h"
#include "train/batch.h"

namespace chainrule {

// The loss, a delta or W left the finite numbers. W is that of the last committed step (`overflow`: of the start of the epoch).
struct Divergence : Error {
  Divergence(const std::string& message, Index epoch_, std::string layer_, double last_loss_)
      : Error(message), epoch(epoch_), layer(std::move(layer_)), last_loss(last_loss_) {}
  Index epoch;
  std::string layer;
  double last_loss;
};

struct FitSpec {
  std::vector<LossChoice> losses;
  OptimizerSpec optimizer;
  Schedule schedule;
  std::vector<Segment> segments;
  Index batch_size = 32;
  bool shuffle = true;
  std::vector<Augmentation> augment;  // by input; empty: none
};

struct EpochReport {
  double loss = 0;       // mean of the batches' objectives, each as it was before its step, weighted by the batches' weights
  double penalty = 0;    // the penalties' part of it
  bool stopped = false;  // by net.stop()
  std::vector<Index> chunks_by_thread;
};

template <class T>
class Trainer {
 public:
  Trainer(Network<T>& network, const FitSpec& spec);

  // One pass over `data`'s rows, or over `subset` of them (in its order where the spec does not shuffle). Throws Interrupted (nothing of the step in progress is kept), Divergence.
  EpochReport epoch(const Data<T>& data, const std::vector<Index>* subset, Cancel& cancel);
  // What epoch() begins with, for steps of one's own: keeps W in case it overflows, counts. Returns the epoch's number.
  Index begin_epoch();
  // One step on all rows of `data`; false if their weights sum to 0. `loss` is the objective before it.
  bool step(const Data<T>& data, Cancel& cancel, double& loss, double& weight);
  // optimizer.step(net): one step along the gradients that backward has summed, which are then cleared.
  void apply_gradients();

 private:
  // What a step of n samples needs, looked up once for all steps of that size.
  struct Prepared {
    Index n = -1, time = -1, slots = 1;
    const Plan* plan = nullptr;
    bool late = false, whole = false;  // whole: the products take the step too
    T* gradients = nullptr;
    std::optional<typename Network<T>::Spaces> spaces;
  };
  void prepare(const Feed<T>& feed, Index n, Index time);
  bool step(BatchFeed<T>& feed, Index n, Index time, Cancel& cancel, double& loss, double& weight, std::vector<Index>* chunks);
  StepReport commit(T* slots, Index count, double alpha, double sum_of_weights);
  StepReport late_commit(Executor<T>& executor, double alpha, double sum_of_weights);
  double alpha() const;
  void require_rows(Index n, Index time) const;  // ValueError where a layer needs more rows in a batch than n
  void keep();                                   // a copy of W and the layers' state, in case W overflows
  void restore();
  [[noreturn]] void diverged(const BatchFeed<T>& feed, Index n, Index time, double loss);

  Network<T>& net_;
  FitSpec spec_;
  double last_loss_, last_penalty_ = 0;
  Block<T> backup_{0}, state_backup_{0};
  Update<T> update_;
  Prepared prepared_;
};

struct Evaluation {
  double loss = 0;
  std::vector<double> accuracy;  // by output; NaN where the loss has none
};
template <class T>
Evaluation evaluate(Network<T>& net, const std::vector<LossChoice>& losses, const Data<T>& data, const std::vector<Index>* subset, Cancel& cancel);

// outputs[j]: (rows, size of output j)
template <class T>
void predict(Network<T>& net, const Feed<T>& feed, Index rows, Index time, T* const* outputs, Cancel& cancel, int target = -1);
template <class T>
void predict(Network<T>& net, const Data<T>& data, T* const* outputs, Cancel& cancel, int target = -1);

// Learns mean and scale of every Standardize layer that has not learned yet, in the order of the network, from the rows of `data` (or `subset`).
template <class T>
void adapt(Network<T>& net, const Data<T>& data, const std::vector<Index>* subset, Cancel& cancel);
// The same with values computed elsewhere: those of a node (rows, ...) into x
template <class T>
using ValuesOf = std::function<void(int value, const BatchFeed<T>& feed, Index rows, T* x)>;
template <class T>
void adapt(Network<T>& net, const Data<T>& data, const std::vector<Index>* subset, const ValuesOf<T>& values_of);

}  // namespace chainrule
