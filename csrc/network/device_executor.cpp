// SPDX-License-Identifier: MIT
#include "network/device_executor.h"

#include <algorithm>
#include <cmath>

namespace chainrule {

namespace {
std::size_t at(Index i) { return static_cast<std::size_t>(i); }
}  // namespace

// Samples that go through together, a function of the plan and the card: their values take at most 1 GB of float32 and an eighth of its memory.
template <class T>
Index DeviceExecutor<T>::block_rows() const {
  if (plan_.whole_batch || plan_.mode.keep) return std::max<Index>(1, job_.n);
  Index each = 0;
  plan_.layout(1, job_.time, each);
  const Index most = std::min(Index{1} << 28, device_.memory() / static_cast<Index>(8 * sizeof(T)));
  return std::clamp<Index>(most / std::max<Index>(1, each), 1, std::max<Index>(1, job_.n));
}

template <class T>
void DeviceExecutor<T>::forward_all(DeviceSpace<T>& space, Index first, Index n) {
  space.fit(device_, plan_, n, job_.time);
  Workspace<T>& w = space.pointers;
  const Rows rows{0, n, first};
  steps_.load_inputs(w, rows);
  for (const Step& s : plan_.steps) steps_.forward(s, w, rows, 0, plan_.graph.ops[at(s.op)].shape.columns(job_.time));
}

template <class T>
void DeviceExecutor<T>::compute(DeviceSpace<T>& space, T* gradients, Outcome* outcome, double* hits) {
  const Index block = block_rows();
  for (Index first = 0; first < job_.n; first += block) {
    if (job_.cancel && job_.cancel->check(0)) throw Interrupted();
    const Rows rows{0, std::min(block, job_.n - first), first};
    forward_all(space, first, rows.end);
    losses(space, rows, outcome, hits);
    if (plan_.whole_batch) custom_losses(space, outcome);
    if (plan_.mode.gradients) backward_steps(space, rows, gradients, first ? Accum::Add : job_.gradients, false);
  }
}

template <class T>
void DeviceExecutor<T>::losses(DeviceSpace<T>& space, Rows rows, Outcome* outcome, double* hits) {
  Workspace<T>& w = space.pointers;
  for (std::size_t j = 0; j < plan_.losses.size(); ++j) {
    const LossPlan& l = plan_.losses[j];
    if (l.kind == LossKind::Custom || l.kind == LossKind::External) continue;
    LossArgs<T> args = steps_.loss_args(j, w, rows);
    args.outcome = outcome;
    const LossRule<T>& rule = *loss_rule<T>(l.kind);
    (steps_.k.*(l.logits ? rule.of_z : rule.of_a))(args);
    if (hits && (l.kind == LossKind::CrossEntropy || l.kind == LossKind::BinaryCrossEntropy))
      more_.count_hits(hits + j, args, l.kind == LossKind::CrossEntropy, l.logits ? T(0) : T(0.5));
    if (l.finishes && args.dx) steps_.finish(l.value, w, 0, rows.end, l.shape.rows(job_.time), args.cols, 0, args.cols);
  }
}

// A loss of the user's own is a function of the host: a goes there and da comes back, which waits for the card.
template <class T>
void DeviceExecutor<T>::custom_losses(DeviceSpace<T>& space, Outcome* outcome) {
  Workspace<T>& w = space.pointers;
  double total = 0;
  for (std::size_t j = 0; j < plan_.losses.size(); ++j) {
    const LossPlan& l = plan_.losses[j];
    if (l.kind != LossKind::Custom) continue;
    const ValuePlan& v = plan_.values[at(l.value)];
    const Index count = job_.n * l.shape.size(job_.time);
    std::vector<T> a(at(count)), da(at(count));
    device_.library.to_host(device_.context(), a.data(), w.buffer[at(v.a)], at(count) * sizeof(T));
    device_.synchronize();
    total += job_.loss_weight(j) * job_.feed->custom_loss(static_cast<int>(j), job_.n, a.data(), da.data());
    if (v.grad < 0) continue;
    for (T& d : da) d *= T(job_.loss_weight(j));
    device_.library.to_device(device_.context(), w.spare, da.data(), at(count) * sizeof(T));
    steps_.k.add(w.buffer[at(v.grad)], w.spare, count, l.dx);
    device_.synchronize();  // `da` ends here
    if (l.finishes) steps_.finish(l.value, w, 0, job_.n, l.shape.rows(job_.time), l.shape.columns(job_.time), 0, l.shape.columns(job_.time));
  }
  Outcome o;
  device_.library.to_host(device_.context(), &o, outcome, sizeof o);
  device_.synchronize();
  o.loss += total;
  if (!std::isfinite(o.loss)) o.fault |= LossFault;
  device_.library.to_device(device_.context(), outcome, &o, sizeof o);
  device_.synchronize();
}

template <class T>
void DeviceExecutor<T>::backward_steps(DeviceSpace<T>& space, Rows rows, T* gradients, Accum accum, bool from_dz) {
  Workspace<T>& w = space.pointers;
  for (std::size_t i = plan_.steps.size(); i-- > 0;) {
    const Step& s = plan_.steps[i];
    if (!s.grad) continue;
    const Op& op = plan_.graph.ops[at(s.op)];
    const Index units = op.shape.columns(job_.time);
    if (s.weights && gradients) steps_.gradient(s, w, rows, 0, units, 0, columns(s), {gradients, T(1), T(accum == Accum::Add || s.dw == Accum::Add)});
    // an activation with a step of its own: what came is dL/dz already
    if (from_dz && (op.layer->softmax() || op.layer->activation() > 0) && s.value == s.op && at_output(s)) {
      if (!s.wants[0]) continue;
      const Index count = rows.end * op.shape.size(job_.time);
      steps_.k.add(w.buffer[at(plan_.values[at(s.in[0])].grad)], w.buffer[at(plan_.values[at(s.value)].grad)], count, s.dx[0]);
      if (s.finishes[0]) steps_.finish(s.in[0], w, 0, rows.end, op.shape.rows(job_.time), units, 0, units);
      continue;
    }
    steps_.backward(s, w, rows, 0, columns(s));
  }
}

template <class T>
bool DeviceExecutor<T>::at_output(const Step& step) const {
  return std::any_of(plan_.losses.begin(), plan_.losses.end(), [&](const LossPlan& l) { return l.value == step.value; });
}

template <class T>
void DeviceExecutor<T>::predict(DeviceSpace<T>& space, T* const* outputs, bool there) {
  const auto& copy = there ? device_.library.copy : device_.library.to_host;
  const Index block = block_rows();
  for (Index first = 0; first < job_.n; first += block) {
    if (job_.cancel && job_.cancel->check(0)) throw Interrupted();
    const Index n = std::min(block, job_.n - first);
    forward_all(space, first, n);
    for (std::size_t j = 0; j < plan_.outputs.size(); ++j) {
      const int v = plan_.values[at(plan_.outputs[j])].root;
      const Index size = plan_.graph.ops[at(v)].shape.size(job_.time);
      copy(device_.context(), outputs[j] + first * size, steps_.a_of(v, space.pointers), at(n * size) * sizeof(T));
    }
  }
  device_.synchronize();
}

template <class T>
void DeviceExecutor<T>::backward_all(DeviceSpace<T>& space, const std::vector<const T*>& da, bool dz, T* gradients, Outcome* outcome) {
  Workspace<T>& w = space.pointers;
  for (std::size_t j = 0; j < plan_.losses.size(); ++j) {
    const LossPlan& l = plan_.losses[j];
    const ValuePlan& v = plan_.values[at(l.value)];
    if (v.grad < 0) continue;
    CR_CHECK(!dz || l.finishes, "backward(dz=...) needs an output that no other layer reads: '", plan_.graph.ops[at(l.value)].name, "' is read");
    steps_.k.add(w.buffer[at(v.grad)], da[j], job_.n * l.shape.size(job_.time), l.dx);
    more_.expect_finite(outcome, da[j], job_.n * l.shape.size(job_.time));
    if (l.finishes && !dz) steps_.finish(l.value, w, 0, job_.n, l.shape.rows(job_.time), l.shape.columns(job_.time), 0, l.shape.columns(job_.time));
  }
  backward_steps(space, {0, job_.n, 0}, gradients, Accum::Add, dz);
  if (gradients) more_.expect_finite(outcome, gradients, plan_.graph.n_parameters);
}

template <class T>
void DeviceExecutor<T>::sample_gradient(DeviceSpace<T>& space, Index sample, T* gradient) {
  for (std::size_t i = plan_.steps.size(); i-- > 0;) {
    const Step& s = plan_.steps[i];
    if (!s.weights) continue;
    const Index units = plan_.graph.ops[at(s.op)].shape.columns(job_.time);
    steps_.gradient(s, space.pointers, {sample, sample + 1, sample}, 0, units, 0, columns(s), {gradient, T(1), T(s.dw == Accum::Add)});
  }
}

template class DeviceExecutor<float>;
template class DeviceExecutor<double>;

}  // namespace chainrule
