// SPDX-License-Identifier: MIT
// What a device has beside its table: rows of a batch, hits, and the outcome of a step, in which a fault stops all that follows. A step of several
// segments has to be the CPU's steps, one a segment.
#include "device_check.h"

namespace {

Outcome outcome_of(OnDevice<Outcome>& o) { return o.read()[0]; }
std::size_t at(Index i) { return static_cast<std::size_t>(i); }
bool close(double found, double expected, double tolerance) { return std::fabs(found - expected) <= tolerance * std::max(1.0, std::fabs(expected)); }

template <class T>
void test_gather() {
  for (const Index size : {0, 1, 3, 4, 8, 33})
    for (const Index n : {0, 1, 5, 100})
      for (const Index offset : offsets) {
        const std::vector<T> x = random<T>(40 * size);
        std::vector<Index> index(at(n));
        std::vector<T> expected;
        for (Index& i : index) {
          i = static_cast<Index>(uniform(0, 40));
          expected.insert(expected.end(), x.begin() + i * size, x.begin() + (i + 1) * size);
        }
        OnDevice<T> from(x, offset), to(std::vector<T>(expected.size()), offset == 4 ? 0 : offset);
        OnDevice<Index> rows(index);
        cuda::device_table<T>().gather(to.data(), from.data(), rows.data(), n, size);
        check(same_bits(to.read(), expected), "gather");
      }
  const std::vector<std::int32_t> labels = {5, 6, 7, 8, 9, 10, 11, 12};
  OnDevice<std::int32_t> from(labels), to(std::vector<std::int32_t>(3));
  OnDevice<Index> rows({Index(7), Index(0), Index(7)});
  cuda::device_table<T>().gather_labels(to.data(), from.data(), rows.data(), 3, 1);
  check(same_bits(to.read(), {12, 5, 12}), "gather_labels");
}

template <class T>
void test_hits() {
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const std::vector<T> x = {1, 3, 3, 2, 1, 0, nan, 5, 1, -1, -2, nan};  // the largest: 1 (the first of equals), 0, 0 (nothing is above NaN), 0
  OnDevice<T> from(x), y({0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0}), s({1, T(0.5), 4, 2});
  OnDevice<std::int32_t> labels({1, 2, 0, 0});
  OnDevice<double> hits({0.25});
  LossArgs<T> q{from.data(), nullptr, Accum::Overwrite, nullptr, labels.data(), s.data(), 1, 4, 3};
  cuda::device_table<T>().count_hits(hits.data(), q, true, T(0));
  check(hits.read()[0] == 0.25 + 1 + 4 + 2, "hits by label");
  q.labels = nullptr, q.y = y.data(), q.s = nullptr;
  cuda::device_table<T>().count_hits(hits.data(), q, true, T(0));
  check(hits.read()[0] == 7.25 + 3, "hits by the largest probability");  // all but the third
  cuda::device_table<T>().count_hits(hits.data(), q, false, T(1.5));
  check(close(hits.read()[0], 10.25 + 2 / 3.0 + 1 + 1 + 2 / 3.0, 1e-14), "hits by the side: ", std::to_string(hits.read()[0]));
}

// loss: added up over outputs; a fault of it keeps the update and the end of the step from doing anything
template <class T>
void test_outcome() {
  const auto& k = cuda::table<T>();
  const auto& more = cuda::device_table<T>();
  OnDevice<Outcome> o({Outcome{}});
  OnDevice<T> a({1, 2, 3, 4}), y({0, 0, 0, 0}), w({1, 2}), g({1, 1}), poison({0, std::numeric_limits<T>::infinity()});
  LossArgs<T> q{a.data(), nullptr, Accum::Overwrite, y.data(), nullptr, nullptr, 0.5, 2, 2};
  q.outcome = o.data();
  check(k.squared_error(q) == 0 && outcome_of(o).loss == 7.5, "a loss left on the device");
  k.squared_error(q);
  check(outcome_of(o).loss == 15, "a second output's loss");
  DeviceUpdate d{o.data(), nullptr, 0, 1, false, 0};
  UpdateArgs<T> u{};
  u.w = w.data(), u.g = g.data(), u.slots = 1, u.stride = 2, u.n = 2, u.alpha = 0.5, u.clip = 1, u.device = &d;
  check(k.sgd(u).finite && same_bits(w.read(), {T(0.5), T(1.5)}), "an update on the device");
  more.end_step(o.data(), 2);
  Outcome r = outcome_of(o);
  check(r.total == 30 && r.penalties == 0 && r.weights == 2 && r.last == 15 && r.steps == 1 && r.loss == 0 && r.penalty == 0 && r.fault == 0,
        "the end of a step");

  k.squared_error(q);
  more.expect_finite(o.data(), a.data(), 4);
  check(outcome_of(o).fault == 0, "finite deltas");
  more.expect_finite(o.data(), poison.data(), 2);
  check(outcome_of(o).fault == DeltaFault, "a delta that is not finite");
  k.sgd(u);
  more.end_step(o.data(), 2);
  r = outcome_of(o);
  check(same_bits(w.read(), {T(0.5), T(1.5)}) && r.steps == 1 && r.total == 30 && r.last == 15 && r.loss == 7.5, "a fault stops what follows");

  for (const T bad : {std::numeric_limits<T>::infinity(), std::numeric_limits<T>::quiet_NaN()}) {
    OnDevice<Outcome> fresh({Outcome{}});
    OnDevice<T> one({bad}), zero({0});
    q = {one.data(), nullptr, Accum::Overwrite, zero.data(), nullptr, nullptr, 1, 1, 1};
    q.outcome = fresh.data();
    k.squared_error(q);
    check(outcome_of(fresh).fault == LossFault, "a loss that is not finite");
  }
  OnDevice<Outcome> fresh({Outcome{}});
  OnDevice<T> large({std::numeric_limits<T>::max()}), against({-std::numeric_limits<T>::max()});
  d.outcome = fresh.data();
  u.w = large.data(), u.g = against.data(), u.n = u.stride = 1, u.alpha = 2;
  k.sgd(u);
  check(outcome_of(fresh).overflow == 1 && outcome_of(fresh).fault == 0, "an overflow is told");
  more.end_step(fresh.data(), 1);
  check(outcome_of(fresh).fault == UpdateFault && outcome_of(fresh).steps == 0, "an overflow is a fault");
  // a penalty that is not finite
  Outcome penalised{};
  penalised.penalty = std::numeric_limits<double>::infinity();
  OnDevice<Outcome> last({penalised});
  more.end_step(last.data(), 1);
  check(outcome_of(last).fault == UpdateFault, "a penalty that is not finite");
}

// What the CPU does for one segment after the other
template <class T>
struct Expected {
  std::vector<T> w, g, m, v;
  double penalty = 0, norm_square = 0;
};
template <class T>
UpdateArgs<T> args(T* w, const T* g, T* m, T* v, Index n, Index slots, Index stride) {
  UpdateArgs<T> q{};
  q.w = w, q.g = g, q.m = m, q.v = v, q.n = n, q.slots = slots, q.stride = stride;
  q.alpha = 0.1, q.mu = 0.9, q.rho = 0.95, q.eps = 1e-3, q.c1 = 0.3, q.c2 = 0.2, q.clip = 1, q.decay = 0.03;
  return q;
}
template <class T>
Expected<T> by_segments(const Expected<T>& start, const std::vector<DeviceSegment>& segments, double sum_of_weights, Index slots, double max_norm) {
  const Kernels<T>& k = kernels<T>();
  Expected<T> e = start;
  const Index n = static_cast<Index>(e.w.size());
  const auto l1 = [&](const DeviceSegment& s) { return s.l1 + s.l1_per_sample / sum_of_weights; };
  const auto l2 = [&](const DeviceSegment& s) { return s.l2 + s.l2_per_sample / sum_of_weights; };
  const auto proximal = [&](const DeviceSegment& s) { return s.proximal + s.proximal_per_sample / sum_of_weights; };
  if (max_norm > 0) k.sum_slots(e.g.data(), e.g.data(), slots, n, n);
  for (const DeviceSegment& s : segments) {
    const Index size = s.end - s.begin;
    const T* w = e.w.data() + s.begin;
    e.penalty += (l1(s) + proximal(s)) * k.sum_abs(w, size) + l2(s) * k.sum_square(w, size) / 2;
    if (max_norm > 0) {
      k.add_penalty(e.g.data() + s.begin, w, size, l1(s), l2(s));
      e.norm_square += k.sum_square(e.g.data() + s.begin, size);
    }
  }
  for (const DeviceSegment& s : segments) {
    UpdateArgs<T> q = args(e.w.data() + s.begin, static_cast<const T*>(e.g.data() + s.begin), e.m.data() + s.begin, e.v.data() + s.begin,
                           s.end - s.begin, max_norm > 0 ? 1 : slots, n);
    if (max_norm > 0)
      q.clip = std::min(1.0, max_norm / std::sqrt(e.norm_square));
    else
      q.l1 = l1(s), q.l2 = l2(s);
    q.threshold = q.alpha * proximal(s);
    k.adam(q);
  }
  return e;
}

// Of n numbers, `offset` behind an aligned address: then the first of them are single elements, to which a thread comes after its packs.
template <class T>
void test_segments(Index n, Index offset, const std::vector<int>& blocks) {
  // gaps before, between and behind them are frozen
  const std::vector<std::vector<DeviceSegment>> cases = {
      {{0, 3000, 0, 0.02, 0, 0, 0, 0}},
      {{0, 7, 0.01, 0, 0, 0, 0.3, 0}, {7, 9, 0, 0, 0, 0, 0, 0}, {9, 2500, 0, 0.05, 0.002, 0.2, 0, 0.1}},
      {{5, 6, 0, 0, 0, 0, 0, 0}, {11, 1030, 0.02, 0.03, 0, 0, 0, 0}, {1030, 2999, 0, 0, 0.01, 0, 0, 0}},
      {{2990, 3000, 0, 0.5, 0, 0, 0, 0}},
  };
  for (const auto& segments : cases)
    for (const Index slots : {1, 3})
      for (const double max_norm : {0.0, 0.5, 1e9})
        for (const int threads : blocks) {
          const double sum_of_weights = 7;
          const Expected<T> start{random<T>(n), random<T>(slots * n), random<T>(n), random<T>(n, 0.1, 1)};
          const Expected<T> e = by_segments(start, segments, sum_of_weights, slots, max_norm);
          cuda::current().threads = threads;
          OnDevice<T> w(start.w, offset), g(start.g, offset), m(start.m, offset), v(start.v, offset);
          OnDevice<DeviceSegment> s(segments);
          OnDevice<Outcome> o({Outcome{}});
          const DeviceUpdate d{o.data(), s.data(), static_cast<Index>(segments.size()), sum_of_weights, true, max_norm};
          UpdateArgs<T> q = args(w.data(), static_cast<const T*>(g.data()), m.data(), v.data(), n, slots, n);
          q.device = &d;
          if (max_norm > 0) {
            cuda::device_table<T>().penalised_norm(g.data(), q);
            q.slots = 1;
            check(close(outcome_of(o).norm_square, e.norm_square, 10 * tolerance<T>), "norm_square");
          }
          cuda::table<T>().adam(q);
          const std::string name = "adam by segments of " + std::to_string(n) + ", clip " + std::to_string(max_norm);
          normwise(w.read(), e.w, name + ", w");
          normwise(m.read(), e.m, name + ", m");
          normwise(v.read(), e.v, name + ", v");
          const std::vector<T> after = w.read();
          for (Index j = 0; j < n; ++j) {
            bool trained = false;
            for (const DeviceSegment& x : segments) trained = trained || (j >= x.begin && j < x.end);
            check(trained || after[at(j)] == start.w[at(j)], "a frozen parameter moved");
          }
          check(close(outcome_of(o).penalty, e.penalty, 10 * tolerance<T>), name, ", penalty");
          hash(w.read());
        }
  cuda::current().threads = asked;
}

template <class T>
void test_norm_fault() {
  OnDevice<T> w(random<T>(4)), g({0, 0, std::numeric_limits<T>::infinity(), 0});
  OnDevice<Outcome> o({Outcome{}});
  const DeviceUpdate d{o.data(), nullptr, 0, 1, false, 1};
  UpdateArgs<T> q = args(w.data(), static_cast<const T*>(g.data()), static_cast<T*>(nullptr), static_cast<T*>(nullptr), 4, 1, 4);
  q.device = &d;
  cuda::device_table<T>().penalised_norm(g.data(), q);
  check(outcome_of(o).fault == DeltaFault, "a norm that is not finite");
}

template <class T>
void test_all() {
  test_gather<T>();
  test_hits<T>();
  test_outcome<T>();
  test_segments<T>(3000, 0, {std::begin(block_sizes), std::end(block_sizes)});
  test_segments<T>(20007, 1, {block_sizes[1]});  // more than the emulated card has threads in blocks of 32
  test_norm_fault<T>();
}

}  // namespace

int main() {
  return in_context([] {
    test_all<float>();
    test_all<double>();
  });
}
