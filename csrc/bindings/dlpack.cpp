// SPDX-License-Identifier: MIT
// DLPack's capsules, both ways, without its header: what PyTorch, CuPy and JAX exchange arrays by (dmlc.github.io/dlpack/latest/python_spec.html).
// The unversioned form, "dltensor", which every producer makes and every consumer takes.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "bindings/bindings.h"
#include "tensor/check.h"

namespace chainrule::bindings {

namespace {

// The layout is the standard's.
struct Tensor {
  void* data;
  std::int32_t device_type, device_id;
  std::int32_t ndim;
  std::uint8_t code, bits;
  std::uint16_t lanes;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null: C order
  std::uint64_t byte_offset;
};
struct Managed {
  Tensor tensor;
  void* context;
  void (*deleter)(Managed*);
};
constexpr const char *fresh = "dltensor", *used = "used_dltensor";
constexpr std::uint8_t floating = 2;

struct Lent {
  Managed managed;
  std::vector<std::int64_t> shape;
  PyObject* owner;
};
void give_back(Managed* m) {
  if (!Py_IsInitialized()) return;  // a consumer that outlives Python
  const py::gil_scoped_acquire gil;
  auto* lent = static_cast<Lent*>(m->context);
  Py_XDECREF(lent->owner);
  delete lent;
}
// Of a capsule that goes: nobody has taken the tensor.
void forget(PyObject* capsule) {
  if (!PyCapsule_IsValid(capsule, fresh)) return;
  auto* m = static_cast<Managed*>(PyCapsule_GetPointer(capsule, fresh));
  m->deleter(m);
}

py::object lend(std::uintptr_t address, std::vector<std::int64_t> shape, int bits, int card, const py::object& owner) {
  auto lent = std::make_unique<Lent>();
  lent->shape = std::move(shape);
  lent->managed.tensor = {reinterpret_cast<void*>(address),
                          2,
                          card,
                          static_cast<std::int32_t>(lent->shape.size()),
                          floating,
                          static_cast<std::uint8_t>(bits),
                          1,
                          lent->shape.data(),
                          nullptr,
                          0};
  lent->managed.context = lent.get();
  lent->managed.deleter = &give_back;
  lent->owner = owner.ptr();
  PyObject* capsule = PyCapsule_New(&lent->managed, fresh, &forget);
  if (!capsule) throw py::error_already_set();
  Py_INCREF(lent.release()->owner);
  return py::reinterpret_steal<py::object>(capsule);
}

py::dict take(const py::object& capsule) {
  using namespace py::literals;
  if (!PyCapsule_IsValid(capsule.ptr(), fresh)) throw py::type_error("__dlpack__ returned something else than a fresh \"dltensor\"");
  auto* m = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), fresh));
  if (PyCapsule_SetName(capsule.ptr(), used) != 0) throw py::error_already_set();
  const py::capsule owner(m, [](void* p) {
    auto* managed = static_cast<Managed*>(p);
    if (managed->deleter) managed->deleter(managed);
  });
  const Tensor& t = m->tensor;
  py::object strides = py::none();
  if (t.strides) strides = py::tuple(py::cast(std::vector<std::int64_t>(t.strides, t.strides + t.ndim)));
  return py::dict("address"_a = reinterpret_cast<std::uintptr_t>(t.data) + t.byte_offset,
                  "shape"_a = py::tuple(py::cast(std::vector<std::int64_t>(t.shape, t.shape + t.ndim))), "strides"_a = strides, "code"_a = t.code,
                  "bits"_a = t.bits, "lanes"_a = t.lanes, "owner"_a = owner);
}
}  // namespace

void bind_dlpack(py::module_& m) {
  m.def("lend_dlpack", &lend, py::arg("address"), py::arg("shape"), py::arg("bits"), py::arg("card"), py::arg("owner"),
        "A capsule for floating-point numbers on a card, in C order, that keeps `owner`.");
  m.def("take_dlpack", &take, py::arg("capsule"),
        "What a capsule holds, which is used with this; strides in elements or None. Lives as long as `owner`.");
}

}  // namespace chainrule::bindings
