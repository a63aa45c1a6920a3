// SPDX-License-Identifier: MIT
#include "optim/update.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "tensor/parallel.h"

namespace chainrule {

namespace {
double penalty_of(const Lambdas& lam, double sum_abs, double sum_square) { return (lam.l1 + lam.proximal) * sum_abs + 0.5 * lam.l2 * sum_square; }
std::size_t at(Index i) { return static_cast<std::size_t>(i); }
}  // namespace

// Neighbours with the same penalties share a task. A task has 32,768 parameters (128 KB of float32 a block that it touches), in small networks half of
// them, so that two threads share what lies in each other's caches after a step of several slots.
template <class T>
Update<T>::Update(const OptimizerSpec& optimizer, std::vector<Segment> segments) : optimizer_(optimizer), segments_(std::move(segments)) {
  for (const Segment& s : segments_) parameters_ += s.size;
  const Index range = std::clamp<Index>((parameters_ + 1) / 2, 2048, 1 << 15);
  for (std::size_t first = 0, last = 0; first < segments_.size(); first = last) {
    const Segment& s = segments_[first];
    Index end = s.offset;
    for (; last < segments_.size(); ++last) {
      const Segment& next = segments_[last];
      if (next.offset != end || next.plain != s.plain || next.per_sample != s.per_sample) break;
      end += next.size;
    }
    std::size_t holds = first;
    for (Index i = s.offset; i < end; i += range) {
      while (segments_[holds].offset + segments_[holds].size <= i) ++holds;
      tasks_.push_back({holds, i, std::min(range, end - i)});
    }
    penalised_ = penalised_ || s.plain != Lambdas{} || s.per_sample != Lambdas{};
  }
  value_.resize(tasks_.size()), square_.resize(tasks_.size()), finite_.resize(tasks_.size());
  adam_ = optimizer_.adam();
  kernel_ = update_kernel(kernels<T>(), optimizer_);
}

template <class T>
UpdateArgs<T> update_args(const OptimizerSpec& o, double alpha, Index t) {
  const bool adam = o.adam();
  UpdateArgs<T> a{};
  a.slots = 1, a.clip = 1;
  a.alpha = alpha, a.eps = o.eps, a.nesterov = o.nesterov, a.eps_hat = o.eps_hat;
  a.mu = adam ? o.beta1 : o.momentum;
  a.rho = adam ? o.beta2 : o.rho;
  a.c1 = adam ? 1 - std::pow(o.beta1, static_cast<double>(t)) : 1;
  a.c2 = adam ? 1 - std::pow(o.beta2, static_cast<double>(t)) : 1;
  a.decay = o.type == "adamw" ? alpha * o.lam : 0;
  return a;
}
template <class T>
UpdateKernel<T> update_kernel(const Kernels<T>& k, const OptimizerSpec& o) {
  return o.adam() ? k.adam : o.type == "rmsprop" ? k.rmsprop : k.sgd;
}

template <class T>
bool Update<T>::takes_late_gradients() const {
  const OptimizerSpec& o = optimizer_;
  return o.type == "sgd" && !o.nesterov && o.clip_norm == 0 && (o.momentum != 0 || !penalised_);
}

template <class T>
const Segment* Update<T>::overflowed(const Task& task, const T* w, const T* v) const {
  const Kernels<T>& k = kernels<T>();
  for (std::size_t i = task.segment; i < segments_.size() && segments_[i].offset < task.begin + task.n; ++i) {
    const Segment& s = segments_[i];
    const Index begin = std::max(s.offset, task.begin), n = std::min(s.offset + s.size, task.begin + task.n) - begin;
    if (!k.all_finite(w + begin, n) || (v && !k.all_finite(v + begin, n))) return &s;
  }
  return &segments_[task.segment];  // the penalty alone
}

template <class T>
const Segment* Update<T>::overflowed(const T* w, const T* v) const {
  for (const Task& task : tasks_)
    if (!kernels<T>().all_finite(w + task.begin, task.n)) return overflowed(task, w, v);
  return nullptr;
}

template <class T>
StepReport Update<T>::operator()(T* w, T* g, Index slots, Index stride, T* m, T* v, double alpha, Index t, double sum_of_weights) {
  const OptimizerSpec& o = optimizer_;
  const Kernels<T>& k = kernels<T>();
  const Index n = static_cast<Index>(tasks_.size());
  // With one slot the pass is short; with several each thread has half of them in its own cache.
  const int threads = parameters_ < (slots > 1 ? 4096 : 65536) ? 1 : num_threads();

  // clip_norm: g <- g min(1, c / |g|), g being the gradient of the whole objective; its norm needs a pass of its own
  const bool clipped = o.clip_norm > 0;
  double clip = 1;
  if (clipped) {
    parallel_for(n, threads, [&](Index i, int) {
      const Task& task = tasks_[at(i)];
      const Lambdas lam = segments_[task.segment].at(sum_of_weights);
      value_[at(i)] = 0;
      if (slots > 1) k.sum_slots(g + task.begin, g + task.begin, slots, stride, task.n);
      if (lam.l1 != 0 || lam.l2 != 0) k.add_penalty(g + task.begin, w + task.begin, task.n, lam.l1, lam.l2);
      if (lam != Lambdas{}) value_[at(i)] = penalty_of(lam, k.sum_abs(w + task.begin, task.n), k.sum_square(w + task.begin, task.n));
      square_[at(i)] = k.sum_square(g + task.begin, task.n);
    });
    double norm = 0;
    for (double s : square_) norm += s;
    for (Index i = 0; i < n; ++i)
      if (!std::isfinite(square_[at(i)])) return {0, overflowed(tasks_[at(i)], g, nullptr)};  // scaling by 0 would hide it
    norm = std::sqrt(norm);
    if (norm > o.clip_norm) clip = o.clip_norm / norm;
    slots = 1;
  }

  UpdateArgs<T> common = update_args<T>(o, alpha, t);
  common.slots = slots, common.stride = stride, common.clip = clip;
  parallel_for(n, threads, [&](Index i, int) {
    const Task& task = tasks_[at(i)];
    const Lambdas lam = segments_[task.segment].at(sum_of_weights);
    UpdateArgs<T> a = common;
    a.w = w + task.begin, a.g = g ? g + task.begin : nullptr, a.n = task.n;
    a.m = adam_ ? m + task.begin : nullptr;
    a.v = v ? v + task.begin : nullptr;
    a.l1 = clipped ? 0 : lam.l1, a.l2 = clipped ? 0 : lam.l2;
    a.threshold = alpha * lam.proximal;
    if (!clipped) value_[at(i)] = lam.proximal != 0 && lam.l1 == 0 && lam.l2 == 0 ? lam.proximal * k.sum_abs(a.w, a.n) : 0;
    const UpdateSums sums = kernel_(a);  // sums only where l1 or l2 is set
    if (!clipped && (lam.l1 != 0 || lam.l2 != 0)) value_[at(i)] = penalty_of(lam, sums.sum_abs, sums.sum_square);
    finite_[at(i)] = sums.finite;
  });
  StepReport report;
  for (Index i = 0; i < n; ++i) {
    report.penalty += value_[at(i)];
    if (!(finite_[at(i)] && std::isfinite(value_[at(i)])) && !report.overflow) report.overflow = overflowed(tasks_[at(i)], w, v);
  }
  return report;
}

template <class T>
double add_penalty(const std::vector<Segment>& segments, const T* w, T* g, double sum_of_weights, const Kernels<T>& k) {
  double value = 0;
  for (const Segment& s : segments) {
    const Lambdas lam = s.at(sum_of_weights);
    if (lam.l1 == 0 && lam.l2 == 0 && lam.proximal == 0) continue;
    value += (lam.l1 + lam.proximal) * k.sum_abs(w + s.offset, s.size) + 0.5 * lam.l2 * k.sum_square(w + s.offset, s.size);
    if (g) k.add_penalty(g + s.offset, w + s.offset, s.size, lam.l1 + lam.proximal, lam.l2);
  }
  return value;
}

template UpdateArgs<float> update_args<float>(const OptimizerSpec&, double, Index);
template UpdateArgs<double> update_args<double>(const OptimizerSpec&, double, Index);
template UpdateKernel<float> update_kernel<float>(const Kernels<float>&, const OptimizerSpec&);
template UpdateKernel<double> update_kernel<double>(const Kernels<double>&, const OptimizerSpec&);
template class Update<float>;
template class Update<double>;
template double add_penalty<float>(const std::vector<Segment>&, const float*, float*, double, const Kernels<float>&);
template double add_penalty<double>(const std::vector<Segment>&, const double*, double*, double, const Kernels<double>&);

}  // namespace chainrule
