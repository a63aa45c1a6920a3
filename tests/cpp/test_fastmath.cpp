// SPDX-License-Identifier: MIT
// csrc/math/fastmath.h against the C library: float on every n-th bit pattern (n = argv[1], default 977; 1 tries all, about half an hour), double
// on random bit patterns and on ranges. The bounds are those that the header states. With -march=x86-64-v3 contraction changes the last bits.
#ifndef CR_ISA
#define CR_ISA test
#endif
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <limits>

#include "math/fastmath.h"

namespace f = chainrule::CR_ISA;

static int failures = 0;

// |got - expected| in units in the last place of T around expected; 0 where both are NaN, the same infinity or the same zero
template <class T>
static double ulps(T got, long double expected) {
  using Limits = std::numeric_limits<T>;
  if (std::isnan(expected)) return std::isnan(got) ? 0 : INFINITY;
  const T rounded = static_cast<T>(expected);
  if (got == rounded) return (got == 0 && expected == 0 && std::signbit(got) != std::signbit(expected)) ? INFINITY : 0;
  if (std::isinf(rounded) || std::isinf(got)) {  // a bound of k ulp may step over the largest number
    const T finite = std::isinf(got) ? rounded : got;
    return std::fabs(finite) >= Limits::max() * (1 - 4 * Limits::epsilon()) ? 1 : INFINITY;
  }
  const int exponent = std::ilogb(rounded == 0 ? Limits::denorm_min() : rounded);
  const int lowest = Limits::min_exponent - 1;
  return static_cast<double>(std::fabs(static_cast<long double>(got) - expected) /
                             std::ldexp(1.0L, (exponent < lowest ? lowest : exponent) - Limits::digits + 1));
}

struct Worst {
  const char* name;
  double bound, error = 0, at = 0;
  template <class T>
  void see(T x, T got, long double expected) {
    const double e = ulps(got, expected);
    if (!(e <= error)) error = e, at = static_cast<double>(x);
  }
  void report(const char* type) {
    const bool ok = error <= bound;
    failures += !ok;
    std::printf("%s %-8s %-7s %6.3f ulp at %.17g, bound %.1f\n", ok ? "ok  " : "FAIL", name, type, error, at, bound);
  }
};

// R: what the reference is computed in; double is exact enough for float, and several times faster
template <class T, class R>
struct Suite {
  Worst exp{"exp", 1.5}, expm1{"expm1", 2.5}, tanh{"tanh", 3}, log{"log", 1.5}, log1p{"log1p", 2}, unit{"log1p01", 2}, sigmoid{"sigmoid", 3},
      erf{"erf", 2}, cdf{"normal", 10};

  void see(T x) {
    const R r = x;
    exp.see(x, f::exp(x), std::exp(r));
    expm1.see(x, f::expm1(x), std::expm1(r));
    tanh.see(x, f::tanh(x), std::tanh(r));
    log.see(x, f::log(x), x < 0 ? R(NAN) : std::log(r));
    log1p.see(x, f::log1p(x), x < -1 ? R(NAN) : std::log1p(r));
    if (x > 0 && x <= 1) unit.see(x, f::log1p_unit(x), std::log1p(r));
    sigmoid.see(x, f::sigmoid(x), x < 0 ? std::exp(r) / (1 + std::exp(r)) : 1 / (1 + std::exp(-r)));
    erf.see(x, f::erf(x), std::erf(r));
    const R tail = std::erfc(-r * R(0.70710678118654752440084436210484903929L)) / 2;
    if (tail >= std::numeric_limits<T>::min() || x != x) cdf.see(x, f::normal(x).cdf, tail);
  }
  void report(const char* type) {
    for (Worst* w : {&exp, &expm1, &tanh, &log, &log1p, &unit, &sigmoid, &erf, &cdf}) w->report(type);
  }
};

static std::uint64_t random_bits() {  // splitmix64
  static std::uint64_t state = 1;
  std::uint64_t z = state += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

int main(int argc, char** argv) {
  const double infinity = std::numeric_limits<double>::infinity();
  const double edges[] = {0.0,    -0.0,     infinity, -infinity, NAN, 1,    -1,   1e-310, -1e-310, 1e-40,
                          -1e-40, 4.9e-324, 1e4,      -1e4,      150, -150, 3e38, -3e38,  1e308,   -1e308};

  Suite<float, double> single;
  const std::uint64_t step = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 977;
  for (std::uint64_t u = 0; u < (std::uint64_t(1) << 32); u += step) single.see(f::from_bits<float>(static_cast<std::uint32_t>(u)));
  for (const double x : edges) single.see(static_cast<float>(x));
  single.report("float");

  Suite<double, long double> twice;
  for (int i = 0; i < 200000; ++i) {
    twice.see(f::from_bits<double>(random_bits()));
    for (const double width : {1e-3, 1.0, 8.0, 40.0, 750.0}) twice.see((static_cast<double>(random_bits() >> 11) * 0x1p-52 - 1) * width);
  }
  for (const double x : edges) twice.see(x);
  twice.report("double");
  return failures != 0;
}
