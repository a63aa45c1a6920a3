// SPDX-License-Identifier: MIT
#include "network/executor.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "network/tiles.h"
#include "tensor/parallel.h"

namespace chainrule {

namespace {
std::size_t at(Index i) { return static_cast<std::size_t>(i); }
}  // namespace

template <class T>
template <class F>
void Executor<T>::parallel(Index tasks, double work, F&& f, std::size_t most) const {
  if (job_.chunks_by_thread) most = std::min(most, job_.chunks_by_thread->size());
  const int threads = work < two_threads ? 1 : static_cast<int>(std::min(most, at(num_threads())));
  const double each = work / static_cast<double>(tasks);
  parallel_for(tasks, threads, [&](Index task, int worker) {
    if (job_.cancel && job_.cancel->check(worker, each)) return;
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
std::vector<typename Executor<T>::Tile> Executor<T>::tiles(const Step& step, Phase phase, Index n, const Workspace<T>& w) const {
  const Op& op = plan_.graph.ops[at(step.op)];
  const Index per_sample = op.shape.rows(job_.time), out = op.shape.columns(job_.time),
              in = step.in_shapes.empty() ? out : step.in_shapes[0].columns(job_.time);
  std::vector<Tile> list;
  if (!op.layer->splits_columns()) {
    const Index rows = std::max<Index>(1, 32768 / std::max<Index>(1, op.shape.size(job_.time)));  // 32,768 elements a tile
    for (Index r = 0; r < n; r += rows) list.push_back({r, std::min(n, r + rows), 0, out});
    return list;
  }
  const double work = op.layer->work(step.in_shapes.data(), op.shape);  // units n_in of a dense layer, and as many times more as a kernel has taps
  const TileSize size = step.sparse >= 0           ? TileSize{256, sparse_units(out, static_cast<Index>(w.sparse[at(step.sparse)].value.size()))}
                        : phase == Phase::Forward  ? product_tiles(n * per_sample, out, static_cast<Index>(work) / out)
                        : phase == Phase::Backward ? product_tiles(n * per_sample, in, static_cast<Index>(work) / in)
                                                   : gradient_tiles(out, static_cast<Index>(work) / out, n * per_sample);
  const Index columns = phase == Phase::Backward ? in : out, rows = phase == Phase::Gradient ? n : std::max<Index>(1, size.rows / per_sample);
  for (Index r = 0; r < n; r += rows)
    for (Index c = 0; c < columns; c += size.columns) list.push_back({r, std::min(n, r + rows), c, std::min(columns, c + size.columns)});
  return list;
}

template <class T>
bool Executor<T>::forward_chunk(Workspace<T>& w, Rows r, int worker) const {
  for (const Step& s : plan_.steps) {
    const Op& op = plan_.graph.ops[at(s.op)];
    if (static_cast<double>(r.end * op.shape.rows(job_.time)) * op.layer->work(s.in_shapes.data(), op.shape) < 5e8) {
      steps_.forward(s, w, r, 0, op.shape.columns(job_.time));
      continue;
    }
    // More than 1e9 flop: 128 rows of 1e8 parameters take a second, in which Ctrl-C would not be heard.
    for (const Tile& t : tiles(s, Phase::Forward, r.end, w)) {
      if (job_.cancel && job_.cancel->check(worker)) return false;
      steps_.forward(s, w, {t.begin, t.end, r.first + t.begin}, t.column_begin, t.column_end);
    }
  }
  return true;
}

// All of one layer's gradient (later, in a late plan); false, and nothing done, where delta is not finite.
template <class T>
bool Executor<T>::whole_gradient(const Step& s, Workspace<T>& w, Rows rows, Into<T> into) const {
  const Index units = plan_.graph.ops[at(s.op)].shape.columns(job_.time);
  if (!steps_.finite(s, w, rows, 0, units)) return false;
  if (!plan_.mode.late) steps_.gradient(s, w, rows, 0, units, 0, s.in_shapes[0].columns(job_.time), into);
  return true;
}

// As whole_gradient, of a layer that does not split columns: ranges of rows side by side, whose sums are added in their order.
template <class T>
bool Executor<T>::gradient_by_rows(const Step& s, Workspace<T>& w, Rows rows, Into<T> into) const {
  const Op& op = plan_.graph.ops[at(s.op)];
  const Index units = op.shape.columns(job_.time), count = plan_.graph.parameters_of(op.index);
  const Index most = 64, each = std::max(tiles(s, Phase::Gradient, rows.end, w).front().end, (rows.end + most - 1) / most);
  const Index parts = (rows.end + each - 1) / each;
  std::vector<T> sums(plan_.mode.late ? 0 : at(parts * count));
  std::atomic<bool> ok{true};
  parallel(parts, static_cast<double>(rows.end * op.shape.rows(job_.time)) * op.layer->work(s.in_shapes.data(), op.shape), [&](Index i, int) {
    const Rows r{i * each, std::min(rows.end, (i + 1) * each), rows.first + i * each};
    if (!steps_.finite(s, w, r, 0, units))
      ok = false;
    else if (!plan_.mode.late)
      steps_.gradient(s, w, r, 0, units, 0, s.in_shapes[0].columns(job_.time), {sums.data() + i * count, T(1), T(0), true});
  });
  if (ok && !plan_.mode.late)
    k_.column_sum(into.block + plan_.graph.parameter_offset[at(op.index)], sums.data(), parts, count, count, into.scale, into.keep);
  return ok;
}

// What a step must know of all rows before its forward, or its backward (where it is also its gradient). False where delta is not finite.
template <class T>
bool Executor<T>::couple(const Step& s, Workspace<T>& w, Rows rows, bool backward, Into<T> into) const {
  const Op& op = plan_.graph.ops[at(s.op)];
  const std::vector<Tile> ranges = tiles(s, Phase::Forward, rows.end, w);
  const Index part = op.layer->part(s.in_shapes.data());
  std::vector<double> parts(ranges.size() * at(part));
  std::atomic<bool> ok{true};
  parallel(static_cast<Index>(ranges.size()), static_cast<double>(rows.end * op.shape.rows(job_.time)) * op.layer->work(s.in_shapes.data(), op.shape),
           [&](Index i, int) {
             const Rows r{ranges[at(i)].begin, ranges[at(i)].end, rows.first + ranges[at(i)].begin};
             if (backward && !steps_.finite(s, w, r, 0, op.shape.columns(job_.time))) ok = false;
             steps_.reduce(s, w, r, backward, parts.data() + i * part);
           });
  if (ok) steps_.combine(s, w, rows, backward, parts, static_cast<Index>(ranges.size()), into);
  return ok;
}

template <class T>
void Executor<T>::learn(Workspace<T>& w, T* state) const {
  for (const Step& s : plan_.steps)
    if (s.shared >= 0) steps_.learn(s, w, state);
}

template <class T>
void Executor<T>::late_gradients(Workspace<T>& w, Into<T> into) {
  const Rows rows{0, job_.n, 0};
  const bool chunks = plan_.by_chunks(job_.n, job_.time);
  for (const Step& s : plan_.steps) {
    if (!s.weights) continue;
    const Op& op = plan_.graph.ops[at(s.op)];
    const Index units = op.shape.columns(job_.time), n_in = s.in_shapes[0].columns(job_.time);
    if (chunks || !op.layer->splits_columns()) {
      steps_.gradient(s, w, rows, 0, units, 0, n_in, into);
      continue;
    }
    TileSize size = s.sparse >= 0 ? TileSize{sparse_units(units, static_cast<Index>(w.sparse[at(s.sparse)].value.size())), n_in}
                    : into.step   ? TileSize{std::max<Index>(1, 65536 / n_in), n_in}
                                  : late_tiles(units, n_in, job_.n * s.in_shapes[0].rows(job_.time));
    if (!op.layer->splits_inputs()) size.columns = n_in;
    const Index down = (units + size.rows - 1) / size.rows, across = (n_in + size.columns - 1) / size.columns;
    parallel_for(down * across, num_threads(), [&](Index t, int) {  // a commit: nothing stops it
      const Index u = t / across * size.rows, i = t % across * size.columns;
      steps_.gradient(s, w, rows, u, std::min(units, u + size.rows), i, std::min(n_in, i + size.columns), into);
    });
  }
}

template <class T>
Totals Executor<T>::by_chunks(std::vector<Workspace<T>*>& spaces, T* slots, Index stride) {
  const Index rows = plan_.chunk_rows(job_.n, job_.time), chunks = (job_.n + rows - 1) / rows,
              n_slots = slots ? plan_.slots(job_.n, job_.time) : chunks;
  for (Workspace<T>* w : spaces) w->fit(plan_, std::min(rows, job_.n), job_.time);
  std::vector<double> part(at(chunks), 0.0);
  std::vector<std::vector<double>> hits(job_.count_hits ? at(chunks) : 0, std::vector<double>(plan_.losses.size(), 0.0));
  std::atomic<bool> finite{true};
  parallel(
      n_slots, 3 * plan_.work_per_sample(job_.time) * static_cast<double>(job_.n),
      [&](Index slot, int worker) {
        Workspace<T>& w = *spaces[at(worker)];
        for (Index c = slot; c < chunks; c += n_slots) {
          if (!finite.load(std::memory_order_relaxed) || (c != slot && job_.cancel && job_.cancel->check(worker))) return;
          const Rows r{0, std::min(job_.n, (c + 1) * rows) - c * rows, c * rows};
          steps_.load_inputs(w, r);
          steps_.load_sparse_inputs(w, r);
          if (!forward_chunk(w, r, worker)) return;
          part[at(c)] = steps_.losses(w, r, job_.count_hits ? &hits[at(c)] : nullptr);
          bool ok = std::isfinite(part[at(c)]);
          for (std::size_t i = plan_.steps.size(); ok && i-- > 0;) {
            const Step& s = plan_.steps[i];
            if (!s.grad) continue;
            if (s.weights) ok = whole_gradient(s, w, r, {slots + slot * stride, T(1), T(c != slot || s.dw == Accum::Add)});
            if (ok) steps_.backward(s, w, r, 0, s.in_shapes.empty() ? 0 : s.in_shapes[0].columns(job_.time));
          }
          if (!ok) finite = false;
        }
      },
      spaces.size());
  Totals totals;
  totals.finite = finite;
  if (job_.count_hits) totals.hits.assign(plan_.losses.size(), 0.0);
  for (Index c = 0; c < chunks; ++c) {
    totals.loss += part[at(c)];
    for (std::size_t j = 0; j < totals.hits.size(); ++j) totals.hits[j] += hits[at(c)][j];
  }
  return totals;
}

template <class T>
void Executor<T>::backward_steps(Workspace<T>& w, Rows rows, T* gradients, Accum accum, bool& finite, bool from_dz) {
  const double samples = static_cast<double>(rows.end);
  for (std::size_t i = plan_.steps.size(); i-- > 0;) {
    const Step& s = plan_.steps[i];
    if (!s.grad) continue;
    const Op& op = plan_.graph.ops[at(s.op)];
    const double work = samples * static_cast<double>(op.shape.rows(job_.time)) * op.layer->work(s.in_shapes.data(), op.shape);
    if (s.shared >= 0) {
      const Into<T> into{s.weights ? gradients : nullptr, T(1), T(accum == Accum::Add || s.dw == Accum::Add)};
      if (!couple(s, w, rows, true, into)) {
        finite = false;
        return;
      }
    } else if (s.weights && (gradients || plan_.mode.late)) {
      std::atomic<bool> ok{true};
      const Index n_in = s.in_shapes[0].columns(job_.time);
      const Into<T> into{gradients, T(1), T(accum == Accum::Add || s.dw == Accum::Add)};
      if (!op.layer->splits_columns())
        ok = gradient_by_rows(s, w, rows, into);
      else
        run(tiles(s, Phase::Gradient, rows.end, w), work, [&](const Tile& t) {
          const Rows r{t.begin, t.end, rows.first + t.begin};
          if (!steps_.finite(s, w, r, t.column_begin, t.column_end))
            ok = false;
          else if (!plan_.mode.late)
            steps_.gradient(s, w, r, t.column_begin, t.column_end, 0, n_in, into);
        });
      if (!ok) {
        finite = false;
        return;
      }
    }
    // an activation with a step of its own: what came is dL/dz already
    if (from_dz && (op.layer->softmax() || op.layer->activation() > 0) && s.value == s.op && at_output(s)) {
      if (!s.wants[0]) continue;
      const Index columns = op.shape.columns(job_.time), count = rows.end * op.shape.size(job_.time);
      k_.add(w.buffer[at(plan_.values[at(s.in[0])].grad)], w.buffer[at(plan_.values[at(s.value)].grad)], count, s.dx[0]);
      if (s.finishes[0]) steps_.finish(s.in[0], w, 0, rows.end, op.shape.rows(job_.time), columns, 0, columns);
      continue;
    }
    if (s.sparse >= 0) continue;  // its dx has no memory
    run(tiles(s, Phase::Backward, rows.end, w), work,
        [&](const Tile& t) { steps_.backward(s, w, {t.begin, t.end, rows.first + t.begin}, t.column_begin, t.column_end); });
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
  steps_.load_inputs(w, {0, 0, rows.first});
  steps_.load_sparse_inputs(w, rows);
  parallel(tasks, static_cast<double>(rows.end) * 100, [&](Index t, int) {
    const Index begin = t * per_task, end = std::min(rows.end, begin + per_task);
    for (std::size_t j = 0; j < plan_.input_buffers.size(); ++j) {
      if (plan_.sparse(j)) continue;
      T* buffer = w.buffer[at(plan_.input_buffers[j])];
      const Index size = plan_.buffers[at(plan_.input_buffers[j])].shape.size(job_.time);
      job_.feed->input(static_cast<int>(j), rows.first + begin, end - begin, buffer + begin * size);
    }
  });
  for (const Step& s : plan_.steps) {
    const Op& op = plan_.graph.ops[at(s.op)];
    const double work = static_cast<double>(rows.end * op.shape.rows(job_.time)) * op.layer->work(s.in_shapes.data(), op.shape);
    if (s.shared >= 0) couple(s, w, rows, false, {nullptr, T(1), T(0)});
    run(tiles(s, Phase::Forward, rows.end, w), work,
        [&](const Tile& t) { steps_.forward(s, w, {t.begin, t.end, rows.first + t.begin}, t.column_begin, t.column_end); });
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
    part[at(t)] = steps_.losses(w, {begin, end, first + begin}, job_.count_hits ? &hits[at(t)] : nullptr);
  });
  if (job_.count_hits) totals.hits.assign(plan_.losses.size(), 0.0);
  for (Index t = 0; t < tasks; ++t) {
    totals.loss += part[at(t)];
    for (std::size_t j = 0; j < totals.hits.size(); ++j) totals.hits[j] += hits[at(t)][j];
  }
  if (plan_.whole_batch) totals.loss += steps_.custom_losses(w);
  totals.finite = std::isfinite(totals.loss);
  if (totals.finite && plan_.mode.gradients) backward_steps(w, {0, n, first}, gradients, accum, totals.finite, false);
  return totals;
}

template <class T>
Totals Executor<T>::compute(std::vector<Workspace<T>*>& spaces, T* slots, Index stride) {
  if (plan_.by_chunks(job_.n, job_.time)) return by_chunks(spaces, slots, stride);
  Totals sum;
  if (job_.count_hits) sum.hits.assign(plan_.losses.size(), 0.0);
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
  parallel((job_.n + rows - 1) / rows, plan_.work_per_sample(job_.time) * static_cast<double>(job_.n),
           [&](Index c, int worker) {
             Workspace<T>& w = *spaces[at(worker)];
             const Rows r{0, std::min(job_.n, (c + 1) * rows) - c * rows, c * rows};
             steps_.load_inputs(w, r);
             steps_.load_sparse_inputs(w, r);
             if (forward_chunk(w, r, worker)) copy_out(w, 0, r.end, r.first);
           },
           spaces.size());
}

template <class T>
void Executor<T>::backward_all(Workspace<T>& w, const std::vector<const T*>& da, bool dz, T* gradients) {
  for (std::size_t j = 0; j < plan_.losses.size(); ++j) {
    const LossPlan& l = plan_.losses[j];
    const ValuePlan& v = plan_.values[at(l.value)];
    if (v.grad < 0) continue;
    CR_CHECK(!dz || l.finishes, "backward(dz=...) needs an output that no other layer reads: '", plan_.graph.ops[at(l.value)].name, "' is read");
    k_.add(w.buffer[at(v.grad)], da[j], job_.n * l.shape.size(job_.time), l.dx);
    if (l.finishes && !dz) steps_.finish(l.value, w, 0, job_.n, l.shape.rows(job_.time), l.shape.columns(job_.time), 0, l.shape.columns(job_.time));
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
    if (s.weights) whole_gradient(s, w, {sample, sample + 1, sample}, {gradient_out, T(1), T(s.dw == Accum::Add)});
  }
}

template class Executor<float>;
template class Executor<double>;

}  // namespace chainrule
