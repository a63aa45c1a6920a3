// SPDX-License-Identifier: MIT
// Normalisation: of rows (layer norm, RMS norm) and of columns (batch norm, group norm). All sums in orders that depend on the sizes alone.
#include "kernels/cpu/parts.h"
#include "math/fastmath.h"

namespace chainrule::CR_ISA {

namespace {

// sum_j g_j and sum_j g_j (x_j - mean), g = gain dy (gain may be null); two vectors of partial sums each, then the lanes in order
template <class T, bool gained>
void weighted_sums(const T* dy, const T* x, const T* gain, T mean, Index n, T& plain, T& product) {
  using Vector = typename VectorOf<T>::Type;
  constexpr Index lanes = VectorOf<T>::lanes;
  const auto at = [](const T* p) { return *reinterpret_cast<const Vector*>(p); };
  plain = product = 0;
  Index j = 0;
  if (n >= 2 * lanes) {
    Vector s[2] = {}, p[2] = {};
    for (; j + 2 * lanes <= n; j += 2 * lanes)
      for (int i = 0; i < 2; ++i) {
        const Index e = j + i * lanes;
        Vector g = at(dy + e);
        if constexpr (gained) g *= at(gain + e);
        s[i] += g;
        p[i] += g * (at(x + e) - mean);
      }
    s[0] += s[1], p[0] += p[1];
    for (Index i = 0; i < lanes; ++i) plain += s[0][i], product += p[0][i];
  }
  for (; j < n; ++j) {
    const T g = gained ? gain[j] * dy[j] : dy[j];
    plain += g;
    product += g * (x[j] - mean);
  }
}

template <class T>
struct Moments {
  T mean, factor;  // factor = 1 / sqrt(v + eps)
};
template <class T>
CR_FN Moments<T> moments_of(const T* x, Index n, bool centred, T eps) {
  const T mean = centred ? sum_of(x, n) / T(n) : T(0);
  const T square = sum_of(x, n, [mean](auto v) { return (v - mean) * (v - mean); });
  return {mean, T(1) / square_root(square / T(n) + eps)};
}

}  // namespace

// y = gain xhat + bias, xhat = (x - m) / sqrt(v + eps)
template <class T>
void norm_forward(T* y, const T* x, const T* gain, const T* bias, Index rows, Index cols, double eps, bool centred) {
  for (Index i = 0; i < rows; ++i) {
    const T* xi = x + i * cols;
    T* yi = y + i * cols;
    const auto [m, factor] = moments_of(xi, cols, centred, T(eps));
    const T mean = m, scale = factor;
    if (gain && bias) {
      CR_VECTOR_LOOP
      for (Index j = 0; j < cols; ++j) yi[j] = gain[j] * ((xi[j] - mean) * scale) + bias[j];
    } else {
      for (Index j = 0; j < cols; ++j) yi[j] = (gain ? gain[j] : T(1)) * ((xi[j] - mean) * scale) + (bias ? bias[j] : T(0));
    }
  }
}

// forward: y = gain xhat + bias, so dx (+)= (g - mean g - xhat mean(g xhat)) / sqrt(v + eps), g = gain dy
template <class T>
void norm_backward(T* dx, const T* dy, const T* x, const T* gain, Index rows, Index cols, double eps, bool centred, Accum accum) {
  for (Index i = 0; i < rows; ++i) {
    const T *xi = x + i * cols, *dyi = dy + i * cols;
    T* dxi = dx + i * cols;
    const auto [m, factor] = moments_of(xi, cols, centred, T(eps));
    T plain, product;
    gain ? weighted_sums<T, true>(dyi, xi, gain, m, cols, plain, product) : weighted_sums<T, false>(dyi, xi, gain, m, cols, plain, product);
    const T mean = m, scale = factor, slope = -scale * scale * scale * product / T(cols), shift = centred ? -scale * plain / T(cols) : T(0);
    if (gain && accum == Accum::Overwrite) {
      CR_VECTOR_LOOP
      for (Index j = 0; j < cols; ++j) dxi[j] = scale * (gain[j] * dyi[j]) + (slope * (xi[j] - mean) + shift);
    } else {
      for (Index j = 0; j < cols; ++j) {
        const T d = scale * ((gain ? gain[j] : T(1)) * dyi[j]) + (slope * (xi[j] - mean) + shift);
        dxi[j] = accum == Accum::Add ? dxi[j] + d : d;
      }
    }
  }
}

// forward: y = gain xhat + bias, so dgain = sum_i dy xhat, dbias = sum_i dy
template <class T>
void norm_gradient(T* dgain, T* dbias, const T* dy, const T* x, Index rows, Index cols, double eps, bool centred, T scale, T keep) {
  if (dbias) column_sum(dbias, dy, rows, cols, cols, scale, keep);
  if (!dgain) return;
  constexpr Index rows_at_once = 64, cols_at_once = 256;
  T mean[rows_at_once], factor[rows_at_once], sum[cols_at_once];
  Index first = 0;
  do {
    const Index n = smaller(rows_at_once, rows - first);
    const T before = first ? T(1) : keep;
    for (Index i = 0; i < n; ++i) {
      const Moments<T> m = moments_of(x + (first + i) * cols, cols, centred, T(eps));
      mean[i] = m.mean, factor[i] = m.factor;
    }
    for (Index c = 0; c < cols; c += cols_at_once) {
      const Index m = smaller(cols_at_once, cols - c);
      for (Index j = 0; j < m; ++j) sum[j] = 0;
      for (Index i = 0; i < n; ++i) {
        const T *xi = x + (first + i) * cols + c, *dyi = dy + (first + i) * cols + c;
        const T mi = mean[i], fi = factor[i];
        for (Index j = 0; j < m; ++j) sum[j] += dyi[j] * ((xi[j] - mi) * fi);
      }
      T* y = dgain + c;
      if (before == T(0))
        for (Index j = 0; j < m; ++j) y[j] = scale * sum[j];
      else
        for (Index j = 0; j < m; ++j) y[j] = before * y[j] + scale * sum[j];
    }
    first += n;
  } while (first < rows);
}

namespace {

// out (cols,) = sum_i f(i, j): working type inside 64 rows, double across. Where a row would not fill vectors, several lie side by side.
// f(e, m): the term of element e of a (rows, cols) matrix, m = centre(column)
template <class T, class Centre, class F>
void column_totals(double* out, Index rows, Index cols, Centre centre, F f) {
  constexpr Index most = 256, deep = 64;
  const Index beside = cols <= most / 2 ? most / 2 / (cols > 0 ? cols : 1) : 1, ld = beside * cols;
  const Index whole = rows / beside, rest = rows % beside * cols;  // rest: numbers behind the last whole line
  for (Index c = 0; c < cols; c += most) {
    const Index width = beside > 1 ? ld : smaller(most, cols - c), m = beside > 1 ? cols : width;
    T sum[most], middle[most];
    double total[most] = {};
    for (Index j = 0; j < width; ++j) middle[j] = centre(c + j % m);
    for (Index i = 0; i < whole; i += deep) {
      const Index n = smaller(deep, whole - i);
      for (Index j = 0; j < width; ++j) sum[j] = 0;
      Index r = 0;
      for (; r + 4 <= n; r += 4) {
        const Index e = (i + r) * ld + c;
        for (Index j = 0; j < width; ++j)
          sum[j] += (f(e + j, middle[j]) + f(e + ld + j, middle[j])) + (f(e + 2 * ld + j, middle[j]) + f(e + 3 * ld + j, middle[j]));
      }
      for (; r < n; ++r)
        for (Index j = 0; j < width; ++j) sum[j] += f((i + r) * ld + c + j, middle[j]);
      for (Index j = 0; j < width; ++j) total[j] += static_cast<double>(sum[j]);
    }
    for (Index j = 0; j < rest; ++j) total[j] += static_cast<double>(f(whole * ld + j, middle[j]));
    for (Index j = 0; j < m; ++j) {
      double t = 0;
      for (Index s = j; s < width; s += m) t += total[s];
      out[c + j] = t;
    }
  }
}

}  // namespace

// sum (cols,) = sum_i x, square (cols,) = sum_i (x - m)^2, m the mean over these rows
template <class T>
void column_moments(double* sum, double* square, const T* x, Index rows, Index cols) {
  const double n = rows > 0 ? static_cast<double>(rows) : 1;
  column_totals<T>(sum, rows, cols, [](Index) { return T(0); }, [x](Index e, T) { return x[e]; });
  column_totals<T>(
      square, rows, cols, [sum, n](Index j) { return T(sum[j] / n); }, [x](Index e, T middle) { return (x[e] - middle) * (x[e] - middle); });
  for (Index j = 0; j < cols; ++j) {  // the middle was rounded to T
    const double off = sum[j] / n - static_cast<double>(T(sum[j] / n)), exact = square[j] - n * off * off;
    square[j] = exact > 0 ? exact : 0;
  }
}

// sum (cols,) = sum_i dy, product (cols,) = sum_i dy (x - mean)
template <class T>
void column_products(double* sum, double* product, const T* dy, const T* x, const T* mean, Index rows, Index cols) {
  column_totals<T>(sum, rows, cols, [](Index) { return T(0); }, [dy](Index e, T) { return dy[e]; });
  column_totals<T>(product, rows, cols, [mean](Index j) { return mean[j]; }, [dy, x](Index e, T middle) { return dy[e] * (x[e] - middle); });
}

// y = scale (x - mean) + shift, by column
template <class T>
void affine_forward(T* y, const T* x, const T* mean, const T* scale, const T* shift, Index rows, Index cols) {
  for (Index i = 0; i < rows; ++i) {
    T* yi = y + i * cols;
    const T* xi = x + i * cols;
    CR_VECTOR_LOOP
    for (Index j = 0; j < cols; ++j) yi[j] = scale[j] * (xi[j] - mean[j]) + shift[j];
  }
}

// dx (+)= scale dy + slope (x - mean) + shift, by column
template <class T>
void affine_backward(T* dx, const T* dy, const T* x, const T* mean, const T* scale, const T* slope, const T* shift, Index rows, Index cols,
                     Accum accum) {
  for (Index i = 0; i < rows; ++i) {
    T* dxi = dx + i * cols;
    const T *dyi = dy + i * cols, *xi = x + i * cols;
    if (accum == Accum::Add) {
      CR_VECTOR_LOOP
      for (Index j = 0; j < cols; ++j) dxi[j] += scale[j] * dyi[j] + (slope[j] * (xi[j] - mean[j]) + shift[j]);
    } else {
      CR_VECTOR_LOOP
      for (Index j = 0; j < cols; ++j) dxi[j] = scale[j] * dyi[j] + (slope[j] * (xi[j] - mean[j]) + shift[j]);
    }
  }
}

#define CR_DEFINE(T)                                                                                \
  template void norm_forward(T*, const T*, const T*, const T*, Index, Index, double, bool);         \
  template void norm_backward(T*, const T*, const T*, const T*, Index, Index, double, bool, Accum); \
  template void norm_gradient(T*, T*, const T*, const T*, Index, Index, double, bool, T, T);        \
  template void column_moments(double*, double*, const T*, Index, Index);                           \
  template void column_products(double*, double*, const T*, const T*, const T*, Index, Index);      \
  template void affine_forward(T*, const T*, const T*, const T*, const T*, Index, Index);           \
  template void affine_backward(T*, const T*, const T*, const T*, const T*, const T*, const T*, Index, Index, Accum);
CR_DEFINE(float)
CR_DEFINE(double)

}  // namespace chainrule::CR_ISA
