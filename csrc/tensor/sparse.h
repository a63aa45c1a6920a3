// SPDX-License-Identifier: MIT
// Some rows of a sparse matrix, one after the other: row i has value[e] in column[e], e = begin[i] .. begin[i + 1] - 1. What occurs twice adds.
#pragma once
#include <cstdint>
#include <vector>

namespace chainrule {

template <class T>
struct SparseRows {
  std::vector<std::int64_t> begin{0};
  std::vector<std::int32_t> column;
  std::vector<T> value;
};

}  // namespace chainrule
