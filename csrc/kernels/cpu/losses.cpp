// SPDX-License-Identifier: MIT
// sum_i s_i L_i and its gradient, a block of rows at a time so that exp and log run over full vectors whatever the number of columns. A row's L is
// summed in the working type (runs of 1024), rows in double in increasing i. A row of weight 0 adds exactly 0, whatever it holds.
#include "math/losses.h"

#include "kernels/cpu/parts.h"

namespace chainrule::CR_ISA {

namespace {

template <class T>
CR_FN T weight_of(const LossArgs<T>& q, Index i) {
  return q.s ? q.s[i] : T(1);
}

// dx (+)= g
template <class T>
CR_FN void store(T* dx, const T* g, Index n, Accum accum) {
  if (accum == Accum::Add)
    for (Index e = 0; e < n; ++e) dx[e] += g[e];
  else
    for (Index e = 0; e < n; ++e) dx[e] = g[e];
}

// y = 1 at the label, else 0; columns first .. first + cols - 1 of the row
template <class T>
void one_hot(T* y, const std::int32_t* labels, Index rows, Index first, Index cols) {
  for (Index e = 0; e < rows * cols; ++e) y[e] = T(0);
  for (Index r = 0; r < rows; ++r) {
    const Index j = labels[r] - first;
    if (j >= 0 && j < cols) y[r * cols + j] = T(1);
  }
}

// Columns first .. first + cols - 1 of each row: y's column for every level of it, and the level's parameter
template <class T>
void by_level(T* y, T* p, const LossArgs<T>& q, Index i, Index rows, Index first, Index cols) {
  for (Index r = 0; r < rows; ++r) {
    const T* target = q.y + (i + r) * (q.cols / q.levels) + first / q.levels;
    for (Index e = 0, level = first % q.levels; e < cols; ++e) {
      y[r * cols + e] = *target;
      p[r * cols + e] = T(q.p[level]);
      if (++level == q.levels) level = 0, ++target;
    }
  }
}

// sum_i s_i sum_j L (rows, cols)
template <class T>
CR_FN double weighted_sum(const LossArgs<T>& q, Index first, Index rows, const T* L, Index cols) {
  double total = 0;
  for (Index r = 0; r < rows; ++r) {
    const T s = weight_of(q, first + r);
    total += s == T(0) ? 0.0 : static_cast<double>(s) * static_cast<double>(sum_of(L + r * cols, cols));
  }
  return total;
}

// L = sum_m value(x_m, y_m, p_m)
template <class Loss, class T>
double elementwise(const LossArgs<T>& q) {
  T target[run], out[run], factor[run], p[Loss::has_parameter ? run : 1];
  const auto parameter = [&p](Index e) { return Loss::has_parameter ? p[e] : T(0); };
  double total = 0;
  const Index block = rows_a_run(q.cols), width = smaller(q.cols, run);
  for (Index i = 0; i < q.rows; i += block) {
    const Index m = smaller(block, q.rows - i);
    for (Index j = 0; j < q.cols; j += width) {
      const Index w = smaller(width, q.cols - j), at = i * q.cols + j, n = m * w;  // m > 1 only where a row is one piece
      const T* x = q.x + at;
      const T* y = q.y && !Loss::has_parameter ? q.y + at : target;
      if (Loss::has_parameter)
        by_level(target, p, q, i, m, j, w);
      else if (!q.y)
        one_hot(target, q.labels + i, m, j, w);
      for (Index e = 0; e < n; ++e) out[e] = Loss::value(x[e], y[e], parameter(e));
      total += w == 1 ? weighted_sum(q, i, m, out, Index(1)) : weighted_sum(q, i, m, out, w);  // one column: no inner loop
      if (!q.dx) continue;
      const T scale = T(q.scale);
      if (q.s) {
        if (w == 1)
          for (Index r = 0; r < m; ++r) factor[r] = scale * q.s[i + r];
        else
          for (Index r = 0; r < m; ++r)
            for (Index e = 0; e < w; ++e) factor[r * w + e] = scale * q.s[i + r];
        for (Index e = 0; e < n; ++e) out[e] = factor[e] == T(0) ? T(0) : factor[e] * Loss::gradient(x[e], y[e], parameter(e));
      } else {
        for (Index e = 0; e < n; ++e) out[e] = scale * Loss::gradient(x[e], y[e], parameter(e));
      }
      store(q.dx + at, out, n, q.accum);
    }
  }
  return total;
}

// The parts of softmax cross-entropy for columns j .. j + n - 1 of one row: t = z - max z, kept finite so that y = 0 makes y t = 0
template <class T>
CR_FN void shift_row(T* t, const T* z, T largest, Index n) {
  for (Index e = 0; e < n; ++e) t[e] = at_least(z[e] - largest, -Real<T>::largest);
}
template <class T>
CR_FN void shift_rows(T* t, const T* largest, Index n) {
  for (Index e = 0; e < n; ++e) t[e] = at_least(t[e] - largest[e], -Real<T>::largest);
}
// p = exp(t) -> coefficient p - factor y, or with the label's column (if it is here) instead of y
template <class T>
CR_FN void gradient_row(T* p, const T* y, Index label, T coefficient, T factor, Index n) {
  if (factor == T(0)) {
    for (Index e = 0; e < n; ++e) p[e] = T(0);
  } else if (y) {
    for (Index e = 0; e < n; ++e) p[e] = coefficient * p[e] - factor * y[e];
  } else {
    for (Index e = 0; e < n; ++e) p[e] *= coefficient;
    if (label >= 0 && label < n) p[label] -= factor;
  }
}

// A row that fits no buffer: in pieces, exp taken twice
template <class T>
double wide_row(const LossArgs<T>& q, Index i) {
  T p[run];
  const T* z = q.x + i * q.cols;
  const T* y = q.y ? q.y + i * q.cols : nullptr;
  const T largest = largest_of(z, q.cols), s = weight_of(q, i);
  double sum = 0, linear = y ? 0.0 : static_cast<double>(z[q.labels[i]] - largest), mass = y ? 0.0 : 1.0;
  for (Index j = 0; j < q.cols; j += run) {
    const Index n = smaller(run, q.cols - j);
    shift_row(p, z + j, largest, n);
    if (y) {
      linear += static_cast<double>(dot(y + j, p, n));
      mass += static_cast<double>(sum_of(y + j, n));
    }
    for (Index e = 0; e < n; ++e) p[e] = exp_bounded(p[e]);
    sum += static_cast<double>(sum_of(p, n));
  }
  if (q.dx) {
    const T factor = T(q.scale) * s, coefficient = factor * T(mass / sum);
    for (Index j = 0; j < q.cols; j += run) {
      const Index n = smaller(run, q.cols - j);
      shift_row(p, z + j, largest, n);
      for (Index e = 0; e < n; ++e) p[e] = exp_bounded(p[e]);
      gradient_row(p, y ? y + j : nullptr, y ? Index(-1) : q.labels[i] - j, coefficient, factor, n);
      store(q.dx + i * q.cols + j, p, n, q.accum);
    }
  }
  return s == T(0) ? 0.0 : static_cast<double>(s) * (mass * log(sum) - linear);
}

// At most 16 columns: rows lie side by side, p[j m + r], so that every loop but the transposing ones runs over full vectors. By rows the loops of 3
// columns, set up again for each, take 250 instructions a row.
constexpr Index few = 16;
template <class T>
double few_columns(const LossArgs<T>& q) {
  T p[run], largest[run], sum[run], linear[run], mass[run], coefficient[run], factor[run];
  double total = 0;
  const Index cols = q.cols, block = rows_a_run(cols);
  for (Index i = 0; i < q.rows; i += block) {
    const Index m = smaller(block, q.rows - i), at = i * cols;
    const T* z = q.x + at;
    const T* y = q.y ? q.y + at : nullptr;
    const std::int32_t* labels = y ? nullptr : q.labels + i;
    for (Index j = 0; j < cols; ++j)
      for (Index r = 0; r < m; ++r) p[j * m + r] = z[r * cols + j];
    for (Index r = 0; r < m; ++r) largest[r] = p[r];
    for (Index j = 1; j < cols; ++j)
      for (Index r = 0; r < m; ++r) largest[r] = p[j * m + r] > largest[r] ? p[j * m + r] : largest[r];
    for (Index j = 0; j < cols; ++j) shift_rows(p + j * m, largest, m);
    for (Index r = 0; r < m; ++r) {
      linear[r] = y ? T(0) : z[r * cols + labels[r]] - largest[r];
      mass[r] = y ? T(0) : T(1);
    }
    for (Index j = 0; y && j < cols; ++j)
      for (Index r = 0; r < m; ++r) linear[r] += y[r * cols + j] * p[j * m + r], mass[r] += y[r * cols + j];
    for (Index e = 0; e < m * cols; ++e) p[e] = exp_bounded(p[e]);
    for (Index r = 0; r < m; ++r) sum[r] = p[r];
    for (Index j = 1; j < cols; ++j)
      for (Index r = 0; r < m; ++r) sum[r] += p[j * m + r];
    for (Index r = 0; r < m; ++r) linear[r] = mass[r] * log(sum[r]) - linear[r];
    for (Index r = 0; r < m; ++r) {
      const T s = weight_of(q, i + r);
      total += s == T(0) ? 0.0 : static_cast<double>(s) * static_cast<double>(linear[r]);
    }
    if (!q.dx) continue;
    for (Index r = 0; r < m; ++r) {
      factor[r] = T(q.scale) * weight_of(q, i + r);
      coefficient[r] = factor[r] * (mass[r] / sum[r]);
    }
    for (Index j = 0; j < cols; ++j)
      for (Index r = 0; r < m; ++r) p[j * m + r] = factor[r] == T(0) ? T(0) : coefficient[r] * p[j * m + r];
    for (Index r = 0; r < m; ++r) {
      if (factor[r] == T(0)) continue;
      if (labels) p[labels[r] * m + r] -= factor[r];
      for (Index j = 0; y && j < cols; ++j) p[j * m + r] -= factor[r] * y[r * cols + j];
    }
    T* dx = q.dx + at;
    for (Index j = 0; j < cols; ++j)
      if (q.accum == Accum::Add)
        for (Index r = 0; r < m; ++r) dx[r * cols + j] += p[j * m + r];
      else
        for (Index r = 0; r < m; ++r) dx[r * cols + j] = p[j * m + r];
  }
  return total;
}

}  // namespace

// L = -sum_m y_m log softmax(z)_m = (sum_m y_m) log sum_l exp(t_l) - sum_m y_m t_m,  t = z - max z;  dz = (sum_m y_m) softmax(z) - y
template <class T>
double softmax_cross_entropy(const LossArgs<T>& q) {
  if (q.cols == 0) return 0;
  if (q.cols <= few && q.rows >= VectorOf<T>::lanes) return few_columns(q);
  double total = 0;
  if (q.cols > run) {
    for (Index i = 0; i < q.rows; ++i) total += wide_row(q, i);
    return total;
  }
  T p[run], sum[run], log_sum[run], linear[run], mass[run];
  const Index cols = q.cols, block = rows_a_run(cols);
  for (Index i = 0; i < q.rows; i += block) {
    const Index m = smaller(block, q.rows - i), at = i * cols;
    for (Index r = 0; r < m; ++r) {
      const T* z = q.x + at + r * cols;
      const T* y = q.y ? q.y + at + r * cols : nullptr;
      const T largest = largest_of(z, cols);
      shift_row(p + r * cols, z, largest, cols);
      linear[r] = y ? dot(y, p + r * cols, cols) : z[q.labels[i + r]] - largest;
      mass[r] = y ? sum_of(y, cols) : T(1);
    }
    for (Index e = 0; e < m * cols; ++e) p[e] = exp_bounded(p[e]);
    for (Index r = 0; r < m; ++r) sum[r] = sum_of(p + r * cols, cols);
    for (Index r = 0; r < m; ++r) log_sum[r] = log(sum[r]);
    for (Index r = 0; r < m; ++r) {
      const T s = weight_of(q, i + r), loss = mass[r] * log_sum[r] - linear[r];
      total += s == T(0) ? 0.0 : static_cast<double>(s) * static_cast<double>(loss);
    }
    if (!q.dx) continue;
    for (Index r = 0; r < m; ++r) {
      const T factor = T(q.scale) * weight_of(q, i + r);
      gradient_row(p + r * cols, q.y ? q.y + at + r * cols : nullptr, q.y ? Index(-1) : Index(q.labels[i + r]), factor * (mass[r] / sum[r]), factor,
                   cols);
    }
    store(q.dx + at, p, m * cols, q.accum);
  }
  return total;
}

template <class T>
double cross_entropy(const LossArgs<T>& q) {
  return elementwise<CrossEntropy>(q);
}
template <class T>
double sigmoid_binary_cross_entropy(const LossArgs<T>& q) {
  return elementwise<SigmoidBinaryCrossEntropy>(q);
}
template <class T>
double binary_cross_entropy(const LossArgs<T>& q) {
  return elementwise<BinaryCrossEntropy>(q);
}
template <class T>
double squared_error(const LossArgs<T>& q) {
  return elementwise<SquaredError>(q);
}
template <class T>
double absolute_error(const LossArgs<T>& q) {
  return elementwise<AbsoluteError>(q);
}
template <class T>
double huber(const LossArgs<T>& q) {
  return elementwise<Huber>(q);
}
template <class T>
double quantile(const LossArgs<T>& q) {
  return elementwise<Quantile>(q);
}
template <class T>
double exp_poisson(const LossArgs<T>& q) {
  return elementwise<ExpPoisson>(q);
}
template <class T>
double poisson(const LossArgs<T>& q) {
  return elementwise<Poisson>(q);
}

#define CR_DEFINE(T)                                                \
  template double softmax_cross_entropy(const LossArgs<T>&);        \
  template double cross_entropy(const LossArgs<T>&);                \
  template double sigmoid_binary_cross_entropy(const LossArgs<T>&); \
  template double binary_cross_entropy(const LossArgs<T>&);         \
  template double squared_error(const LossArgs<T>&);                \
  template double absolute_error(const LossArgs<T>&);               \
  template double huber(const LossArgs<T>&);                        \
  template double quantile(const LossArgs<T>&);                     \
  template double exp_poisson(const LossArgs<T>&);                  \
  template double poisson(const LossArgs<T>&);
CR_DEFINE(float)
CR_DEFINE(double)

}  // namespace chainrule::CR_ISA
