// SPDX-License-Identifier: MIT
// Accuracy, counted where the loss is: sum of s_i over the rows that are right.
#pragma once
#include "network/plan.h"

namespace chainrule {

// Cross-entropy: the largest x_m is the target's (a tie goes to the first). Binary: the share of outputs on the target's side of 1/2 (of 0 for logits).
template <class T>
double count_hits(const LossArgs<T>& l, LossKind kind, bool logits) {
  double sum = 0;
  const auto largest = [&](const T* row) {
    Index best = 0;
    for (Index m = 1; m < l.cols; ++m)
      if (row[m] > row[best]) best = m;
    return best;
  };
  for (Index i = 0; i < l.rows; ++i) {
    const T* x = l.x + i * l.cols;
    double hit = 0;
    if (kind == LossKind::CrossEntropy) {
      hit = largest(x) == (l.labels ? static_cast<Index>(l.labels[i]) : largest(l.y + i * l.cols));
    } else if (kind == LossKind::BinaryCrossEntropy) {
      for (Index m = 0; m < l.cols; ++m) {
        hit += (x[m] > (logits ? T(0) : T(0.5))) == (l.y[i * l.cols + m] > T(0.5));  // this loss takes no labels
      }
      hit /= static_cast<double>(l.cols);
    }
    sum += (l.s ? static_cast<double>(l.s[i]) : 1.0) * hit;
  }
  return sum;
}

}  // namespace chainrule
