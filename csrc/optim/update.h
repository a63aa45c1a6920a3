// SPDX-License-Identifier: MIT
// The commit: one pass over the flat blocks, in ranges that depend on the tensors alone, with the penalty inside (contracts 5 and 6).
#pragma once
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace chainrule {

// lambda of |w|, of 1/2 w^2, and of |w| handled by soft-thresholding after the step.
struct Lambdas {
  double l1 = 0, l2 = 0, proximal = 0;

  bool operator==(const Lambdas&) const = default;
};

// A tensor of the parameter block as the optimizer sees it.
struct Segment {
  Index offset, size;
  Lambdas plain, per_sample;  // per_sample is divided by the batch's sum of weights
  std::string layer;          // for messages

  Lambdas at(double sum_of_weights) const {
    if (per_sample == Lambdas{}) return plain;
    return {plain.l1 + per_sample.l1 / sum_of_weights, plain.l2 + per_sample.l2 / sum_of_weights,
            plain.proximal + per_sample.proximal / sum_of_weights};
  }
};

struct OptimizerSpec {
  std::string type = "sgd";  // sgd, rmsprop, adam, adamw
  double momentum = 0, rho = 0.9, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, lam = 0, clip_norm = 0;
  bool nesterov = false, eps_hat = false;

  bool adam() const { return type == "adam" || type == "adamw"; }
  int blocks() const { return type == "sgd" ? (momentum != 0 ? 1 : 0) : type == "rmsprop" ? 1 : 2; }
};

struct StepReport {
  double penalty = 0;                 // sum_j lam_j J_j(W) at W before the step
  const Segment* overflow = nullptr;  // W of this segment is not finite after the step, or its penalty was not before it
};

// The pass over the blocks, cut once for a fit: its tasks depend on the tensors and their penalties alone.
template <class T>
class Update {
 public:
  Update() = default;
  Update(const OptimizerSpec& optimizer, std::vector<Segment> segments);

  // w <- one step from gradients g (slots of `stride`; slot 0 is overwritten if clip_norm is set). m and v as OptimizerSpec::blocks() says, else null.
  // g null: UpdateArgs::g. t >= 1 counts this step; alpha is the schedule's value.
  StepReport operator()(T* w, T* g, Index slots, Index stride, T* m, T* v, double alpha, Index t, double sum_of_weights);
  // Whether g may be null: SGD whose gradient is used as it comes.
  bool takes_late_gradients() const;
  // Whether there is nothing to do beyond v = mu v - alpha dW, w += v.
  bool is_momentum_alone() const { return takes_late_gradients() && optimizer_.momentum != 0 && !penalised_; }
  // The first segment whose w or v is not finite, or null
  const Segment* overflowed(const T* w, const T* v) const;

 private:
  struct Task {
    std::size_t segment;  // the first that it touches
    Index begin, n;       // in the block
  };
  const Segment* overflowed(const Task& task, const T* w, const T* v) const;

  OptimizerSpec optimizer_;
  std::vector<Segment> segments_;
  std::vector<Task> tasks_;
  std::vector<double> value_, square_;
  std::vector<char> finite_;
  Index parameters_ = 0;
  bool penalised_ = false, adam_ = false;
  UpdateKernel<T> kernel_ = nullptr;
};

// What one step has in common for all parameters: the optimizer's numbers at time t >= 1, without pointers and penalties.
template <class T>
UpdateArgs<T> update_args(const OptimizerSpec& optimizer, double alpha, Index t);
template <class T>
UpdateKernel<T> update_kernel(const Kernels<T>& table, const OptimizerSpec& optimizer);

// g += l2 w + l1 sign(w); returns sum_j lam_j J_j(W), the proximal ones included in the value only.
template <class T>
double add_penalty(const std::vector<Segment>& segments, const T* w, T* g, double sum_of_weights, const Kernels<T>& table = kernels<T>());

}  // namespace chainrule
