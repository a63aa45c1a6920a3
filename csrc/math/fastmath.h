// SPDX-License-Identifier: MIT
// exp, expm1, tanh, log, log1p, sigmoid, erf without branches and tables, so that a plain loop over them is vectorised. Largest error in units in the
// last place, float and double (tests/cpp/test_fastmath.cpp holds the bounds):
//
//   exp 1.5   expm1 2.5   tanh 3   log 1.5   log1p, log1p_unit 2   sigmoid 3   erf 2   normal (cdf) 10
//
// NaN gives NaN; +-0, +-inf, denormal arguments and denormal results are right. The polynomials are minimax fits (Remez, 45 digits); their error is
// in the comment as a power of two. Arithmetic relies on strict IEEE order: -ffast-math would fold the rounding trick below away.
#pragma once
#include <cfloat>

#include "math/host_device.h"

namespace chainrule::CR_ISA {

template <class T>
struct Real;
template <>
struct Real<float> {
  using Bits = std::uint32_t;
  static constexpr int mantissa = 23;
  static constexpr Bits bias = 127, sqrt_half = 0x3f3504f3;
  static constexpr float smallest_normal = FLT_MIN, largest = FLT_MAX;
  static constexpr float exp_low = -104.0f, exp_high = 89.0f;                                       // exp is 0 below, inf above
  static constexpr float expm1_low = -18.0f, tanh_one = 9.1f, erf_one = 4.0f, normal_zero = 15.5f;  // the function is constant beyond
  static constexpr float ln2_high = 0x1.62e4p-1f, ln2_low = 1.428606820309417232e-6f;               // k ln2_high is exact
};
template <>
struct Real<double> {
  using Bits = std::uint64_t;
  static constexpr int mantissa = 52;
  static constexpr Bits bias = 1023, sqrt_half = 0x3fe6a09e667f3bcd;
  static constexpr double smallest_normal = DBL_MIN, largest = DBL_MAX;
  static constexpr double exp_low = -746.0, exp_high = 710.0;
  static constexpr double expm1_low = -40.0, tanh_one = 19.1, erf_one = 6.0, normal_zero = 39.5;
  static constexpr double ln2_high = 0x1.62e42feep-1, ln2_low = 1.908214929270587816144e-10;
};
template <class T>
using BitsOf = typename Real<T>::Bits;

template <class T>
CR_FN BitsOf<T> to_bits(T x) {
  return __builtin_bit_cast(BitsOf<T>, x);
}
template <class T>
CR_FN T from_bits(BitsOf<T> u) {
  return __builtin_bit_cast(T, u);
}
// 0 where x is finite (x - x is +0), else the bits of a NaN: collected with `or`, so that a loop that looks for them has no branch
template <class T>
CR_FN BitsOf<T> bits_unless_finite(T x) {
  return to_bits(x - x);
}
template <class T>
CR_FN T infinity() {
  return T(__builtin_inf());
}
CR_FN float square_root(float x) { return __builtin_sqrtf(x); }
CR_FN double square_root(double x) { return __builtin_sqrt(x); }
template <class T>
CR_FN T absolute(T x) {
  return from_bits<T>(to_bits(x) & (~BitsOf<T>(0) >> 1));
}
template <class T>
CR_FN T copy_sign(T magnitude, T sign) {
  constexpr BitsOf<T> sign_bit = ~(~BitsOf<T>(0) >> 1);
  return from_bits<T>((to_bits(magnitude) & ~sign_bit) | (to_bits(sign) & sign_bit));
}
// condition ? yes : no in bits. A branch with a constant arm invites the compiler to compile what follows twice (jump threading) and to blend both:
// 10 to 20 % of an activation's time.
template <class T>
CR_FN T select(bool condition, T yes, T no) {
#if defined(__SSE2__) && !defined(__SSE4_2__)
  if constexpr (sizeof(T) == 8) return condition ? yes : no;  // no vectors of 64-bit masks there: blending twice is better than no vectors
#endif
  const BitsOf<T> mask = -static_cast<BitsOf<T>>(condition);
  return from_bits<T>((to_bits(yes) & mask) | (to_bits(no) & ~mask));
}
// Both let a NaN in x through.
template <class T>
CR_FN T at_most(T x, T high) {
  return select(high < x, high, x);
}
template <class T>
CR_FN T at_least(T x, T low) {
  return select(low > x, low, x);
}

template <class T>
CR_FN T horner(T, T c0) {
  return c0;
}
template <class T, class... Rest>
CR_FN T horner(T x, T c0, Rest... c) {
  return c0 + x * horner(x, c...);
}

// ---- exp ----------------------------------------------------------------------------------------------------------------------------------

// (exp(r) - 1 - r) / r^2 on |r| <= ln(2) / 2, relative to (exp(r) - 1) / r^2: 2^-26, 2^-55
CR_FN float exp_tail(float r) {
  return horner(r, 0.50000000620982385f, 0.16666542966508022f, 0.041666280964908449f, 0.0083665961673742502f, 0.0013946532321120308f);
}
CR_FN double exp_tail(double r) {
  return horner(r, 0.50000000000000055154, 0.16666666666666685925, 0.04166666666657380913, 0.0083333333333146303953, 0.0013888888932358822578,
                0.0001984126990297152586, 0.000024801504438609382633, 2.7557227986604362755e-6, 2.7626338501130477996e-7, 2.5114468129626103523e-8);
}

// x = k ln 2 + r, |r| <= ln(2) / 2. Adding 3/2 2^mantissa rounds to an integer, which then stands in the low bits.
template <class T>
struct Reduction {
  T r;
  BitsOf<T> k;  // modulo 2^32 or 2^64; rubbish if x is NaN, and then so is r
};
template <class T>
CR_FN Reduction<T> reduce(T x, T low_part) {
  constexpr T shift = T(3) * T(BitsOf<T>(1) << (Real<T>::mantissa - 1));
  const T shifted = (x + low_part) * T(1.442695040888963407359924681) + shift;
  const T k = shifted - shift;
  return {((x - k * Real<T>::ln2_high) - k * Real<T>::ln2_low) + low_part, to_bits(shifted) - to_bits(shift)};
}

// exp(x + low_part), x <= exp_high, |low_part| < 1. 2^k goes in as two factors: their exponents stay in the normal range, and the result rounds once.
template <class T>
CR_FN T exp_bounded(T x, T low_part = T(-0.0)) {  // adding -0 is no operation, adding 0 is one
  const auto [r, k] = reduce(at_least(x, Real<T>::exp_low), low_part);
  const BitsOf<T> biased = k + 2 * Real<T>::bias, half = biased >> 1;
  const T p = T(1) + (r + r * r * exp_tail(r));
  return p * from_bits<T>(half << Real<T>::mantissa) * from_bits<T>((biased - half) << Real<T>::mantissa);
}
template <class T>
CR_FN T exp(T x) {
  return exp_bounded(at_most(x, Real<T>::exp_high));
}

// 2^k (exp(r) - 1) + (2^k - 1), halved inside because 2^128 is needed for the largest results
template <class T>
CR_FN T expm1(T x) {
  const auto [r, k] = reduce(at_least(at_most(x, Real<T>::exp_high), Real<T>::expm1_low), T(-0.0));
  const T half_scale = from_bits<T>((k + (Real<T>::bias - 1)) << Real<T>::mantissa);
  const T p = r + r * r * exp_tail(r);
  const T y = T(2) * (half_scale * p + (half_scale - T(0.5)));
  return absolute(x) < T(1) / T(BitsOf<T>(2) << Real<T>::mantissa) ? x : y;  // keeps -0 and the last bit of denormals
}

// tanh |x| = t / (t + 2), t = exp(2 |x|) - 1
template <class T>
CR_FN T tanh(T x) {
  const T t = expm1(T(2) * at_most(absolute(x), Real<T>::tanh_one));
  return copy_sign(t / (t + T(2)), x);
}

// sigmoid(x) and sigmoid(-x) = 1 - sigmoid(x), both with full relative accuracy
template <class T>
struct SigmoidPair {
  T s, complement;
};
template <class T>
CR_FN SigmoidPair<T> sigmoid_pair(T x) {
  const T e = exp_bounded(-absolute(x)), large = T(1) / (T(1) + e), small = e * large;
  return {select(x < T(0), small, large), select(x < T(0), large, small)};
}
template <class T>
CR_FN T sigmoid(T x) {
  const T e = exp_bounded(-absolute(x));
  return (x < T(0) ? e : T(1)) / (T(1) + e);
}

// ---- log ----------------------------------------------------------------------------------------------------------------------------------

// With s = f / (2 + f): log(1 + f) = 2 atanh(s) = s (2 + s^2 tail(s^2)), |s| <= 0.1716: 2^-36, 2^-58
CR_FN float log_tail(float z) { return horner(z, 0.66666665647477672f, 0.40000334884302472f, 0.28537321950215011f, 0.23581974591106290f); }
CR_FN double log_tail(double z) {
  return horner(z, 0.66666666666667340208, 0.39999999999416656208, 0.28571428742029362639, 0.22222198604228776539, 0.18183562933635673949,
                0.15314081732260797279, 0.14795674160217287988);
}

// log(x + low_part) + shift ln 2, x normal and low_part far smaller. x = 2^k (1 + f), 1 + f in [sqrt(1/2), sqrt 2); log(1 + f) = f - (h - s (h + R)),
// h = f^2 / 2, so that the leading f is exact.
template <class T>
CR_FN T log_normal(T x, T low_part, T shift) {
  using Bits = BitsOf<T>;
  constexpr Bits one = Real<T>::bias << Real<T>::mantissa;
  constexpr T two_mantissa = T(Bits(1) << Real<T>::mantissa);  // its low bits take an integer
  const Bits u = to_bits(x) + (one - Real<T>::sqrt_half);
  const T k = from_bits<T>((u >> Real<T>::mantissa) | to_bits(two_mantissa)) - (two_mantissa + T(Real<T>::bias)) + shift;
  const T f = from_bits<T>((u & ((Bits(1) << Real<T>::mantissa) - 1)) + Real<T>::sqrt_half) - T(1);
  const T s = f / (T(2) + f), z = s * s, h = T(0.5) * f * f;
  return k * Real<T>::ln2_high - ((h - (s * (h + z * log_tail(z)) + (k * Real<T>::ln2_low + low_part / x))) - f);
}
template <class T>
CR_FN T log(T x) {
  constexpr T scale = T(BitsOf<T>(1) << Real<T>::mantissa);
  const bool denormal = x < Real<T>::smallest_normal;
  const T y = log_normal(denormal ? x * scale : x, T(0), denormal ? T(-Real<T>::mantissa) : T(0));
  const T at_edge = x == T(0) ? -infinity<T>() : T(__builtin_nan(""));
  return x > T(0) ? (x < infinity<T>() ? y : x) : at_edge;
}
// u = 1 + x rounded; what was lost comes back as low_part
template <class T>
CR_FN T log1p(T x) {
  const T u = T(1) + x, lost = x < T(1) ? x - (u - T(1)) : T(1) - (u - x);
  const T y = log_normal(u, lost, T(0));
  const T at_edge = x == T(-1) ? -infinity<T>() : T(__builtin_nan(""));
  const T inside = x == T(0) ? x : y;  // keeps -0
  return x > T(-1) ? (x < infinity<T>() ? inside : x) : at_edge;
}
// log1p for 0 <= x <= 1, where it is cheap: 1 + x is halved once or not at all. What was lost is divided by u to two digits, which is enough for a
// rounding error, and exactly where it is all there is (u = 1).
template <class T>
CR_FN T log1p_unit(T x) {
  const T u = T(1) + x, lost = x - (u - T(1));
  const bool halve = u > T(1.41421356237309505);
  const T k = halve ? T(1) : T(0), f = (halve ? T(0.5) * u : u) - T(1);
  const T s = f / (T(2) + f), z = s * s, h = T(0.5) * f * f;
  return k * Real<T>::ln2_high - ((h - (s * (h + z * log_tail(z)) + (k * Real<T>::ln2_low + lost * (T(1.5) - T(0.5) * u)))) - f);
}

// ---- erf and the normal distribution ------------------------------------------------------------------------------------------------------

// erf(x) / x - 1 for |x| <= 1, z = x^2: 2^-29, 2^-57
CR_FN float erf_small(float z) {
  return horner(z, 0.1283791659147843f, -0.37612627142954391f, 0.11283600253302935f, -0.026854447633504635f, 0.0051895406121529554f,
                -0.00080208825983654435f, 0.000078892393361618486f);
}
CR_FN double erf_small(double z) {
  return horner(z, 0.1283791670955125668, -0.3761263890318354665, 0.11283791670945253438, -0.026866170643276224191, 0.0052239776074234745902,
                -0.00085483259896967867895, 0.00012055295320494313672, -0.000014924744663335502029, 1.6447517677871881017e-6,
                -1.6209175911748699755e-7, 1.372297626592450538e-8, -7.8011888740977523915e-10);
}
// exp(y^2) erfc(y) for 0 <= y <= 11, 28, y = root2 ? x / sqrt(2) : x. With t = 1 / (1 + c y) it is t P(t), relative error 2^-27, 2^-55.
CR_FN float erfc_scaled(float x, bool root2) {
  const float t = 1.0f / (1.0f + (root2 ? 0.24748737341529163f : 0.35f) * x);
  return t * horner(t, 0.197477601205655f, 0.197252496817282f, 0.186997707882735f, 0.155227666226463f, 0.134811420496983f, 0.10718657040546f,
                    -0.0511533713921376f, 0.198512958338269f, -0.165979760369005f, 0.0396667184706794f);
}
CR_FN double erfc_scaled(double x, bool root2) {
  const double t = 1.0 / (1.0 + (root2 ? 0.17677669529663688110 : 0.25) * x);
  return t * horner(t - 0.5, 0.27399891525012277745, 0.48827436454044124263, 0.77320870226524068483, 1.0817076626263632984, 1.3234063515111913148,
                    1.3920874979333797281, 1.2221042386247860197, 0.84384170604455359912, 0.39117155868153489319, 0.035962763708447682938,
                    -0.11649340862514589596, -0.090528771163234368421, -0.0037234983420936240248, 0.038635272790175233611, 0.019236714275338841241,
                    -0.011737571191951000845, -0.013893988996441479238, 0.002852902136863041676, 0.0081171967114905089921, -0.0012549753077181764518,
                    -0.0035760705932012085592, 0.0014111199198783397046);
}
template <class T>
CR_FN T erf(T x) {
  const T y = at_most(absolute(x), Real<T>::erf_one), z = y * y;
  const T tail = copy_sign(T(1) - exp_bounded(-z) * erfc_scaled(y, false), x);
  return y < T(1) ? x + x * erf_small(z) : tail;
}

// The standard normal distribution at z: P(Z <= z) with relative accuracy down to the smallest normal number (1 + erf(z / sqrt 2) has none in the
// tail), its density, and z clipped to where both are constant, so that products with 0 stay 0 at infinity.
template <class T>
struct Normal {
  T cdf, density, z;
};
template <class T>
CR_FN Normal<T> normal(T z) {
  // exp(-y^2 / 2): y^2 = high^2 + (y - high) (y + high), where high has half the digits and so an exact square
  const T y = at_most(absolute(z), Real<T>::normal_zero);
  const T high = from_bits<T>(to_bits(y) & (~BitsOf<T>(0) << (Real<T>::mantissa / 2 + 1)));
  const T e = exp_bounded(T(-0.5) * high * high, T(-0.5) * ((y - high) * (y + high)));
  const T tail = T(0.5) * e * erfc_scaled(y, true);
  return {z < T(0) ? tail : T(1) - tail, e * T(0.39894228040143267794), copy_sign(y, z)};
}

}  // namespace chainrule::CR_ISA
