// SPDX-License-Identifier: MIT
#include "train/source.h"

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
}  // namespace

template <class T>
void Source::gather(const Index* index, Index first, Index n, T* out) const {
  switch (dtype) {
    case DType::Bool: copy_rows<T, Bool>(*this, index, first, n, out); break;
    case DType::I8: copy_rows<T, std::int8_t>(*this, index, first, n, out); break;
    case DType::U8: copy_rows<T, std::uint8_t>(*this, index, first, n, out); break;
    case DType::I16: copy_rows<T, std::int16_t>(*this, index, first, n, out); break;
    case DType::U16: copy_rows<T, std::uint16_t>(*this, index, first, n, out); break;
    case DType::I32: copy_rows<T, std::int32_t>(*this, index, first, n, out); break;
    case DType::U32: copy_rows<T, std::uint32_t>(*this, index, first, n, out); break;
    case DType::I64: copy_rows<T, std::int64_t>(*this, index, first, n, out); break;
    case DType::U64: copy_rows<T, std::uint64_t>(*this, index, first, n, out); break;
    case DType::F16: copy_rows<T, Half>(*this, index, first, n, out); break;
    case DType::F32: copy_rows<T, float>(*this, index, first, n, out); break;
    case DType::F64: copy_rows<T, double>(*this, index, first, n, out); break;
  }
  if constexpr (std::is_floating_point_v<T>) {
    if (check && !kernels<T>().all_finite(out, n * size))
      for (Index i = 0; i < n * size; ++i)
        CR_CHECK(std::isfinite(out[i]), "[", name, "] row ", index ? index[first + i / size] : first + i / size, " holds ", out[i],
                 ": expected finite numbers that ", sizeof(T) == 4 ? "float32" : "float64", " can hold");
  }
}

template <class T>
const T* Source::in_place(Index first, Index n) const {
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
template const float* Source::in_place<float>(Index, Index) const;
template const double* Source::in_place<double>(Index, Index) const;
template const std::int32_t* Source::in_place<std::int32_t>(Index, Index) const;

}  // namespace chainrule
