// SPDX-License-Identifier: MIT
#include "bindings/bindings.h"
#include "tensor/check.h"

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  namespace py = pybind11;
  using namespace chainrule;

  m.attr("__version__") = CHAINRULE_VERSION;
  py::register_local_exception_translator([](std::exception_ptr raised) {
    try {
      std::rethrow_exception(raised);
    } catch (const ValueError& e) {
      py::set_error(PyExc_ValueError, e.what());
    } catch (const StateError& e) {
      py::set_error(PyExc_RuntimeError, e.what());
    } catch (const Interrupted&) {
      PyErr_SetNone(PyExc_KeyboardInterrupt);
    }
  });
  bindings::bind_info(m);
  bindings::bind_random(m);
  bindings::bind_functional(m);
  bindings::bind_optim(m);
  bindings::bind_devices(m);
  bindings::bind_network(m);
}
