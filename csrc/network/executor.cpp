// SPDX-License-Identifier: MIT
#include "network/executor.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "network/hits.h"
#include "network/tiles.h"
#include "tensor/parallel.h"

namespace chainrule {

namespace {
std::size_t at(Index i) { return static_cast<std::size_t>(i); }

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
  Index rows = 0, size = 0;
  for (const LossPlan& l : plan.losses) {
    rows = std::max(rows, l.shape.rows(time));
    size = std::max(size, l.shape.size(time));
  }
  labels.resize(at(capacity * rows));
  s.resize(at(capacity * rows));
  y.resize(at(capacity * size));
  plan_ = &plan, capacity_ = capacity, time_ = time;
}

template <class T>
template <class F>
void Executor<T>::parallel(Index tasks, double work, F&& f, std::size_t most) const {
  // Below about 10 us of work a second thread costs more than it brings. The number of threads changes no bit.
  if (job_.chunks_by_thread) most = std::min(most, job_.chunks_by_thread->size());
  const int threads = work < 4e5 ? 1 : static_cast<int>(std::min(most, at(num_threads())));
  parallel_for(tasks, threads, [&](Index task, int worker) {
    if (job_.cancel && job_.cancel->check(worker)) return;
    if (job_.chunks_by_thread) ++(*job_.chunks_by_thread)[at(worker)];
    f(task, worker);
  });
  if (job_.cancel && job_.cancel->flag) throw Interrupted();
}

template <class T>
template <class F>
void Executor<T>::run(const std::vector<Tile>& tiles, double work, F&& f) const {
  parallel(static_cast<Index>(tiles.size()), work, [&](Index i, int) { f(tiles[at(i)]); });
}

template <class T>
void Executor<T>::load_inputs(Workspace<T>& w, Rows rows) const {
  for (std::size_t j = 0; j < plan_.input_buffers.size(); ++j) {
    T* buffer = w.buffer[at(plan_.input_buffers[j])];
    const Index size = plan_.buffers[at(plan_.input_buffers[j])].shape.size(job_.time);
    const T* from = job_.feed->input(static_cast<int>(j), rows.first, rows.end - rows.begin, buffer + rows.begin * size);
    w.input[j] = from - rows.begin * size;
  }
}

// Fills what forward, backward and gradient have in common. The pointers are those of the first sample of `rows`.
template <class T>
Call<T> make_call(const Plan& plan, const Job<T>& job, const Kernels<T>& k, const Step& step, Workspace<T>& w, Index begin, Index end, Index first,
                  Pointers<const T*>& x, Pointers<T*>& dx) {
  const Op& op = plan.graph.ops[at(step.op)];
  const ValuePlan& out = plan.values[at(step.value)];
  for (std::size_t i = 0; i < step.in.size(); ++i) {
    const ValuePlan& v = plan.values[at(step.in[i])];
    const Index offset = begin * step.in_shapes[i].size(job.time);
    const T* base = w.buffer[at(v.a)];
    if (v.step < 0)
      for (std::size_t j = 0; j < plan.input_buffers.size(); ++j)
        if (plan.input_buffers[j] == v.a) base = w.input[j];
    x[i] = base + offset;
    if (!step.wants.empty() && step.wants[i]) dx[i] = w.buffer[at(v.grad)] + offset;
  }
  const Index offset = begin * op.shape.size(job.time);
  Call<T> c{k, end - begin, first, job.time, 0, op.shape.columns(job.time), step.in_shapes.data(), static_cast<int>(step.in.size()), &op.shape,
            x.data(), w.buffer[at(out.z)] + offset, w.buffer[at(out.a)] + offset, out.grad < 0 ? nullptr : w.buffer[at(out.grad)] + offset, dx.data(),
            step.dx.data(), nullptr, nullptr, step.dw, nullptr, {job.seed, job.step, purpose_stream(Purpose::Dropout, op.stream)}};
  if (op.index >= 0) {
    c.w = job.parameters + plan.graph.parameter_offset[at(op.index)];
    c.state = job.state + plan.graph.state_offset[at(op.index)];
  }
  return c;
}

template <class T>
void Executor<T>::forward(const Step& step, Workspace<T>& w, Rows rows, Index c0, Index c1) const {
  Pointers<const T*> x(step.in.size());
  Pointers<T*> dx(step.in.size());
  Call<T> c = make_call(plan_, job_, k_, step, w, rows.begin, rows.end, rows.first, x, dx);
  c.column_begin = c0, c.column_end = c1;
  const Op& op = plan_.graph.ops[at(step.op)];
  op.layer->forward(c);
  if (step.bias < 0 && step.activation == 0) return;
  const ValuePlan& v = plan_.values[at(step.value)];
  const Index ld = op.shape.columns(job_.time), offset = rows.begin * op.shape.size(job_.time) + c0;
  k_.activations[step.activation].forward(w.buffer[at(v.a)] + offset, w.buffer[at(v.z)] + offset, step.bias < 0 ? nullptr : c.w + step.bias + c0,
                                          c.n * op.shape.rows(job_.time), c1 - c0, ld, T(step.parameter));
}

template <class T>
void Executor<T>::finish(int value, Workspace<T>& w, Index begin, Index end, Index rows_per_sample, Index ld, Index c0, Index c1) const {
  const ValuePlan& v = plan_.values[at(value)];
  if (v.step < 0 || plan_.steps[at(v.step)].activation == 0) return;
  const Step& maker = plan_.steps[at(v.step)];
  const Index offset = begin * rows_per_sample * ld + c0;
  k_.activations[maker.activation].backward(w.buffer[at(v.grad)] + offset, w.buffer[at(v.z)] + offset, w.buffer[at(v.a)] + offset,
                                            (end - begin) * rows_per_sample, c1 - c0, ld, T(maker.parameter));
}

template <class T>
void Executor<T>::backward(const Step& step, Workspace<T>& w, Rows rows, Index c0, Index c1) const {
  if (std::find(step.wants.begin(), step.wants.end(), 1) == step.wants.end()) return;
  Pointers<const T*> x(step.in.size());
  Pointers<T*> dx(step.in.size());
  Call<T> c = make_call(plan_, job_, k_, step, w, rows.begin, rows.end, rows.first, x, dx);
  const Layer& layer = *plan_.graph.ops[at(step.op)].layer;
  c.column_begin = c0, c.column_end = c1;
  layer.backward(c);
  for (std::size_t i = 0; i < step.in.size(); ++i) {
    if (!step.finishes[i]) continue;
    const Shape& in = step.in_shapes[i];
    const Index ld = in.columns(job_.time);
    finish(step.in[i], w, rows.begin, rows.end, in.rows(job_.time), ld, layer.splits_columns() ? c0 : 0, layer.splits_columns() ? c1 : ld);
  }
}

template <class T>
bool Executor<T>::gradient(const Step& step, Workspace<T>& w, Rows rows, Index c0, Index c1, T* dw, Accum accum) const {
  Pointers<const T*> x(step.in.size());
  Pointers<T*> dx(step.in.size());
  Call<T> c = make_call(plan_, job_, k_, step, w, rows.begin, rows.end, rows.first, x, dx);
  c.column_begin = c0, c.column_end = c1;
  const Op& op = plan_.graph.ops[at(step.op)];
  const Index ld = op.shape.columns(job_.time), n_rows = c.n * op.shape.rows(job_.time);
  bool finite = true;  // a delta that is not finite must not reach W
  if (c1 - c0 == ld)
    finite = k_.all_finite(c.dz, n_rows * ld);
  else
    for (Index i = 0; i < n_rows; ++i) finite = k_.all_finite(c.dz + i * ld + c0, c1 - c0) && finite;
  if (!finite) return false;
  c.dw = dw + plan_.graph.parameter_offset[at(op.index)];
  c.dw_accum = accum;
  op.layer->gradient(c);
  return true;
}

template <class T>
double Executor<T>::losses(Workspace<T>& w, Rows rows, std::vector<double>* hits) const {
  double total = 0;
  const Index n = rows.end - rows.begin;
  for (std::size_t j = 0; j < plan_.losses.size(); ++j) {
    const LossPlan& l = plan_.losses[j];
    if (l.choice.kind == LossKind::Custom || l.choice.kind == LossKind::External) continue;
    const int out = static_cast<int>(j);
    const ValuePlan& v = plan_.values[at(l.value)];
    const Index per_sample = l.shape.rows(job_.time), columns = l.shape.columns(job_.time), size = per_sample * columns;
    LossArgs<T> args{};
    args.x = w.buffer[at(l.logits ? v.z : v.a)] + rows.begin * size;
    if (v.step < 0)
      for (std::size_t i = 0; i < plan_.input_buffers.size(); ++i)
        if (plan_.input_buffers[i] == v.a) args.x = w.input[i] + rows.begin * size;
    args.dx = v.grad < 0 ? nullptr : w.buffer[at(v.grad)] + rows.begin * size;
    args.accum = l.dx;
    job_.feed->target(out, rows.first, n, w.labels.data() + rows.begin * per_sample, w.y.data() + rows.begin * size, args.labels, args.y);
    args.s = job_.feed->weights(out, rows.first, n, w.s.data() + rows.begin * per_sample);
    const double sum = job_.feed->sum_of_weights(out);
    args.scale = sum > 0 ? l.choice.weight / sum : 0;
    args.rows = n * per_sample, args.cols = columns;
    const LossKernel<T> kernel = l.choice.kind == LossKind::CrossEntropy         ? (l.logits ? k_.softmax_cross_entropy : k_.cross_entropy)
                                 : l.choice.kind == LossKind::BinaryCrossEntropy ? (l.logits ? k_.sigmoid_binary_cross_entropy : k_.binary_cross_entropy)
                                                                                 : k_.squared_error;
    total += args.scale * kernel(args);
    if (hits) (*hits)[j] += count_hits(args, l.choice.kind, l.logits);
    if (l.finishes && args.dx) finish(l.value, w, rows.begin, rows.end, per_sample, columns, 0, columns);
  }
  return total;
}

template <class T>
double Executor<T>::custom_losses(Workspace<T>& w) const {
  double total = 0;
  for (std::size_t j = 0; j < plan_.losses.size(); ++j) {
    const LossPlan& l = plan_.losses[j];
    if (l.choice.kind != LossKind::Custom) continue;
    const ValuePlan& v = plan_.values[at(l.value)];
    const Index size = l.shape.size(job_.time), count = job_.n * size;
    w.scratch.resize(at(count));
    const T* a = w.buffer[at(v.a)];
    total += l.choice.weight * job_.feed->custom_loss(static_cast<int>(j), job_.n, a, w.scratch.data());
    if (v.grad < 0) continue;
    for (T& d : w.scratch) d *= T(l.choice.weight);
    k_.add(w.buffer[at(v.grad)], w.scratch.data(), count, l.dx);
    if (l.finishes) finish(l.value, w, 0, job_.n, l.shape.rows(job_.time), l.shape.columns(job_.time), 0, l.shape.columns(job_.time));
  }
  return total;
}

template <class T>
std::vector<typename Executor<T>::Tile> Executor<T>::tiles(const Step& step, Phase phase, Index n) const {
  const Op& op = plan_.graph.ops[at(step.op)];
  const Index per_sample = op.shape.rows(job_.time), out = op.shape.columns(job_.time), in = step.in_shapes.empty() ? out : step.in_shapes[0].columns(job_.time);
  std::vector<Tile> list;
  if (!op.layer->splits_columns()) {
    const Index rows = std::max<Index>(1, 32768 / std::max<Index>(1, op.shape.size(job_.time)));  // 32,768 elements a tile
    for (Index r = 0; r < n; r += rows) list.push_back({r, std::min(n, r + rows), 0, out});
    return list;
  }
  const TileSize size = phase == Phase::Forward    ? product_tiles(n * per_sample, out, in)
                        : phase == Phase::Backward ? product_tiles(n * per_sample, in, out)
                                                   : gradient_tiles(out, in, n * per_sample);
  const Index columns = phase == Phase::Backward ? in : out, rows = phase == Phase::Gradient ? n : std::max<Index>(1, size.rows / per_sample);
  for (Index r = 0; r < n; r += rows)
    for (Index c = 0; c < columns; c += size.columns) list.push_back({r, std::min(n, r + rows), c, std::min(columns, c + size.columns)});
  return list;
}

template <class T>
void Executor<T>::forward_chunk(Workspace<T>& w, Rows r) const {
  const bool wide = plan_.graph.n_parameters > 131072;  // then also a chunk is cut, so that no product exceeds 1e9 flop
  for (const Step& s : plan_.steps) {
    if (!wide)
      forward(s, w, r, 0, plan_.graph.ops[at(s.op)].shape.columns(job_.time));
    else
      for (const Tile& t : tiles(s, Phase::Forward, r.end)) forward(s, w, {t.begin, t.end, r.first + t.begin}, t.column_begin, t.column_end);
  }
}

template <class T>
Totals Executor<T>::by_chunks(std::vector<Workspace<T>*>& spaces, T* slots, Index stride) {
  const Index rows = plan_.chunk_rows(job_.n, job_.time), chunks = (job_.n + rows - 1) / rows, n_slots = slots ? plan_.slots(job_.n, job_.time) : chunks;
  for (Workspace<T>* w : spaces) w->fit(plan_, std::min(rows, job_.n), job_.time);
  std::vector<double> part(at(chunks), 0.0);
  std::vector<std::vector<double>> hits(job_.count_hits ? at(chunks) : 0, std::vector<double>(plan_.losses.size(), 0.0));
  std::atomic<bool> finite{true};
  parallel(n_slots, 3 * plan_.work_per_sample(job_.time) * static_cast<double>(job_.n), [&](Index slot, int worker) {
    Workspace<T>& w = *spaces[at(worker)];
    for (Index c = slot; c < chunks; c += n_slots) {
      if (!finite.load(std::memory_order_relaxed) || (c != slot && job_.cancel && job_.cancel->check(worker))) return;
      const Rows r{0, std::min(job_.n, (c + 1) * rows) - c * rows, c * rows};
      load_inputs(w, r);
      forward_chunk(w, r);
      part[at(c)] = losses(w, r, job_.count_hits ? &hits[at(c)] : nullptr);
      bool ok = std::isfinite(part[at(c)]);
      for (std::size_t i = plan_.steps.size(); ok && i-- > 0;) {
        const Step& s = plan_.steps[i];
        if (!s.grad) continue;
        if (s.weights)
          ok = gradient(s, w, r, 0, plan_.graph.ops[at(s.op)].shape.columns(job_.time), slots + slot * stride,
                        c == slot ? s.dw : Accum::Add);
        if (ok) backward(s, w, r, 0, s.in_shapes.empty() ? 0 : s.in_shapes[0].columns(job_.time));
      }
      if (!ok) finite = false;
    }
  }, spaces.size());
  Totals totals;
  totals.finite = finite;
  totals.hits.assign(plan_.losses.size(), 0.0);
  for (Index c = 0; c < chunks; ++c) {
    totals.loss += part[at(c)];
    for (std::size_t j = 0; j < totals.hits.size() && job_.count_hits; ++j) totals.hits[j] += hits[at(c)][j];
  }
  return totals;
}

template <class T>
void Executor<T>::backward_steps(Workspace<T>& w, Rows rows, T* gradients, Accum accum, bool& finite, bool skip_output_softmax) {
  const double samples = static_cast<double>(rows.end);
  for (std::size_t i = plan_.steps.size(); i-- > 0;) {
    const Step& s = plan_.steps[i];
    if (!s.grad) continue;
    const Op& op = plan_.graph.ops[at(s.op)];
    const double work = samples * static_cast<double>(op.shape.rows(job_.time)) * op.layer->work(s.in_shapes.data(), op.shape);
    if (s.weights && gradients) {
      std::atomic<bool> ok{true};
      run(tiles(s, Phase::Gradient, rows.end), work, [&](const Tile& t) {
        if (!gradient(s, w, {t.begin, t.end, rows.first + t.begin}, t.column_begin, t.column_end, gradients, accum == Accum::Add ? accum : s.dw)) ok = false;
      });
      if (!ok) {
        finite = false;
        return;
      }
    }
    if (skip_output_softmax && op.layer->softmax() && at_output(s)) {
      if (!s.wants[0]) continue;
      const Index columns = op.shape.columns(job_.time), count = rows.end * op.shape.size(job_.time);
      k_.add(w.buffer[at(plan_.values[at(s.in[0])].grad)], w.buffer[at(plan_.values[at(s.value)].grad)], count, s.dx[0]);
      if (s.finishes[0]) finish(s.in[0], w, 0, rows.end, op.shape.rows(job_.time), columns, 0, columns);
      continue;
    }
    run(tiles(s, Phase::Backward, rows.end), work,
        [&](const Tile& t) { backward(s, w, {t.begin, t.end, rows.first + t.begin}, t.column_begin, t.column_end); });
  }
}

template <class T>
void Executor<T>::forward_all(Workspace<T>& w, Index first, Index n) {
  w.fit(plan_, n, job_.time);
  forward_layers(w, {0, n, first});
}

template <class T>
void Executor<T>::forward_layers(Workspace<T>& w, Rows rows) {
  const Index per_task = 64, tasks = (rows.end + per_task - 1) / per_task;
  // The inputs of all tasks lie in one buffer, or all in the user's memory: the pointer that a task sets is the same for all.
  load_inputs(w, {0, 0, rows.first});
  parallel(tasks, static_cast<double>(rows.end) * 100, [&](Index t, int) {
    const Index begin = t * per_task, end = std::min(rows.end, begin + per_task);
    for (std::size_t j = 0; j < plan_.input_buffers.size(); ++j) {
      T* buffer = w.buffer[at(plan_.input_buffers[j])];
      const Index size = plan_.buffers[at(plan_.input_buffers[j])].shape.size(job_.time);
      job_.feed->input(static_cast<int>(j), rows.first + begin, end - begin, buffer + begin * size);
    }
  });
  for (const Step& s : plan_.steps) {
    const Op& op = plan_.graph.ops[at(s.op)];
    const double work = static_cast<double>(rows.end * op.shape.rows(job_.time)) * op.layer->work(s.in_shapes.data(), op.shape);
    run(tiles(s, Phase::Forward, rows.end), work,
        [&](const Tile& t) { forward(s, w, {t.begin, t.end, rows.first + t.begin}, t.column_begin, t.column_end); });
  }
}

template <class T>
Totals Executor<T>::by_layers(Workspace<T>& w, T* gradients, Index first, Index n, Accum accum) {
  w.fit(plan_, n, job_.time);
  forward_layers(w, {0, n, first});
  Totals totals;
  const Index per_task = 64, tasks = (n + per_task - 1) / per_task;
  std::vector<double> part(at(tasks), 0.0);
  std::vector<std::vector<double>> hits(job_.count_hits ? at(tasks) : 0, std::vector<double>(plan_.losses.size(), 0.0));
  double columns = 0;
  for (const LossPlan& l : plan_.losses) columns += static_cast<double>(l.shape.size(job_.time));
  parallel(tasks, 20 * columns * static_cast<double>(n), [&](Index t, int) {
    const Index begin = t * per_task, end = std::min(n, begin + per_task);
    part[at(t)] = losses(w, {begin, end, first + begin}, job_.count_hits ? &hits[at(t)] : nullptr);
  });
  totals.hits.assign(plan_.losses.size(), 0.0);
  for (Index t = 0; t < tasks; ++t) {
    totals.loss += part[at(t)];
    for (std::size_t j = 0; j < totals.hits.size() && job_.count_hits; ++j) totals.hits[j] += hits[at(t)][j];
  }
  if (plan_.whole_batch) totals.loss += custom_losses(w);
  totals.finite = std::isfinite(totals.loss);
  if (totals.finite && plan_.mode.gradients) backward_steps(w, {0, n, first}, gradients, accum, totals.finite, false);
  return totals;
}

template <class T>
Totals Executor<T>::compute(std::vector<Workspace<T>*>& spaces, T* slots, Index stride) {
  if (plan_.by_chunks(job_.n, job_.time)) return by_chunks(spaces, slots, stride);
  Totals sum;
  sum.hits.assign(plan_.losses.size(), 0.0);
  const Index block = plan_.chunk_rows(job_.n, job_.time);
  for (Index first = 0; first < job_.n && sum.finite; first += block) {
    const Totals t = by_layers(*spaces[0], slots, first, std::min(block, job_.n - first), first ? Accum::Add : job_.gradients);
    sum.loss += t.loss;
    sum.finite = sum.finite && t.finite;
    for (std::size_t j = 0; j < sum.hits.size(); ++j) sum.hits[j] += t.hits[j];
  }
  return sum;
}

template <class T>
void Executor<T>::predict(std::vector<Workspace<T>*>& spaces, T* const* outputs) {
  const auto copy_out = [&](Workspace<T>& w, Index begin, Index end, Index to) {
    for (std::size_t j = 0; j < plan_.outputs.size(); ++j) {
      const int v = plan_.values[at(plan_.outputs[j])].root;
      const Index size = plan_.graph.ops[at(v)].shape.size(job_.time);
      const T* a = w.buffer[at(plan_.values[at(v)].a)];
      for (std::size_t i = 0; i < plan_.input_buffers.size(); ++i)
        if (plan_.values[at(v)].step < 0 && plan_.input_buffers[i] == plan_.values[at(v)].a) a = w.input[i];
      std::memcpy(outputs[j] + to * size, a + begin * size, at((end - begin) * size) * sizeof(T));
    }
  };
  const Index rows = plan_.chunk_rows(job_.n, job_.time);
  if (!plan_.by_chunks(job_.n, job_.time)) {
    for (Index first = 0; first < job_.n; first += rows) {
      const Index n = std::min(rows, job_.n - first);
      spaces[0]->fit(plan_, n, job_.time);
      forward_layers(*spaces[0], {0, n, first});
      copy_out(*spaces[0], 0, n, first);
    }
    return;
  }
  for (Workspace<T>* w : spaces) w->fit(plan_, std::min(rows, job_.n), job_.time);
  parallel((job_.n + rows - 1) / rows, plan_.work_per_sample(job_.time) * static_cast<double>(job_.n), [&](Index c, int worker) {
    Workspace<T>& w = *spaces[at(worker)];
    const Rows r{0, std::min(job_.n, (c + 1) * rows) - c * rows, c * rows};
    load_inputs(w, r);
    forward_chunk(w, r);
    copy_out(w, 0, r.end, r.first);
  }, spaces.size());
}

template <class T>
void Executor<T>::backward_all(Workspace<T>& w, const std::vector<const T*>& da, bool dz, T* gradients) {
  for (std::size_t j = 0; j < plan_.losses.size(); ++j) {
    const LossPlan& l = plan_.losses[j];
    const ValuePlan& v = plan_.values[at(l.value)];
    if (v.grad < 0) continue;
    CR_CHECK(!dz || l.finishes, "backward(dz=...) needs an output that no other layer reads: '", plan_.graph.ops[at(l.value)].name, "' is read");
    k_.add(w.buffer[at(v.grad)], da[j], job_.n * l.shape.size(job_.time), l.dx);
    if (l.finishes && !dz) finish(l.value, w, 0, job_.n, l.shape.rows(job_.time), l.shape.columns(job_.time), 0, l.shape.columns(job_.time));
  }
  bool finite = true;
  backward_steps(w, {0, job_.n, 0}, gradients, Accum::Add, finite, dz);
  if (!finite) throw ValueError("[backward] a delta is not finite: the gradients are not complete, clear them with net.clear_gradients()");
}

template <class T>
bool Executor<T>::at_output(const Step& step) const {
  for (const LossPlan& l : plan_.losses)
    if (l.value == step.value) return true;
  return false;
}

template <class T>
void Executor<T>::sample_gradient(Workspace<T>& w, Index sample, T* gradient_out) {
  for (std::size_t i = plan_.steps.size(); i-- > 0;) {
    const Step& s = plan_.steps[i];
    if (s.weights) gradient(s, w, {sample, sample + 1, sample}, 0, plan_.graph.ops[at(s.op)].shape.columns(job_.time), gradient_out, s.dw);
  }
}

template class Workspace<float>;
template class Workspace<double>;
template class Executor<float>;
template class Executor<double>;

}  // namespace chainrule
