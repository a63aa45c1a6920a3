// SPDX-License-Identifier: MIT
// The losses that are a sum over elements, one kernel for all of csrc/math/losses.h: value and gradient in one pass. (With softmax: softmax.cu.)
#include "kernels/cuda/losses.cuh"
#include "math/losses.h"

namespace chainrule::cuda {

namespace {

constexpr Index most_levels = 256;  // they travel with the launch, which takes 4 KB
struct Levels {
  double p[most_levels];
};
struct NoLevels {};

// x and y in, dx out: 12 bytes of float an element bound it; exp and log hide behind them. s, labels and the levels come out of the caches.
template <class Loss, class T>
struct LossOp {
  const T* x;
  T* dx;
  Accum accum;
  const T* y;
  const std::int32_t* labels;
  const T* s;
  T scale;
  Index cols, levels;
  std::conditional_t<Loss::has_parameter, Levels, NoLevels> level;

  template <int N>
  __device__ void operator()(Width<N>, Index e, double* sum) const {
    const bool rowwise = s || labels || levels > 1;
    const Pack<T, N> v = load<N>(x + e);
    Pack<T, N> t, g;
    if (!labels && levels == 1) t = load<N>(y + e);
    T value = 0;
    CR_UNROLL(4)
    for (int j = 0; j < N; ++j) {
      T p = 0, factor = scale, weight = 1;
      Position at{0, 0};
      if (rowwise) at = position_of(e + j, cols);
      if constexpr (Loss::has_parameter) p = T(level.p[levels == 1 ? 0 : at.col % levels]);
      if (labels)
        t.v[j] = T(labels[at.row] == at.col);
      else if (levels > 1)
        t.v[j] = y[at.row * (cols / levels) + at.col / levels];
      if (s) weight = s[at.row], factor *= weight;
      const T L = Loss::value(v.v[j], t.v[j], p);
      if (s)
        sum[0] += weight == T(0) ? 0.0 : static_cast<double>(weight) * static_cast<double>(L);
      else
        value += L;
      g.v[j] = factor == T(0) ? T(0) : factor * Loss::gradient(v.v[j], t.v[j], p);
    }
    sum[0] += static_cast<double>(value);
    if (dx) store(dx + e, g, accum);
  }
};

template <class Loss, class T>
double elementwise(const LossArgs<T>& q) {
  if (q.levels > most_levels) {
    current().fail(static_cast<int>(cudaErrorInvalidValue), "a loss has %lld parameters: expected at most %lld on a CUDA device",
                   static_cast<long long>(q.levels), static_cast<long long>(most_levels));
    return 0;
  }
  LossOp<Loss, T> f{q.x, q.dx, q.accum, q.y, q.y ? nullptr : q.labels, q.s, T(q.scale), q.cols, Loss::has_parameter ? q.levels : 1, {}};
  if constexpr (Loss::has_parameter)
    for (Index i = 0; i < q.levels; ++i) f.level.p[i] = q.p[i];
  const Span span = f.levels > 1 ? Span{q.rows * q.cols, 0, 0, width<T>} : span_of<T>(q.rows * q.cols, q.x, q.dx, q.y);
  return loss_value(q, [&](const AddLoss& to) { each_sum<T, 1>(span, f, to); });
}

// One row a thread, whose columns it reads one after the other; once an epoch at most, so that nobody waits for it.
template <class T>
struct CountHits {
  LossArgs<T> q;
  bool by_row;
  T threshold;
  __device__ Index largest(const T* row) const {
    Index best = 0;
    for (Index m = 1; m < q.cols; ++m)
      if (row[m] > row[best]) best = m;
    return best;
  }
  template <int N>
  __device__ void operator()(Width<N>, Index i, double* sum) const {
    const T* x = q.x + i * q.cols;
    double hit = 0;
    if (by_row) {
      hit = largest(x) == (q.labels ? Index(q.labels[i]) : largest(q.y + i * q.cols));
    } else {
      for (Index m = 0; m < q.cols; ++m) hit += (x[m] > threshold) == (q.y[i * q.cols + m] > T(0.5));
      hit /= static_cast<double>(q.cols);
    }
    sum[0] += (q.s ? static_cast<double>(q.s[i]) : 1.0) * hit;
  }
};
struct AddTo {
  double* total;
  __device__ __forceinline__ void operator()(const double* sum) const { *total += sum[0]; }
};

}  // namespace

template <class T>
double cross_entropy(const LossArgs<T>& q) {
  return elementwise<CrossEntropy>(q);
}
template <class T>
double sigmoid_binary_cross_entropy(const LossArgs<T>& q) {
  return elementwise<SigmoidBinaryCrossEntropy>(q);
}
template <class T>
double binary_cross_entropy(const LossArgs<T>& q) {
  return elementwise<BinaryCrossEntropy>(q);
}
template <class T>
double squared_error(const LossArgs<T>& q) {
  return elementwise<SquaredError>(q);
}
template <class T>
double absolute_error(const LossArgs<T>& q) {
  return elementwise<AbsoluteError>(q);
}
template <class T>
double huber(const LossArgs<T>& q) {
  return elementwise<Huber>(q);
}
template <class T>
double quantile(const LossArgs<T>& q) {
  return elementwise<Quantile>(q);
}
template <class T>
double exp_poisson(const LossArgs<T>& q) {
  return elementwise<ExpPoisson>(q);
}
template <class T>
double poisson(const LossArgs<T>& q) {
  return elementwise<Poisson>(q);
}
template <class T>
void count_hits(double* hits, const LossArgs<T>& q, bool by_row, T threshold) {
  if (q.rows * q.cols > 0) each_sum<T, 1>(Span{q.rows, 0, 0, width<T>}, CountHits<T>{q, by_row, threshold}, AddTo{hits});
}

#define CR_DEFINE(T)                                                    \
  template double cross_entropy(const LossArgs<T>&);                    \
  template double sigmoid_binary_cross_entropy(const LossArgs<T>&);     \
  template double binary_cross_entropy(const LossArgs<T>&);             \
  template double squared_error(const LossArgs<T>&);                    \
  template double absolute_error(const LossArgs<T>&);                   \
  template double huber(const LossArgs<T>&);                            \
  template double quantile(const LossArgs<T>&);                         \
  template double exp_poisson(const LossArgs<T>&);                      \
  template double poisson(const LossArgs<T>&);                          \
  template void count_hits(double*, const LossArgs<T>&, bool, T);
CR_DEFINE(float)
CR_DEFINE(double)

}  // namespace chainrule::cuda
