// SPDX-License-Identifier: MIT
// The formulas one at a time: forward and backward of one's own loop, loss and gradient, every z, a and delta.
#include <cmath>

#include "bindings/network.h"
#include "network/device_executor.h"

namespace chainrule::bindings {

namespace {

template <class T>
Job<T> job_for(Network<T>& net, const Feed<T>& feed, const Data<T>& data, Signals& signals, std::uint32_t step,
               const std::vector<LossChoice>* losses = nullptr) {
  Job<T> job;
  job.losses = losses ? losses->data() : nullptr;
  job.parameters = net.parameters.data();
  job.state = net.state.data();
  job.feed = &feed;
  job.n = data.rows, job.time = data.time;
  job.seed = net.seed;
  job.step = step;
  job.cancel = &signals.cancel;
  return job;
}

// As job_for, for a network on a card; `feed` is a DeviceFeed.
template <class T>
Job<T> device_job(Handle<T>& h, const Feed<T>& feed, const Data<T>& data, Signals& signals, std::uint32_t step,
                  const std::vector<LossChoice>* losses = nullptr) {
  Job<T> job = chainrule::job_for(*h.card, feed, data.rows, data.time, signals.cancel);
  job.losses = losses ? losses->data() : nullptr;
  job.step = step;
  return job;
}
// All of a card's workspace into one of the host: for what looks at every z and a.
template <class T>
void bring(const Device& device, const Plan& plan, const Job<T>& job, const DeviceSpace<T>& from, Workspace<T>& to) {
  to.fit(plan, job.n, job.time);
  for (std::size_t b = 0; b < plan.buffers.size(); ++b) {
    const std::size_t bytes = at(job.n * plan.buffers[b].shape.size(job.time)) * sizeof(T);
    device.library.to_host(device.context(), to.buffer[b], from.pointers.buffer[b], bytes);
  }
  device.synchronize();
}
template <class T>
py::array_t<T> fetch_array(const Handle<T>& h, const T* from, Index rows, const Shape& shape, Index time) {
  py::array_t<T> a = new_array<T>(rows, shape, time);
  h.fetch(from, a.size(), a.mutable_data());
  return a;
}

void require_learned(const std::string* name) { CR_CHECK(!name, "[", *name, "] has learned no mean and scale yet: call fit, or adapt(X), first"); }
void require_rows(Index rows, const char* what) { CR_CHECK(rows > 0, "[", what, "] X has no rows"); }

template <class T>
py::list forward(Handle<T>& h, const py::list& inputs, bool training) {
  Network<T>& net = *h.net;
  const Writing writing(net.gate, "forward");
  require_learned(net.unlearned());
  auto tape = std::make_unique<typename Handle<T>::Tape>();
  tape->arrays = arrays<T>(net.graph, inputs, py::list(), false, true);
  require_rows(tape->arrays->data.rows, "forward");
  tape->step = static_cast<std::uint32_t>(net.training.step);
  h.tape.reset();
  Mode mode;
  mode.losses.assign(net.graph.outputs.size(), LossKind::External);
  mode.gradients = mode.input_gradients = true;
  mode.training = training;
  const Plan& plan = net.plan(mode);
  tape->plan = &plan;
  const Data<T>& data = tape->arrays->data;
  Signals signals;
  const BatchFeed<T> feed(data, nullptr, 0, data.rows);
  const typename Handle<T>::Turn turn(h, "forward");
  without_gil(signals, [&] {
    if (!h.card) return Executor<T>(plan, job_for(net, feed, data, signals, tape->step)).forward_all(h.tape_space);
    const DeviceFeed<T> rows(*h.card, data, feed, nullptr, data.rows);
    DeviceExecutor<T>(*h.card, plan, device_job(h, rows, data, signals, tape->step)).forward_all(h.device_tape_space);
    h.card->device.synchronize();
  });
  py::list outputs;
  for (const LossPlan& l : plan.losses)
    outputs.append(fetch_array<T>(h, h.tape_workspace().buffer[at(plan.values[at(l.value)].a)], data.rows, l.shape, data.time));
  tape->arrays->keep.clear();  // the inputs were copied
  h.tape = std::move(tape);
  return outputs;
}

// `da` comes from the host.
template <class T>
void device_backward(Handle<T>& h, const Plan& plan, const Data<T>& data, const BatchFeed<T>& feed, Signals& signals, std::uint32_t step,
                     const std::vector<const T*>& da, bool dz, bool parameters) {
  DeviceNetwork<T>& net = *h.card;
  std::vector<DeviceBlock<T>> blocks;
  std::vector<const T*> on_card;
  for (std::size_t j = 0; j < da.size(); ++j) {
    blocks.emplace_back(net.device, data.rows * plan.losses[j].shape.size(data.time));
    net.staging.send(blocks[j].data(), da[j], blocks[j].size());
    on_card.push_back(blocks[j].data());
  }
  const DeviceFeed<T> rows(net, data, feed, nullptr, data.rows);
  net.evaluation.clear();
  DeviceExecutor<T>(net, plan, device_job(h, rows, data, signals, step))
      .backward_all(h.device_tape_space, on_card, dz, parameters ? net.gradients().data() : nullptr, net.evaluation.data());
  Outcome outcome;
  net.evaluation.read(&outcome, 0, 1);
  net.device.synchronize();
  if (outcome.fault) throw ValueError("[backward] a delta is not finite: the gradients are not complete, clear them with net.clear_gradients()");
}

template <class T>
py::list backward(Handle<T>& h, const py::list& da, bool dz, bool parameters) {
  Network<T>& net = *h.net;
  const Writing writing(net.gate, "backward");
  if (!h.tape) throw StateError("[backward] there was no forward to go back from");
  const auto tape = std::move(h.tape);  // one backward a forward: z and a are overwritten on the way
  const Plan& plan = *tape->plan;
  const Data<T>& data = tape->arrays->data;
  CR_CHECK(da.size() == plan.losses.size(), "[backward] got ", da.size(), " arrays: expected one for each of the ", plan.losses.size(), " outputs");
  std::vector<py::array_t<T, py::array::c_style | py::array::forcecast>> keep;
  std::vector<const T*> pointers;
  for (std::size_t j = 0; j < da.size(); ++j) {
    const auto a = py::array_t<T, py::array::c_style | py::array::forcecast>::ensure(da[j]);
    const py::array_t<T> like = new_array<T>(data.rows, plan.losses[j].shape, data.time);
    bool fits = a && a.ndim() == like.ndim();
    for (py::ssize_t i = 0; fits && i < a.ndim(); ++i) fits = a.shape(i) == like.shape(i);
    CR_CHECK(fits, "[backward] ", dz ? "dz" : "da", " does not have the shape of the output: expected ", plan.losses[j].shape.str(),
             " with n = ", data.rows);
    keep.push_back(a);
    pointers.push_back(a.data());
  }
  Signals signals;
  const BatchFeed<T> feed(data, nullptr, 0, data.rows);
  const typename Handle<T>::Turn turn(h, "backward");
  without_gil(signals, [&] {
    if (h.card) return device_backward(h, plan, data, feed, signals, tape->step, pointers, dz, parameters);
    T* g = parameters ? net.gradients() : nullptr;
    Executor<T> executor(plan, job_for(net, feed, data, signals, tape->step));
    executor.backward_all(h.tape_space, pointers, dz, g);
    if (!plan.shared || !parameters) return;
    if (!net.pending.size()) {
      net.pending = Block<T>(net.graph.n_state);
      std::copy(net.state.data(), net.state.data() + net.graph.n_state, net.pending.data());
    }
    executor.learn(h.tape_space, net.pending.data());
  });
  py::list dx;
  for (int v : net.graph.inputs) {
    const ValuePlan& value = plan.values[at(v)];
    const Shape& shape = net.graph.ops[at(v)].shape;
    py::array_t<T> d = new_array<T>(data.rows, shape, data.time);
    if (value.grad >= 0)
      h.fetch(h.tape_workspace().buffer[at(value.grad)], d.size(), d.mutable_data());
    else
      std::fill(d.mutable_data(), d.mutable_data() + d.size(), T(0));  // no output depends on it
    dx.append(d);
  }
  return dx;
}

// (loss and whether all was finite, penalty); the gradient to `out`, those of single samples to `each` (n, P) if it is not null
template <class T>
std::pair<Totals, double> device_gradient(DeviceNetwork<T>& net, const Plan& plan, const Job<T>& job, const std::vector<Segment>& segments,
                                          double weight, T* out, T* each) {
  const DeviceBlock<T> g(net.device, net.parameters.size());
  net.evaluation.clear();
  DeviceExecutor<T> executor(net, plan, job);
  executor.compute(net.space, g.data(), net.evaluation.data(), nullptr);
  net.device.template more<T>().expect_finite(net.evaluation.data(), g.data(), g.size());
  const double penalty = add_penalty(segments, net.parameters.data(), g.data(), weight, net.device.template kernels<T>());
  g.read(out, 0, g.size());
  for (Index i = 0; each && i < job.n; ++i) {
    g.clear();
    executor.sample_gradient(net.space, i, g.data());
    g.read(each + i * g.size(), 0, g.size());
  }
  Outcome outcome;
  net.evaluation.read(&outcome, 0, 1);
  net.device.synchronize();
  return {{outcome.loss, outcome.fault == 0, {}}, penalty};
}

// {"loss", "gradient" (P,), "delta": [(name, array)], "penalty", "per_sample" (n, P) or None}
template <class T>
py::dict gradient(Handle<T>& h, const py::list& inputs, const py::list& targets, const py::list& losses, const py::list& penalties, bool training,
                  bool keep, bool per_sample) {
  Network<T>& net = *h.net;
  const Reading reading(net.gate, "gradient");
  require_learned(net.unlearned());
  const auto a = arrays<T>(net.graph, inputs, targets, true, false);
  require_rows(a->data.rows, "gradient");
  const std::vector<Segment> segs = segments(net.graph, net.segments(), penalties);
  Mode mode;
  const std::vector<LossChoice> choices = loss_choices(losses);
  mode.losses = kinds(choices);
  if (!h.card) mode.sparse = a->data.sparse;
  mode.gradients = true;
  mode.training = training;
  mode.keep = keep || per_sample;
  const Plan& plan = net.plan(mode);
  CR_CHECK(!per_sample || !plan.shared,
           "[gradient] per_sample=True and training=True: a sample has no gradient of its own where batch norm couples the rows");
  const Data<T>& data = a->data;
  const BatchFeed<T> feed(data, nullptr, 0, data.rows);
  const Index slots = !h.card && plan.by_chunks(data.rows, data.time) ? plan.slots(data.rows, data.time) : 1, P = net.graph.n_parameters;
  py::array_t<T> g(P);
  std::fill(g.mutable_data(), g.mutable_data() + P, T(0));
  py::array_t<T> each(per_sample ? std::vector<py::ssize_t>{data.rows, P} : std::vector<py::ssize_t>{0, 0});
  if (per_sample) std::fill(each.mutable_data(), each.mutable_data() + each.size(), T(0));
  std::vector<T> block(slots > 1 ? at(checked_multiply(slots, P)) : 0, T(0));
  T* target = slots > 1 ? block.data() : g.mutable_data();
  T* each_data = each.mutable_data();
  typename Network<T>::Spaces spaces(net, plan.by_chunks(data.rows, data.time) ? static_cast<int>(std::min<Index>(slots, num_threads())) : 1, plan);
  Signals signals;
  Totals totals;
  const double weight = feed.sum_of_weights(0);
  double penalty = 0;
  T* out = g.mutable_data();
  const typename Handle<T>::Turn turn(h, "gradient");
  without_gil(signals, [&] {
    if (h.card) {
      const DeviceFeed<T> rows(*h.card, data, feed, nullptr, data.rows);
      Job<T> job = device_job(h, rows, data, signals, static_cast<std::uint32_t>(net.training.step), &choices);
      std::tie(totals, penalty) = device_gradient(*h.card, plan, job, segs, weight, out, per_sample ? each_data : nullptr);
      if (mode.keep) bring(h.card->device, plan, job, h.card->space, *spaces.list[0]);
      return;
    }
    Executor<T> executor(plan, job_for<T>(net, feed, data, signals, static_cast<std::uint32_t>(net.training.step), &choices));
    totals = executor.compute(spaces.list, target, P);
    if (slots > 1) kernels<T>().sum_slots(out, target, slots, P, P);
    for (Index i = 0; per_sample && i < data.rows; ++i) executor.sample_gradient(*spaces.list[0], i, each_data + i * P);
    penalty = add_penalty(segs, net.parameters.data(), out, weight);
  });
  CR_CHECK(totals.finite, "[gradient] the loss or a delta is not finite (loss ", totals.loss, ")");
  py::list delta;
  if (mode.keep)
    for (const Step& s : plan.steps) {
      const Op& op = net.graph.ops[at(s.op)];
      const ValuePlan& v = plan.values[at(s.value)];
      if (op.layer->type == "dense" && v.grad >= 0)
        delta.append(py::make_tuple(op.name, copy_array<T>(spaces.list[0]->buffer[at(v.grad)], data.rows, op.shape, data.time)));
    }
  py::dict d;
  d["loss"] = totals.loss + penalty;
  d["gradient"] = g;
  d["delta"] = delta;
  d["per_sample"] = each;
  return d;
}

// Every dense step in order: (name, x, z); and the outputs.
template <class T>
py::tuple transitions(Handle<T>& h, const py::list& inputs) {
  Network<T>& net = *h.net;
  const Reading reading(net.gate, "transitions");
  require_learned(net.unlearned());
  const auto a = arrays<T>(net.graph, inputs, py::list(), false, true);
  require_rows(a->data.rows, "transitions");
  Mode mode;
  mode.keep = true;
  const Plan& plan = net.plan(mode);
  typename Network<T>::Spaces spaces(net, 1, plan);
  Signals signals;
  const BatchFeed<T> feed(a->data, nullptr, 0, a->data.rows);
  const typename Handle<T>::Turn turn(h, "transitions");
  without_gil(signals, [&] {
    if (!h.card) return Executor<T>(plan, job_for(net, feed, a->data, signals, 0)).forward_all(*spaces.list[0]);
    const DeviceFeed<T> rows(*h.card, a->data, feed, nullptr, a->data.rows);
    const Job<T> job = device_job(h, rows, a->data, signals, 0);
    DeviceExecutor<T>(*h.card, plan, job).forward_all(h.card->space);
    bring(h.card->device, plan, job, h.card->space, *spaces.list[0]);
  });
  const auto copy = [&](int buffer, const Shape& shape) {
    return copy_array<T>(spaces.list[0]->buffer[at(buffer)], a->data.rows, shape, a->data.time);
  };
  py::list steps, outputs;
  for (const Step& s : plan.steps) {
    const Op& op = net.graph.ops[at(s.op)];
    if (op.layer->type != "dense") continue;
    steps.append(py::make_tuple(op.name, copy(plan.values[at(s.in[0])].a, s.in_shapes[0]), copy(plan.values[at(s.value)].z, op.shape)));
  }
  for (int v : net.graph.outputs) outputs.append(copy(plan.values[at(plan.values[at(v)].root)].a, net.graph.ops[at(v)].shape));
  return py::make_tuple(steps, outputs);
}

// FNV-1a over which side of the kinks of its loss every output lies on
template <class T>
void hash_losses(std::uint64_t& hash, const Plan& plan, const std::vector<LossChoice>& losses, const Feed<T>& feed, Workspace<T>& w, Index n,
                 Index time) {
  for (std::size_t j = 0; j < losses.size(); ++j) {
    const LossRule<T>* rule = loss_rule<T>(losses[j].kind);
    const ValuePlan& v = plan.values[at(plan.losses[j].value)];
    if (!rule || !rule->kinks || v.step < 0) continue;  // an input lies on one side for good
    const std::int32_t* labels;
    const T *y, *a = w.buffer[at(v.a)];
    feed.target(static_cast<int>(j), 0, n, w.labels.data(), w.y.data(), labels, y);
    const double kink = rule->parameters == LossParameters::One ? losses[j].parameters[0] : 0;
    for (Index i = 0, levels = losses[j].levels(), count = n * plan.losses[j].shape.size(time); i < count; ++i) {
      const double d = static_cast<double>(a[i]) - static_cast<double>(y[i / levels]);
      hash = (hash ^ static_cast<std::uint64_t>((d > -kink) + (d > kink))) * 1099511628211u;
    }
  }
}

// The same over which of its inputs a layer has chosen: what its backward would give them.
template <class T>
void hash_choices(std::uint64_t& hash, const Plan& plan, const Step& s, Workspace<T>& w, Index n, Index time) {
  const Op& op = plan.graph.ops[at(s.op)];
  const ValuePlan& in = plan.values[at(s.in[0])];
  if (!op.layer->chooses() || in.step < 0) return;
  std::vector<T> dz(at(n * op.shape.size(time))), dx(at(n * s.in_shapes[0].size(time)));
  for (std::size_t i = 0; i < dz.size(); ++i) dz[i] = T(i + 1);
  const T* x = w.buffer[at(in.a)];
  T* to = dx.data();
  const Accum accum = Accum::Overwrite;
  Call<T> c{kernels<T>(), n,    0, time, 0,       0, s.in_shapes.data(), 1, &op.shape, &x, nullptr, nullptr, dz.data(), &to, &accum, nullptr, nullptr,
            T(1),         T(0), 0, 0,    nullptr, {}};
  op.layer->backward(c);
  for (T v : dx) hash = (hash ^ static_cast<std::uint64_t>(v)) * 1099511628211u;
}

// (loss, signature): the data loss with the dropout masks of the next step, and a hash of which side of its kinks every z and output lies on.
template <class T>
py::tuple loss_at(Handle<T>& h, const py::list& inputs, const py::list& targets, const py::list& losses) {
  Network<T>& net = *h.net;
  const Reading reading(net.gate, "loss");
  const auto a = arrays<T>(net.graph, inputs, targets, false, false);
  Mode mode;
  const std::vector<LossChoice> choices = loss_choices(losses);
  mode.losses = kinds(choices);
  if (!h.card) mode.sparse = a->data.sparse;
  mode.training = mode.keep = true;
  const Plan& plan = net.plan(mode);
  typename Network<T>::Spaces spaces(net, 1, plan);
  Signals signals;
  const BatchFeed<T> feed(a->data, nullptr, 0, a->data.rows);
  Totals totals;
  std::uint64_t hash = 1469598103934665603u;  // FNV-1a
  const typename Handle<T>::Turn turn(h, "loss");
  without_gil(signals, [&] {
    const auto step = static_cast<std::uint32_t>(net.training.step);
    if (h.card) {
      const DeviceFeed<T> rows(*h.card, a->data, feed, nullptr, a->data.rows);
      const Job<T> job = device_job(h, rows, a->data, signals, step, &choices);
      h.card->evaluation.clear();
      DeviceExecutor<T>(*h.card, plan, job).compute(h.card->space, nullptr, h.card->evaluation.data(), nullptr);
      Outcome outcome;
      h.card->evaluation.read(&outcome, 0, 1);
      bring(h.card->device, plan, job, h.card->space, *spaces.list[0]);
      totals.loss = outcome.loss;
    } else {
      totals = Executor<T>(plan, job_for<T>(net, feed, a->data, signals, step, &choices)).compute(spaces.list, nullptr, 0);
    }
    for (const Step& s : plan.steps) {
      hash_choices(hash, plan, s, *spaces.list[0], a->data.rows, a->data.time);
      const Op& op = net.graph.ops[at(s.op)];
      const bool own = op.layer->activation() > 0;
      const auto& g = kernels<T>().activations[own ? op.layer->activation() : s.activation];
      if (!own && s.activation == 0) continue;
      const T* z = spaces.list[0]->buffer[at(own ? plan.values[at(s.in[0])].a : plan.values[at(s.value)].z)];
      const Index count = a->data.rows * op.shape.size(a->data.time);
      for (int k = 0; k < g.kinks; ++k)
        for (Index i = 0; i < count; ++i) hash = (hash ^ static_cast<std::uint64_t>(static_cast<double>(z[i]) > g.kink[k])) * 1099511628211u;
    }
    hash_losses<T>(hash, plan, choices, feed, *spaces.list[0], a->data.rows, a->data.time);
  });
  return py::make_tuple(totals.loss, hash);
}

template <class T>
void bind(py::class_<Handle<T>, std::shared_ptr<Handle<T>>>& c) {
  c.def("forward", &forward<T>, py::arg("inputs"), py::arg("training"));
  c.def("backward", &backward<T>, py::arg("da"), py::arg("dz"), py::arg("parameters"));
  c.def("gradient", &gradient<T>, py::arg("inputs"), py::arg("targets"), py::arg("losses"), py::arg("penalties"), py::arg("training"),
        py::arg("keep"), py::arg("per_sample"));
  c.def("transitions", &transitions<T>, py::arg("inputs"));
  c.def("loss_at", &loss_at<T>, py::arg("inputs"), py::arg("targets"), py::arg("losses"));
}
}  // namespace

template <>
void bind_tape<float>(py::module_&, py::class_<Handle<float>, std::shared_ptr<Handle<float>>>& c, const std::string&) {
  bind<float>(c);
}
template <>
void bind_tape<double>(py::module_&, py::class_<Handle<double>, std::shared_ptr<Handle<double>>>& c, const std::string&) {
  bind<double>(c);
}

}  // namespace chainrule::bindings
