// SPDX-License-Identifier: MIT
#include "network/plan.h"

#include <algorithm>
#include <numeric>

namespace chainrule {

namespace {
std::size_t at(int i) { return static_cast<std::size_t>(i); }

constexpr Index chunks_up_to = 262144;  // parameters

// The op whose input a loss of that kind reads because the two are a canonical pair, or -1.
int canonical_activation(const Graph& g, int value, LossKind kind) {
  const Layer& l = *g.ops[at(value)].layer;
  const LossRule<double>* rule = loss_rule<double>(kind);
  if (l.type != "activation" || !rule || !rule->activation) return -1;
  return (l.softmax() ? "softmax" : kernels<double>().activations[l.activation()].name) == std::string(rule->activation) ? value : -1;
}
}  // namespace

Plan::Plan(const Graph& g, const Mode& p) : graph(g), mode(p) {
  const int n_ops = static_cast<int>(g.ops.size());
  CR_CHECK(p.losses.empty() || p.losses.size() == g.outputs.size(), "got ", p.losses.size(), " losses: expected one for each of the ",
           g.outputs.size(), " outputs");

  outputs = p.target >= 0 ? std::vector<int>{p.target} : g.outputs;
  std::vector<int> root(at(n_ops)), readers(at(n_ops), 0);
  for (int i = 0; i < n_ops; ++i) {
    const Op& op = g.ops[at(i)];
    root[at(i)] = op.layer->alias(p.training) ? root[at(op.in[0])] : i;
    symbolic = symbolic || op.shape.symbolic();
  }

  std::vector<char> separate(at(n_ops), 0), needed(at(n_ops), 0);
  for (std::size_t j = 0; j < p.losses.size(); ++j) {
    const int out = g.outputs[j];
    const int activation = canonical_activation(g, out, p.losses[j]);
    LossPlan loss{p.losses[j], root[at(out)], activation >= 0, g.ops[at(out)].shape};
    if (activation >= 0) {
      loss.value = root[at(g.ops[at(activation)].in[0])];
      separate[at(activation)] = 1;
    }
    whole_batch = whole_batch || loss.kind == LossKind::Custom;
    needed[at(loss.value)] = 1;
    losses.push_back(loss);
  }
  if (p.losses.empty() || p.keep)
    for (int v : outputs) needed[at(root[at(v)])] = 1;
  for (int i = n_ops; i-- > 0;)
    if (needed[at(i)])
      for (int v : g.ops[at(i)].in) {
        needed[at(root[at(v)])] = 1;
        ++readers[at(root[at(v)])];
      }
  for (const LossPlan& l : losses) ++readers[at(l.value)];
  if (p.losses.empty() || p.keep)
    for (int v : outputs) ++readers[at(root[at(v)])];

  values.resize(at(n_ops));
  for (int i = 0; i < n_ops; ++i) values[at(i)].root = root[at(i)];
  for (int i = 0; i < n_ops; ++i) {
    const Op& op = g.ops[at(i)];
    if (!needed[at(i)] || root[at(i)] != i || op.layer->type == "input") continue;
    const int before = op.in.empty() ? -1 : root[at(op.in[0])];
    if (op.layer->activation() > 0 && !separate[at(i)] && readers[at(before)] == 1 && before == op.in[0] && values[at(before)].step >= 0 &&
        steps[at(values[at(before)].step)].activation == 0 && !g.ops[at(before)].layer->reads_output()) {
      Step& s = steps[at(values[at(before)].step)];
      s.activation = op.layer->activation();
      s.parameter = op.layer->activation_parameter();
      s.value = i;
      values[at(i)].step = values[at(before)].step;
      continue;
    }
    if (p.fold && op.layer->is_affine() && before == op.in[0] && readers[at(before)] == 1 && values[at(before)].step >= 0) {
      Step& s = steps[at(values[at(before)].step)];
      const Op& maker = g.ops[at(s.op)];
      if (maker.layer->takes_affine() && s.value == s.op) {
        const Index w = Shape{maker.layer->parameters(s.in_shapes)[0].shape}.size();
        s.folded = s.value = i;
        s.folded_at = folded, s.bias = w;
        folded += w + op.shape.columns();
        values[at(i)].step = values[at(before)].step;
        continue;
      }
    }
    Step s;
    s.op = s.value = i;
    for (int v : op.in) s.in.push_back(root[at(v)]);
    s.in_shapes = g.input_shapes(op);
    s.bias = op.layer->bias_offset(s.in_shapes.data());
    if (op.layer->couples_rows(p.training)) {
      s.shared = shared;
      shared += op.layer->shared(s.in_shapes.data());
      whole_batch = true;
    }
    for (std::size_t j = 0; j < g.inputs.size(); ++j)
      if (sparse(j) && !s.in.empty() && s.in[0] == g.inputs[j]) s.sparse = static_cast<int>(j);
    values[at(i)].step = static_cast<int>(steps.size());
    steps.push_back(s);
  }

  for (const Op& op : g.ops) rows1_ = std::max(rows1_, op.shape.rows(1));
  for (const Step& s : steps)
    work1_ += g.ops[at(s.op)].layer->work(s.in_shapes.data(), g.ops[at(s.op)].shape) * static_cast<double>(g.ops[at(s.op)].shape.rows(1));

  plan_backward();

  // Memory. Times: inputs 0, forward of step s at s + 1, losses at S + 1, backward of step s at 2 S + 1 - s.
  const int S = static_cast<int>(steps.size()), end = 2 * S + 2;
  const auto backward_time = [&](int s) { return 2 * S + 1 - s; };
  for (std::size_t j = 0; j < g.inputs.size(); ++j) {
    ValuePlan& v = values[at(g.inputs[j])];
    v.z = v.a = new_buffer(sparse(j) ? Shape{{0}} : g.ops[at(g.inputs[j])].shape, 0);
    input_buffers.push_back(v.a);
  }
  for (int s = 0; s < S; ++s) {
    const Step& step = steps[at(s)];
    ValuePlan& v = values[at(step.value)];
    const Shape& shape = g.ops[at(step.op)].shape;
    v.a = v.z = new_buffer(shape, s + 1);
    const bool needs_z = step.activation > 0 && kernels<double>().activations[step.activation].needs_z;
    if (step.activation > 0 && ((needs_z && step.grad) || p.keep)) v.z = new_buffer(shape, s + 1);
    for (int in : step.in) {
      use(values[at(in)].a, s + 1);
      if (step.grad && g.ops[at(step.op)].layer->reads_input()) use(values[at(in)].a, backward_time(s));
    }
    if (step.grad && g.ops[at(step.op)].layer->reads_output()) use(v.a, backward_time(s));
    if (step.grad && step.activation > 0) use(needs_z ? v.z : v.a, backward_time(s));
  }
  if (p.losses.empty() || p.keep)
    for (int v : outputs) use(values[at(root[at(v)])].a, end);
  for (const LossPlan& l : losses) {
    use(values[at(l.value)].a, l.kind == LossKind::External ? end : S + 1);
    if (values[at(l.value)].needs_grad) values[at(l.value)].grad = new_buffer(g.ops[at(l.value)].shape, S + 1);
  }
  for (int s = S; s-- > 0;)
    if (steps[at(s)].grad)
      for (std::size_t i = 0; i < steps[at(s)].in.size(); ++i) {
        ValuePlan& v = values[at(steps[at(s)].in[i])];
        if (steps[at(s)].wants[i] && v.grad < 0) v.grad = new_buffer(g.ops[at(v.root)].shape, backward_time(s));
      }
  for (ValuePlan& v : values) {
    if (v.grad < 0) continue;
    use(v.grad, v.step < 0 ? end : backward_time(v.step));
  }
  for (const Step& s : steps)
    if (p.late && s.weights) {
      use(values[at(s.value)].grad, end);
      for (int in : s.in) use(values[at(in)].a, end);
    }
  if (p.keep)
    for (Buffer& b : buffers) b.last = end;
}

void Plan::plan_backward() {
  if (!mode.gradients) return;
  std::vector<char> gets(values.size(), 0);
  for (int v : graph.inputs) values[at(v)].needs_grad = mode.input_gradients;
  for (Step& s : steps) {
    bool needs = mode.parameter_gradients && graph.ops[at(s.op)].layer->trainable && !graph.ops[at(s.op)].layer->parameters(s.in_shapes).empty();
    s.weights = needs;
    for (int in : s.in) needs = needs || values[at(in)].needs_grad;
    values[at(s.value)].needs_grad = needs;
  }

  struct Last {
    int* step_flag = nullptr;
    bool* loss_flag = nullptr;
  };
  std::vector<Last> last(values.size());
  const auto write = [&](int v, int* step_flag, bool* loss_flag) {
    Last& l = last[at(v)];
    if (l.step_flag) *l.step_flag = 0;
    if (l.loss_flag) *l.loss_flag = false;
    l = {step_flag, loss_flag};
    if (step_flag) *step_flag = 1;
    if (loss_flag) *loss_flag = true;
    const Accum accum = gets[at(v)] ? Accum::Add : Accum::Overwrite;
    gets[at(v)] = 1;
    return accum;
  };
  for (LossPlan& l : losses)
    if (values[at(l.value)].needs_grad) l.dx = write(l.value, nullptr, &l.finishes);
  std::vector<char> written(graph.layers.size(), 0);
  for (std::size_t i = steps.size(); i-- > 0;) {
    Step& s = steps[i];
    s.wants.assign(s.in.size(), 0);
    s.dx.assign(s.in.size(), Accum::Overwrite);
    s.finishes.assign(s.in.size(), 0);
    s.grad = gets[at(s.value)];
    s.weights = s.weights && s.grad;
    if (!s.grad) continue;
    if (s.weights) {
      char& w = written[at(graph.ops[at(s.op)].index)];
      s.dw = w ? Accum::Add : Accum::Overwrite;
      w = 1;
    }
    for (std::size_t j = 0; j < s.in.size(); ++j)
      if (values[at(s.in[j])].needs_grad) {
        s.wants[j] = 1;
        s.dx[j] = write(s.in[j], &s.finishes[j], nullptr);
      }
  }
}

int Plan::new_buffer(const Shape& shape, int first) {
  buffers.push_back({shape, first, first});
  return static_cast<int>(buffers.size()) - 1;
}
void Plan::use(int buffer, int time) { buffers[at(buffer)].last = std::max(buffers[at(buffer)].last, time); }

std::vector<Index> Plan::layout(Index n, Index time, Index& total) const {
  std::vector<int> order(buffers.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int x, int y) { return buffers[at(x)].first < buffers[at(y)].first; });
  std::vector<Index> offset(buffers.size(), 0), size(buffers.size());
  for (std::size_t b = 0; b < buffers.size(); ++b) size[b] = (checked_multiply(n, buffers[b].shape.size(time)) + 15) / 16 * 16;  // 64 bytes of float
  total = 0;
  std::vector<int> live;
  for (int b : order) {
    std::erase_if(live, [&](int other) { return buffers[at(other)].last < buffers[at(b)].first; });
    std::sort(live.begin(), live.end(), [&](int x, int y) { return offset[at(x)] < offset[at(y)]; });
    Index place = 0;
    for (int other : live) {
      if (place + size[at(b)] <= offset[at(other)]) break;
      place = std::max(place, offset[at(other)] + size[at(other)]);
    }
    offset[at(b)] = place;
    total = std::max(total, place + size[at(b)]);
    live.push_back(b);
  }
  return offset;
}

Index Plan::rows_per_sample(Index time) const {
  if (time == 1 || !symbolic) return rows1_;
  Index most = 1;
  for (const Op& op : graph.ops) most = std::max(most, op.shape.rows(time));
  return most;
}

// Images: so many rows a sample that a chunk is counted by what its values take, 1 MB of float32 (with their gradients some of the third-level cache:
// convolutions do much with each number, and half as many chunks read W and write dW half as often; LeNet takes 7 to 15 % less time than with 256 KB),
// or by what leaves eight threads something to do.
bool Plan::images(Index time) const { return rows_per_sample(time) >= 64; }
Index Plan::numbers(Index time) const {
  Index all = 1;
  for (const Op& op : graph.ops) all += op.shape.size(time);
  return all;
}

double Plan::work_per_sample(Index time) const {
  if (time == 1 || !symbolic) return work1_;
  double work = 0;
  for (const Step& s : steps) {
    const Op& op = graph.ops[at(s.op)];
    work += op.layer->work(s.in_shapes.data(), op.shape) * static_cast<double>(op.shape.rows(time));
  }
  return work;
}

bool Plan::by_chunks(Index n, Index time) const {
  if (whole_batch || mode.keep || rows_per_sample(time) > 2048) return false;
  // 131,072 parameters are 512 KB of float32: W, its gradient slot and a chunk's activations still share a second-level cache. Twice as many take
  // 0 to 22 % less time by chunks at 32 rows and more, and 14 % more at 16. Without gradients a wide network goes by chunks too once there are enough rows.
  const Index rows = n * rows_per_sample(time);
  return graph.n_parameters <= (rows < 32 ? 131072 : chunks_up_to) || (!mode.gradients && rows >= 512);
}
Index Plan::chunk_rows(Index n, Index time) const {
  const Index per_sample = rows_per_sample(time);
  if (!by_chunks(n, time)) return whole_batch || mode.keep ? std::max<Index>(n, 1) : std::max<Index>(1, (images(time) ? 65536 : 2048) / per_sample);
  const bool worth_it = 3 * work_per_sample(time) * static_cast<double>(n) >= two_threads;
  // Up to 256 rows one chunk, or two: each reads and transposes W once more, and each slot of gradients is read again by the update.
  const Index rows = n * per_sample, few = worth_it ? std::max<Index>(16, (rows + 1) / 2) : rows,
              most = graph.n_parameters > chunks_up_to ? 256
                     : rows <= 256                     ? few
                                                       : 128;
  // Chunks of even size and number: 300 rows are 4 times 75, not 128, 128 and 44, of which two threads would have 172 and 128.
  const Index target = images(time) ? std::max<Index>(1, std::min(262144 / numbers(time), (n + 7) / 8)) : std::max<Index>(1, most / per_sample);
  if (n <= target) return target;
  const Index pairs = (n + 2 * target - 1) / (2 * target);
  return (n + 2 * pairs - 1) / (2 * pairs);
}
Index Plan::slots(Index n, Index time) const {
  const Index chunks = (n + chunk_rows(n, time) - 1) / std::max<Index>(1, chunk_rows(n, time));
  // 8 MB of float32; of images, whose chunks are small beside their gradients, as few as keep eight threads busy
  const Index most = images(time) ? 8 : std::clamp<Index>((Index{1} << 21) / std::max<Index>(1, graph.n_parameters), 8, 64);
  return std::clamp<Index>(chunks, 1, most);
}

bool Plan::may_be_late(Index n, Index time) const {
  if (whole_batch || n > chunk_rows(n, time)) return false;
  double flop = 0;
  for (const Step& s : steps) {
    if (!s.weights) continue;
    if (s.dw == Accum::Add) return false;
    const Op& op = graph.ops[at(s.op)];
    flop += 2 * op.layer->work(s.in_shapes.data(), op.shape) * static_cast<double>(n * op.shape.rows(time));
  }
  return flop < 4e9;  // one core at 30 GFLOP/s: 130 ms
}
bool Plan::may_step(Index n, Index time) const {
  return std::all_of(steps.begin(), steps.end(), [&](const Step& s) {
    return !s.weights || (n * s.in_shapes[0].rows(time) == 1 && s.sparse < 0 && graph.ops[at(s.op)].layer->steps());
  });
}

}  // namespace chainrule
