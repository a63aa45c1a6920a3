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

void check_range(Index first, Index n, Index size) {
  CR_CHECK(first >= 0 && n >= 0 && n <= size && first <= size - n, "numbers ", first, " to ", first + n, " of a block of ", size);
}
}  // namespace

template <class T>
CardMemory<T>::CardMemory(std::shared_ptr<Handle<T>> h, std::string block) : handle_(std::move(h)), block_(std::move(block)) {
  card(*handle_);
  CR_CHECK(block_ == "parameters" || block_ == "gradients", "block is '", block_, "': expected 'parameters' or 'gradients'");
}
template <class T>
const DeviceBlock<T>& CardMemory<T>::numbers() const {
  return block_.empty() ? own_ : block_ == "parameters" ? handle_->card->parameters : handle_->card->gradients();
}
template <class T>
py::array_t<T> CardMemory<T>::read(Index first, Index n) const {
  py::array_t<T> a(n);
  T* to = a.mutable_data();
  const py::gil_scoped_release released;
  const OnDevice use(handle_->card->device, "read");
  check_range(first, n, numbers().size());
  numbers().read(to, first, n);
  handle_->card->device.synchronize();
  return a;
}
template <class T>
void CardMemory<T>::write(Index first, const py::array_t<T, py::array::c_style | py::array::forcecast>& values) const {
  const T* from = values.data();
  const Index n = values.size();
  const py::gil_scoped_release released;
  const OnDevice use(handle_->card->device, "write");
  check_range(first, n, numbers().size());
  numbers().write(from, first, n);
  handle_->card->device.synchronize();
}
template <class T>
std::uintptr_t CardMemory<T>::address() const {
  const py::gil_scoped_release released;
  const OnDevice use(handle_->card->device, "address");
  const T* data = numbers().data();
  handle_->card->device.synchronize();
  return reinterpret_cast<std::uintptr_t>(data);
}

template <class T>
py::list predict_there(const std::shared_ptr<Handle<T>>& h, const Data<T>& data) {
  const typename Handle<T>::Turn turn(*h, "predict");
  py::list result;
  std::vector<T*> outputs;
  for (int v : h->net->graph.outputs) {
    const Shape shape = h->net->graph.ops[at(v)].shape.bound(data.time);
    auto memory = std::make_unique<CardMemory<T>>(h, DeviceBlock<T>(h->card->device, checked_multiply(data.rows, shape.size())));
    outputs.push_back(memory->data());
    result.append(py::make_tuple(std::move(memory), py::make_tuple(data.rows) + shape_tuple(shape)));
  }
  Signals signals;
  if (data.rows > 0) without_gil(signals, [&] { predict(*h->card, data, outputs.data(), signals.cancel, -1, true); });
  return result;
}

template <class T>
void check_finite_there(Handle<T>& h, const T* x, const Source& s) {
  const typename Handle<T>::Turn turn(h, "finite");
  const Device& device = h.card->device;
  const bool finite = s.rows == 0 || device.kernels<T>().all_finite(x, s.rows * s.size);
  device.check();
  if (finite) return;
  const Index block = std::max<Index>(1, (Index{1} << 20) / std::max<Index>(1, s.size));
  std::vector<T> rows(at(std::min(block, s.rows) * s.size));
  for (Index first = 0; first < s.rows; first += block) {
    const Index n = std::min(block, s.rows - first);
    device.library.to_host(device.context(), rows.data(), x + first * s.size, at(n * s.size) * sizeof(T));
    device.synchronize();
    for (Index i = 0; i < n * s.size; ++i)
      CR_CHECK(std::isfinite(rows[at(i)]), "[", s.name, "] row ", first + i / s.size, " holds ", rows[at(i)], ": expected finite numbers");
  }
}

namespace {

// Bytes of somebody else's array on the network's card
template <class T>
py::array_t<std::uint8_t> bring(Handle<T>& h, std::uintptr_t from, Index bytes) {
  DeviceNetwork<T>& net = card(h);
  py::array_t<std::uint8_t> a(bytes);
  std::uint8_t* to = a.mutable_data();
  const py::gil_scoped_release released;
  const OnDevice use(net.device, "read");
  net.device.library.to_host(net.device.context(), to, reinterpret_cast<const void*>(from), at(bytes));
  net.device.synchronize();
  return a;
}

template <class T>
void bind_card(py::module_& m, py::class_<Handle<T>, std::shared_ptr<Handle<T>>>& c, const std::string& name) {
  py::class_<CardMemory<T>>(m, ("CardMemory" + name.substr(name.size() - 3)).c_str())
      .def("read", &CardMemory<T>::read, py::arg("first"), py::arg("n"))
      .def("write", &CardMemory<T>::write, py::arg("first"), py::arg("values"))
      .def_property_readonly("address", &CardMemory<T>::address);
  c.def(
      "block", [](std::shared_ptr<Handle<T>> h, const std::string& block) { return std::make_unique<CardMemory<T>>(std::move(h), block); },
      py::arg("name"));
  c.def("bring", &bring<T>, py::arg("address"), py::arg("bytes"));
  // As __dlpack__(stream=...) and __cuda_array_interface__["stream"] count
  c.def_property_readonly("stream", [](Handle<T>& h) { return library().stream(card(h).device.context()); });
  c.def(
      "follow",
      [](Handle<T>& h, std::uintptr_t stream) {
        const typename Handle<T>::Turn turn(h, "follow");
        library().follow(card(h).device.context(), stream);
        card(h).device.check();
      },
      py::arg("stream"));
  // For tests: threads of every block that is launched (0: what each kernel asks for); kernels launched so far
  c.def(
      "set_block",
      [](Handle<T>& h, int threads) {
        const OnDevice use(card(h).device, "set_block");
        library().set_block(h.card->device.context(), threads);
      },
      py::arg("threads"));
  c.def_property_readonly("launches", [](Handle<T>& h) {
    const OnDevice use(card(h).device, "launches");
    return library().launches(h.card->device.context());
  });
}
}  // namespace

template class CardMemory<float>;
template class CardMemory<double>;
template py::list predict_there<float>(const std::shared_ptr<Handle<float>>&, const Data<float>&);
template py::list predict_there<double>(const std::shared_ptr<Handle<double>>&, const Data<double>&);
template void check_finite_there<float>(Handle<float>&, const float*, const Source&);
template void check_finite_there<double>(Handle<double>&, const double*, const Source&);

template <>
void bind_device<float>(py::module_& m, py::class_<Handle<float>, std::shared_ptr<Handle<float>>>& c, const std::string& name) {
  bind_card(m, c, name);
}
template <>
void bind_device<double>(py::module_& m, py::class_<Handle<double>, std::shared_ptr<Handle<double>>>& c, const std::string& name) {
  bind_card(m, c, name);
}

py::object loaded_device_library() {
  using namespace py::literals;
  const DeviceLibrary* l = device_library();
  if (!l) return py::none();
  return py::dict("name"_a = l->emulated ? "cuda (emulated)" : "cuda", "emulated"_a = l->emulated, "version"_a = l->version, "toolkit"_a = l->toolkit,
                  "capability"_a = py::make_tuple(l->least_major, l->least_minor));
}

void bind_devices(py::module_& m) {
  m.def(
      "load_device_library", [](const std::string& path) { load_device_library(path, CHAINRULE_VERSION); }, py::arg("path"),
      "Load libchainrule_cuda from that file, once; RuntimeError where that cannot be.");
  m.def("device_library", &loaded_device_library, "The library that was loaded, or None.");
  m.def("devices", &devices, "What cards there are: RuntimeError where there are none.");
  m.def(
      "card_of",
      [](std::uintptr_t address) {
        int device = -1;
        char words[device_text] = "";
        if (library().locate(reinterpret_cast<const void*>(address), &device, words) != DeviceError::None) throw StateError(text("[cuda] ", words));
        return device;
      },
      py::arg("address"), "The number of the card in whose memory that lies, -1 where it is the host's.");
  bind_dlpack(m);
}

}  // namespace chainrule::bindings
