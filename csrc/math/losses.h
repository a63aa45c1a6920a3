// SPDX-License-Identifier: MIT
// The losses that are a sum over elements, each formula once: value L(x, y) and gradient dL/dx of one element. The fused pairs take z, the others a.
// Softmax with cross-entropy needs the whole row: kernels/cpu/losses.cpp.
#pragma once
#include "math/fastmath.h"

namespace chainrule::CR_ISA {

// L = -y log a,  da = -y / a,  a kept >= the smallest normal number
struct CrossEntropy {
  template <class T> static CR_FN T value(T a, T y) { return -y * log(at_least(a, Real<T>::smallest_normal)); }
  template <class T> static CR_FN T gradient(T a, T y) { return -y / at_least(a, Real<T>::smallest_normal); }
};

// L = max(z, 0) - z y + log(1 + exp(-|z|)),  dz = sigmoid(z) - y
struct SigmoidBinaryCrossEntropy {
  // max(z, 0) - z y as one product, z (1 - y) or -z y: exactly 0 where y is sure, and no difference of two large numbers
  template <class T> static CR_FN T value(T z, T y) { return z * (z > T(0) ? T(1) - y : -y) + log1p_unit(exp_bounded(-absolute(z))); }
  template <class T> static CR_FN T gradient(T z, T y) { return sigmoid(z) - y; }
};

// L = -y log a - (1 - y) log(1 - a),  da = (a - y) / (a (1 - a)),  a and 1 - a kept >= the smallest normal number
struct BinaryCrossEntropy {
  template <class T> static CR_FN T value(T a, T y) {
    const T low = Real<T>::smallest_normal;
    return -(y * log(at_least(a, low)) + (T(1) - y) * log(at_least(T(1) - a, low)));
  }
  template <class T> static CR_FN T gradient(T a, T y) {
    const T low = Real<T>::smallest_normal;
    return (a - y) / (at_least(a, low) * at_least(T(1) - a, low));
  }
};

// L = (y - a)^2 / 2,  da = a - y
struct SquaredError {
  template <class T> static CR_FN T value(T a, T y) { return T(0.5) * (y - a) * (y - a); }
  template <class T> static CR_FN T gradient(T a, T y) { return a - y; }
};

}  // namespace chainrule::CR_ISA
