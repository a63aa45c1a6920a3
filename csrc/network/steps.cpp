// SPDX-License-Identifier: MIT
#include "network/steps.h"

#include <algorithm>

#include "network/hits.h"

namespace chainrule {

namespace {
std::size_t at(Index i) { return static_cast<std::size_t>(i); }

// Elements before sample `begin`; nearly always 0, where the product over the axes need not be taken.
Index elements(Index begin, const Shape& shape, Index time) { return begin == 0 ? 0 : begin * shape.size(time); }

// Pointers of one call; nearly every layer has one or two inputs.
template <class P>
class Pointers {
 public:
  explicit Pointers(std::size_t n) : data_(n <= 8 ? few_ : (many_.resize(n), many_.data())) {}
  P& operator[](std::size_t i) { return data_[i]; }
  P* data() { return data_; }

 private:
  P few_[8] = {};
  std::vector<P> many_;
  P* data_;
};
}  // namespace

template <class T>
void Workspace<T>::fit(const Plan& plan, Index capacity, Index time) {
  if (plan_ == &plan && capacity_ == capacity && time_ == time) return;
  Index total = 0;
  const std::vector<Index> offset = plan.layout(capacity, time, total);
  if (total > memory_.size()) memory_ = Block<T>(total);
  buffer.resize(offset.size());
  for (std::size_t b = 0; b < offset.size(); ++b) buffer[b] = memory_.data() + offset[b];
  input.assign(plan.input_buffers.size(), nullptr);
  sparse.resize(plan.mode.sparse.size());
  target_rows = target_size = 0;
  for (const LossPlan& l : plan.losses) {
    target_rows = std::max(target_rows, l.shape.rows(time));
    target_size = std::max(target_size, l.shape.size(time));
  }
  labels.resize(at(capacity * target_rows));
  s.resize(at(capacity * target_rows));
  y.resize(at(capacity * target_size));
  shared.resize(at(plan.shared));
  plan_ = &plan, capacity_ = capacity, time_ = time;
}

template <class T>
void Steps<T>::load_inputs(Workspace<T>& w, Rows rows) const {
  for (std::size_t j = 0; j < plan.input_buffers.size(); ++j) {
    if (plan.sparse(j)) continue;
    T* buffer = w.buffer[at(plan.input_buffers[j])];
    const Index size = plan.buffers[at(plan.input_buffers[j])].shape.size(job.time);
    const T* from = job.feed->input(static_cast<int>(j), rows.first, rows.end - rows.begin, buffer + rows.begin * size);
    w.input[j] = from - rows.begin * size;
  }
}

template <class T>
void Steps<T>::load_sparse_inputs(Workspace<T>& w, Rows rows) const {
  for (std::size_t j = 0; j < plan.mode.sparse.size(); ++j)
    if (plan.sparse(j)) job.feed->sparse_input(static_cast<int>(j), rows.first, rows.end - rows.begin, w.sparse[j]);
}

template <class T>
const T* Steps<T>::a_of(int value, const Workspace<T>& w) const {
  const ValuePlan& v = plan.values[at(value)];
  if (v.step < 0)  // an input may lie in the user's own memory
    for (std::size_t j = 0; j < plan.input_buffers.size(); ++j)
      if (plan.input_buffers[j] == v.a) return w.input[j];
  return w.buffer[at(v.a)];
}

// What forward, backward and gradient have in common. The pointers are those of the first sample of `rows`.
template <class T>
Call<T> Steps<T>::call(const Step& step, Workspace<T>& w, Rows rows, const T** x, T** dx) const {
  const Op& op = plan.graph.ops[at(step.op)];
  const ValuePlan& out = plan.values[at(step.value)];
  for (std::size_t i = 0; i < step.in.size(); ++i) {
    const Index offset = elements(rows.begin, step.in_shapes[i], job.time);
    x[i] = a_of(step.in[i], w) + offset;
    if (!step.wants.empty() && step.wants[i]) dx[i] = w.buffer[at(plan.values[at(step.in[i])].grad)] + offset;
  }
  const Index offset = elements(rows.begin, op.shape, job.time);
  Call<T> c{k,
            rows.end - rows.begin,
            rows.first,
            job.time,
            0,
            op.shape.columns(job.time),
            step.in_shapes.data(),
            static_cast<int>(step.in.size()),
            &op.shape,
            x,
            w.buffer[at(out.z)] + offset,
            w.buffer[at(out.a)] + offset,
            out.grad < 0 ? nullptr : w.buffer[at(out.grad)] + offset,
            dx,
            step.dx.data(),
            nullptr,
            nullptr,
            T(1),
            T(0),
            0,
            0,
            nullptr,
            {job.seed, job.step, purpose_stream(Purpose::Dropout, op.stream)}};
  c.spare = w.spare;
  if (step.shared >= 0) c.shared = w.shared.data() + step.shared;
  if (step.sparse >= 0) {
    const SparseRows<T>& s = w.sparse[at(step.sparse)];
    x[0] = nullptr;
    c.sparse = {s.begin.data() + rows.begin, s.column.data(), s.value.data(), c.n};
  }
  if (op.index >= 0) {
    c.w = step.folded < 0 ? job.parameters + plan.graph.parameter_offset[at(op.index)] : folded_.data() + step.folded_at;
    c.state = job.state + plan.graph.state_offset[at(op.index)];
  }
  return c;
}

// scale (x W^T + b) + shift = x (scale W)^T + (scale b + shift), scale and shift by row of W
template <class T>
void Steps<T>::fold() {
  folded_.resize(at(plan.folded));
  for (const Step& s : plan.steps) {
    if (s.folded < 0) continue;
    const Op &op = plan.graph.ops[at(s.op)], &affine = plan.graph.ops[at(s.folded)];
    const Index units = op.shape.columns(), n = s.bias / units, b = op.layer->bias_offset(s.in_shapes.data());
    std::vector<T> scale(at(units)), shift(at(units));
    affine.layer->affine(job.parameters + plan.graph.parameter_offset[at(affine.index)], job.state + plan.graph.state_offset[at(affine.index)], units,
                         scale.data(), shift.data());
    const T* from = job.parameters + plan.graph.parameter_offset[at(op.index)];
    T* to = folded_.data() + s.folded_at;
    for (Index u = 0; u < units; ++u) {
      const T factor = scale[at(u)];
      for (Index j = 0; j < n; ++j) to[u * n + j] = factor * from[u * n + j];
      to[units * n + u] = (b < 0 ? T(0) : factor * from[b + u]) + shift[at(u)];
    }
  }
}

template <class T>
void Steps<T>::forward(const Step& step, Workspace<T>& w, Rows rows, Index c0, Index c1) const {
  Pointers<const T*> x(step.in.size());
  Pointers<T*> dx(step.in.size());
  Call<T> c = call(step, w, rows, x.data(), dx.data());
  c.column_begin = c0, c.column_end = c1;
  const Op& op = plan.graph.ops[at(step.op)];
  op.layer->forward(c);
  if (step.bias < 0 && step.activation == 0) return;
  const ValuePlan& v = plan.values[at(step.value)];
  const Index ld = op.shape.columns(job.time), offset = elements(rows.begin, op.shape, job.time) + c0;
  k.activations[step.activation].forward(w.buffer[at(v.a)] + offset, w.buffer[at(v.z)] + offset, step.bias < 0 ? nullptr : c.w + step.bias + c0,
                                         c.n * op.shape.rows(job.time), c1 - c0, ld, T(step.parameter));
}

template <class T>
void Steps<T>::finish(int value, Workspace<T>& w, Index begin, Index end, Index rows_per_sample, Index ld, Index c0, Index c1) const {
  const ValuePlan& v = plan.values[at(value)];
  if (v.step < 0 || plan.steps[at(v.step)].activation == 0) return;
  const Step& maker = plan.steps[at(v.step)];
  const Index offset = begin * rows_per_sample * ld + c0;
  k.activations[maker.activation].backward(w.buffer[at(v.grad)] + offset, w.buffer[at(v.z)] + offset, w.buffer[at(v.a)] + offset,
                                           (end - begin) * rows_per_sample, c1 - c0, ld, T(maker.parameter));
}

template <class T>
void Steps<T>::backward(const Step& step, Workspace<T>& w, Rows rows, Index c0, Index c1) const {
  if (std::find(step.wants.begin(), step.wants.end(), 1) == step.wants.end()) return;
  Pointers<const T*> x(step.in.size());
  Pointers<T*> dx(step.in.size());
  Call<T> c = call(step, w, rows, x.data(), dx.data());
  const Layer& layer = *plan.graph.ops[at(step.op)].layer;
  c.column_begin = c0, c.column_end = c1;
  layer.backward(c);
  for (std::size_t i = 0; i < step.in.size(); ++i) {
    if (!step.finishes[i]) continue;
    const Shape& in = step.in_shapes[i];
    const Index ld = in.columns(job.time);
    finish(step.in[i], w, rows.begin, rows.end, in.rows(job.time), ld, layer.splits_columns() ? c0 : 0, layer.splits_columns() ? c1 : ld);
  }
}

template <class T>
bool Steps<T>::finite(const Step& step, Workspace<T>& w, Rows rows, Index c0, Index c1) const {
  const Op& op = plan.graph.ops[at(step.op)];
  const Index ld = op.shape.columns(job.time), per_sample = op.shape.rows(job.time), n = (rows.end - rows.begin) * per_sample;
  const T* dz = w.buffer[at(plan.values[at(step.value)].grad)] + rows.begin * per_sample * ld;
  if (c1 - c0 == ld) return k.all_finite(dz, n * ld);
  for (Index i = 0; i < n; ++i)
    if (!k.all_finite(dz + i * ld + c0, c1 - c0)) return false;
  return true;
}

template <class T>
void Steps<T>::gradient(const Step& step, Workspace<T>& w, Rows rows, Index c0, Index c1, Index i0, Index i1, Into<T> into) const {
  Pointers<const T*> x(step.in.size());
  Pointers<T*> dx(step.in.size());
  Call<T> c = call(step, w, rows, x.data(), dx.data());
  const Op& op = plan.graph.ops[at(step.op)];
  c.column_begin = c0, c.column_end = c1, c.in_begin = i0, c.in_end = i1;
  c.dw = into.block + (into.alone ? 0 : plan.graph.parameter_offset[at(op.index)]);
  c.dw_scale = into.scale, c.dw_keep = into.keep;
  if (into.step) c.step = into.step + plan.graph.parameter_offset[at(op.index)], c.finite = into.finite;
  op.layer->gradient(c);
}

template <class T>
void Steps<T>::reduce(const Step& step, Workspace<T>& w, Rows rows, bool backward, double* part) const {
  const T* x[1];
  T* dx[1];
  plan.graph.ops[at(step.op)].layer->reduce(call(step, w, rows, x, dx), backward, part);
}

template <class T>
void Steps<T>::combine(const Step& step, Workspace<T>& w, Rows rows, bool backward, const std::vector<double>& parts, Index count,
                       Into<T> into) const {
  const T* x[1];
  T* dx[1];
  const Op& op = plan.graph.ops[at(step.op)];
  Call<T> c = call(step, w, rows, x, dx);
  if (into.block) c.dw = into.block + plan.graph.parameter_offset[at(op.index)], c.dw_scale = into.scale, c.dw_keep = into.keep;
  op.layer->combine(c, backward, parts.data(), count);
}

template <class T>
void Steps<T>::learn(const Step& step, Workspace<T>& w, T* state) const {
  const T* x[1];
  T* dx[1];
  const Op& op = plan.graph.ops[at(step.op)];
  op.layer->learn(call(step, w, {0, 0, 0}, x, dx), state + plan.graph.state_offset[at(op.index)]);
}

template <class T>
LossArgs<T> Steps<T>::loss_args(std::size_t j, Workspace<T>& w, Rows rows) const {
  const LossPlan& l = plan.losses[j];
  const int out = static_cast<int>(j);
  const ValuePlan& v = plan.values[at(l.value)];
  const Index n = rows.end - rows.begin, per_sample = l.shape.rows(job.time), columns = l.shape.columns(job.time), size = per_sample * columns;
  LossArgs<T> args{};
  args.x = a_of(l.value, w) + rows.begin * size;  // with `logits` what enters the activation: itself perhaps an a = g(z), or an input
  args.dx = v.grad < 0 ? nullptr : w.buffer[at(v.grad)] + rows.begin * size;
  args.accum = l.dx;
  job.feed->target(out, rows.first, n, w.labels.data() + rows.begin * w.target_rows, w.y.data() + rows.begin * w.target_size, args.labels, args.y);
  args.s = job.feed->weights(out, rows.first, n, w.s.data() + rows.begin * w.target_rows);
  const double sum = job.feed->sum_of_weights(out);
  args.scale = sum > 0 ? job.loss_weight(j) / sum : 0;
  args.rows = n * per_sample, args.cols = columns;
  args.p = job.losses[j].parameters.data(), args.levels = job.losses[j].levels();
  return args;
}

template <class T>
double Steps<T>::losses(Workspace<T>& w, Rows rows, std::vector<double>* hits) const {
  double total = 0;
  for (std::size_t j = 0; j < plan.losses.size(); ++j) {
    const LossPlan& l = plan.losses[j];
    if (l.kind == LossKind::Custom || l.kind == LossKind::External) continue;
    const LossArgs<T> args = loss_args(j, w, rows);
    const LossRule<T>& rule = *loss_rule<T>(l.kind);
    total += args.scale * (k.*(l.logits ? rule.of_z : rule.of_a))(args);
    if (hits) (*hits)[j] += count_hits(args, l.kind, l.logits);
    if (l.finishes && args.dx) finish(l.value, w, rows.begin, rows.end, l.shape.rows(job.time), args.cols, 0, args.cols);
  }
  return total;
}

template <class T>
double Steps<T>::custom_losses(Workspace<T>& w) const {
  double total = 0;
  for (std::size_t j = 0; j < plan.losses.size(); ++j) {
    const LossPlan& l = plan.losses[j];
    if (l.kind != LossKind::Custom) continue;
    const ValuePlan& v = plan.values[at(l.value)];
    const Index size = l.shape.size(job.time), count = job.n * size;
    w.scratch.resize(at(count));
    const T* a = a_of(l.value, w);
    total += job.loss_weight(j) * job.feed->custom_loss(static_cast<int>(j), job.n, a, w.scratch.data());
    if (v.grad < 0) continue;
    for (T& d : w.scratch) d *= T(job.loss_weight(j));
    k.add(w.buffer[at(v.grad)], w.scratch.data(), count, l.dx);
    if (l.finishes) finish(l.value, w, 0, job.n, l.shape.rows(job.time), l.shape.columns(job.time), 0, l.shape.columns(job.time));
  }
  return total;
}

template class Workspace<float>;
template class Workspace<double>;
template class Steps<float>;
template class Steps<double>;

}  // namespace chainrule
