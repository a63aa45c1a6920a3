// SPDX-License-Identifier: MIT
// NumPy arrays at the border: what is taken as it is, how shapes read in messages, when the GIL is given up. Used by functional.cpp.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/kernels.h"
#include "tensor/check.h"

namespace chainrule::bindings {

namespace py = pybind11;

template <class T>
using Array = py::array_t<T, py::array::c_style>;
template <class T>
using Maybe = std::optional<Array<T>>;
using Labels = py::array_t<std::int32_t, py::array::c_style>;
using Dims = std::vector<py::ssize_t>;

constexpr Index worth_releasing = 1 << 15;  // elements, some 10 us of work: below it handing the GIL over and back costs more than it gives

template <class F>
auto release_if_large(Index work, F&& f) {
  std::optional<py::gil_scoped_release> release;
  if (work >= worth_releasing) release.emplace();
  return f();
}

constexpr Index largest_product = 500'000'000;  // multiply-adds in one BLAS call (contract 8: 1e9 flop)

// Calls f(begin, count) over [0, n) in blocks of at most largest_product / work, at least one.
template <class F>
void in_blocks(Index n, Index work, F&& f) {
  const Index block = std::max<Index>(1, largest_product / std::max<Index>(1, work));
  for (Index i = 0; i < n; i += block) f(i, std::min(block, n - i));
}

inline std::string str(const py::array& x) {
  std::string s = "(";
  for (py::ssize_t i = 0; i < x.ndim(); ++i) s += (i ? ", " : "") + std::to_string(x.shape(i));
  return s + (x.ndim() == 1 ? ",)" : ")");
}
inline Dims dims(const py::array& x) { return {x.shape(), x.shape() + x.ndim()}; }
inline bool same(const py::array& x, const py::array& y) { return dims(x) == dims(y); }

#define CR_SAME(who, x, y) CR_CHECK(same(x, y), "[", who, "] " #x " is ", str(x), " but " #y " is ", str(y), ": expected the same shape")

struct Matrix {
  Index rows, cols;
};
// All axes but the last are rows.
inline Matrix matrix(const char* who, const char* name, const py::array& x) {
  CR_CHECK(x.ndim() >= 1, "[", who, "] ", name, " is a scalar: expected an array with a last axis");
  Matrix m{1, x.shape(x.ndim() - 1)};
  for (py::ssize_t i = 0; i + 1 < x.ndim(); ++i) m.rows = checked_multiply(m.rows, x.shape(i));
  return m;
}

template <class T>
Array<T> copy(const Array<T>& x) {
  Array<T> y(dims(x));
  std::copy_n(x.data(), x.size(), y.mutable_data());
  return y;
}
// What a kernel with an Accum writes to.
template <class T>
std::pair<Array<T>, Accum> target(const char* who, const Maybe<T>& into, const Dims& shape) {
  if (!into) return {Array<T>(shape), Accum::Overwrite};
  CR_CHECK(dims(*into) == shape, "[", who, "] into is ", str(*into), ": expected the shape of the result");
  return {copy(*into), Accum::Add};
}
template <class T>
const T* data_or_null(const Maybe<T>& x) {
  return x ? x->data() : nullptr;
}

// An array argument is taken as it is or refused: a silent conversion would hide a copy.
inline py::arg exact(const char* name) {
  py::arg a(name);
  a.noconvert();
  return a;
}
inline py::arg_v into() { return exact("into") = py::none(); }

}  // namespace chainrule::bindings
