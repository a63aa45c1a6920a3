// SPDX-License-Identifier: MIT
// Cards as Python sees them: the library, the devices, and the blocks of a network that lies on one.
#include "bindings/bindings.h"
#include "bindings/network.h"

namespace chainrule::bindings {

namespace {

const DeviceLibrary& library() {
  const DeviceLibrary* loaded = device_library();
  if (!loaded) throw StateError("[cuda] no library for CUDA devices was loaded");
  return *loaded;
}

py::list devices() {
  using namespace py::literals;
  py::list all;
  const DeviceLibrary& l = library();
  for (int i = 0, n = count_devices(l); i < n; ++i) {
    DeviceProperties p{};
    char words[device_text] = "";
    if (l.describe(i, &p, words) != DeviceError::None) throw StateError(text("[cuda:", i, "] ", words));
    all.append(py::dict("device"_a = "cuda:" + std::to_string(i), "name"_a = p.name, "capability"_a = py::make_tuple(p.major, p.minor),
                        "memory"_a = p.memory));
  }
  return all;
}

template <class T>
DeviceNetwork<T>& card(Handle<T>& h) {
  if (!h.card) throw StateError("[network] is on the CPU");
  return *h.card;
}

// "parameters" or "gradients"
template <class T>
const DeviceBlock<T>& block(DeviceNetwork<T>& net, const std::string& name) {
  CR_CHECK(name == "parameters" || name == "gradients", "block is '", name, "': expected 'parameters' or 'gradients'");
  return name == "parameters" ? net.parameters : net.gradients();
}
template <class T>
void check_range(const DeviceBlock<T>& b, Index at, Index n) {
  CR_CHECK(at >= 0 && n >= 0 && n <= b.size() && at <= b.size() - n, "numbers ", at, " to ", at + n, " of a block of ", b.size());
}

template <class T>
py::array_t<T> read(Handle<T>& h, const std::string& name, Index at, Index n) {
  DeviceNetwork<T>& net = card(h);
  py::array_t<T> a(n);
  T* to = a.mutable_data();
  const py::gil_scoped_release released;
  const OnDevice use(net.device, name.c_str());
  const DeviceBlock<T>& b = block(net, name);
  check_range(b, at, n);
  b.read(to, at, n);
  net.device.synchronize();
  return a;
}
template <class T>
void write(Handle<T>& h, const std::string& name, Index at, const py::array_t<T, py::array::c_style | py::array::forcecast>& a) {
  DeviceNetwork<T>& net = card(h);
  const T* from = a.data();
  const Index n = a.size();
  const py::gil_scoped_release released;
  const OnDevice use(net.device, name.c_str());
  const DeviceBlock<T>& b = block(net, name);
  check_range(b, at, n);
  b.write(from, at, n);
  net.device.synchronize();
}
// Address of the block's first number, once all that was asked for is done
template <class T>
std::uintptr_t address(Handle<T>& h, const std::string& name) {
  DeviceNetwork<T>& net = card(h);
  const py::gil_scoped_release released;
  const OnDevice use(net.device, name.c_str());
  const DeviceBlock<T>& b = block(net, name);
  net.device.synchronize();
  return reinterpret_cast<std::uintptr_t>(b.data());
}
}  // namespace

template <class T>
void bind_blocks(py::class_<Handle<T>, std::shared_ptr<Handle<T>>>& c) {
  c.def("read", &read<T>, py::arg("block"), py::arg("at"), py::arg("n"));
  c.def("write", &write<T>, py::arg("block"), py::arg("at"), py::arg("values"));
  c.def("address", &address<T>, py::arg("block"));
  // For tests: threads of every block that is launched (0: what each kernel asks for); kernels launched so far
  c.def("set_block", [](Handle<T>& h, int threads) {
    const OnDevice use(card(h).device, "set_block");
    library().set_block(h.card->device.context(), threads);
  });
  c.def_property_readonly("launches", [](Handle<T>& h) {
    const OnDevice use(card(h).device, "launches");
    return library().launches(h.card->device.context());
  });
}
template <>
void bind_device<float>(py::class_<Handle<float>, std::shared_ptr<Handle<float>>>& c) {
  bind_blocks(c);
}
template <>
void bind_device<double>(py::class_<Handle<double>, std::shared_ptr<Handle<double>>>& c) {
  bind_blocks(c);
}

void bind_devices(py::module_& m) {
  m.def(
      "load_device_library", [](const std::string& path) { load_device_library(path); }, py::arg("path"),
      "Load libchainrule_cuda from that file, once; RuntimeError where that cannot be.");
  m.def(
      "device_library",
      []() -> py::object {
        using namespace py::literals;
        const DeviceLibrary* l = device_library();
        if (!l) return py::none();
        return py::dict("emulated"_a = l->emulated, "version"_a = l->version, "toolkit"_a = l->toolkit,
                        "capability"_a = py::make_tuple(l->least_major, l->least_minor));
      },
      "The library that was loaded, or None.");
  m.def("devices", &devices, "What cards there are: RuntimeError where there are none.");
}

}  // namespace chainrule::bindings
