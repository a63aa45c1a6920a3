// SPDX-License-Identifier: MIT
#include "train/source.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

namespace chainrule {

namespace {
struct Half {
  std::uint16_t bits;
  explicit operator double() const {
    const int e = (bits >> 10) & 31, m = bits & 1023;
    const double v = e == 0 ? std::ldexp(m, -24) : e == 31 ? (m ? NAN : INFINITY) : std::ldexp(m + 1024, e - 25);
    return bits & 0x8000 ? -v : v;
  }
};
struct Bool {
  std::uint8_t byte;
  explicit operator double() const { return byte != 0; }
};

template <class T, class S>
T convert(S s) {
  if constexpr (std::is_class_v<S>)
    return static_cast<T>(static_cast<double>(s));
  else
    return static_cast<T>(s);
}
template <class S>
S load(const char* p) {  // a stride may leave elements unaligned
  S s;
  std::memcpy(&s, p, sizeof(S));
  return s;
}

template <class T, class S>
void copy_row(const Source& source, const char* row, T* out) {
  if (source.packed) {
    if constexpr (std::is_same_v<T, S>)
      std::memcpy(out, row, static_cast<std::size_t>(source.size) * sizeof(T));
    else
      for (Index j = 0; j < source.size; ++j) out[j] = convert<T>(load<S>(row + j * static_cast<Index>(sizeof(S))));
    return;
  }
  std::vector<Index> at(source.shape.size(), 0);
  const char* p = row;
  for (Index j = 0; j < source.size; ++j) {
    out[j] = convert<T>(load<S>(p));
    for (std::size_t axis = at.size(); axis-- > 0;) {
      p += source.stride[axis];
      if (++at[axis] < source.shape[axis]) break;
      p -= source.stride[axis] * source.shape[axis];
      at[axis] = 0;
    }
  }
}

template <class T, class S>
void copy_rows(const Source& source, const Index* index, Index first, Index n, T* out) {
  for (Index i = 0; i < n; ++i)
    copy_row<T, S>(source, source.data + (index ? index[first + i] : first + i) * source.row_stride, out + i * source.size);
}

template <class T>
constexpr DType own_dtype() {
  return std::is_same_v<T, float> ? DType::F32 : std::is_same_v<T, double> ? DType::F64 : DType::I32;
}

// f(S{}) for the element type S
template <class F>
void visit(DType dtype, F&& f) {
  switch (dtype) {
    case DType::Bool: f(Bool{}); break;
    case DType::I8: f(std::int8_t{}); break;
    case DType::U8: f(std::uint8_t{}); break;
    case DType::I16: f(std::int16_t{}); break;
    case DType::U16: f(std::uint16_t{}); break;
    case DType::I32: f(std::int32_t{}); break;
    case DType::U32: f(std::uint32_t{}); break;
    case DType::I64: f(std::int64_t{}); break;
    case DType::U64: f(std::uint64_t{}); break;
    case DType::F16: f(Half{}); break;
    case DType::F32: f(float{}); break;
    case DType::F64: f(double{}); break;
  }
}

Index load_index(const char* p, Index i, bool wide) { return wide ? load<std::int64_t>(p + i * 8) : load<std::int32_t>(p + i * 4); }

template <class T>
void check_row(const Source& source, Index row, const T* values, Index n) {
  if constexpr (std::is_floating_point_v<T>) {
    for (Index i = 0; source.check && i < n; ++i)
      CR_CHECK(std::isfinite(values[i]), "[", source.name, "] row ", row, " holds ", values[i], ": expected finite numbers that ",
               sizeof(T) == 4 ? "float32" : "float64", " can hold");
  }
}

// Appends the columns and values of one row.
template <class T, class S>
void append_row(const Source& source, Index row, SparseRows<T>& out) {
  const Csr& csr = source.csr;
  const Csr::Extent e = csr.extent(row, source.name);
  const std::size_t before = out.value.size(), n = static_cast<std::size_t>(e.end - e.begin);
  out.column.resize(before + n);
  out.value.resize(before + n);
  std::int32_t* column = out.column.data() + before;
  T* value = out.value.data() + before;
  bool inside = true;
  for (std::size_t i = 0; i < n; ++i) {
    const Index at = e.begin + static_cast<Index>(i), c = load_index(csr.indices, at, csr.wide);
    inside = inside && c >= 0 && c < source.size;
    column[i] = static_cast<std::int32_t>(c);
    value[i] = convert<T>(load<S>(source.data + at * static_cast<Index>(sizeof(S))));
  }
  for (Index at = e.begin; !inside && at < e.end; ++at) {
    const Index c = load_index(csr.indices, at, csr.wide);
    CR_CHECK(c >= 0 && c < source.size, "[", source.name, "] row ", row, " has a number in column ", c, ": expected 0 to ", source.size - 1);
  }
  CR_CHECK(inside, "[", source.name, "] row ", row, " was changed while it was read");
  check_row(source, row, value, static_cast<Index>(n));
  out.begin.push_back(static_cast<Index>(before + n));
}
}  // namespace

Csr::Extent Csr::extent(Index row, const std::string& name) const {
  const Extent e{load_index(indptr, row, wide), load_index(indptr, row + 1, wide)};
  CR_CHECK(0 <= e.begin && e.begin <= e.end && e.end <= stored, "[", name, "] row ", row, " goes from ", e.begin, " to ", e.end,
           " (indptr): expected a range within the ", stored, " stored values");
  return e;
}

bool Source::few() const {
  if (!csr.indptr || rows == 0) return false;
  const double stored = static_cast<double>(csr.extent(rows - 1, name).end - csr.extent(0, name).begin);
  return 32 * stored <= static_cast<double>(rows) * static_cast<double>(size);
}

template <class T>
void Source::gather(const Index* index, Index first, Index n, SparseRows<T>& out) const {
  out.begin.assign(1, 0);
  out.column.clear();
  out.value.clear();
  Index stored = 0;
  for (Index i = first; i < first + n; ++i) {
    const Csr::Extent e = csr.extent(index ? index[i] : i, name);
    stored += e.end - e.begin;
  }
  out.begin.reserve(static_cast<std::size_t>(n) + 1);
  out.column.reserve(static_cast<std::size_t>(stored));
  out.value.reserve(static_cast<std::size_t>(stored));
  visit(dtype, [&](auto s) {
    for (Index i = first; i < first + n; ++i) append_row<T, decltype(s)>(*this, index ? index[i] : i, out);
  });
}

template <class T>
void Source::gather(const Index* index, Index first, Index n, T* out) const {
  if (csr.indptr) {
    SparseRows<T> rows;
    for (Index i = first; i < first + n; ++i, out += size) {
      gather(index, i, 1, rows);
      std::fill(out, out + size, T(0));
      for (std::size_t e = 0; e < rows.value.size(); ++e) out[rows.column[e]] += rows.value[e];
      check_row(*this, index ? index[i] : i, out, rows.value.empty() ? 0 : size);  // a sum of finite numbers may overflow
    }
    return;
  }
  visit(dtype, [&](auto s) { copy_rows<T, decltype(s)>(*this, index, first, n, out); });
  if constexpr (std::is_floating_point_v<T>) {
    if (check && !kernels<T>().all_finite(out, n * size))
      for (Index i = 0; i < n; ++i) check_row(*this, index ? index[first + i] : first + i, out + i * size, size);
  }
}

template <class T>
const T* Source::in_place(Index first, Index n) const {
  if (csr.indptr) return nullptr;
  const bool aligned = reinterpret_cast<std::uintptr_t>(data) % alignof(T) == 0;
  if (copy || dtype != own_dtype<T>() || !packed || !aligned || row_stride != size * static_cast<Index>(sizeof(T))) return nullptr;
  const T* p = reinterpret_cast<const T*>(data + first * row_stride);
  if constexpr (std::is_floating_point_v<T>) {
    if (check && !kernels<T>().all_finite(p, n * size)) return nullptr;  // gather then names the row
  }
  return p;
}

template void Source::gather<float>(const Index*, Index, Index, float*) const;
template void Source::gather<double>(const Index*, Index, Index, double*) const;
template void Source::gather<std::int32_t>(const Index*, Index, Index, std::int32_t*) const;
template void Source::gather<float>(const Index*, Index, Index, SparseRows<float>&) const;
template void Source::gather<double>(const Index*, Index, Index, SparseRows<double>&) const;
template const float* Source::in_place<float>(Index, Index) const;
template const double* Source::in_place<double>(Index, Index) const;
template const std::int32_t* Source::in_place<std::int32_t>(Index, Index) const;

}  // namespace chainrule
