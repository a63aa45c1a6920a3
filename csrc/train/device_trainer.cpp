// SPDX-License-Identifier: MIT
#include "train/device_trainer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "network/device_executor.h"

namespace chainrule {

namespace {
std::size_t at(Index i) { return static_cast<std::size_t>(i); }
constexpr double none = std::numeric_limits<double>::quiet_NaN();

template <class T>
BatchFeed<T> rows_of(const Data<T>& data, const std::vector<Index>* subset) {
  return subset ? BatchFeed<T>(data, subset->data(), 0, static_cast<Index>(subset->size())) : BatchFeed<T>(data, nullptr, 0, data.rows);
}
}  // namespace

template <class T>
Job<T> job_for(DeviceNetwork<T>& net, const Feed<T>& feed, Index n, Index time, Cancel& cancel) {
  Job<T> job;
  job.parameters = net.parameters.data();
  job.state = net.state();
  job.feed = &feed;
  job.n = n, job.time = time;
  job.seed = net.net.seed;
  job.step = static_cast<std::uint32_t>(net.net.training.step);
  job.cancel = &cancel;
  return job;
}

template <class T>
DeviceTrainer<T>::DeviceTrainer(DeviceNetwork<T>& network, const FitSpec& spec)
    : net_(network), device_(network.device), spec_(spec), last_loss_(none) {
  const OnDevice use(device_, "fit");
  net_.prepare_training(spec.optimizer);
  std::vector<DeviceSegment> list;
  for (const Segment& s : spec.segments) {
    penalised_ = penalised_ || s.plain != Lambdas{} || s.per_sample != Lambdas{};
    list.push_back({s.offset, s.offset + s.size, s.plain.l1, s.plain.l2, s.plain.proximal, s.per_sample.l1, s.per_sample.l2, s.per_sample.proximal});
  }
  segments_ = DeviceBlock<DeviceSegment>(device_, static_cast<Index>(list.size()));
  if (!list.empty()) segments_.write(list.data(), 0, segments_.size());
  faults_ = PinnedBlock<std::uint32_t>(device_, steps_ahead);
  for (Ahead& a : ahead_) a.done = device_.library.create_event(device_.context());
  device_.synchronize();
}
template <class T>
DeviceTrainer<T>::~DeviceTrainer() {
  if (device_.abandoned()) return;
  for (Ahead& a : ahead_)
    if (a.done) device_.library.destroy_event(device_.context(), a.done);
}

template <class T>
const Plan& DeviceTrainer<T>::plan() {
  Mode mode;
  mode.losses = kinds(spec_.losses);
  mode.gradients = mode.training = true;
  return net_.net.plan(mode);
}
// Of what n rows a step need, before the data set takes its part of what is free.
template <class T>
void DeviceTrainer<T>::make_room(Index n, Index time) {
  Job<T> job;
  job.n = n, job.time = time;
  DeviceExecutor<T>(net_, plan(), job).reserve(net_.space);
  net_.gradients();
  if (backup_.size() != net_.parameters.size()) backup_ = DeviceBlock<T>(device_, net_.parameters.size());
}

template <class T>
void DeviceTrainer<T>::keep() {
  if (backup_.size() != net_.parameters.size()) backup_ = DeviceBlock<T>(device_, net_.parameters.size());
  net_.parameters.copy_to(backup_);
}

template <class T>
Index DeviceTrainer<T>::begin_epoch() {
  const OnDevice use(device_, "fit");
  keep();
  net_.outcome.clear();
  std::fill_n(faults_.data(), steps_ahead, 0u);
  enqueued_ = 0, before_ = net_.net.training.step;
  return net_.net.training.epoch++;
}

template <class T>
bool DeviceTrainer<T>::may_go_on() {
  const std::size_t slot = at(enqueued_ % steps_ahead);
  if (enqueued_ >= steps_ahead) device_.library.wait(device_.context(), ahead_[slot].done);
  device_.check();
  return faults_.data()[slot] == 0;
}

// Puts one step into the stream; false if its weights sum to 0.
template <class T>
bool DeviceTrainer<T>::enqueue(const DeviceFeed<T>& feed, Index n, Index time, Cancel& cancel) {
  double weight = 0;
  for (std::size_t j = 0; j < spec_.losses.size(); ++j) weight += feed.sum_of_weights(static_cast<int>(j));
  if (n == 0 || !(weight > 0)) return false;
  Job<T> job = job_for<T>(net_, feed, n, time, cancel);
  job.losses = spec_.losses.data();
  DeviceExecutor<T>(net_, plan(), job).compute(net_.space, net_.gradients().data(), net_.outcome.data(), nullptr);
  commit(weight / static_cast<double>(spec_.losses.size()), weight);
  return true;
}

template <class T>
void DeviceTrainer<T>::commit(double sum_of_weights, double weight) {
  TrainingState<T>& state = net_.net.training;
  const DeviceKernels<T>& more = device_.more<T>();
  Outcome* outcome = net_.outcome.data();
  const DeviceUpdate on_device{outcome, segments_.data(), segments_.size(), sum_of_weights, penalised_, spec_.optimizer.clip_norm};
  UpdateArgs<T> a = update_args<T>(spec_.optimizer, alpha(), state.step + 1);
  a.w = net_.parameters.data(), a.g = net_.gradients().data(), a.n = net_.parameters.size();
  a.m = net_.m.data(), a.v = net_.v.data();
  a.device = &on_device;
  if (on_device.max_norm > 0)
    more.penalised_norm(net_.gradients().data(), a);
  else
    more.expect_finite(outcome, a.g, a.n);
  update_kernel(device_.kernels<T>(), spec_.optimizer)(a);
  more.end_step(outcome, weight);
  const std::size_t slot = at(enqueued_ % steps_ahead);
  device_.library.to_host(device_.context(), faults_.data() + slot, &outcome->fault, sizeof outcome->fault);
  device_.library.record(device_.context(), ahead_[slot].done);
  ++state.step, ++enqueued_;
}

template <class T>
Outcome DeviceTrainer<T>::settle() {
  Outcome outcome;
  net_.outcome.read(&outcome, 0, 1);
  device_.synchronize();
  net_.net.training.step = before_ + outcome.steps;
  if (outcome.steps > 0) last_loss_ = outcome.last;
  return outcome;
}

template <class T>
EpochReport DeviceTrainer<T>::epoch(const Data<T>& data, const std::vector<Index>* subset, Cancel& cancel) {
  const OnDevice use(device_, "fit");
  const Index n = subset ? static_cast<Index>(subset->size()) : data.rows, batch = std::min(spec_.batch_size, n);
  if (data_of_ != &data) {
    data_.reset(), data_of_ = nullptr;
    make_room(batch, data.time);
    if (DeviceData<T>::fits(device_, data)) data_.emplace(net_, data);
    data_of_ = &data;
  }
  EpochOrder order(subset, n, batch, spec_.shuffle, net_.net.seed, begin_epoch());
  BatchFeed<T> host(data, nullptr, 0, 0);
  DeviceFeed<T> feed(net_, data, host, data_ ? &*data_ : nullptr, 0);
  const auto move_to = [&](Index first) {
    const EpochOrder::Range rows = order.batch(first);
    host.move_to(rows.index, rows.base, rows.n);
    feed.follow(rows.n);
    return rows.n;
  };
  EpochReport report;
  try {
    for (Index first = 0; first < n; first += batch) {
      if (net_.net.stop.exchange(false)) {
        report.stopped = true;
        break;
      }
      if (cancel.check(0)) throw Interrupted();
      if (!may_go_on()) break;
      const Index m = move_to(first);
      ahead_[at(enqueued_ % steps_ahead)].first = first;
      enqueue(feed, m, data.time, cancel);
    }
  } catch (...) {
    try {
      settle();
    } catch (const Error&) {  // the first one is the one to hear of
    }
    throw;
  }
  const Outcome outcome = settle();
  if (outcome.fault) {
    if (outcome.fault & UpdateFault) overflowed("the start of the epoch");
    diverged(feed, move_to(ahead_[at(outcome.steps % steps_ahead)].first), data.time, outcome);
  }
  report.loss = outcome.weights > 0 ? outcome.total / outcome.weights : none;
  report.penalty = outcome.weights > 0 ? outcome.penalties / outcome.weights : none;
  return report;
}

template <class T>
bool DeviceTrainer<T>::step(const Data<T>& data, Cancel& cancel, double& loss, double& weight) {
  const OnDevice use(device_, "fit");
  const BatchFeed<T> host(data, nullptr, 0, data.rows);
  const DeviceFeed<T> feed(net_, data, host, nullptr, data.rows);
  net_.outcome.clear();
  std::fill_n(faults_.data(), steps_ahead, 0u);
  enqueued_ = 0, before_ = net_.net.training.step;
  weight = 0;
  const bool done = enqueue(feed, data.rows, data.time, cancel);
  const Outcome outcome = settle();
  if (outcome.fault & UpdateFault) overflowed("the start of the epoch");
  if (outcome.fault) diverged(feed, data.rows, data.time, outcome);
  if (!done) return false;
  weight = outcome.weights;
  loss = outcome.total / outcome.weights;
  return true;
}

template <class T>
void DeviceTrainer<T>::apply_gradients() {
  const OnDevice use(device_, "step");
  keep();
  net_.outcome.clear();
  enqueued_ = 0, before_ = net_.net.training.step;
  commit(1, 1);
  const Outcome outcome = settle();
  if (outcome.fault & UpdateFault) overflowed("before the step");
  if (outcome.fault)
    throw Divergence("[step] the gradients are not finite: clear them with net.clear_gradients()", net_.net.training.epoch, "", last_loss_);
  net_.clear_gradients();
  device_.synchronize();
}

// W or a moment left the finite numbers: back to the copy.
template <class T>
void DeviceTrainer<T>::overflowed(const char* since) {
  const Kernels<T>& k = device_.kernels<T>();
  std::string layer = "penalty";
  for (const Segment& s : spec_.segments) {
    const bool finite = k.all_finite(net_.parameters.data() + s.offset, s.size) && (!net_.v.size() || k.all_finite(net_.v.data() + s.offset, s.size));
    if (finite) continue;
    layer = s.layer;
    break;
  }
  backup_.copy_to(net_.parameters);
  const Index epoch = net_.net.training.epoch;
  net_.reset_training();
  device_.synchronize();
  throw Divergence(text("[", layer, "] W overflowed: it is again what it was at ", since), epoch - 1, layer, last_loss_);
}

// The step was not committed; what follows only finds the name to report.
template <class T>
void DeviceTrainer<T>::diverged(const DeviceFeed<T>& feed, Index n, Index time, const Outcome& outcome) {
  Mode mode;
  mode.training = mode.keep = true;
  const Plan& plan = net_.net.plan(mode);
  Cancel cancel;
  DeviceExecutor<T> executor(net_, plan, job_for<T>(net_, feed, n, time, cancel));
  const Kernels<T>& k = device_.kernels<T>();
  std::size_t found = plan.steps.size();
  for (Index first = 0, block = 2048; first < n; first += block) {
    const Index rows = std::min(block, n - first);
    executor.forward_all(net_.space, first, rows);
    for (std::size_t i = 0; i < found; ++i) {
      const ValuePlan& v = plan.values[at(plan.steps[i].value)];
      const Index count = rows * net_.net.graph.ops[at(plan.steps[i].op)].shape.size(time);
      if (!k.all_finite(net_.space.pointers.buffer[at(v.z)], count) || !k.all_finite(net_.space.pointers.buffer[at(v.a)], count)) found = i;
    }
  }
  device_.synchronize();
  const std::string layer = net_.net.graph.ops[at(found < plan.steps.size() ? plan.steps[found].op : net_.net.graph.outputs[0])].name;
  throw Divergence(
      text("[", layer, "] the ", outcome.fault & LossFault ? "loss" : "gradient", " of step ", net_.net.training.step + 1, " is not finite"),
      net_.net.training.epoch - 1, layer, last_loss_);
}

template <class T>
Evaluation evaluate(DeviceNetwork<T>& net, const std::vector<LossChoice>& losses, const Data<T>& data, const std::vector<Index>* subset,
                    Cancel& cancel) {
  const OnDevice use(net.device, "evaluate");
  Mode mode;
  mode.losses = kinds(losses);
  const BatchFeed<T> host = rows_of(data, subset);
  const Index n = subset ? static_cast<Index>(subset->size()) : data.rows;
  const DeviceFeed<T> feed(net, data, host, nullptr, n);
  Job<T> job = job_for<T>(net, feed, n, data.time, cancel);
  job.losses = losses.data();
  const DeviceBlock<double> hits(net.device, static_cast<Index>(losses.size()));
  net.evaluation.clear();
  DeviceExecutor<T>(net, net.net.plan(mode), job).compute(net.space, nullptr, net.evaluation.data(), hits.data());
  std::vector<double> counted(losses.size());
  Outcome outcome;
  hits.read(counted.data(), 0, hits.size());
  net.evaluation.read(&outcome, 0, 1);
  net.device.synchronize();
  Evaluation e;
  e.loss = outcome.loss;
  for (std::size_t j = 0; j < losses.size(); ++j) {
    const bool counts = losses[j].kind == LossKind::CrossEntropy || losses[j].kind == LossKind::BinaryCrossEntropy;
    e.accuracy.push_back(counts ? counted[j] / feed.sum_of_weights(static_cast<int>(j)) : none);
  }
  return e;
}

template <class T>
void predict(DeviceNetwork<T>& net, const Data<T>& data, T* const* outputs, Cancel& cancel, int target, bool there) {
  const OnDevice use(net.device, "predict");
  Mode mode;
  mode.target = target;
  const BatchFeed<T> host(data, nullptr, 0, data.rows);
  const DeviceFeed<T> feed(net, data, host, nullptr, data.rows);
  DeviceExecutor<T>(net, net.net.plan(mode), job_for<T>(net, feed, data.rows, data.time, cancel)).predict(net.space, outputs, there);
}

template <class T>
void adapt(DeviceNetwork<T>& net, const Data<T>& data, const std::vector<Index>* subset, Cancel& cancel) {
  const OnDevice use(net.device, "adapt");
  adapt<T>(net.net, data, subset, [&](int value, const BatchFeed<T>& host, Index rows, T* x) {
    Mode mode;
    mode.target = value;
    const DeviceFeed<T> feed(net, data, host, nullptr, rows);
    T* out[] = {x};
    DeviceExecutor<T>(net, net.net.plan(mode), job_for<T>(net, feed, rows, data.time, cancel)).predict(net.space, out);
  });
}

template class DeviceTrainer<float>;
template class DeviceTrainer<double>;
template Job<float> job_for<float>(DeviceNetwork<float>&, const Feed<float>&, Index, Index, Cancel&);
template Job<double> job_for<double>(DeviceNetwork<double>&, const Feed<double>&, Index, Index, Cancel&);
template Evaluation evaluate<float>(DeviceNetwork<float>&, const std::vector<LossChoice>&, const Data<float>&, const std::vector<Index>*, Cancel&);
template Evaluation evaluate<double>(DeviceNetwork<double>&, const std::vector<LossChoice>&, const Data<double>&, const std::vector<Index>*, Cancel&);
template void adapt<float>(DeviceNetwork<float>&, const Data<float>&, const std::vector<Index>*, Cancel&);
template void adapt<double>(DeviceNetwork<double>&, const Data<double>&, const std::vector<Index>*, Cancel&);
template void predict<float>(DeviceNetwork<float>&, const Data<float>&, float* const*, Cancel&, int, bool);
template void predict<double>(DeviceNetwork<double>&, const Data<double>&, double* const*, Cancel&, int, bool);

}  // namespace chainrule
