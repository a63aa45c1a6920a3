// SPDX-License-Identifier: MIT
// What the bindings of a network share: network.cpp (blocks, prediction), fit.cpp (training), tape.cpp (the textbook's formulas, loops of one's own).
#pragma once
#include <pybind11/stl.h>

#include "bindings/convert.h"

namespace chainrule::bindings {

template <class T>
struct Handle {
  Handle(const GraphSpec& spec, std::uint64_t seed) : net(std::make_unique<Network<T>>(spec, seed)) {
    const Graph& g = net->graph;
    if (g.inputs.size() != 1 || g.outputs.size() != 1 || g.n_state != 0) return;
    const Shape& in = g.ops[static_cast<std::size_t>(g.inputs[0])].shape;
    const Shape& out = g.ops[static_cast<std::size_t>(g.outputs[0])].shape;
    direct = in.dims.size() == 1 && out.dims.size() == 1 && !in.symbolic() && !out.symbolic();
    if (direct) direct_in = in.dims[0], direct_out = out.dims[0];
  }
  std::unique_ptr<Network<T>> net;
  bool direct = false;  // (n, direct_in) -> (n, direct_out), nothing to learn first
  Index direct_in = 0, direct_out = 0;

  // What forward keeps for backward. Whoever writes W or a layer's state drops it: old z and a with a new W would be no gradient of anything.
  struct Tape {
    std::unique_ptr<Arrays<T>> arrays;
    const Plan* plan = nullptr;
    std::uint32_t step = 0;
  };
  std::unique_ptr<Tape> tape;
  Workspace<T> tape_space;  // its z and a
};

// predict(x) of one C-contiguous array of the network's own dtype, None for anything else; direct.cpp says why it is apart, and what `finite` takes
template <class T>
py::object direct_predict(const py::object& network, bool finite);

std::optional<std::vector<Index>> subset_rows(const py::object& subset, Index rows);

template <class T>
void bind_fit(py::module_& m, py::class_<Handle<T>, std::shared_ptr<Handle<T>>>& c, const std::string& name);
template <class T>
void bind_tape(py::module_& m, py::class_<Handle<T>, std::shared_ptr<Handle<T>>>& c, const std::string& name);

}  // namespace chainrule::bindings
