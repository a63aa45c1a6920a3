// SPDX-License-Identifier: MIT
// The topics of the module chainrule._core: csrc/bindings/<topic>.cpp defines bind_<topic>, module.cpp calls them all.
#pragma once
#include <pybind11/pybind11.h>

namespace chainrule::bindings {

namespace py = pybind11;

void bind_info(py::module_& m);
void bind_random(py::module_& m);
void bind_functional(py::module_& m);
void bind_optim(py::module_& m);
void bind_network(py::module_& m);
void bind_devices(py::module_& m);
void bind_dlpack(py::module_& m);

py::object loaded_device_library();  // what build_info() says of it; None where none was loaded

}  // namespace chainrule::bindings
