// SPDX-License-Identifier: MIT
// What the bindings of a network share: network.cpp (blocks, prediction), fit.cpp (training), tape.cpp (the textbook's formulas, loops of one's own).
#pragma once
#include <pybind11/stl.h>

#include "bindings/convert.h"
#include "train/device_trainer.h"

namespace chainrule::bindings {

template <class T>
struct Handle {
  // device: -1 is the CPU, else the card's number
  Handle(const GraphSpec& spec, std::uint64_t seed, int device) : net(std::make_unique<Network<T>>(spec, seed)) {
    const Graph& g = net->graph;
    if (device >= 0) {
      if (!device_library()) throw StateError("[network] no library for CUDA devices was loaded");
      card = std::make_unique<DeviceNetwork<T>>(*net, *device_library(), device);
      return;  // the direct way reads the parameters
    }
    if (g.inputs.size() != 1 || g.outputs.size() != 1) return;
    const Shape& in = g.ops[static_cast<std::size_t>(g.inputs[0])].shape;
    const Shape& out = g.ops[static_cast<std::size_t>(g.outputs[0])].shape;
    for (const Shape* s : {&in, &out})
      if (s->dims.empty() || s->dims.size() > 3 || s->symbolic()) return;
    direct_in = in, direct_out = out;
    for (const Op& op : g.ops) work += op.layer->work(g.input_shapes(op).data(), op.shape) * static_cast<double>(op.shape.rows());
  }
  std::unique_ptr<Network<T>> net;
  std::unique_ptr<DeviceNetwork<T>> card;  // null on the CPU; then all computations of `net` are its
  Shape direct_in, direct_out;             // of a sample, one to three axes, where the direct way is open; else ()
  double work = 0;                         // then: multiply-adds a sample

  // What forward keeps for backward. Whoever writes W or a layer's state drops it: old z and a with a new W would be no gradient of anything.
  struct Tape {
    std::unique_ptr<Arrays<T>> arrays;
    const Plan* plan = nullptr;
    std::uint32_t step = 0;
  };
  std::unique_ptr<Tape> tape;
  Workspace<T> tape_space;           // its z and a
  DeviceSpace<T> device_tape_space;  // on a card

  Workspace<T>& tape_workspace() { return card ? device_tape_space.pointers : tape_space; }

  // n numbers of a workspace, copied to memory of the host
  void fetch(const T* from, Index n, T* to) const {
    if (!card) {
      std::copy(from, from + n, to);
      return;
    }
    const Turn turn(*this, "copy");
    card->device.library.to_host(card->device.context(), to, from, static_cast<std::size_t>(n) * sizeof(T));
    card->device.synchronize();
  }

  // Keeps the card, if there is one, until it ends. Waits for it without the GIL: who has the card may want the GIL, for a loss of the user's own.
  class Turn {
   public:
    Turn(const Handle& h, const char* what) {
      if (!h.card) return;
      const py::gil_scoped_release released;
      use_.emplace(h.card->device, what);
    }

   private:
    std::optional<OnDevice> use_;
  };
};

inline std::size_t at(Index i) { return static_cast<std::size_t>(i); }

// Numbers in a card's memory that Python reads and writes: a block of a network, or what it has predicted. Keeps the network.
template <class T>
class CardMemory {
 public:
  CardMemory(std::shared_ptr<Handle<T>> h, std::string block);  // "parameters" or "gradients"
  CardMemory(std::shared_ptr<Handle<T>> h, DeviceBlock<T> own) : handle_(std::move(h)), own_(std::move(own)) {}
  ~CardMemory() {
    if (own_.size() == 0 || handle_->card->device.abandoned()) return;
    const typename Handle<T>::Turn turn(*handle_, "free");
    own_ = DeviceBlock<T>();
  }
  CardMemory(const CardMemory&) = delete;
  CardMemory& operator=(const CardMemory&) = delete;

  T* data() const { return own_.data(); }
  py::array_t<T> read(Index first, Index n) const;
  void write(Index first, const py::array_t<T, py::array::c_style | py::array::forcecast>& values) const;
  std::uintptr_t address() const;  // of the first number, once all that was asked for is done

 private:
  const DeviceBlock<T>& numbers() const;
  std::shared_ptr<Handle<T>> handle_;
  std::string block_;  // empty: own_
  DeviceBlock<T> own_;
};

// Of rows that lie on the card: the outputs stay there, [(memory, shape)].
template <class T>
py::list predict_there(const std::shared_ptr<Handle<T>>& h, const Data<T>& data);
// Raises at the first row on the card that holds NaN or inf; the host sees rows only where there is one.
template <class T>
void check_finite_there(Handle<T>& h, const T* x, const Source& s);

// predict(x) of one C-contiguous array of the network's own dtype, None for anything else; direct.cpp says why it is apart, and what `finite` takes
template <class T>
py::object direct_predict(const py::object& network, bool finite);

std::optional<std::vector<Index>> subset_rows(const py::object& subset, Index rows);

template <class T>
void clear_gradients(Handle<T>& h) {
  if (!h.card) return h.net->clear_gradients();
  const typename Handle<T>::Turn turn(h, "clear_gradients");
  h.card->clear_gradients();
  h.card->device.synchronize();
}
template <class T>
void adapt(Handle<T>& h, const Data<T>& data, const std::vector<Index>* subset, Cancel& cancel) {
  h.card ? adapt(*h.card, data, subset, cancel) : adapt(*h.net, data, subset, cancel);
}

// The blocks of a network on a card as Python reads and writes them
template <class T>
void bind_device(py::module_& m, py::class_<Handle<T>, std::shared_ptr<Handle<T>>>& c, const std::string& name);
template <class T>
void bind_fit(py::module_& m, py::class_<Handle<T>, std::shared_ptr<Handle<T>>>& c, const std::string& name);
template <class T>
void bind_tape(py::module_& m, py::class_<Handle<T>, std::shared_ptr<Handle<T>>>& c, const std::string& name);

}  // namespace chainrule::bindings
