// SPDX-License-Identifier: MIT
#include "optim/update.h"

#include <algorithm>
#include <cmath>

#include "tensor/parallel.h"

namespace chainrule {

namespace {
constexpr Index range = 1 << 15;  // parameters a task: 128 KB of float32 per block it touches

struct Task {
  const Segment* segment;
  Index begin, n;  // in the block
};

std::vector<Task> cut(const std::vector<Segment>& segments) {
  std::vector<Task> tasks;
  for (const Segment& s : segments)
    for (Index i = 0; i < s.size; i += range) tasks.push_back({&s, s.offset + i, std::min(range, s.size - i)});
  return tasks;
}

int threads_for(Index parameters) { return parameters < 2 * range ? 1 : num_threads(); }
}  // namespace

template <class T>
StepReport update(const OptimizerSpec& o, const std::vector<Segment>& segments, T* w, T* g, Index slots, Index stride, T* m, T* v, double alpha,
                  Index t, double sum_of_weights) {
  const Kernels<T>& k = kernels<T>();
  const std::vector<Task> tasks = cut(segments);
  const Index n = static_cast<Index>(tasks.size());
  Index parameters = 0;
  for (const Segment& s : segments) parameters += s.size;
  const int threads = threads_for(parameters);
  std::vector<double> value(tasks.size(), 0.0);
  const auto penalty_of = [](const Lambdas& lam, double sum_abs, double sum_square) {
    return (lam.l1 + lam.proximal) * sum_abs + 0.5 * lam.l2 * sum_square;
  };

  // clip_norm: g <- g min(1, c / |g|), g being the gradient of the whole objective; its norm needs a pass of its own
  const bool clipped = o.clip_norm > 0;
  double clip = 1;
  if (clipped) {
    std::vector<double> square(tasks.size(), 0.0);
    parallel_for(n, threads, [&](Index i, int) {
      const Task& task = tasks[static_cast<std::size_t>(i)];
      const Lambdas lam = task.segment->at(sum_of_weights);
      if (slots > 1) k.sum_slots(g + task.begin, g + task.begin, slots, stride, task.n);
      if (lam.l1 != 0 || lam.l2 != 0) k.add_penalty(g + task.begin, w + task.begin, task.n, lam.l1, lam.l2);
      if (lam.l1 != 0 || lam.l2 != 0 || lam.proximal != 0)
        value[static_cast<std::size_t>(i)] = penalty_of(lam, k.sum_abs(w + task.begin, task.n), k.sum_square(w + task.begin, task.n));
      square[static_cast<std::size_t>(i)] = k.sum_square(g + task.begin, task.n);
    });
    double norm = 0;
    for (double s : square) norm += s;
    for (std::size_t i = 0; i < tasks.size(); ++i)
      if (!std::isfinite(square[i])) return {0, tasks[i].segment};  // scaling by 0 would hide it
    norm = std::sqrt(norm);
    if (norm > o.clip_norm) clip = o.clip_norm / norm;
    slots = 1;
  }

  std::vector<char> finite(tasks.size(), 1);
  const bool adam = o.type == "adam" || o.type == "adamw";
  const UpdateKernel<T> kernel = adam ? k.adam : o.type == "rmsprop" ? k.rmsprop : k.sgd;
  parallel_for(n, threads, [&](Index i, int) {
    const Task& task = tasks[static_cast<std::size_t>(i)];
    const Lambdas lam = task.segment->at(sum_of_weights);
    UpdateArgs<T> a{};
    a.w = w + task.begin, a.g = g + task.begin, a.slots = slots, a.stride = stride, a.n = task.n;
    a.m = adam ? m + task.begin : nullptr;
    a.v = v ? v + task.begin : nullptr;
    a.alpha = alpha, a.eps = o.eps, a.nesterov = o.nesterov, a.eps_hat = o.eps_hat, a.clip = clip;
    a.mu = adam ? o.beta1 : o.momentum;
    a.rho = adam ? o.beta2 : o.rho;
    a.c1 = adam ? 1 - std::pow(o.beta1, static_cast<double>(t)) : 1;
    a.c2 = adam ? 1 - std::pow(o.beta2, static_cast<double>(t)) : 1;
    a.l1 = clipped ? 0 : lam.l1, a.l2 = clipped ? 0 : lam.l2;
    a.decay = o.type == "adamw" ? alpha * o.lam : 0;
    a.threshold = alpha * lam.proximal;
    if (!clipped && lam.proximal != 0 && lam.l1 == 0 && lam.l2 == 0) {  // the kernel sums only where l1 or l2 is set
      const double before = k.sum_abs(w + task.begin, task.n);
      value[static_cast<std::size_t>(i)] = lam.proximal * before;
    }
    const UpdateSums sums = kernel(a);
    if (!clipped && (lam.l1 != 0 || lam.l2 != 0)) value[static_cast<std::size_t>(i)] = penalty_of(lam, sums.sum_abs, sums.sum_square);
    finite[static_cast<std::size_t>(i)] = sums.finite;
  });
  StepReport report;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    report.penalty += value[i];
    if (!(finite[i] && std::isfinite(value[i])) && !report.overflow) report.overflow = tasks[i].segment;
  }
  return report;
}

template <class T>
double add_penalty(const std::vector<Segment>& segments, const T* w, T* g, double sum_of_weights) {
  const Kernels<T>& k = kernels<T>();
  double value = 0;
  for (const Segment& s : segments) {
    const Lambdas lam = s.at(sum_of_weights);
    if (lam.l1 == 0 && lam.l2 == 0 && lam.proximal == 0) continue;
    value += (lam.l1 + lam.proximal) * k.sum_abs(w + s.offset, s.size) + 0.5 * lam.l2 * k.sum_square(w + s.offset, s.size);
    if (g) k.add_penalty(g + s.offset, w + s.offset, s.size, lam.l1 + lam.proximal, lam.l2);
  }
  return value;
}

template StepReport update<float>(const OptimizerSpec&, const std::vector<Segment>&, float*, float*, Index, Index, float*, float*, double, Index,
                                  double);
template StepReport update<double>(const OptimizerSpec&, const std::vector<Segment>&, double*, double*, Index, Index, double*, double*, double, Index,
                                   double);
template double add_penalty<float>(const std::vector<Segment>&, const float*, float*, double);
template double add_penalty<double>(const std::vector<Segment>&, const double*, double*, double);

}  // namespace chainrule
