// SPDX-License-Identifier: MIT
#include "bindings/optim.h"

#include <string>

namespace py = pybind11;

namespace chainrule::bindings {

namespace {
py::object item(const py::dict& spec, const char* key) {
  CR_CHECK(spec.contains(key), "schedule: '", key, "' is missing");
  return spec[key];
}

// No conversions: True is not 1 and "0.1" is not 0.1.
double number(const py::dict& spec, const char* key) {
  const py::object x = item(spec, key);
  CR_CHECK(!py::isinstance<py::bool_>(x) && (py::isinstance<py::float_>(x) || py::isinstance<py::int_>(x)), "schedule: ", key, " is ",
           std::string(py::repr(x)), ": expected a number");
  const double value = PyFloat_AsDouble(x.ptr());
  if (PyErr_Occurred()) {  // an int that no double holds
    PyErr_Clear();
    throw ValueError(text("schedule: ", key, " is too large for a number"));
  }
  return value;
}

Index integer(const py::dict& spec, const char* key) {
  const py::object x = item(spec, key);
  CR_CHECK(!py::isinstance<py::bool_>(x) && py::isinstance<py::int_>(x), "schedule: ", key, " is ", std::string(py::repr(x)),
           ": expected an integer");
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(x.ptr(), &overflow);
  CR_CHECK(overflow == 0, "schedule: ", key, " does not fit in 63 bits");
  return value;
}

std::string string(const py::dict& spec, const char* key) {
  const py::object x = item(spec, key);
  CR_CHECK(py::isinstance<py::str>(x), "schedule: ", key, " is ", std::string(py::repr(x)), ": expected a string");
  return py::cast<std::string>(x);
}

Schedule::Unit unit(const py::dict& spec) {
  const std::string u = string(spec, "unit");
  CR_CHECK(u == "step" || u == "epoch", "schedule: unit is '", u, "': expected 'step' or 'epoch'");
  return u == "step" ? Schedule::Unit::Step : Schedule::Unit::Epoch;
}
}  // namespace

Schedule schedule_from(const py::dict& spec) {
  const std::string type = string(spec, "type");
  Schedule s;
  if (type == "warm_up") {
    const py::object base = item(spec, "base");
    CR_CHECK(py::isinstance<py::dict>(base), "schedule: base is ", std::string(py::repr(base)), ": expected a dict");
    const auto base_spec = py::reinterpret_borrow<py::dict>(base);
    CR_CHECK(string(base_spec, "type") != "warm_up", "schedule: a warm-up cannot stand before a warm-up");
    s = schedule_from(base_spec);
    s.warm_steps = integer(spec, "steps");
    s.warm_unit = unit(spec);
    s.check();
    return s;
  }
  s.alpha0 = number(spec, "alpha");
  if (type != "constant") s.unit = unit(spec);
  if (type == "constant") {
    s.type = Schedule::Type::Constant;
  } else if (type == "step") {
    s.type = Schedule::Type::Step;
    s.every = integer(spec, "every");
    s.factor = number(spec, "factor");
  } else if (type == "cosine") {
    s.type = Schedule::Type::Cosine;
    s.total = integer(spec, "total");
    s.alpha_end = number(spec, "alpha_end");
  } else if (type == "inverse_scaling") {
    s.type = Schedule::Type::InverseScaling;
    s.power = number(spec, "power");
  } else if (type == "one_cycle") {
    s.type = Schedule::Type::OneCycle;
    s.total = integer(spec, "total");
    s.warm = number(spec, "warm");
    s.divide_start = number(spec, "divide_start");
    s.divide_end = number(spec, "divide_end");
  } else {
    throw ValueError(text("schedule: unknown type '", type, "': expected one of constant, step, cosine, inverse_scaling, one_cycle, warm_up"));
  }
  s.check();
  return s;
}

void bind_optim(py::module_& m) {
  m.def(
      "schedule_alpha",
      [](const py::dict& spec, Index step, Index epoch) {
        CR_CHECK(step >= 0 && epoch >= 0, "schedule: t is ", std::min(step, epoch), ": expected at least 0");
        return schedule_from(spec).alpha(step, epoch);
      },
      py::arg("spec"), py::arg("step"), py::arg("epoch"), "alpha of the schedule `spec` at a step and an epoch, both counted from 0.");
}

}  // namespace chainrule::bindings
