// SPDX-License-Identifier: MIT
// One optimizer step, one pass: while a run of 1024 parameters is in the first-level cache its gradient is summed and penalised, the rule applied
// and w looked at. Where the gradient is one plain slot the rule reads it where it lies.
#include "kernels/cpu/parts.h"
#include "math/updates.h"

namespace chainrule::CR_ISA {

namespace {

template <class Rule, class T>
CR_FN BitsOf<T> apply(const Rule& rule, T* __restrict w, const T* __restrict g, T* __restrict m, T* __restrict v, Index n) {
  BitsOf<T> overflow = 0;
  if constexpr (Rule::light) {
#pragma GCC unroll 2
    for (Index j = 0; j < n; ++j) rule(w, g, m, v, j, overflow);
  } else {
    for (Index j = 0; j < n; ++j) rule(w, g, m, v, j, overflow);
  }
  return overflow;
}

// sum of the slots, clipped
template <class T>
void gather(T* __restrict out, const UpdateArgs<T>& q, Index i, Index n) {
  const T *g = q.g + i, *second = g + (q.slots > 1 ? q.stride : 0);
  if (q.slots > 1)
#pragma GCC unroll 4
    for (Index j = 0; j < n; ++j) out[j] = g[j] + second[j];
  else
    for (Index j = 0; j < n; ++j) out[j] = g[j];
  for (Index c = 2; c < q.slots; ++c) {
    const T* __restrict more = g + c * q.stride;
    for (Index j = 0; j < n; ++j) out[j] += more[j];
  }
  if (q.clip != 1) {
    const T clip = T(q.clip);
    for (Index j = 0; j < n; ++j) out[j] *= clip;
  }
}

// out = g + l2 w + l1 sign(w), sign(0) = 0; out == g allowed
template <class T>
void penalise(T* out, const T* g, const T* w, Index n, T l1, T l2) {
  if (l1 == T(0)) {
    CR_VECTOR_LOOP
    for (Index j = 0; j < n; ++j) out[j] = g[j] + l2 * w[j];
  } else {
    CR_VECTOR_LOOP
    for (Index j = 0; j < n; ++j) out[j] = g[j] + penalty_gradient(w[j], l1, l2);
  }
}

template <class T>
void soft_threshold_all(T* w, Index n, T threshold) {
  for (Index j = 0; j < n; ++j) w[j] = soft_threshold(w[j], threshold);
}

template <class T, class Rule>
UpdateSums update(const UpdateArgs<T>& q, const Rule rule) {
  const bool penalty = q.l1 != 0 || q.l2 != 0, plain = q.slots == 1 && q.clip == 1;
  T buffer[run];
  UpdateSums sums{0, 0, true};
  BitsOf<T> overflow = 0;
  for (Index i = 0; i < q.n; i += run) {
    const Index n = smaller(run, q.n - i);
    T* w = q.w + i;
    const T* g = plain ? q.g + i : buffer;
    if (!plain) gather(buffer, q, i, n);
    if (penalty) {
      sums.sum_abs += static_cast<double>(sum_of(w, n, [](auto x) { return x < 0 ? -x : x; }));
      sums.sum_square += static_cast<double>(sum_of(w, n, [](auto x) { return x * x; }));
      penalise(buffer, g, w, n, T(q.l1), T(q.l2));
      g = buffer;
    }
    overflow |= apply(rule, w, g, q.m ? q.m + i : nullptr, q.v ? q.v + i : nullptr, n);
    if (q.threshold > 0) soft_threshold_all(w, n, T(q.threshold));
  }
  sums.finite = overflow == 0;
  return sums;
}

// The products have written v = mu v - alpha dW: v <- v - alpha (l2 w + l1 sign(w)), w <- w + v
template <class T>
UpdateSums finish(const UpdateArgs<T>& q) {
  const bool penalty = q.l1 != 0 || q.l2 != 0;
  const T alpha = T(q.alpha);
  T buffer[run];
  UpdateSums sums{0, 0, true};
  BitsOf<T> overflow = 0;
  for (Index i = 0; i < q.n; i += run) {
    const Index n = smaller(run, q.n - i);
    T* __restrict w = q.w + i;
    T* __restrict v = q.v + i;
    if (penalty) {
      sums.sum_abs += static_cast<double>(sum_of(w, n, [](auto x) { return x < 0 ? -x : x; }));
      sums.sum_square += static_cast<double>(sum_of(w, n, [](auto x) { return x * x; }));
      for (Index j = 0; j < n; ++j) buffer[j] = T(0);
      penalise(buffer, buffer, w, n, T(q.l1), T(q.l2));
      for (Index j = 0; j < n; ++j) v[j] -= alpha * buffer[j];
    }
#pragma GCC unroll 4
    for (Index j = 0; j < n; ++j) {
      w[j] += v[j];
      overflow |= bits_unless_finite(w[j]);
    }
    if (q.threshold > 0) soft_threshold_all(w, n, T(q.threshold));
  }
  sums.finite = overflow == 0;
  return sums;
}

}  // namespace

template <class T>
UpdateSums sgd(const UpdateArgs<T>& q) {
  if (!q.g) return q.v ? finish(q) : UpdateSums{0, 0, all_finite(q.w, q.n)};
  if (!q.v) return update(q, Sgd<T, Momentum::None>(q));
  return q.nesterov ? update(q, Sgd<T, Momentum::Nesterov>(q)) : update(q, Sgd<T, Momentum::Plain>(q));
}
template <class T>
UpdateSums rmsprop(const UpdateArgs<T>& q) {
  return update(q, RmsProp<T>(q));
}
template <class T>
UpdateSums adam(const UpdateArgs<T>& q) {
  return update(q, Adam<T>(q));
}

#define CR_DEFINE(T)                                 \
  template UpdateSums sgd(const UpdateArgs<T>&);     \
  template UpdateSums rmsprop(const UpdateArgs<T>&); \
  template UpdateSums adam(const UpdateArgs<T>&);
CR_DEFINE(float)
CR_DEFINE(double)

}  // namespace chainrule::CR_ISA
