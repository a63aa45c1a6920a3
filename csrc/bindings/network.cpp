// SPDX-License-Identifier: MIT
// chainrule._core.NetworkF32 / NetworkF64: the network's blocks, tables, prediction, evaluation, and its training state.
#include "bindings/network.h"

#include "bindings/bindings.h"
#include "tensor/random.h"

namespace chainrule::bindings {

namespace {

py::list tensor_table(const Graph& graph, const std::vector<Tensor>& tensors) {
  py::list table;
  for (const Tensor& t : tensors) {
    const Layer& layer = *graph.layers[static_cast<std::size_t>(t.layer)];
    table.append(py::dict(py::arg("name") = t.name, py::arg("layer") = layer.name, py::arg("shape") = py::tuple(py::cast(t.spec.shape)),
                          py::arg("offset") = t.offset, py::arg("size") = t.size, py::arg("trainable") = layer.trainable,
                          py::arg("bias") = !t.spec.penalised));
  }
  return table;
}

void require_learned(const std::string* name, const char* what) {
  CR_CHECK(!name, "[", *name, "] has learned no mean and scale yet: call fit, or adapt(X), before ", what);
}

template <class T>
py::list predict_arrays(const std::shared_ptr<Handle<T>>& handle, const py::list& inputs) {
  Handle<T>& h = *handle;
  Network<T>& net = *h.net;
  const Reading reading(net.gate, "predict");
  require_learned(net.unlearned(), "predict");
  const auto a = arrays<T>(net.graph, inputs, py::list(), false, false);
  if (a->on_card) return predict_there(handle, a->data);
  py::list result;
  std::vector<T*> outputs;
  for (int v : net.graph.outputs) {
    py::array_t<T> out = new_array<T>(a->data.rows, net.graph.ops[static_cast<std::size_t>(v)].shape, a->data.time);
    outputs.push_back(out.mutable_data());
    result.append(out);
  }
  Signals signals;
  if (a->data.rows > 0)
    without_gil(signals,
                [&] { h.card ? predict(*h.card, a->data, outputs.data(), signals.cancel) : predict(net, a->data, outputs.data(), signals.cancel); });
  return result;
}

template <class T>
py::tuple evaluate_arrays(Handle<T>& h, const py::list& inputs, const py::list& targets, const py::list& losses, const py::object& subset,
                          bool check) {
  Network<T>& net = *h.net;
  const Reading reading(net.gate, "evaluate");
  require_learned(net.unlearned(), "evaluate");
  const auto a = arrays<T>(net.graph, inputs, targets, check, false);
  const std::vector<LossChoice> choices = loss_choices(losses);
  const std::optional<std::vector<Index>> rows = subset_rows(subset, a->data.rows);
  Signals signals;
  Evaluation e;
  const std::vector<Index>* subset_of = rows ? &*rows : nullptr;
  without_gil(signals, [&] {
    e = h.card ? evaluate(*h.card, choices, a->data, subset_of, signals.cancel) : evaluate(net, choices, a->data, subset_of, signals.cancel);
  });
  return py::make_tuple(e.loss, e.accuracy);
}

// Raises at the first row that holds NaN or inf, or a number that T cannot hold.
template <class T>
void check_finite(Handle<T>& h, const py::object& array, const std::string& name) {
  Source s = source(array, name);
  s.check = true;
  if (is_on_card(array)) return check_finite_there(h, rows_on_card<T>(array), s);
  const bool sparse = s.csr.indptr != nullptr;
  const Index block = sparse ? 1024 : std::max<Index>(1, 16384 / std::max<Index>(1, s.size));
  std::vector<T> buffer(sparse ? 0 : static_cast<std::size_t>(block * s.size));
  SparseRows<T> rows;
  Signals signals;
  without_gil(signals, [&] {
    for (Index first = 0; first < s.rows; first += block) {
      const Index n = std::min(block, s.rows - first);
      if (sparse)
        s.gather(nullptr, first, n, rows);
      else if (!s.template in_place<T>(first, n))
        s.gather(nullptr, first, n, buffer.data());
      if (signals.cancel.check(0)) throw Interrupted();
    }
  });
}

template <class T>
py::dict training_state(Handle<T>& h) {
  const TrainingState<T>& s = h.net->training;
  py::dict d;
  if (!s.optimizer) return d;
  const OptimizerSpec& o = *s.optimizer;
  d["optimizer"] = py::dict(py::arg("type") = o.type, py::arg("momentum") = o.momentum, py::arg("nesterov") = o.nesterov, py::arg("rho") = o.rho,
                            py::arg("beta1") = o.beta1, py::arg("beta2") = o.beta2, py::arg("eps") = o.eps, py::arg("eps_hat") = o.eps_hat,
                            py::arg("lam") = o.lam, py::arg("clip_norm") = o.clip_norm);
  d["step"] = s.step;
  d["epoch"] = s.epoch;
  const auto copy = [&](const char* key, const Block<T>& block, const DeviceBlock<T>* on_card) {
    const Index n = on_card ? on_card->size() : block.size();
    if (!n) return;
    py::array_t<T> a(n);
    h.fetch(on_card ? on_card->data() : block.data(), n, a.mutable_data());
    d[key] = a;
  };
  copy("v", s.v, h.card ? &h.card->v : nullptr);
  copy("m", s.m, h.card ? &h.card->m : nullptr);
  return d;
}

template <class T>
void set_training_state(Handle<T>& h, const py::dict& d) {
  Network<T>& net = *h.net;
  const Writing writing(net.gate, "load");
  const typename Handle<T>::Turn turn(h, "load");
  h.card ? h.card->reset_training() : net.reset_training();
  if (!d.contains("optimizer")) return;
  const OptimizerSpec o = optimizer_spec(d["optimizer"].cast<py::dict>());
  h.card ? h.card->prepare_training(o) : net.prepare_training(o);
  const auto fill = [&](const char* key, Block<T>& block, DeviceBlock<T>* on_card) {
    const Index n = on_card ? on_card->size() : block.size();
    if (!n) return;
    CR_CHECK(d.contains(key), "the training state has no '", key, "'");
    const auto a = d[key].cast<py::array_t<T, py::array::c_style | py::array::forcecast>>();
    CR_CHECK(a.ndim() == 1 && a.size() == n, "the training state's '", key, "' has ", a.size(), " elements: expected ", n);
    if (!on_card) {
      std::copy(a.data(), a.data() + n, block.data());
      return;
    }
    on_card->write(a.data(), 0, n);
    h.card->device.synchronize();
  };
  fill("v", net.training.v, h.card ? &h.card->v : nullptr);
  fill("m", net.training.m, h.card ? &h.card->m : nullptr);
  net.training.step = d["step"].cast<Index>();
  net.training.epoch = d["epoch"].cast<Index>();
}

template <class T>
void bind(py::module_& m, const char* name) {
  py::class_<Handle<T>, std::shared_ptr<Handle<T>>> c(m, name);
  c.def(py::init([](const py::dict& spec, std::uint64_t seed, int device) { return std::make_shared<Handle<T>>(graph_spec(spec), seed, device); }),
        py::arg("spec"), py::arg("seed"), py::arg("device") = -1);
  const auto view = [](const py::object& self, T* data, Index n) { return py::array_t<T>(n, data, self); };
  c.def_property_readonly("parameters", [view](const py::object& self) {
    auto& b = self.cast<Handle<T>&>().net->parameters;
    return view(self, b.data(), b.size());
  });
  c.def_property_readonly("state", [view](const py::object& self) {
    auto& b = self.cast<Handle<T>&>().net->state;
    return view(self, b.data(), b.size());
  });
  c.def_property_readonly("gradients", [view](const py::object& self) {
    auto& net = *self.cast<Handle<T>&>().net;
    return view(self, net.gradients(), net.graph.n_parameters);
  });
  c.def_property_readonly("seed", [](const Handle<T>& h) { return h.net->seed; });
  c.def_property_readonly("parameter_table", [](const Handle<T>& h) { return tensor_table(h.net->graph, h.net->graph.parameters); });
  c.def_property_readonly("state_table", [](const Handle<T>& h) { return tensor_table(h.net->graph, h.net->graph.state); });
  c.def_property_readonly("input_shapes", [](const Handle<T>& h) {
    py::list l;
    for (int v : h.net->graph.inputs) l.append(shape_tuple(h.net->graph.ops[static_cast<std::size_t>(v)].shape));
    return l;
  });
  c.def_property_readonly("output_shapes", [](const Handle<T>& h) {
    py::list l;
    for (int v : h.net->graph.outputs) l.append(shape_tuple(h.net->graph.ops[static_cast<std::size_t>(v)].shape));
    return l;
  });
  c.def_property_readonly("node_shapes", [](const Handle<T>& h) {
    py::list l;
    for (int v : h.net->graph.value_of_node) l.append(shape_tuple(h.net->graph.ops[static_cast<std::size_t>(v)].shape));
    return l;
  });
  // multiply-adds a sample of the layers with weights, of one place of an open axis; 0 for the others
  c.def_property_readonly("node_work", [](const Handle<T>& h) {
    const Graph& g = h.net->graph;
    py::list l;
    std::size_t first = 0;  // of the node's ops: the layer itself, then perhaps its activation
    for (int v : g.value_of_node) {
      const Op& op = g.ops[first];
      const std::vector<Shape> in = g.input_shapes(op);
      l.append(op.layer->parameters(in).empty() ? 0.0 : op.layer->work(in.data(), op.shape) * static_cast<double>(op.shape.rows(1)));
      first = static_cast<std::size_t>(v) + 1;
    }
    return l;
  });
  c.def_property_readonly("unlearned", [](const Handle<T>& h) -> py::object {
    const std::string* name = h.net->unlearned();
    return name ? py::object(py::str(*name)) : py::object(py::none());
  });
  c.def("predict", &predict_arrays<T>, py::arg("inputs"));
  c.def_property_readonly("direct", [](const py::object& self) { return direct_predict<T>(self, false); });
  c.def_property_readonly("direct_finite", [](const py::object& self) { return direct_predict<T>(self, true); });
  c.def("evaluate", &evaluate_arrays<T>, py::arg("inputs"), py::arg("targets"), py::arg("losses"), py::arg("subset"), py::arg("check"));
  c.def(
      "adapt",
      [](Handle<T>& h, const py::list& inputs, const py::list& targets, const py::object& subset, bool check) {
        const auto a = arrays<T>(h.net->graph, inputs, targets, check, false);
        CR_CHECK(a->data.rows > 0, "[adapt] X has no rows");
        const std::optional<std::vector<Index>> rows = subset_rows(subset, a->data.rows);
        const Writing writing(h.net->gate, "adapt");
        h.tape.reset();
        Signals signals;
        without_gil(signals, [&] { adapt(h, a->data, rows ? &*rows : nullptr, signals.cancel); });
      },
      py::arg("inputs"), py::arg("targets"), py::arg("subset"), py::arg("check"));
  c.def(
      "check_arrays",
      [](const Handle<T>& h, const py::list& inputs, const py::list& targets) { arrays<T>(h.net->graph, inputs, targets, false, false); },
      py::arg("inputs"), py::arg("targets"));
  c.def(
      "check_finite", [](Handle<T>& h, const py::object& a, const std::string& name) { check_finite(h, a, name); }, py::arg("array"),
      py::arg("name"));
  c.def("stop", [](Handle<T>& h) { h.net->stop = true; });
  c.def("clear_gradients", [](Handle<T>& h) {
    const Writing writing(h.net->gate, "clear_gradients");
    clear_gradients(h);
  });
  c.def("reset_training", [](Handle<T>& h) {
    h.net->gate.accept_interrupted();
    const Writing writing(h.net->gate, "reset_training");
    const typename Handle<T>::Turn turn(h, "reset_training");
    h.card ? h.card->reset_training() : h.net->reset_training();
  });
  c.def("training_state", &training_state<T>);
  c.def("set_training_state", &set_training_state<T>, py::arg("state"));
  // For whoever reads (save, copies) or writes (load) the blocks from Python: raises where that is not allowed now.
  c.def("read_lock", [](Handle<T>& h, const std::string& what) { h.net->gate.enter_reader(what.c_str()); }, py::arg("what"));
  c.def("read_unlock", [](Handle<T>& h) { h.net->gate.leave_reader(); });
  c.def(
      "write_lock",
      [](Handle<T>& h, const std::string& what) {
        h.net->gate.enter_writer(what.c_str());
        h.tape.reset();
      },
      py::arg("what") = "load");
  c.def("write_unlock", [](Handle<T>& h) { h.net->gate.leave_writer(); });
  bind_device<T>(m, c, name);
  bind_fit<T>(m, c, name);
  bind_tape<T>(m, c, name);
}
}  // namespace

std::optional<std::vector<Index>> subset_rows(const py::object& subset, Index rows) {
  if (subset.is_none()) return std::nullopt;
  const auto a = subset.cast<py::array_t<Index, py::array::c_style>>();
  std::vector<Index> list(a.data(), a.data() + a.size());
  for (Index i : list) CR_CHECK(i >= 0 && i < rows, "a subset names row ", i, " of ", rows);
  return list;
}

void bind_network(py::module_& m) {
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const Divergence& e) {
      const py::object type = py::module_::import("chainrule.errors").attr("DivergenceError");
      PyErr_SetObject(type.ptr(), type(e.what(), e.epoch, e.layer, e.last_loss).ptr());
    }
  });
  m.def(
      "tensor_tables",
      [](const py::dict& spec) {
        const Graph graph(graph_spec(spec));
        return py::make_tuple(tensor_table(graph, graph.parameters), tensor_table(graph, graph.state));
      },
      py::arg("spec"), "(parameters, state) of a spec, as parameter_table and state_table, without allocating them.");
  bind<float>(m, "NetworkF32");
  bind<double>(m, "NetworkF64");
}

}  // namespace chainrule::bindings
