// SPDX-License-Identifier: MIT
// The activations, each formula once: g, g' and g'' of one number. g1 takes what backward reads: z if needs_z, else a = g(z), where g' from a is as
// accurate. An entry here, its line in CR_ACTIVATIONS and its twin in python/chainrule/reference make a new one; the parameter p is >= 0 (the sign
// of a then is the sign of z). Every g lets NaN through, which is why relu asks z <= 0 and not z > 0.
#pragma once
#include "math/fastmath.h"

namespace chainrule::CR_ISA {

// What most of them have: no parameter, no kink, g' from a.
struct Activation {
  static constexpr bool needs_z = false, has_parameter = false;
  static constexpr double parameter = 0, kink[2] = {0, 0};
  static constexpr int kinks = 0;
};

// a = z
struct Identity : Activation {
  static constexpr const char *name = "identity", *init = "glorot";
  template <class T> static CR_FN T g(T z, T) { return z; }
  template <class T> static CR_FN T g1(T, T) { return T(1); }
  template <class T> static CR_FN T g2(T, T) { return T(0); }
};

// a = 1 / (1 + exp(-z)),  g' = a (1 - a)
struct Sigmoid : Activation {
  static constexpr const char *name = "sigmoid", *init = "glorot";
  template <class T> static CR_FN T g(T z, T) { return sigmoid(z); }
  template <class T> static CR_FN T g1(T a, T) { return a * (T(1) - a); }
  template <class T> static CR_FN T g2(T z, T) {
    const auto [s, c] = sigmoid_pair(z);
    return s * c * (c - s);
  }
};

// a = tanh z,  g' = 1 - a^2
struct Tanh : Activation {
  static constexpr const char *name = "tanh", *init = "glorot";
  template <class T> static CR_FN T g(T z, T) { return tanh(z); }
  template <class T> static CR_FN T g1(T a, T) { return (T(1) - a) * (T(1) + a); }
  template <class T> static CR_FN T g2(T z, T) {
    const auto [s, c] = sigmoid_pair(T(2) * z);  // tanh z = s - c, 1 - tanh^2 z = 4 s c
    return T(8) * s * c * (c - s);
  }
};

// a = exp z,  g' = a
struct Exp : Activation {
  static constexpr const char *name = "exp", *init = "glorot";
  template <class T> static CR_FN T g(T z, T) { return exp(z); }
  template <class T> static CR_FN T g1(T a, T) { return a; }
  template <class T> static CR_FN T g2(T z, T) { return exp(z); }
};

// a = max(z, 0),  g' = 1 for z > 0, else 0, at 0 too
struct Relu : Activation {
  static constexpr const char *name = "relu", *init = "he";
  static constexpr int kinks = 1;
  template <class T> static CR_FN T g(T z, T) { return z <= T(0) ? T(0) : z; }
  template <class T> static CR_FN T g1(T a, T) { return a > T(0) ? T(1) : a * T(0); }  // NaN stays
  template <class T> static CR_FN T g2(T, T) { return T(0); }
};

// a = z for z > 0, else p z
struct LeakyRelu : Activation {
  static constexpr const char *name = "leaky_relu", *init = "he";
  static constexpr bool has_parameter = true;
  static constexpr double parameter = 0.01;
  static constexpr int kinks = 1;
  template <class T> static CR_FN T g(T z, T p) { return z > T(0) ? z : p * z; }
  template <class T> static CR_FN T g1(T a, T p) { return a > T(0) ? T(1) : p; }
  template <class T> static CR_FN T g2(T, T) { return T(0); }
};

// a = z for z > 0, else p (exp z - 1),  g' = 1 or p exp z = a + p. A kink at 0 unless p = 1
struct Elu : Activation {
  static constexpr const char *name = "elu", *init = "he";
  static constexpr bool has_parameter = true;
  static constexpr double parameter = 1;
  static constexpr int kinks = 1;
  template <class T> static CR_FN T g(T z, T p) { return z > T(0) ? z : p * expm1(z); }
  template <class T> static CR_FN T g1(T a, T p) { return a > T(0) ? T(1) : a + p; }
  template <class T> static CR_FN T g2(T z, T p) { return z > T(0) ? T(0) : p * exp(z); }
};

// a = lambda z for z > 0, else lambda alpha (exp z - 1); the constants keep mean 0 and variance 1 (Klambauer et al., 2017)
struct Selu : Activation {
  static constexpr const char *name = "selu", *init = "lecun";
  static constexpr int kinks = 1;
  static constexpr double lambda = 1.0507009873554804934, lambda_alpha = 1.7580993408473768600;
  template <class T> static CR_FN T g(T z, T) { return z > T(0) ? T(lambda) * z : T(lambda_alpha) * expm1(z); }
  template <class T> static CR_FN T g1(T a, T) { return a > T(0) ? T(lambda) : a + T(lambda_alpha); }
  template <class T> static CR_FN T g2(T z, T) { return z > T(0) ? T(0) : T(lambda_alpha) * exp(z); }
};

// a = log(1 + exp z) = max(z, 0) + log(1 + exp(-|z|)),  g' = sigmoid(z) = 1 - exp(-a)
struct Softplus : Activation {
  static constexpr const char *name = "softplus", *init = "he";
  template <class T> static CR_FN T g(T z, T) { return at_least(z, T(0)) + log1p_unit(exp_bounded(-absolute(z))); }
  template <class T> static CR_FN T g1(T a, T) { return -expm1(-a); }
  template <class T> static CR_FN T g2(T z, T) {
    const auto [s, c] = sigmoid_pair(z);
    return s * c;
  }
};

// a = z Phi(z), Phi the normal distribution function, phi its density:  g' = Phi + z phi,  g'' = phi (2 - z^2)
struct Gelu : Activation {
  static constexpr const char *name = "gelu", *init = "he";
  static constexpr bool needs_z = true;
  template <class T> static CR_FN T g(T z, T) { return at_least(z, -Real<T>::largest) * normal(z).cdf; }
  template <class T> static CR_FN T g1(T z, T) {
    const Normal<T> n = normal(z);
    return n.cdf + n.z * n.density;
  }
  template <class T> static CR_FN T g2(T z, T) {
    const Normal<T> n = normal(z);
    return n.density * (T(2) - n.z * n.z);
  }
};

// a = z/2 (1 + tanh(u / 2)) = z sigmoid(u),  u = 2 sqrt(2 / pi) (z + 0.044715 z^3):  g' = s + z u' s (1 - s)
struct GeluTanh : Activation {
  static constexpr const char *name = "gelu_tanh", *init = "he";
  static constexpr bool needs_z = true;
  static constexpr double c1 = 1.5957691216057307118, c3 = 0.044715 * c1;
  template <class T> static CR_FN T clip(T z) { return at_most(at_least(z, T(-100)), T(100)); }  // sigmoid(u) is 0 or 1 there; u cannot overflow
  template <class T> static CR_FN T u(T z) { return z * (T(c1) + T(c3) * z * z); }
  template <class T> static CR_FN T g(T z, T) { return at_least(z, -Real<T>::largest) * sigmoid(u(clip(z))); }
  template <class T> static CR_FN T g1(T z, T) {
    z = clip(z);
    const auto [s, c] = sigmoid_pair(u(z));
    return s + z * (T(c1) + T(3 * c3) * z * z) * (s * c);
  }
  template <class T> static CR_FN T g2(T z, T) {
    z = clip(z);
    const auto [s, c] = sigmoid_pair(u(z));
    const T u1 = T(c1) + T(3 * c3) * z * z, u2 = T(6 * c3) * z;
    return (T(2) * u1 + z * (u2 + u1 * u1 * (c - s))) * (s * c);
  }
};

// a = z sigmoid(z),  g' = s + z s (1 - s)
struct Silu : Activation {
  static constexpr const char *name = "silu", *init = "he";
  static constexpr bool needs_z = true;
  template <class T> static CR_FN T clip(T z) { return at_most(at_least(z, T(-1000)), T(1000)); }  // s (1 - s) is 0 there: not inf * 0
  template <class T> static CR_FN T g(T z, T) { return at_least(z, -Real<T>::largest) * sigmoid(z); }
  template <class T> static CR_FN T g1(T z, T) {
    const auto [s, c] = sigmoid_pair(z);
    return s + clip(z) * (s * c);
  }
  template <class T> static CR_FN T g2(T z, T) {
    const auto [s, c] = sigmoid_pair(z);
    return (T(2) + clip(z) * (c - s)) * (s * c);
  }
};

// The registry, in order; index 0 is identity.
#define CR_ACTIVATIONS(X) X(Identity) X(Sigmoid) X(Tanh) X(Relu) X(LeakyRelu) X(Elu) X(Selu) X(Softplus) X(Gelu) X(GeluTanh) X(Silu) X(Exp)

}  // namespace chainrule::CR_ISA
