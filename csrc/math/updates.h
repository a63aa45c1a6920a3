// SPDX-License-Identifier: MIT
// The optimizers' rules, each once: number j of w, with its gradient, its first moment m and its velocity or second moment v. kernels.h states them; a
// rule is made from its UpdateArgs. `w` alone or with `v` may become infinite: `overflow` collects bits_unless_finite.
#pragma once
#include "math/fastmath.h"

namespace chainrule::CR_ISA {

// v <- mu v - alpha g;  w <- w + v;  Nesterov: w <- w + mu v - alpha g with the new v;  mu = 0: w <- w - alpha g
enum class Momentum { None, Plain, Nesterov };
template <class T, Momentum momentum>
struct Sgd {
  static constexpr bool light = true;  // a loop over it is worth unrolling
  T alpha, mu, decay;
  template <class Args>
  explicit Sgd(const Args& q) : alpha(T(q.alpha)), mu(T(q.mu)), decay(T(q.decay)) {}
  CR_FN void operator()(T* w, const T* g, T*, T* v, std::int64_t j, BitsOf<T>& overflow) const {
    const T step = alpha * g[j];
    T change = -step;
    if constexpr (momentum != Momentum::None) {
      v[j] = mu * v[j] - step;
      change = momentum == Momentum::Nesterov ? mu * v[j] - step : v[j];
    }
    w[j] = (w[j] - decay * w[j]) + change;
    overflow |= bits_unless_finite(w[j]);
  }
};

// v holds mu v - alpha dW already, and g the penalty alone: v <- v - alpha g;  w <- w + v
template <class T>
struct LateSgd {
  T alpha;
  template <class Args>
  explicit LateSgd(const Args& q) : alpha(T(q.alpha)) {}
  CR_FN void operator()(T* w, const T* g, T*, T* v, std::int64_t j, BitsOf<T>& overflow) const {
    v[j] -= alpha * g[j];
    w[j] += v[j];
    overflow |= bits_unless_finite(w[j]);
  }
};
// and where w is what it shall be
template <class T>
struct LookAtW {
  CR_FN void operator()(T* w, const T*, T*, T*, std::int64_t j, BitsOf<T>& overflow) const { overflow |= bits_unless_finite(w[j]); }
};

// v <- rho v + (1 - rho) g^2;  w <- w - alpha g / (sqrt(v) + eps)
template <class T>
struct RmsProp {
  static constexpr bool light = false;
  T alpha, rho, rest, eps, decay;
  template <class Args>
  explicit RmsProp(const Args& q) : alpha(T(q.alpha)), rho(T(q.rho)), rest(T(1 - q.rho)), eps(T(q.eps)), decay(T(q.decay)) {}
  CR_FN void operator()(T* w, const T* g, T*, T* v, std::int64_t j, BitsOf<T>& overflow) const {
    v[j] = rho * v[j] + rest * (g[j] * g[j]);
    w[j] = (w[j] - decay * w[j]) - alpha * g[j] / (square_root(v[j]) + eps);
    overflow |= bits_unless_finite(w[j]) | bits_unless_finite(v[j]);
  }
};

// m <- mu m + (1 - mu) g;  v <- rho v + (1 - rho) g^2;  w <- w - (alpha / c1) m / (sqrt(v) / sqrt(c2) + eps)
// eps_hat:                                              w <- w - (alpha sqrt(c2) / c1) m / (sqrt(v) + eps)
template <class T>
struct Adam {
  static constexpr bool light = false;
  T alpha, root_scale, mu, mu_rest, rho, rho_rest, eps, decay;
  template <class Args>
  explicit Adam(const Args& q)
      : alpha(T(q.eps_hat ? q.alpha * square_root(q.c2) / q.c1 : q.alpha / q.c1)),
        root_scale(T(q.eps_hat ? 1 : 1 / square_root(q.c2))),
        mu(T(q.mu)),
        mu_rest(T(1 - q.mu)),
        rho(T(q.rho)),
        rho_rest(T(1 - q.rho)),
        eps(T(q.eps)),
        decay(T(q.decay)) {}
  CR_FN void operator()(T* w, const T* g, T* m, T* v, std::int64_t j, BitsOf<T>& overflow) const {
    m[j] = mu * m[j] + mu_rest * g[j];
    v[j] = rho * v[j] + rho_rest * (g[j] * g[j]);
    w[j] = (w[j] - decay * w[j]) - alpha * m[j] / (root_scale * square_root(v[j]) + eps);
    overflow |= bits_unless_finite(w[j]) | bits_unless_finite(v[j]);
  }
};

// l2 w + l1 sign(w), sign(0) = 0
template <class T>
CR_FN T penalty_gradient(T w, T l1, T l2) {
  return l2 * w + (w > T(0) ? l1 : w < T(0) ? -l1 : T(0));
}
// sign(w) max(|w| - threshold, 0); NaN stays
template <class T>
CR_FN T soft_threshold(T w, T threshold) {
  const T excess = absolute(w) - threshold;
  return excess <= T(0) ? T(0) : copy_sign(excess, w);
}

}  // namespace chainrule::CR_ISA
