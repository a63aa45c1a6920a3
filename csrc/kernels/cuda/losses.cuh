// SPDX-License-Identifier: MIT
// Where a loss's value goes.
#pragma once
#include "kernels/cuda/parts.cuh"

namespace chainrule::cuda {

struct AddLoss {
  Outcome* outcome;
  double scale;
  __device__ __forceinline__ void operator()(const double* sum) const {
    const double value = scale * sum[0];
    outcome->loss += value;
    if (bits_unless_finite(value)) outcome->fault |= LossFault;
  }
};

// run(to) launches the kernels of a loss; its value is left in q.outcome, or returned after waiting
template <class T, class Run>
double loss_value(const LossArgs<T>& q, Run run) {
  if (q.outcome) {
    if (q.rows * q.cols > 0) run(AddLoss{q.outcome, q.scale});
    return 0;
  }
  if (q.rows * q.cols == 0) return 0;
  run(AddLoss{fresh_outcome(), 1});
  return read_outcome().loss;
}

}  // namespace chainrule::cuda
