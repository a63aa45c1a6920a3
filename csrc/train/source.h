// SPDX-License-Identifier: MIT
// The user's arrays as they are: any number type, any stride, also memory-mapped, or sparse rows. Rows are converted while they are gathered; nothing
// is copied whole.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "tensor/shape.h"
#include "tensor/sparse.h"

namespace chainrule {

enum class DType : int { Bool, I8, U8, I16, U16, I32, U32, I64, U64, F16, F32, F64 };

// Row i of a sparse matrix (CSR): the values data[indptr[i] .. indptr[i + 1]) in the columns indices[...], in any order; what occurs twice adds.
// Another thread may write into these arrays at any time, so every number in them is looked at where it is used.
struct Csr {
  const char *indptr = nullptr, *indices = nullptr;  // null: a dense array
  bool wide = false;                                 // int64 instead of int32
  Index stored = 0;                                  // length of indices and of data

  struct Extent {
    Index begin, end;
  };
  Extent extent(Index row, const std::string& name) const;  // of a row; ValueError where it lies outside of what is stored
};

struct Source {
  std::string name;  // for messages: "X", "input_2", "y"
  const char* data = nullptr;
  DType dtype = DType::F32;
  Index rows = 0;
  Index row_stride = 0;              // bytes
  std::vector<Index> shape, stride;  // of one row; strides in bytes
  Index size = 1;                    // elements of one row
  bool packed = true;                // a row's elements follow each other in C order
  bool copy = false;                 // never hand out the memory itself: it may change before backward reads it
  bool check = false;                // raise where a value is not finite
  Csr csr;

  // Whether a matrix is so sparse (1 in 32; the two ways meet at about 1 in 25, docs/performance.md) that products with its rows as they are pay.
  bool few() const;

  // Rows `index[first .. first + n)`, or [first, first + n) if index is null, into out (n, size).
  template <class T>
  void gather(const Index* index, Index first, Index n, T* out) const;
  // The same rows of a sparse matrix as they are.
  template <class T>
  void gather(const Index* index, Index first, Index n, SparseRows<T>& out) const;
  // The memory of rows [first, first + n) where it needs no conversion, else null.
  template <class T>
  const T* in_place(Index first, Index n) const;
};

}  // namespace chainrule
