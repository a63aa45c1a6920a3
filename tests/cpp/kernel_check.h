// SPDX-License-Identifier: MIT
// What the tests of the kernels share: checks that fail closed, random arrays, the sizes to try.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "kernels/kernels.h"

using namespace chainrule;
using Real = long double;

namespace {

int failures = 0, checks = 0;

template <class... What>  // the message is put together only where it is needed
void check(bool ok, const What&... what) {
  ++checks;
  if (!ok && ++failures <= 40) std::printf("FAIL %s\n", (std::string() + ... + what).c_str());
}
// |got - expected| <= units eps max(1, |expected|)
template <class T, class... What>
void near(T got, Real expected, double units, const What&... what) {
  const Real tolerance = Real(units) * std::numeric_limits<T>::epsilon() * std::max(Real(1), std::fabs(expected));
  const bool ok = std::fabs(Real(got) - expected) <= tolerance;
  check(ok, what..., ok ? std::string() : ": " + std::to_string(got) + " expected " + std::to_string(expected));
}

std::uint64_t state = 7;
inline double uniform(double low, double high) {  // splitmix64
  std::uint64_t z = state += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return low + (high - low) * static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
}
template <class T>
std::vector<T> random(Index n, double low = -1, double high = 1) {
  std::vector<T> x(static_cast<std::size_t>(n));
  for (T& v : x) v = static_cast<T>(uniform(low, high));
  return x;
}
const Index sizes[] = {0, 1, 2, 3, 4, 7, 8, 9, 10, 15, 16, 17, 31, 33, 67, 250, 1023, 1025, 2100};
inline bool too_large(Index rows, Index cols) { return rows * cols > 9000; }  // keeps the tests to seconds
inline int report() {
  std::printf("%s: %d checks, %d failed\n", kernels<float>().isa, checks, failures);
  return failures != 0;
}

}  // namespace
