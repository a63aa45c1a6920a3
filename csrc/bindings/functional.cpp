// SPDX-License-Identifier: MIT
// Every kernel as a function of NumPy arrays, named kernel_<name in kernels.h>: C-contiguous arrays of one dtype in (anything else is a TypeError),
// fresh arrays out. `into` makes a kernel add: its result is into + what is computed. python/chainrule/functional converts what users bring.
#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "bindings/bindings.h"
#include "bindings/kernel_arrays.h"
#include "kernels/kernels.h"
#include "network/losses.h"
#include "tensor/check.h"
#include "tensor/random.h"

namespace chainrule::bindings {

namespace {

template <class T>
const ActivationKernel<T>& activation(const std::string& name) {
  const Kernels<T>& k = kernels<T>();
  std::string known;
  for (int i = 0; i < k.n_activations; ++i) {
    if (name == k.activations[i].name) return k.activations[i];
    known += (i ? ", " : "") + std::string(k.activations[i].name);
  }
  throw ValueError(text("[activation] there is no '", name, "': expected one of ", known));
}

py::typing::List<py::typing::Dict<py::str, py::object>> activations() {
  decltype(activations()) result;
  const Kernels<double>& k = kernels<double>();
  for (int i = 0; i < k.n_activations; ++i) {
    const ActivationKernel<double>& g = k.activations[i];
    py::dict entry;
    entry["name"] = g.name;
    entry["init"] = g.init;
    entry["needs_z"] = g.needs_z;
    entry["parameter"] = g.has_parameter ? py::object(py::float_(g.parameter)) : py::object(py::none());
    py::list kinks;
    for (int j = 0; j < g.kinks; ++j) kinks.append(g.kink[j]);
    entry["kinks"] = py::tuple(kinks);
    result.append(entry);
  }
  return result;
}

// ---- activations ----------------------------------------------------------------------------------------------------------------------------

template <class T>
Array<T> activation_forward(const std::string& name, const Array<T>& z, double p) {
  const ActivationKernel<T>& g = activation<T>(name);
  Array<T> a = copy(z);
  const Index n = z.size();
  T* out = a.mutable_data();
  release_if_large(n, [&] { g.forward(out, out, nullptr, 1, n, n, static_cast<T>(p)); });
  return a;
}

// As in training: what backward reads is z or a, as the function says.
template <class T>
Array<T> activation_backward(const std::string& name, const Array<T>& da, const Array<T>& z, double p) {
  CR_SAME(name + "_backward", da, z);
  const ActivationKernel<T>& g = activation<T>(name);
  Array<T> dz = copy(da), a;
  if (!g.needs_z) a = activation_forward(name, z, p);
  const Index n = z.size();
  T* out = dz.mutable_data();
  const T *z_data = g.needs_z ? z.data() : nullptr, *a_data = g.needs_z ? nullptr : a.data();
  release_if_large(n, [&] { g.backward(out, z_data, a_data, 1, n, n, static_cast<T>(p)); });
  return dz;
}

template <class T>
std::pair<Array<T>, Array<T>> activation_derivatives(const std::string& name, const Array<T>& z, double p) {
  const ActivationKernel<T>& g = activation<T>(name);
  Array<T> g1(dims(z)), g2(dims(z));
  T *out1 = g1.mutable_data(), *out2 = g2.mutable_data();
  const T* in = z.data();
  const Index n = z.size();
  release_if_large(n, [&] { g.derivatives(out1, out2, in, n, static_cast<T>(p)); });
  return {g1, g2};
}

template <class T>
Array<T> softmax_forward(const Array<T>& z) {
  const Matrix m = matrix("softmax", "z", z);
  Array<T> a(dims(z));
  T* out = a.mutable_data();
  const T* in = z.data();
  release_if_large(z.size(), [&] { kernels<T>().softmax_forward(out, in, m.rows, m.cols); });
  return a;
}

template <class T>
Array<T> softmax_backward(const Array<T>& da, const Array<T>& a, const Maybe<T>& into) {
  CR_SAME("softmax_backward", da, a);
  const Matrix m = matrix("softmax_backward", "a", a);
  auto [dz, accum] = target("softmax_backward", into, dims(a));
  T* out = dz.mutable_data();
  const T *da_data = da.data(), *a_data = a.data();
  release_if_large(a.size(), [&, accum = accum] { kernels<T>().softmax_backward(out, da_data, a_data, m.rows, m.cols, accum); });
  return dz;
}

// ---- products -------------------------------------------------------------------------------------------------------------------------------

template <class T>
Array<T> gemm(bool transpose_a, bool transpose_b, double alpha, const Array<T>& a, const Array<T>& b, double beta, const Array<T>& c) {
  CR_CHECK(a.ndim() == 2 && b.ndim() == 2 && c.ndim() == 2, "[gemm] a is ", str(a), ", b is ", str(b), ", c is ", str(c), ": expected matrices");
  const Index m = a.shape(transpose_a), k = a.shape(!transpose_a), n = b.shape(!transpose_b);
  CR_CHECK(b.shape(transpose_b) == k && c.shape(0) == m && c.shape(1) == n, "[gemm] op(a) is (", m, ", ", k, "), b is ", str(b), ", c is ", str(c),
           ": they do not fit together");
  Array<T> result = copy(c);
  T* out = result.mutable_data();
  const T *a_data = a.data(), *b_data = b.data();
  // a leading dimension of 0 is refused by BLAS even where there is nothing to do
  const Index lda = std::max<Index>(1, a.shape(1)), ldb = std::max<Index>(1, b.shape(1)), ldc = std::max<Index>(1, n);
  blas_assert_sequential();
  release_if_large(c.size() * std::max<Index>(1, k), [&] {
    kernels<T>().gemm(transpose_a, transpose_b, m, n, k, static_cast<T>(alpha), a_data, lda, b_data, ldb, static_cast<T>(beta), out, ldc);
  });
  return result;
}

// z = a W^T + b, a = g(z)
template <class T>
Array<T> dense_forward(const Array<T>& a, const Array<T>& W, const Maybe<T>& b, const std::string& function, double p) {
  CR_CHECK(W.ndim() == 2 && a.ndim() >= 1 && a.shape(a.ndim() - 1) == W.shape(1), "[dense] a is ", str(a), " but W is ", str(W),
           ": expected a (..., n_in) and W (n_out, n_in)");
  const Index n_out = W.shape(0), n_in = W.shape(1), rows = matrix("dense", "a", a).rows;
  CR_CHECK(!b || (b->ndim() == 1 && b->shape(0) == n_out), "[dense] b is ", b ? str(*b) : "", " but W is ", str(W), ": expected b (n_out,)");
  const bool softmax = function == "softmax";
  const Kernels<T>& k = kernels<T>();
  const ActivationKernel<T>& g = softmax ? k.activations[0] : activation<T>(function);
  Dims shape = dims(a);
  shape.back() = n_out;
  checked_multiply(checked_multiply(rows, n_out), static_cast<Index>(sizeof(T)));
  Array<T> z(shape);
  T* out = z.mutable_data();
  const T *a_data = a.data(), *w_data = W.data(), *b_data = data_or_null(b);
  blas_assert_sequential();
  release_if_large(rows * n_out * std::max<Index>(1, n_in), [&] {
    in_blocks(rows, n_out * n_in, [&](Index i, Index count) {
      T* block = out + i * n_out;
      k.gemm(false, true, count, n_out, n_in, T(1), a_data + i * n_in, std::max<Index>(1, n_in), w_data, std::max<Index>(1, n_in), T(0), block,
             std::max<Index>(1, n_out));
      g.forward(block, block, b_data, count, n_out, n_out, static_cast<T>(p));
      if (softmax) k.softmax_forward(block, block, count, n_out);
    });
  });
  return z;
}

// forward: z = a W^T + b, so da = dz W, dW = dz^T a, db = sum_i dz_i
template <class T>
std::tuple<Array<T>, Array<T>, Array<T>> dense_backward(const Array<T>& dz, const Array<T>& a, const Array<T>& W) {
  CR_CHECK(W.ndim() == 2 && a.ndim() >= 1 && a.shape(a.ndim() - 1) == W.shape(1), "[dense_backward] a is ", str(a), " but W is ", str(W),
           ": expected a (..., n_in) and W (n_out, n_in)");
  const Index n_out = W.shape(0), n_in = W.shape(1), rows = matrix("dense_backward", "a", a).rows;
  Dims shape = dims(a);
  shape.back() = n_out;
  CR_CHECK(dims(dz) == shape, "[dense_backward] dz is ", str(dz), " but a is ", str(a), " and W is ", str(W), ": expected dz (..., n_out)");
  Array<T> dx(dims(a)), dW(dims(W)), db(Dims{n_out});
  T *dx_data = dx.mutable_data(), *dw_data = dW.mutable_data(), *db_data = db.mutable_data();
  const T *dz_data = dz.data(), *a_data = a.data(), *w_data = W.data();
  const Kernels<T>& k = kernels<T>();
  const Index ld_in = std::max<Index>(1, n_in), ld_out = std::max<Index>(1, n_out);
  blas_assert_sequential();
  release_if_large(std::max<Index>(1, rows) * std::max<Index>(1, n_out) * std::max<Index>(1, n_in), [&] {
    in_blocks(rows, n_out * n_in, [&](Index i, Index count) {
      k.gemm(false, false, count, n_in, n_out, T(1), dz_data + i * n_out, ld_out, w_data, ld_in, T(0), dx_data + i * n_in, ld_in);
    });
    in_blocks(n_out, rows * n_in, [&](Index j, Index count) {
      k.gemm(true, false, count, n_in, rows, T(1), dz_data + j, ld_out, a_data, ld_in, T(0), dw_data + j * n_in, ld_in);
    });
    k.column_sum(db_data, dz_data, rows, n_out, ld_out, T(1), T(0));
  });
  return {dx, dW, db};
}

template <class T>
Array<T> column_sum(const Array<T>& dz, const Maybe<T>& into) {
  const Matrix m = matrix("column_sum", "dz", dz);
  auto [db, accum] = target("column_sum", into, Dims{m.cols});
  T* out = db.mutable_data();
  const T* in = dz.data();
  release_if_large(dz.size(), [&, accum = accum] { kernels<T>().column_sum(out, in, m.rows, m.cols, m.cols, T(1), T(accum == Accum::Add)); });
  return db;
}

// ---- losses ---------------------------------------------------------------------------------------------------------------------------------

// sum_i s_i L_i, and dL/dx times scale and s_i. y: the shape of x (its last axis divided by the levels), labels and s: that of the rows.
template <class T>
std::pair<double, Maybe<T>> loss(const std::string& name, const Array<T>& x, const Maybe<T>& y, const std::optional<Labels>& labels,
                                 const Maybe<T>& s, double scale, bool gradient, const Maybe<T>& into, const std::vector<double>& parameters) {
  const LossRule<T>* rule = nullptr;
  for (const LossRule<T>& r : loss_rules<T>)
    if (name == r.name || (r.fused && name == r.fused)) rule = &r;
  CR_CHECK(rule, "[loss] there is no '", name, "'");
  check_parameters(name, rule->parameters, parameters);
  const Matrix m = matrix(name.c_str(), "the output", x);
  CR_CHECK(y.has_value() != labels.has_value(), "[", name, "] expected y or labels");
  CR_CHECK(!labels || rule->labels, "[", name, "] takes no labels: expected y of shape ", str(x));
  const Dims rows(x.shape(), x.shape() + x.ndim() - 1);
  const Index levels = rule->parameters == LossParameters::ByLevel ? static_cast<Index>(parameters.size()) : 1;
  Dims targets = dims(x);
  CR_CHECK(targets.back() % levels == 0, "[", name, "] the output is ", str(x), ": expected a multiple of the ", levels, " levels as its last axis");
  targets.back() /= levels;
  CR_CHECK(!y || dims(*y) == targets, "[", name, "] y is ", y ? str(*y) : "", " but the output is ", str(x), ": expected the same shape",
           levels > 1 ? text(", one column for ", levels, " of them") : "");
  if (labels) {
    CR_CHECK(dims(*labels) == rows, "[", name, "] labels are ", str(*labels), " but the output is ", str(x), ": expected one label a row");
    const std::int32_t* l = labels->data();
    for (Index i = 0; i < m.rows; ++i)
      CR_CHECK(l[i] >= 0 && l[i] < m.cols, "[", name, "] label ", l[i], " in row ", i, ": expected 0 .. ", m.cols - 1);
  }
  CR_CHECK(!s || dims(*s) == rows, "[", name, "] s is ", s ? str(*s) : "", " but the output is ", str(x), ": expected one weight a row");
  Maybe<T> dx;
  Accum accum = Accum::Overwrite;
  if (gradient) std::tie(dx, accum) = target(name.c_str(), into, dims(x));
  const LossArgs<T> args{x.data(),
                         dx ? dx->mutable_data() : nullptr,
                         accum,
                         data_or_null(y),
                         labels ? labels->data() : nullptr,
                         data_or_null(s),
                         scale,
                         m.rows,
                         m.cols,
                         parameters.data(),
                         levels};
  const double value = release_if_large(x.size(), [&] { return (kernels<T>().*(name == rule->name ? rule->of_a : rule->of_z))(args); });
  return {value, dx};
}

// ---- optimizers and penalties -----------------------------------------------------------------------------------------------------------------

// One step on copies: (w, m, v, (sum_abs, sum_square, finite)). w (n,); g (slots, n).
template <class T>
using Updated = std::tuple<Array<T>, Maybe<T>, Maybe<T>, std::tuple<double, double, bool>>;

template <class T>
Updated<T> update(const std::string& name, const Array<T>& w, const Array<T>& g, const Maybe<T>& m, const Maybe<T>& v, double alpha, double mu,
                  double rho, double eps, double c1, double c2, bool nesterov, bool eps_hat, double clip, double l1, double l2, double decay,
                  double threshold) {
  const Kernels<T>& k = kernels<T>();
  const bool adam = name == "adam", rmsprop = name == "rmsprop";
  CR_CHECK(adam || rmsprop || name == "sgd", "[update] there is no '", name, "': expected sgd, rmsprop or adam");
  CR_CHECK(w.ndim() == 1 && g.ndim() == 2 && g.shape(1) == w.size() && g.shape(0) >= 1, "[", name, "] w is ", str(w), " but g is ", str(g),
           ": expected w (n,) and g (slots, n)");
  CR_CHECK(v ? same(*v, w) : name == "sgd" && mu == 0, "[", name, "] v is ", v ? str(*v) : "None", " but w is ", str(w), ": expected the same shape");
  CR_CHECK(adam ? m && same(*m, w) : !m, "[", name, "] m is ", m ? str(*m) : "None", " but w is ", str(w), ": expected ",
           adam ? "the same shape" : "None");
  Array<T> new_w = copy(w);
  Maybe<T> new_m, new_v;
  if (m) new_m = copy(*m);
  if (v) new_v = copy(*v);
  // sgd without momentum has no velocity: the kernel takes a null for it
  const bool uses_v = v && !(name == "sgd" && mu == 0);
  const UpdateArgs<T> args{new_w.mutable_data(),
                           g.data(),
                           g.shape(0),
                           g.shape(1),
                           new_m ? new_m->mutable_data() : nullptr,
                           uses_v ? new_v->mutable_data() : nullptr,
                           w.size(),
                           alpha,
                           mu,
                           rho,
                           eps,
                           c1,
                           c2,
                           nesterov,
                           eps_hat,
                           clip,
                           l1,
                           l2,
                           decay,
                           threshold};
  const UpdateKernel<T> kernel = adam ? k.adam : rmsprop ? k.rmsprop : k.sgd;
  const UpdateSums sums = release_if_large(w.size(), [&] { return kernel(args); });
  return {new_w, new_m, new_v, {sums.sum_abs, sums.sum_square, sums.finite}};
}

template <class T>
Array<T> sum_slots(const Array<T>& slots) {
  CR_CHECK(slots.ndim() == 2, "[sum_slots] slots is ", str(slots), ": expected (slots, n)");
  Array<T> g(Dims{slots.shape(1)});
  kernels<T>().sum_slots(g.mutable_data(), slots.data(), slots.shape(0), slots.shape(1), slots.shape(1));
  return g;
}

template <class T>
Array<T> add_penalty(const Array<T>& g, const Array<T>& w, double l1, double l2) {
  CR_SAME("add_penalty", g, w);
  Array<T> result = copy(g);
  kernels<T>().add_penalty(result.mutable_data(), w.data(), w.size(), l1, l2);
  return result;
}

// ---- the rest -----------------------------------------------------------------------------------------------------------------------------------

// The mask of elements first, first + 1, ...: as layers/dropout.h draws it.
template <class T>
Array<T> dropout(const Array<T>& x, Index first, double rate, std::uint64_t seed, std::uint32_t step, std::uint32_t stream, const Maybe<T>& into) {
  CR_CHECK(first >= 0 && rate >= 0 && rate < 1, "[dropout] first is ", first, " and rate is ", rate, ": expected first >= 0 and 0 <= rate < 1");
  const auto threshold = static_cast<std::uint32_t>(std::min(std::round(rate * 0x1p32), 0x1p32 - 1));
  auto [y, accum] = target("dropout", into, dims(x));
  T* out = y.mutable_data();
  const T* in = x.data();
  const Index n = x.size();
  release_if_large(n, [&, accum = accum] {
    kernels<T>().dropout(out, in, first, n, static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32), step,
                         purpose_stream(Purpose::Dropout, stream), threshold, static_cast<T>(1 / (1 - rate)), accum);
  });
  return y;
}

template <class T>
Array<T> standardize_forward(const Array<T>& x, const Array<T>& mean, const Array<T>& scale) {
  const Matrix m = matrix("standardize", "x", x);
  CR_CHECK(dims(mean) == Dims{m.cols} && same(mean, scale), "[standardize] x is ", str(x), " but mean is ", str(mean), " and scale is ", str(scale),
           ": expected (", m.cols, ",) for both");
  Array<T> y(dims(x));
  T* out = y.mutable_data();
  const T *in = x.data(), *mean_data = mean.data(), *scale_data = scale.data();
  release_if_large(x.size(), [&] { kernels<T>().standardize_forward(out, in, mean_data, scale_data, m.rows, m.cols); });
  return y;
}

template <class T>
Array<T> standardize_backward(const Array<T>& dy, const Array<T>& scale, const Maybe<T>& into) {
  const Matrix m = matrix("standardize_backward", "dy", dy);
  CR_CHECK(dims(scale) == Dims{m.cols}, "[standardize_backward] dy is ", str(dy), " but scale is ", str(scale), ": expected (", m.cols, ",)");
  auto [dx, accum] = target("standardize_backward", into, dims(dy));
  kernels<T>().standardize_backward(dx.mutable_data(), dy.data(), scale.data(), m.rows, m.cols, accum);
  return dx;
}

template <class T>
Array<T> add(const Array<T>& x, const Maybe<T>& into) {
  auto [y, accum] = target("add", into, dims(x));
  kernels<T>().add(y.mutable_data(), x.data(), x.size(), accum);
  return y;
}

template <class T>
Array<T> multiply(const Array<T>& x1, const Array<T>& x2, const Maybe<T>& into) {
  CR_SAME("multiply", x1, x2);
  auto [y, accum] = target("multiply", into, dims(x1));
  kernels<T>().multiply(y.mutable_data(), x1.data(), x2.data(), x1.size(), accum);
  return y;
}

template <class T>
void bind_kernels(py::module_& m) {
  using namespace py::literals;
  m.def("kernel_activation_forward", &activation_forward<T>, "name"_a, exact("z"), "p"_a);
  m.def("kernel_activation_backward", &activation_backward<T>, "name"_a, exact("da"), exact("z"), "p"_a);
  m.def("kernel_activation_derivatives", &activation_derivatives<T>, "name"_a, exact("z"), "p"_a);
  m.def("kernel_softmax_forward", &softmax_forward<T>, exact("z"));
  m.def("kernel_softmax_backward", &softmax_backward<T>, exact("da"), exact("a"), into());
  m.def("kernel_gemm", &gemm<T>, "transpose_a"_a, "transpose_b"_a, "alpha"_a, exact("a"), exact("b"), "beta"_a, exact("c"));
  m.def("kernel_dense_forward", &dense_forward<T>, exact("a"), exact("W"), exact("b"), "activation"_a, "p"_a);
  m.def("kernel_dense_backward", &dense_backward<T>, exact("dz"), exact("a"), exact("W"));
  m.def("kernel_column_sum", &column_sum<T>, exact("dz"), into());
  m.def("kernel_loss", &loss<T>, "name"_a, exact("x"), exact("y"), exact("labels"), exact("s"), "scale"_a, "gradient"_a, into(),
        "parameters"_a = std::vector<double>());
  m.def("kernel_update", &update<T>, "name"_a, exact("w"), exact("g"), exact("m"), exact("v"), py::kw_only(), "alpha"_a, "mu"_a = 0.0, "rho"_a = 0.0,
        "eps"_a = 0.0, "c1"_a = 1.0, "c2"_a = 1.0, "nesterov"_a = false, "eps_hat"_a = false, "clip"_a = 1.0, "l1"_a = 0.0, "l2"_a = 0.0,
        "decay"_a = 0.0, "threshold"_a = 0.0);
  m.def("kernel_sum_slots", &sum_slots<T>, exact("slots"));
  m.def("kernel_add_penalty", &add_penalty<T>, exact("g"), exact("w"), "l1"_a, "l2"_a);
  m.def("kernel_sum_square", [](const Array<T>& x) { return kernels<T>().sum_square(x.data(), x.size()); }, exact("x"));
  m.def("kernel_sum_abs", [](const Array<T>& x) { return kernels<T>().sum_abs(x.data(), x.size()); }, exact("x"));
  m.def("kernel_all_finite", [](const Array<T>& x) { return kernels<T>().all_finite(x.data(), x.size()); }, exact("x"));
  m.def("kernel_dropout", &dropout<T>, exact("x"), "first"_a, "rate"_a, "seed"_a, "step"_a, "stream"_a, into());
  m.def("kernel_standardize_forward", &standardize_forward<T>, exact("x"), exact("mean"), exact("scale"));
  m.def("kernel_standardize_backward", &standardize_backward<T>, exact("dy"), exact("scale"), into());
  m.def("kernel_add", &add<T>, exact("x"), into());
  m.def("kernel_multiply", &multiply<T>, exact("x1"), exact("x2"), into());
}

}  // namespace

void bind_functional(py::module_& m) {
  m.def("activations", &activations, "The elementwise activations: a dict of name, init, needs_z, parameter (None: it has none) and kinks for each.");
  bind_kernels<float>(m);
  bind_kernels<double>(m);
}

}  // namespace chainrule::bindings
