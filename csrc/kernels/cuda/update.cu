// SPDX-License-Identifier: MIT
// One optimizer step over the flat block in one launch: gradient summed, clipped and penalised, the rule of csrc/math/updates.h applied, w looked at.
#include "kernels/cuda/parts.cuh"
#include "math/updates.h"

namespace chainrule::cuda {

namespace {

template <class Rule>
constexpr int moments = 1;  // v; m too if 2
template <class T>
constexpr int moments<Sgd<T, Momentum::None>> = 0;
template <class T>
constexpr int moments<LookAtW<T>> = 0;
template <class T>
constexpr int moments<Adam<T>> = 2;

// The parameters [begin, end) that have these penalties; where it is not active they keep their value.
template <class T>
struct Range {
  Index begin, end;
  bool active;
  T l1, l2, proximal;
};

template <class T>
struct Where {
  const DeviceSegment* segments;
  Index n_segments, n;
  double per_sum_of_weights;
  Range<T> all;  // if there are no segments
  bool apart;    // the sums count |w| and w^2 as they are

  __device__ Range<T> at(Index e) const {
    if (!segments) return all;
    Index first = 0, last = n_segments;  // the first segment that ends behind e
    while (first < last) {
      const Index middle = (first + last) / 2;
      if (segments[middle].end > e)
        last = middle;
      else
        first = middle + 1;
    }
    const Index before = first > 0 ? segments[first - 1].end : 0;
    if (first == n_segments) return {before, n, false, 0, 0, 0};
    const DeviceSegment s = segments[first];
    if (s.begin > e) return {before, s.begin, false, 0, 0, 0};
    const double l1 = s.l1 + s.l1_per_sample * per_sum_of_weights, l2 = s.l2 + s.l2_per_sample * per_sum_of_weights;
    const double proximal = s.proximal + s.proximal_per_sample * per_sum_of_weights;
    return {s.begin, s.end, true, T(l1), T(l2), T(proximal)};
  }
};

template <class T>
struct Gradient {
  const T* g;
  Index slots, stride;
  template <int N>
  __device__ __forceinline__ Pack<T, N> at(Index e) const {
    Pack<T, N> sum{};
    if (slots > 0) sum = load<N>(g + e);
    CR_UNROLL(2)
    for (Index c = 1; c < slots; ++c) {
      const Pack<T, N> x = load<N>(g + c * stride + e);
      CR_UNROLL(4)
      for (int j = 0; j < N; ++j) sum.v[j] += x.v[j];
    }
    return sum;
  }
};

// Sums of weighted |w| and w^2: into the penalty, or (a call that returns them) apart
struct AddPenaltyTo {
  Outcome* outcome;
  bool apart;
  __device__ __forceinline__ void operator()(const double* sum) const {
    if (outcome->fault) return;
    if (apart)
      outcome->loss = sum[0], outcome->penalty = sum[1];
    else
      outcome->penalty += sum[0] + sum[1] / 2;
  }
};

template <class T, class Rule>
struct Step {
  T *w, *m, *v;
  Gradient<T> gradient;
  Rule rule;
  T clip, max_norm, threshold;  // threshold: of a proximal of 1
  Where<T> where;
  bool penalise;  // whether the gradient takes l1 and l2
  AddPenaltyTo to;
};

template <class T>
__device__ __forceinline__ void add_penalty_sums(const Where<T>& where, const Range<T>& range, T w, T* sums) {
  sums[0] += (where.apart ? T(1) : range.l1 + (where.segments ? range.proximal : T(0))) * absolute(w);
  sums[1] += (where.apart ? T(1) : range.l2) * (w * w);
}

// Numbers an element: w in and out, g in (each slot), m and v in and out: 12 bytes of float for plain SGD, 20 with momentum, 28 for Adam, which bound
// it. 16 bytes of each a thread; the whole block in one launch, as a launch takes as long as 10 MB do. The search of a segment is done once a thread and
// then where it leaves a segment.
template <class T, class Rule, bool sums>
CR_KERNEL(most_threads<T>) update_kernel(Span span, const __grid_constant__ Step<T, Rule> q, double* partial) {
  if (q.to.outcome->fault) return;
  T clip = q.clip;
  if (q.max_norm > T(0)) {
    const double norm = square_root(q.to.outcome->norm_square);
    clip = norm > static_cast<double>(q.max_norm) ? T(static_cast<double>(q.max_norm) / norm) : T(1);
  }
  Range<T> range{};
  double sum[2] = {0, 0};
  BitsOf<T> overflow = 0;
  const auto run = [&](auto width_of, Index e) {
    constexpr int N = decltype(width_of)::value;
    Pack<T, N> w = load<N>(q.w + e), g = q.gradient.template at<N>(e), m{}, v{};
    if constexpr (moments<Rule> > 0) v = load<N>(q.v + e);
    if constexpr (moments<Rule> > 1) m = load<N>(q.m + e);
    T part[2] = {0, 0};
    CR_UNROLL(4)
    for (int j = 0; j < N; ++j) {
      if (e + j < range.begin || e + j >= range.end) range = q.where.at(e + j);
      if (!range.active) continue;
      g.v[j] *= clip;
      if constexpr (sums) add_penalty_sums(q.where, range, w.v[j], part);
      if (q.penalise) g.v[j] += penalty_gradient(w.v[j], range.l1, range.l2);
      q.rule(w.v, g.v, m.v, v.v, j, overflow);
      if (range.proximal > T(0)) w.v[j] = soft_threshold(w.v[j], q.threshold * range.proximal);
    }
    store(q.w + e, w);
    if constexpr (moments<Rule> > 0) store(q.v + e, v);
    if constexpr (moments<Rule> > 1) store(q.m + e, m);
    sum[0] += static_cast<double>(part[0]);
    sum[1] += static_cast<double>(part[1]);
  };
  visit(span, [&](Index i) {
    if (i < span.packs)
      run(Width<width<T>>{}, span.element(i));
    else
      run(Width<1>{}, span.element(i));
  });
  if (overflow) atomicOr(&q.to.outcome->overflow, 1u);
  if constexpr (sums) deliver(sum, partial, q.to);
}

template <class T>
Where<T> where_of(const UpdateArgs<T>& q) {
  Where<T> where{nullptr, 0, q.n, 1, {0, q.n, true, T(q.l1), T(q.l2), T(q.threshold)}, !q.device};
  if (const DeviceUpdate* d = q.device)
    where.segments = d->segments, where.n_segments = d->n_segments, where.per_sum_of_weights = 1 / d->sum_of_weights;
  return where;
}
template <class T>
Span span_of_update(const UpdateArgs<T>& q, const T* g) {
  if (q.slots > 1 && q.stride % width<T>) return {q.n, 0, 0, width<T>};
  return span_of<T>(q.n, q.w, q.g, g, q.m, q.v);
}

template <class T, class Rule>
UpdateSums update(const UpdateArgs<T>& q, const Rule& rule) {
  UpdateSums result{0, 0, true};
  if (q.n <= 0) return result;
  const DeviceUpdate* d = q.device;
  const bool clips = d && d->max_norm > 0, penalised = q.l1 != 0 || q.l2 != 0 || (d && d->segments);
  const bool sums = !clips && (d && d->segments ? d->penalised : penalised);
  const Step<T, Rule> step{q.w, q.m, q.v, {q.g, q.g ? q.slots : 0, q.stride}, rule, T(q.clip), T(clips ? d->max_norm : 0),
                           T(d && d->segments ? q.alpha : 1), where_of(q), penalised && !clips, {d ? d->outcome : fresh_outcome(), !d}};
  const Span span = span_of_update(q, q.g);
  const int threads = threads_of_block<T>();
  if (sums) {
    const Index blocks = blocks_for_sums<2>(span.items(), threads);
    launch(update_kernel<T, Rule, true>, blocks, threads, span, step, current().scratch);
    finish<2>(blocks, step.to);
  } else {
    launch(update_kernel<T, Rule, false>, blocks_for(span.items(), threads), threads, span, step, nullptr);
  }
  if (d) return result;
  const Outcome outcome = read_outcome();
  return {outcome.loss, outcome.penalty, outcome.overflow == 0};
}

struct AddNorm {
  Outcome* outcome;
  __device__ __forceinline__ void operator()(const double* sum) const {
    if (outcome->fault) return;
    outcome->penalty += sum[0] + sum[1] / 2;
    outcome->norm_square = sum[2];
    if (bits_unless_finite(sum[2])) outcome->fault |= DeltaFault;
  }
};

// Numbers an element: w and g (each slot) in, g out: 12 bytes of float bound it.
template <class T>
CR_KERNEL(most_threads<T>) norm_kernel(Span span, T* to, const T* from, const __grid_constant__ Gradient<T> gradient,
                                         const __grid_constant__ Where<T> where, double* partial, AddNorm add) {
  if (add.outcome->fault) return;
  Range<T> range{};
  double sum[3] = {0, 0, 0};
  const auto run = [&](auto width_of, Index e) {
    constexpr int N = decltype(width_of)::value;
    const Pack<T, N> w = load<N>(from + e);
    Pack<T, N> g = gradient.template at<N>(e);
    T part[3] = {0, 0, 0};
    CR_UNROLL(4)
    for (int j = 0; j < N; ++j) {
      if (e + j < range.begin || e + j >= range.end) range = where.at(e + j);
      if (!range.active) continue;
      g.v[j] += penalty_gradient(w.v[j], range.l1, range.l2);
      add_penalty_sums(where, range, w.v[j], part);
      part[2] += g.v[j] * g.v[j];
    }
    store(to + e, g);
    for (int k = 0; k < 3; ++k) sum[k] += static_cast<double>(part[k]);
  };
  visit(span, [&](Index i) {
    if (i < span.packs)
      run(Width<width<T>>{}, span.element(i));
    else
      run(Width<1>{}, span.element(i));
  });
  deliver(sum, partial, add);
}

// One thread: what it takes is its launch.
CR_KERNEL(1024) end_step_kernel(Outcome* o, double weight) {
  if (threadIdx.x != 0 || blockIdx.x != 0 || o->fault) return;
  const double loss = o->loss + o->penalty;
  if (o->overflow || bits_unless_finite(loss)) o->fault |= UpdateFault;  // a loss that is not finite is a fault already: it is the penalty
  if (o->fault) return;
  o->total += weight * loss;
  o->penalties += weight * o->penalty;
  o->weights += weight;
  o->last = loss;
  ++o->steps;
  o->loss = o->penalty = 0;
}

}  // namespace

template <class T>
UpdateSums sgd(const UpdateArgs<T>& q) {
  if (!q.g) return q.v ? update(q, LateSgd<T>(q)) : update(q, LookAtW<T>());
  if (!q.v) return update(q, Sgd<T, Momentum::None>(q));
  return q.nesterov ? update(q, Sgd<T, Momentum::Nesterov>(q)) : update(q, Sgd<T, Momentum::Plain>(q));
}
template <class T>
UpdateSums rmsprop(const UpdateArgs<T>& q) {
  return update(q, RmsProp<T>(q));
}
template <class T>
UpdateSums adam(const UpdateArgs<T>& q) {
  return update(q, Adam<T>(q));
}
template <class T>
void penalised_norm(T* g, const UpdateArgs<T>& q) {
  if (q.n <= 0) return;
  const AddNorm add{q.device->outcome};
  const Span span = span_of_update(q, g);
  const int threads = threads_of_block<T>();
  const Index blocks = blocks_for_sums<3>(span.items(), threads);
  launch(norm_kernel<T>, blocks, threads, span, g, q.w, Gradient<T>{q.g, q.slots, q.stride}, where_of(q), current().scratch, add);
  finish<3>(blocks, add);
}
void end_step(Outcome* outcome, double weight) { launch(end_step_kernel, 1, warp, outcome, weight); }

#define CR_DEFINE(T)                                 \
  template UpdateSums sgd(const UpdateArgs<T>&);     \
  template UpdateSums rmsprop(const UpdateArgs<T>&); \
  template UpdateSums adam(const UpdateArgs<T>&);    \
  template void penalised_norm(T*, const UpdateArgs<T>&);
CR_DEFINE(float)
CR_DEFINE(double)

}  // namespace chainrule::cuda
