// SPDX-License-Identifier: MIT
#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "tensor/parallel.h"
#include "tensor/random.h"

namespace chainrule {

namespace {
template <class T>
Job<T> job_for(Network<T>& net, const Feed<T>& feed, Index n, Index time, Cancel& cancel) {
  Job<T> job;
  job.parameters = net.parameters.data();
  job.state = net.state.data();
  job.feed = &feed;
  job.n = n, job.time = time;
  job.seed = net.seed;
  job.step = static_cast<std::uint32_t>(net.training.step);
  job.cancel = &cancel;
  return job;
}

// Folding an affine layer into W copies W: worth it from a few matrix rows on.
bool worth_folding(const Graph& graph, Index n, Index time) {
  return std::any_of(graph.ops.begin(), graph.ops.end(), [&](const Op& op) { return op.layer->is_affine() && n * op.shape.rows(time) >= 16; });
}

// Rows [first, first + n) of the data or of a subset of it.
template <class T>
BatchFeed<T> rows_of(const Data<T>& data, const std::vector<Index>* subset, Index first, Index n) {
  return subset ? BatchFeed<T>(data, subset->data() + first, 0, n) : BatchFeed<T>(data, nullptr, first, n);
}
template <class T>
Index count(const Data<T>& data, const std::vector<Index>* subset) {
  return subset ? static_cast<Index>(subset->size()) : data.rows;
}
}  // namespace

template <class T>
Trainer<T>::Trainer(Network<T>& network, const FitSpec& spec)
    : net_(network), spec_(spec), last_loss_(std::numeric_limits<double>::quiet_NaN()), update_(spec.optimizer, spec.segments) {
  net_.prepare_training(spec.optimizer);
}

template <class T>
double Trainer<T>::alpha() const {
  return spec_.schedule.alpha(net_.training.step, std::max<Index>(0, net_.training.epoch - 1));
}

template <class T>
StepReport Trainer<T>::commit(T* slots, Index count, double alpha, double sum_of_weights) {
  TrainingState<T>& s = net_.training;
  const StepReport report = update_(net_.parameters.data(), slots, count, net_.graph.n_parameters, s.m.size() ? s.m.data() : nullptr,
                                    s.v.size() ? s.v.data() : nullptr, alpha, s.step + 1, sum_of_weights);
  ++s.step;
  return report;
}

// The gradients go straight into v, or W where there is none.
template <class T>
StepReport Trainer<T>::late_commit(Executor<T>& executor, double alpha, double sum_of_weights) {
  T *w = net_.parameters.data(), *v = net_.training.v.data();
  const bool momentum = net_.training.v.size() > 0;
  std::atomic<bool> finite = true;
  Into<T> into{momentum ? v : w, T(-alpha), momentum ? T(spec_.optimizer.momentum) : T(1)};
  if (prepared_.whole) into.step = w, into.finite = &finite;
  executor.late_gradients(*prepared_.spaces->list[0], into);
  if (!prepared_.whole) return commit(nullptr, 1, alpha, sum_of_weights);
  ++net_.training.step;
  return {0, finite ? nullptr : update_.overflowed(w, v)};
}

template <class T>
void Trainer<T>::prepare(const Feed<T>& feed, Index n, Index time) {
  Prepared& p = prepared_;
  if (p.n == n && p.time == time && p.spaces) return;
  p.spaces.reset();
  Mode mode;
  mode.losses = kinds(spec_.losses);
  mode.gradients = mode.training = true;
  mode.sparse = feed.sparse();
  p.plan = &net_.plan(mode);
  p.slots = p.plan->by_chunks(n, time) ? p.plan->slots(n, time) : 1;
  p.late = p.slots == 1 && update_.takes_late_gradients() && p.plan->may_be_late(n, time);
  if (p.late) {
    mode.late = true;
    p.plan = &net_.plan(mode);
  }
  p.whole = p.late && update_.is_momentum_alone() && p.plan->may_step(n, time);
  p.gradients = p.late ? nullptr : net_.slots(p.slots);
  p.spaces.emplace(net_, static_cast<int>(std::min<Index>(p.slots, num_threads())), *p.plan);
  p.n = n, p.time = time;
}

template <class T>
bool Trainer<T>::step(BatchFeed<T>& feed, Index n, Index time, Cancel& cancel, double& loss, double& weight, std::vector<Index>* chunks) {
  weight = 0;
  for (std::size_t j = 0; j < spec_.losses.size(); ++j) weight += feed.sum_of_weights(static_cast<int>(j));
  if (n == 0 || !(weight > 0)) return false;
  prepare(feed, n, time);
  feed.augment(spec_.augment, net_.seed, static_cast<std::uint32_t>(net_.training.step));
  Prepared& p = prepared_;
  Job<T> job = job_for<T>(net_, feed, n, time, cancel);
  job.losses = spec_.losses.data();
  job.chunks_by_thread = chunks;
  Executor<T> executor(*p.plan, job);
  const Totals totals = executor.compute(p.spaces->list, p.gradients, net_.graph.n_parameters);
  if (!totals.finite) diverged(feed, n, time, totals.loss);
  const double rate = alpha();
  const double mean = weight / static_cast<double>(spec_.losses.size());
  const StepReport report = p.late ? late_commit(executor, rate, mean) : commit(p.gradients, p.slots, rate, mean);
  if (p.plan->shared) executor.learn(*p.spaces->list[0], net_.state.data());
  loss = totals.loss + report.penalty;
  if (report.overflow || !std::isfinite(loss)) {
    restore();
    const Index epoch = net_.training.epoch;
    net_.reset_training();
    const std::string layer = report.overflow ? report.overflow->layer : "penalty";
    throw Divergence(text("[", layer, "] W overflowed: it is again what it was at the start of the epoch"), epoch - 1, layer, last_loss_);
  }
  last_loss_ = loss, last_penalty_ = report.penalty;
  return true;
}

// The step is given up; what follows only finds the name to report.
template <class T>
void Trainer<T>::diverged(const BatchFeed<T>& feed, Index n, Index time, double loss) {
  Mode mode;
  mode.training = mode.keep = true;
  mode.sparse = feed.sparse();
  const Plan& plan = net_.plan(mode);
  typename Network<T>::Spaces spaces(net_, 1, plan);
  Cancel cancel;
  const Job<T> job = job_for<T>(net_, feed, n, time, cancel);
  Executor<T> executor(plan, job);
  std::size_t at = plan.steps.size();                                                 // the earliest step that makes something that is not finite
  for (Index first = 0, block = plan.shared ? n : 2048; first < n; first += block) {  // every z and a is kept: not of a whole full batch at once
    const Index rows = std::min(block, n - first);
    executor.forward_all(*spaces.list[0], first, rows);
    for (std::size_t i = 0; i < at; ++i) {
      const ValuePlan& v = plan.values[static_cast<std::size_t>(plan.steps[i].value)];
      const Index count = rows * net_.graph.ops[static_cast<std::size_t>(plan.steps[i].op)].shape.size(time);
      if (!kernels<T>().all_finite(spaces.list[0]->buffer[static_cast<std::size_t>(v.z)], count) ||
          !kernels<T>().all_finite(spaces.list[0]->buffer[static_cast<std::size_t>(v.a)], count))
        at = i;
    }
  }
  const std::string layer = net_.graph.ops[static_cast<std::size_t>(at < plan.steps.size() ? plan.steps[at].op : net_.graph.outputs[0])].name;
  const Index epoch = net_.training.epoch;
  throw Divergence(text("[", layer, "] the ", std::isfinite(loss) ? "gradient" : "loss", " of step ", net_.training.step + 1, " is not finite"),
                   epoch - 1, layer, last_loss_);
}

template <class T>
void Trainer<T>::keep() {
  const Index n = net_.graph.n_parameters, piece = Index{1} << 18;
  if (backup_.size() != n) backup_ = Block<T>(n);
  if (state_backup_.size() != net_.graph.n_state) state_backup_ = Block<T>(net_.graph.n_state);
  std::copy(net_.state.data(), net_.state.data() + net_.graph.n_state, state_backup_.data());
  parallel_for((n + piece - 1) / piece, num_threads(), [&](Index i, int) {
    const Index end = std::min(n, (i + 1) * piece);
    std::copy(net_.parameters.data() + i * piece, net_.parameters.data() + end, backup_.data() + i * piece);
  });
}
template <class T>
void Trainer<T>::restore() {
  std::copy(backup_.data(), backup_.data() + backup_.size(), net_.parameters.data());
  std::copy(state_backup_.data(), state_backup_.data() + state_backup_.size(), net_.state.data());
}

template <class T>
void Trainer<T>::require_rows(Index n, Index time) const {
  for (const Op& op : net_.graph.ops)
    if (op.layer->couples_rows(true)) op.layer->require_rows(n * op.shape.rows(time));
}

template <class T>
Index Trainer<T>::begin_epoch() {
  keep();
  return net_.training.epoch++;
}

template <class T>
EpochReport Trainer<T>::epoch(const Data<T>& data, const std::vector<Index>* subset, Cancel& cancel) {
  blas_assert_sequential();
  const Index n = count(data, subset), batch = std::min(spec_.batch_size, n);
  if (n > 0) require_rows(n % batch ? n % batch : batch, data.time);  // now, not in the middle of the epoch
  EpochOrder order(subset, n, batch, spec_.shuffle, net_.seed, begin_epoch());
  EpochReport report;
  report.chunks_by_thread.assign(static_cast<std::size_t>(num_threads()), 0);
  double total = 0, penalties = 0, weights = 0;
  BatchFeed<T> feed = rows_of(data, subset, 0, batch);
  const struct Release {
    Prepared& p;
    ~Release() { p.spaces.reset(); }
  } release{prepared_};
  for (Index first = 0; first < n; first += batch) {
    if (net_.stop.exchange(false)) {
      report.stopped = true;
      break;
    }
    const EpochOrder::Range rows = order.batch(first);
    feed.move_to(rows.index, rows.base, rows.n);
    double loss = 0, weight = 0;
    if (!step(feed, rows.n, data.time, cancel, loss, weight, &report.chunks_by_thread)) continue;
    total += weight * loss;
    penalties += weight * last_penalty_;
    weights += weight;
  }
  const double none = std::numeric_limits<double>::quiet_NaN();
  report.loss = weights > 0 ? total / weights : none;
  report.penalty = weights > 0 ? penalties / weights : none;
  return report;
}

template <class T>
bool Trainer<T>::step(const Data<T>& data, Cancel& cancel, double& loss, double& weight) {
  blas_assert_sequential();
  BatchFeed<T> feed(data, nullptr, 0, data.rows);
  const bool done = step(feed, data.rows, data.time, cancel, loss, weight, nullptr);
  prepared_.spaces.reset();
  return done;
}

template <class T>
void Trainer<T>::apply_gradients() {
  if (!kernels<T>().all_finite(net_.gradients(), net_.graph.n_parameters))
    throw Divergence("[step] the gradients are not finite: clear them with net.clear_gradients()", net_.training.epoch, "", last_loss_);
  keep();
  const StepReport report = commit(net_.gradients(), 1, alpha(), 1);
  if (net_.pending.size()) std::copy(net_.pending.data(), net_.pending.data() + net_.pending.size(), net_.state.data());
  if (report.overflow) {
    restore();
    const Index epoch = net_.training.epoch;
    net_.reset_training();  // the velocity overflowed too
    throw Divergence(text("[", report.overflow->layer, "] W overflowed: it is as it was before the step"), epoch, report.overflow->layer, last_loss_);
  }
  net_.clear_gradients();
}

template <class T>
Evaluation evaluate(Network<T>& net, const std::vector<LossChoice>& losses, const Data<T>& data, const std::vector<Index>* subset, Cancel& cancel) {
  Mode mode;
  mode.losses = kinds(losses);
  mode.sparse = data.sparse;
  const Index n = count(data, subset);
  mode.fold = worth_folding(net.graph, n, data.time);
  const Plan& plan = net.plan(mode);
  typename Network<T>::Spaces spaces(net, num_threads(), plan);
  const BatchFeed<T> feed = rows_of(data, subset, 0, n);
  Job<T> job = job_for<T>(net, feed, n, data.time, cancel);
  job.losses = losses.data();
  job.count_hits = true;
  Executor<T> executor(plan, job);
  const Totals totals = executor.compute(spaces.list, nullptr, 0);
  Evaluation e;
  e.loss = totals.loss;
  for (std::size_t j = 0; j < losses.size(); ++j) {
    const bool counts = losses[j].kind == LossKind::CrossEntropy || losses[j].kind == LossKind::BinaryCrossEntropy;
    e.accuracy.push_back(counts ? totals.hits[j] / feed.sum_of_weights(static_cast<int>(j)) : std::numeric_limits<double>::quiet_NaN());
  }
  return e;
}

template <class T>
void predict(Network<T>& net, const Feed<T>& feed, Index rows, Index time, T* const* outputs, Cancel& cancel, int target) {
  Mode mode;
  mode.target = target;
  mode.sparse = feed.sparse();
  mode.fold = worth_folding(net.graph, rows, time);
  const Plan& plan = net.plan(mode);
  const Index chunk = plan.chunk_rows(rows, time);
  const bool chunks = plan.by_chunks(rows, time);
  typename Network<T>::Spaces spaces(net, chunks ? static_cast<int>(std::clamp<Index>((rows + chunk - 1) / chunk, 1, num_threads())) : 1, plan);
  Executor<T> executor(plan, job_for<T>(net, feed, rows, time, cancel));
  executor.predict(spaces.list, outputs);
}
template <class T>
void predict(Network<T>& net, const Data<T>& data, T* const* outputs, Cancel& cancel, int target) {
  predict(net, BatchFeed<T>(data, nullptr, 0, data.rows), data.rows, data.time, outputs, cancel, target);
}

// Chan, Golub and LeVeque (1983): moments of blocks of rows, merged in order, in double.
template <class T>
void adapt(Network<T>& net, const Data<T>& data, const std::vector<Index>* subset, const ValuesOf<T>& values_of) {
  const Index n = count(data, subset), block = 1024;
  const bool weighted = data.targets.size() == 1 && data.targets[0].weighted && data.targets[0].s.size == 1;
  for (const Op& op : net.graph.ops) {
    if (op.layer->type != "standardize") continue;
    T* mean = net.state.data() + net.graph.state_offset[static_cast<std::size_t>(op.index)];
    const Index columns = op.shape.columns(), per_sample = op.shape.rows(data.time);
    T* scale = mean + columns;
    if (scale[0] != T(0)) continue;
    std::vector<T> x(static_cast<std::size_t>(std::min(block, n) * per_sample * columns)), s(static_cast<std::size_t>(std::min(block, n)), T(1));
    std::vector<double> m(static_cast<std::size_t>(columns), 0.0), m2 = m;
    double total = 0;
    for (Index first = 0; first < n; first += block) {
      const Index rows = std::min(block, n - first);
      values_of(op.in[0], rows_of(data, subset, first, rows), rows, x.data());
      if (weighted) data.targets[0].s.template gather<T>(subset ? subset->data() : nullptr, first, rows, s.data());
      double weight = 0;
      for (Index i = 0; i < rows; ++i) weight += static_cast<double>(s[static_cast<std::size_t>(i)]) * static_cast<double>(per_sample);
      if (!(weight > 0)) continue;
      for (Index c = 0; c < columns; ++c) {
        const auto at = [&](Index r) { return static_cast<double>(x[static_cast<std::size_t>(r * columns + c)]); };
        const auto w = [&](Index r) { return static_cast<double>(s[static_cast<std::size_t>(r / per_sample)]); };
        double sum = 0, square = 0;
        for (Index r = 0; r < rows * per_sample; ++r) sum += w(r) * at(r);
        const double mu = sum / weight;
        for (Index r = 0; r < rows * per_sample; ++r) square += w(r) * (at(r) - mu) * (at(r) - mu);
        double& mc = m[static_cast<std::size_t>(c)];
        const double d = mu - mc;
        m2[static_cast<std::size_t>(c)] += square + d * d * total * weight / (total + weight);
        mc += d * weight / (total + weight);
      }
      total += weight;
    }
    for (Index c = 0; c < columns; ++c) {
      const double mu = m[static_cast<std::size_t>(c)], sd = total > 0 ? std::sqrt(m2[static_cast<std::size_t>(c)] / total) : 0;
      const bool varies = sd > 10 * static_cast<double>(std::numeric_limits<T>::epsilon()) * std::fabs(mu) &&
                          sd >= static_cast<double>(std::numeric_limits<T>::min());
      CR_CHECK(std::isfinite(mu) && std::isfinite(sd), op.layer->tag(), "column ", c, " has mean ", mu, " and deviation ", sd,
               ": expected finite numbers");
      mean[c] = T(mu);
      scale[c] = varies ? T(sd) : T(1);
    }
  }
}

template <class T>
void adapt(Network<T>& net, const Data<T>& data, const std::vector<Index>* subset, Cancel& cancel) {
  adapt<T>(net, data, subset, [&](int value, const BatchFeed<T>& feed, Index rows, T* x) {
    Mode mode;
    mode.target = value;
    const Plan& plan = net.plan(mode);
    typename Network<T>::Spaces spaces(net, num_threads(), plan);
    T* out[] = {x};
    Executor<T>(plan, job_for<T>(net, feed, rows, data.time, cancel)).predict(spaces.list, out);
  });
}

template class Trainer<float>;
template class Trainer<double>;
template Evaluation evaluate<float>(Network<float>&, const std::vector<LossChoice>&, const Data<float>&, const std::vector<Index>*, Cancel&);
template Evaluation evaluate<double>(Network<double>&, const std::vector<LossChoice>&, const Data<double>&, const std::vector<Index>*, Cancel&);
template void predict<float>(Network<float>&, const Feed<float>&, Index, Index, float* const*, Cancel&, int);
template void predict<double>(Network<double>&, const Feed<double>&, Index, Index, double* const*, Cancel&, int);
template void predict<float>(Network<float>&, const Data<float>&, float* const*, Cancel&, int);
template void predict<double>(Network<double>&, const Data<double>&, double* const*, Cancel&, int);
template void adapt<float>(Network<float>&, const Data<float>&, const std::vector<Index>*, const ValuesOf<float>&);
template void adapt<double>(Network<double>&, const Data<double>&, const std::vector<Index>*, const ValuesOf<double>&);
template void adapt<float>(Network<float>&, const Data<float>&, const std::vector<Index>*, Cancel&);
template void adapt<double>(Network<double>&, const Data<double>&, const std::vector<Index>*, Cancel&);

}  // namespace chainrule
