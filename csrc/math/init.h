// SPDX-License-Identifier: MIT
// Where weights start. With Var(w) = gain / fan the variance of a layer's z (fan_in) or of dx (fan_out) is that of its input.
//   glorot   Var(w) = 2 / (fan_in + fan_out)   Glorot, Bengio, Understanding the difficulty of training deep feedforward networks, 2010, eq. 12, 16
//   he       Var(w) = 2 / fan_in               He, Zhang, Ren, Sun, Delving deep into rectifiers, 2015, eq. 10
//   lecun    Var(w) = 1 / fan_in               LeCun, Bottou, Orr, Mueller, Efficient BackProp, 1998, eq. 16
// _normal: mean 0 and that variance, not truncated. _uniform: on +-sqrt(3 Var(w)), whose variance it is: +-sqrt(6 / (fan_in + fan_out)) for glorot.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "tensor/check.h"
#include "tensor/random.h"

namespace chainrule {

// w (n,), element e from word e of (seed, step 0, Purpose::Init, stream): the order is that of the flat, row-major tensor. T is float or double.
template <class T>
void initialise(std::string_view kind, T* w, Index n, Index fan_in, Index fan_out, std::uint64_t seed, std::uint32_t stream) {
  if (kind == "zeros" || kind == "ones") {
    std::fill_n(w, n, T(kind == "ones"));
    return;
  }
  const std::size_t underscore = std::min(kind.find('_'), kind.size());
  const std::string_view family = kind.substr(0, underscore), distribution = kind.substr(underscore);
  const bool glorot = family == "glorot", he = family == "he", lecun = family == "lecun", uniform = distribution == "_uniform";
  CR_CHECK((glorot || he || lecun) && (uniform || distribution == "_normal"), "there is no initializer '", kind,
           "': expected one of glorot_uniform, glorot_normal, he_uniform, he_normal, lecun_uniform, lecun_normal, zeros, ones");
  if (n == 0) return;
  CR_CHECK(n > 0 && fan_in > 0 && fan_out > 0, "[", kind, "] n is ", n, ", fan_in ", fan_in, ", fan_out ", fan_out, ": expected them to be positive");
  const double in = static_cast<double>(fan_in), out = static_cast<double>(fan_out);
  const double variance = glorot ? 2 / (in + out) : he ? 2 / in : 1 / in;
  const Key key{seed, 0, purpose_stream(Purpose::Init, stream)};
  if (uniform)
    fill_uniform(w, n, key, -std::sqrt(3 * variance), std::sqrt(3 * variance));
  else
    fill_normal(w, n, key, std::sqrt(variance));
}

}  // namespace chainrule
