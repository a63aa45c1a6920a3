// SPDX-License-Identifier: MIT
// The losses that are a sum over elements, each formula once: value L(x, y) and gradient dL/dx of one element. The fused pairs take z, the others a.
// p is the parameter of the element's column where the loss has one. Every value lets NaN through. Softmax with cross-entropy needs the whole row:
// kernels/cpu/losses.cpp.
#pragma once
#include "math/fastmath.h"

namespace chainrule::CR_ISA {

// What most of them have: no parameter.
struct ElementLoss {
  static constexpr bool has_parameter = false;
};

// sign(d), sign(0) = 0; NaN stays
template <class T>
CR_FN T sign(T d) {
  return select(d > T(0), T(1), select(d < T(0), T(-1), d));
}

// L = -y log a,  da = -y / a,  a kept >= the smallest normal number
struct CrossEntropy : ElementLoss {
  template <class T> static CR_FN T value(T a, T y, T) { return -y * log(at_least(a, Real<T>::smallest_normal)); }
  template <class T> static CR_FN T gradient(T a, T y, T) { return -y / at_least(a, Real<T>::smallest_normal); }
};

// L = max(z, 0) - z y + log(1 + exp(-|z|)),  dz = sigmoid(z) - y
struct SigmoidBinaryCrossEntropy : ElementLoss {
  // max(z, 0) - z y as one product, z (1 - y) or -z y: exactly 0 where y is sure, and no difference of two large numbers
  template <class T> static CR_FN T value(T z, T y, T) { return z * (z > T(0) ? T(1) - y : -y) + log1p_unit(exp_bounded(-absolute(z))); }
  template <class T> static CR_FN T gradient(T z, T y, T) { return sigmoid(z) - y; }
};

// L = -y log a - (1 - y) log(1 - a),  da = (a - y) / (a (1 - a)),  a and 1 - a kept >= the smallest normal number
struct BinaryCrossEntropy : ElementLoss {
  template <class T> static CR_FN T value(T a, T y, T) {
    const T low = Real<T>::smallest_normal;
    return -(y * log(at_least(a, low)) + (T(1) - y) * log(at_least(T(1) - a, low)));
  }
  template <class T> static CR_FN T gradient(T a, T y, T) {
    const T low = Real<T>::smallest_normal;
    return (a - y) / (at_least(a, low) * at_least(T(1) - a, low));
  }
};

// L = (y - a)^2 / 2,  da = a - y
struct SquaredError : ElementLoss {
  template <class T> static CR_FN T value(T a, T y, T) { return T(0.5) * (y - a) * (y - a); }
  template <class T> static CR_FN T gradient(T a, T y, T) { return a - y; }
};

// L = |y - a|,  da = sign(a - y)
struct AbsoluteError : ElementLoss {
  template <class T> static CR_FN T value(T a, T y, T) { return absolute(y - a); }
  template <class T> static CR_FN T gradient(T a, T y, T) { return sign(a - y); }
};

// L = m (|y - a| - m / 2), m = min(|y - a|, p): d^2 / 2 up to p, a line beyond;  da = a - y, kept in [-p, p] (Huber, 1964)
struct Huber {
  static constexpr bool has_parameter = true;
  template <class T> static CR_FN T value(T a, T y, T p) {
    const T d = absolute(y - a), m = at_most(d, p);
    return m * (d - T(0.5) * m);
  }
  template <class T> static CR_FN T gradient(T a, T y, T p) { return at_least(at_most(a - y, p), -p); }
};

// L = p (y - a) for y > a, else (1 - p) (a - y);  da = -p or 1 - p, 0 at y = a (Koenker and Bassett, 1978)
struct Quantile {
  static constexpr bool has_parameter = true;
  template <class T> static CR_FN T value(T a, T y, T p) {
    const T d = y - a;
    return d * (d > T(0) ? p : p - T(1));
  }
  template <class T> static CR_FN T gradient(T a, T y, T p) {
    const T s = sign(a - y);
    return s * (s > T(0) ? T(1) - p : p);
  }
};

// L = exp z - y + y (log y - z), 0 log 0 = 0,  dz = exp z - y: half the deviance at a = exp z
struct ExpPoisson : ElementLoss {
  template <class T> static CR_FN T value(T z, T y, T) {
    // y (exp d - 1 - d), d = z - log y: no difference of large numbers near the minimum. A small y would have its exp d overflow.
    const T d = z - log(at_least(y, Real<T>::smallest_normal));
    return y > T(1) ? y * (expm1(d) - d) : exp(z) - y * (T(1) + d);
  }
  template <class T> static CR_FN T gradient(T z, T y, T) { return exp(z) - y; }
};

// L = a - y + y log(y / a), 0 log 0 = 0,  da = (a - y) / a,  a kept >= the smallest normal number in log and quotient
struct Poisson : ElementLoss {
  template <class T> static CR_FN T value(T a, T y, T) {
    const T low = Real<T>::smallest_normal;
    return (a - y) + y * (log(at_least(y, low)) - log(at_least(a, low)));
  }
  template <class T> static CR_FN T gradient(T a, T y, T) { return (a - y) / at_least(a, Real<T>::smallest_normal); }
};

}  // namespace chainrule::CR_ISA
