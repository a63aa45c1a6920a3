// SPDX-License-Identifier: MIT
// predict for one input and one output, C-contiguous rows of the network's own dtype: the way without a detour for a single row, which takes 2 us. A
// builtin function instead of a pybind11 one, whose dispatch would take as long as the products. `finite` is the estimators' way: it takes float32 and
// float64, and leaves what holds a NaN or inf to whoever can name it.
#include <limits>
#include <vector>

#include "bindings/network.h"

namespace chainrule::bindings {

namespace {

template <class T>
constexpr int number_of = std::is_same_v<T, float> ? py::detail::npy_api::NPY_FLOAT_ : py::detail::npy_api::NPY_DOUBLE_;

constexpr Index most_numbers = Index{1} << 18;

template <class T>
PyObject* predict_rows(Handle<T>& h, PyObject* object, bool finite) {
  using Other = std::conditional_t<std::is_same_v<T, float>, double, float>;
  const auto& api = py::detail::npy_api::get();
  constexpr int plain = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  // subclasses (a masked array) mean more than their numbers: intake.py knows
  const std::vector<Index>& in = h.direct_in.dims;
  if (in.empty() || Py_TYPE(object) != api.PyArray_Type_) Py_RETURN_NONE;
  const auto* x = py::detail::array_proxy(object);
  const auto* type = py::detail::array_descriptor1_proxy(x->descr);
  const bool own = type->type_num == number_of<T>;
  if (x->nd != static_cast<int>(in.size()) + 1 || (x->flags & plain) != plain || !(own || (finite && type->type_num == number_of<Other>)) ||
      type->byteorder != '=')
    Py_RETURN_NONE;
  const Index rows = x->dimensions[0], size = h.direct_in.size();
  if (rows == 0 || !std::equal(in.begin(), in.end(), x->dimensions + 1)) Py_RETURN_NONE;
  // beyond a megabyte or so nothing is won, a copy would grow with n, and the look for NaN would hold the GIL
  if (finite && rows * size > most_numbers) Py_RETURN_NONE;
  std::vector<T> converted;
  const T* data = reinterpret_cast<const T*>(x->data);
  if (!own) {
    const Other* other = reinterpret_cast<const Other*>(x->data);
    converted.assign(other, other + rows * size);
    data = converted.data();
  }
  if (finite && !kernels<T>().all_finite(data, rows * size)) Py_RETURN_NONE;

  Network<T>& net = *h.net;
  const Reading reading(net.gate, "predict");
  if (net.unlearned()) Py_RETURN_NONE;  // an error that names the layer
  const std::vector<Index>& sample = h.direct_out.dims;
  Py_intptr_t shape[4] = {static_cast<Py_intptr_t>(rows)};
  std::copy(sample.begin(), sample.end(), shape + 1);
  PyObject* out = api.PyArray_NewFromDescr_(api.PyArray_Type_, py::dtype::of<T>().release().ptr(), static_cast<int>(sample.size()) + 1, shape,
                                            nullptr, nullptr, 0, nullptr);
  const auto owner = py::reinterpret_steal<py::object>(out);  // null: NumPy has set MemoryError
  if (!out) return nullptr;
  T* outputs[] = {reinterpret_cast<T*>(py::detail::array_proxy(out)->data)};
  const RowsFeed<T> feed(data, size);
  if (rows <= 16 && static_cast<double>(rows) * h.work <= 4e6) {  // microseconds: giving up the GIL and taking it back would cost as much
    Cancel cancel;
    predict(net, feed, rows, 1, outputs, cancel);
  } else {
    Signals signals;
    without_gil(signals, [&] { predict(net, feed, rows, 1, outputs, signals.cancel); });
  }
  return py::object(owner).release().ptr();
}

constexpr const char* capsule_name = "chainrule.network";

template <class T, bool finite>
PyObject* call(PyObject* self, PyObject* x) {
  try {
    return predict_rows(*static_cast<Handle<T>*>(PyCapsule_GetPointer(self, capsule_name)), x, finite);
  } catch (py::error_already_set& e) {
    e.restore();
  } catch (const ValueError& e) {
    PyErr_SetString(PyExc_ValueError, e.what());
  } catch (const std::bad_alloc& e) {
    PyErr_SetString(PyExc_MemoryError, e.what());
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  }
  return nullptr;
}

template <class T, bool finite>
PyMethodDef method = {finite ? "predict_finite" : "predict", &call<T, finite>, METH_O,
                      "predict(x): the outputs of rows x, or None where x is not what this way is for."};

}  // namespace

template <class T>
py::object direct_predict(const py::object& network, bool finite) {
  // The capsule keeps the handle alive; the function does not keep the Python object of the network, which may hold it.
  auto* handle = new std::shared_ptr<Handle<T>>(network.cast<std::shared_ptr<Handle<T>>>());
  PyObject* capsule =
      PyCapsule_New(handle->get(), capsule_name, [](PyObject* c) { delete static_cast<std::shared_ptr<Handle<T>>*>(PyCapsule_GetContext(c)); });
  if (!capsule) {
    delete handle;
    throw py::error_already_set();
  }
  PyCapsule_SetContext(capsule, handle);
  const auto self = py::reinterpret_steal<py::object>(capsule);
  PyMethodDef* const way = finite ? &method<T, true> : &method<T, false>;
  return py::reinterpret_steal<py::object>(PyCFunction_New(way, capsule));
}

template py::object direct_predict<float>(const py::object&, bool);
template py::object direct_predict<double>(const py::object&, bool);

}  // namespace chainrule::bindings
