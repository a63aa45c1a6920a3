// SPDX-License-Identifier: MIT
// softmax over rows, and softmax with cross-entropy. rows.cuh says which threads share a row.
#include "kernels/cuda/losses.cuh"
#include "kernels/cuda/rows.cuh"

namespace chainrule::cuda {

namespace {

// a_m = exp(z_m - max z) / sum_l exp(z_l - max z). 2 numbers an element, in and out, bound it.
template <class T>
struct SoftmaxForward : Row<T> {
  T* a;
  const T* z;
  Index cols;
  template <int K, class Group>
  __device__ double run(const Group& group, Index i, bool inside) const {
    const T* zi = z + i * cols;
    T* ai = a + i * cols;
    const Index n = inside ? cols : 0;
    T t[K > 0 ? K : 1], largest = -infinity<T>(), sum = 0;
    columns<K>(group, n, [&](Index j, int k) {
      t[k] = zi[j];
      largest = Largest{}(largest, t[k]);
    });
    largest = group.largest(largest);
    columns<K>(group, n, [&](Index j, int k) { sum += t[k] = exp_bounded((K > 0 ? t[k] : zi[j]) - largest); });
    const T factor = T(1) / group.sum(sum);
    columns<K>(group, n, [&](Index j, int k) { ai[j] = (K > 0 ? t[k] : exp_bounded(zi[j] - largest)) * factor; });
    return 0;
  }
};

// dz_m (+)= a_m (da_m - sum_l a_l da_l). 3 numbers an element bound it, 4 where it adds; the second reading comes out of the first-level cache, as two
// rows in registers would not fit.
template <class T>
struct SoftmaxBackward : Row<T> {
  T* dz;
  const T *da, *a;
  Index cols;
  Accum accum;
  template <int K, class Group>
  __device__ double run(const Group& group, Index i, bool inside) const {
    const T *ai = a + i * cols, *dai = da + i * cols;
    const Index n = inside ? cols : 0;
    T mean = 0;
    columns<0>(group, n, [&](Index j, int) { mean += ai[j] * dai[j]; });
    mean = group.sum(mean);
    columns<0>(group, n, [&](Index j, int) { store(dz + i * cols + j, Pack<T, 1>{{ai[j] * (dai[j] - mean)}}, accum); });
    return 0;
  }
};

// L = (sum_m y_m) log sum_l exp(t_l) - sum_m y_m t_m,  t = z - max z, kept finite so that y = 0 makes y t = 0;  dz = (sum_m y_m) softmax(z) - y.
// z in and dz out, with probabilities y in too: 8 or 12 bytes of float an element bound it; one exp an element hides behind them.
template <class T>
struct SoftmaxCrossEntropy : Row<T> {
  LossArgs<T> q;
  template <int K, class Group>
  __device__ double run(const Group& group, Index i, bool inside) const {
    const T *z = q.x + i * q.cols, *y = q.y ? q.y + i * q.cols : nullptr;
    const Index n = inside ? q.cols : 0, label = inside && !y ? Index(q.labels[i]) : -1;
    const T s = inside && q.s ? q.s[i] : T(1);
    T t[K > 0 ? K : 1], largest = -infinity<T>(), sum = 0, linear = 0, mass = 0;
    columns<K>(group, n, [&](Index j, int k) {
      t[k] = z[j];
      largest = Largest{}(largest, t[k]);
    });
    largest = group.largest(largest);
    const auto shifted = [&](T v) { return at_least(v - largest, -Real<T>::largest); };
    if (!y) linear = inside ? z[label] - largest : T(0), mass = T(1);
    columns<K>(group, n, [&](Index j, int k) {
      const T v = shifted(K > 0 ? t[k] : z[j]);
      if (y) linear += y[j] * v, mass += y[j];
      sum += t[k] = exp_bounded(v);
    });
    sum = group.sum(sum);
    if (y) linear = group.sum(linear), mass = group.sum(mass);
    if (q.dx) {
      const T factor = T(q.scale) * s, coefficient = factor * (mass / sum);
      columns<K>(group, n, [&](Index j, int k) {
        const T p = K > 0 ? t[k] : exp_bounded(shifted(z[j])), target = y ? y[j] : T(j == label);
        store(q.dx + i * q.cols + j, Pack<T, 1>{{factor == T(0) ? T(0) : coefficient * p - factor * target}}, q.accum);
      });
    }
    return inside && group.lane == 0 && s != T(0) ? static_cast<double>(s) * static_cast<double>(mass * log(sum) - linear) : 0.0;
  }
};

}  // namespace

template <class T>
void softmax_forward(T* a, const T* z, Index rows, Index cols) {
  if (rows * cols > 0) each_row(rows, cols, SoftmaxForward<T>{{}, a, z, cols}, Nowhere{});
}
template <class T>
void softmax_backward(T* dz, const T* da, const T* a, Index rows, Index cols, Accum accum) {
  if (rows * cols > 0) each_row(rows, cols, SoftmaxBackward<T>{{}, dz, da, a, cols, accum}, Nowhere{});
}
template <class T>
double softmax_cross_entropy(const LossArgs<T>& q) {
  return loss_value(q, [&](const AddLoss& to) { each_row(q.rows, q.cols, SoftmaxCrossEntropy<T>{{}, q}, to); });
}

#define CR_DEFINE(T)                                                              \
  template void softmax_forward(T*, const T*, Index, Index);                      \
  template void softmax_backward(T*, const T*, const T*, Index, Index, Accum);    \
  template double softmax_cross_entropy(const LossArgs<T>&);
CR_DEFINE(float)
CR_DEFINE(double)

}  // namespace chainrule::cuda
