// SPDX-License-Identifier: MIT
// The shape of one sample. One axis may be symbolic (-1) and is bound to `time` at each call; the axis of the samples is not part of it.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "tensor/check.h"

namespace chainrule {

using Index = std::int64_t;

struct Shape {
  std::vector<Index> dims;  // () is one number a sample

  bool symbolic() const { return std::find(dims.begin(), dims.end(), Index{-1}) != dims.end(); }
  Index size(Index time = 1) const {
    Index product = 1;
    for (Index d : dims) product = checked_multiply(product, d < 0 ? time : d);
    return product;
  }
  Index columns(Index time = 1) const { return dims.empty() ? 1 : (dims.back() < 0 ? time : dims.back()); }
  // Whether a sample has fewer than 2^48 elements: then sums of a few such sizes cannot wrap round.
  bool fits() const {
    Index product = 1;
    for (Index d : dims)
      if (__builtin_mul_overflow(product, d < 0 ? 1 : d, &product) || product >= (Index{1} << 48)) return false;
    return true;
  }
  // Matrix rows a sample: the product of all axes but the last.
  Index rows(Index time = 1) const {
    Index product = 1;
    for (std::size_t i = 0; i + 1 < dims.size(); ++i) product = checked_multiply(product, dims[i] < 0 ? time : dims[i]);
    return product;
  }
  Shape bound(Index time) const {
    Shape s = *this;
    for (Index& d : s.dims) d = d < 0 ? time : d;
    return s;
  }
  bool operator==(const Shape&) const = default;

  // (n, 28, 28), (n, None, 32), (n,)
  std::string str() const {
    std::string s = "(n,";
    for (std::size_t i = 0; i < dims.size(); ++i) {
      s += i ? ", " : " ";
      s += dims[i] < 0 ? std::string("None") : std::to_string(dims[i]);
    }
    return s + ")";
  }
};

}  // namespace chainrule
