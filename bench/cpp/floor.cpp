// SPDX-License-Identifier: MIT
// floor [sizes batch [sgd|adam [rounds]]], e.g. floor 784-1024-1024-10 128 adam
// The floor of a training step: its bare products plus the bytes of the optimizer's pass at the rate of `y += c x` over as much memory. Where the core goes
// by layers each product is cut over the threads in the fastest of a few simple ways; where it goes by chunks of rows, so do the products.
// Beside it, in turn with it, the whole step of the core, so that a machine whose rate drifts changes both.
#include <cstdio>
#include <cstdlib>

#include "products.h"
#include "train/trainer.h"

using namespace chainrule;
using namespace chainrule::bench;

namespace {

// Seconds of one f, from so many that they take `duration`: the clock and the wake-up of a thread do not count
template <class F>
double sample(F&& f, double duration = 0.02) {
  const int times = std::max(1, static_cast<int>(duration / std::max(seconds(f), 1e-8)));
  return seconds([&] {
           for (int i = 0; i < times; ++i) f();
         }) /
         times;
}

struct Cut {
  std::string name;
  TileSize tile;
  int threads;
};

std::vector<Cut> cuts(const Product& p, bool late) {
  const int all = num_threads();
  const auto part = [](Index size, Index parts) { return (size + parts - 1) / parts; };
  std::vector<Cut> list{{"the executor's", p.executors_tiles(late), all}};
  // Where a second thread may cost more than it brings. For more than that one thread wins only while the second core is away.
  if (p.flop() < 1e7) list.push_back({"one thread", {p.m, p.n}, 1});
  for (const Index parts : {Index{all}, Index{4} * all}) {
    if (p.m >= parts) list.push_back({std::to_string(parts) + " of rows", {part(p.m, parts), p.n}, all});
    if (p.n >= parts) list.push_back({std::to_string(parts) + " of columns", {p.m, part(p.n, parts)}, all});
  }
  return list;
}

// Of each product the cut whose fastest sample is fastest. All are tried in turn, for a second and at least four times: for shorter a second thread may
// not be there at all.
std::vector<Cut> fastest(const std::vector<Product>& products, bool late) {
  struct Trial {
    const Product* product;
    Cut cut;
    double best = 1e9;
  };
  std::vector<Trial> trials;
  for (const Product& p : products)
    for (const Cut& c : cuts(p, late)) trials.push_back({&p, c});
  const double start = now();
  for (int round = 0; round < 4 || now() < start + 1; ++round)
    for (Trial& t : trials) t.best = std::min(t.best, sample([&] { t.product->run(t.cut.tile, t.cut.threads); }, 1e-3));
  std::vector<Cut> chosen;
  for (const Product& p : products) {
    const Trial* best = nullptr;
    for (const Trial& t : trials)
      if (t.product == &p && (!best || t.best < best->best)) best = &t;
    chosen.push_back(best->cut);
  }
  return chosen;
}

// One training step of the core, on one batch again and again.
class Training {
 public:
  Training(const Sizes& sizes, Index batch, const std::string& optimizer)
      : net_(graph_spec(sizes), 0), x_(batch * sizes[0]), y_(batch), trainer_(net_, spec(optimizer)) {
    fill(x_.data(), x_.size(), -1, 1);
    for (Index i = 0; i < batch; ++i) y_.data()[i] = static_cast<std::int32_t>(i % sizes.back());
    data_.rows = batch;
    data_.inputs = {source("X", reinterpret_cast<const char*>(x_.data()), DType::F32, 4, batch, sizes[0])};
    data_.targets.resize(1);
    data_.targets[0].y = source("y", reinterpret_cast<const char*>(y_.data()), DType::I32, 4, batch, 1);
    data_.targets[0].labels = true;
    data_.targets[0].columns = sizes.back();
    const double first = step();
    for (int i = 0; i < 5; ++i) step();
    CR_CHECK(step() < first, "the loss does not fall: ", first, " before, ", loss_, " after six steps");
    Mode mode;
    mode.losses = {LossKind::CrossEntropy};
    mode.gradients = mode.training = true;
    const Plan& plan = net_.plan(mode);
    const bool chunks = plan.by_chunks(batch, 1);
    late_ = optimizer == "sgd" && (!chunks || plan.slots(batch, 1) == 1) && plan.may_be_late(batch, 1);
    if (chunks) chunk_ = std::min(batch, plan.chunk_rows(batch, 1));
  }
  double step() {
    double weight = 0;
    trainer_.step(data_, cancel_, loss_, weight);
    return loss_;
  }
  Index parameters() const { return net_.graph.n_parameters; }
  Index chunk() const { return chunk_; }  // rows of one, 0: by layers
  bool late() const { return late_; }

 private:
  static Source source(const char* name, const char* data, DType dtype, Index bytes, Index rows, Index size) {
    Source s;
    s.name = name, s.data = data, s.dtype = dtype, s.rows = rows, s.row_stride = bytes * size;
    s.shape = {size}, s.stride = {bytes}, s.size = size;
    return s;
  }
  FitSpec spec(const std::string& optimizer) const {
    FitSpec f;
    f.losses = {{LossKind::CrossEntropy, 1, {}}};
    f.optimizer.type = optimizer;
    f.optimizer.momentum = 0.9;
    f.schedule.alpha0 = 1e-4;
    f.segments = net_.segments();
    return f;
  }

  Network<float> net_;
  Block<float> x_;
  Block<std::int32_t> y_;
  Data<float> data_;
  Trainer<float> trainer_;
  Cancel cancel_;
  double loss_ = 0;
  Index chunk_ = 0;
  bool late_ = false;
};

// The products of one step, each timed where that is possible.
class Bare {
 public:
  Bare(const Sizes& sizes, Index batch, Index chunk, bool late) : chunks_(chunk ? (batch + chunk - 1) / chunk : 0) {
    for (int worker = 0; worker < (chunk ? num_threads() : 1); ++worker) spaces_.emplace_back(sizes, chunk ? chunk : batch, true);
    if (chunk)
      for (const Product& p : list()) best_.push_back({"", {p.m, p.n}, 1});
    else
      best_ = fastest(list(), late);
    for (const Product& p : list()) executors_.push_back(cuts(p, late)[0]);
    times_.resize(list().size());
  }
  const std::vector<Product>& list() const { return spaces_[0].list; }
  void operator()() {
    if (!chunks_) return one_after_the_other(best_);
    parallel_for(chunks_, num_threads(), [&](Index, int worker) {
      for (const Product& p : spaces_[static_cast<std::size_t>(worker)].list) p.run({p.m, p.n}, 1);
    });
  }
  void with_executors_cuts() { one_after_the_other(executors_); }
  double flop() const {
    double sum = 0;
    for (const Product& p : list()) sum += p.flop();
    return sum * static_cast<double>(std::max<Index>(1, chunks_));
  }
  void time_each() {
    for (std::size_t i = 0; i < list().size(); ++i) times_[i].push_back(sample([&] { list()[i].run(best_[i].tile, best_[i].threads); }, 1e-3));
  }
  void print() const {
    if (chunks_) std::printf("  %ld chunks; one of them on one thread:\n", static_cast<long>(chunks_));
    for (std::size_t i = 0; i < list().size(); ++i) {
      const Product& p = list()[i];
      const double time = median(times_[i]);
      std::printf("  %-8s %zu  %5ld x %5ld x %5ld  %-14s %9.1f us  %6.1f GFLOP/s\n", p.name().c_str(), p.transition, static_cast<long>(p.m),
                  static_cast<long>(p.n), static_cast<long>(p.k), best_[i].name.c_str(), 1e6 * time, 1e-9 * p.flop() / time);
    }
  }

 private:
  void one_after_the_other(const std::vector<Cut>& how) {
    for (std::size_t i = 0; i < how.size(); ++i) list()[i].run(how[i].tile, how[i].threads);
  }
  Index chunks_;
  std::vector<Products> spaces_;  // by worker
  std::vector<Cut> best_, executors_;
  std::vector<std::vector<double>> times_;
};

void report(const std::string& network, Index batch, const std::string& optimizer, int rounds, LargeProduct& large) {
  const Sizes sizes = parse_sizes(network);
  const int threads = num_threads();
  Training training(sizes, batch, optimizer);
  Bare bare(sizes, batch, training.chunk(), training.late());
  // The pass reads and writes W and its moments; adam reads the gradient too.
  const double block = 4e-6 * static_cast<double>(training.parameters()), traffic = block * (optimizer == "sgd" ? 4 : 7);
  Stream stream(1e6 * block * (optimizer == "sgd" ? 2 : 4));

  std::vector<double> products, executors, bytes, rates, steps, peaks, of_peak;
  for (int round = 0; round <= rounds; ++round) {  // a floor on both sides of every step
    products.push_back(sample([&] { bare(); }));
    rates.push_back(stream.update(threads, 0.005));
    bytes.push_back(1e-3 * traffic / rates.back());
    if (round == rounds) break;
    steps.push_back(sample([&] { training.step(); }));
    if (!training.chunk()) executors.push_back(sample([&] { bare.with_executors_cuts(); }));
    if (round % 3) continue;
    bare.time_each();
    peaks.push_back(std::max(large.rate(threads, true), large.rate(threads, false)));
    of_peak.push_back(1e-9 * bare.flop() / steps.back() / peaks.back());
  }
  std::vector<double> share, share_executors;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const double update = (bytes[i] + bytes[i + 1]) / 2;
    share.push_back(((products[i] + products[i + 1]) / 2 + update) / steps[i]);
    if (!training.chunk()) share_executors.push_back((executors[i] + update) / steps[i]);
  }

  const auto gflops = [&](double time) { return 1e-9 * bare.flop() / time; };
  const double product = median(products), update = median(bytes), step = median(steps), peak = *std::max_element(peaks.begin(), peaks.end());
  std::printf("%s, batch %ld, %s, %d threads, %d rounds; the core goes by %s%s\n", network.c_str(), static_cast<long>(batch), optimizer.c_str(),
              threads, rounds, training.chunk() ? "chunks" : "layers", training.late() ? ", gradients straight into the velocity" : "");
  bare.print();
  std::printf("  products %38s %9.1f us  %6.1f GFLOP/s", "", 1e6 * product, gflops(product));
  if (!training.chunk()) std::printf(", %.1f as the executor cuts them", gflops(median(executors)));
  std::printf("\n  update  %39s %9.1f us  %6.1f GB/s, %.1f MB\n", "", 1e6 * update, median(rates), traffic);
  std::printf("  floor   %39s %9.1f us  %6.1f GFLOP/s\n", "", 1e6 * (product + update), gflops(product + update));
  std::printf("  step    %39s %9.1f us  %6.1f GFLOP/s, %.1f %% of the 4096^3 sgemm beside it, %.1f %% of its best (%.1f)\n", "", 1e6 * step,
              gflops(step), 100 * median(of_peak), 100 * gflops(step) / peak, peak);
  std::printf("  floor / step %.1f %%", 100 * median(share));
  if (!training.chunk()) std::printf(", with the executor's cuts %.1f %%", 100 * median(share_executors));
  std::printf(" (medians of the ratios of neighbours)\n\n");
}

}  // namespace

int main(int argc, char** argv) try {
  LargeProduct large;
  const std::string optimizer = argc > 3 ? argv[3] : "sgd";
  const int rounds = argc > 4 ? std::atoi(argv[4]) : 15;
  CR_CHECK(argc != 2 && argc <= 5 && (optimizer == "sgd" || optimizer == "adam") && rounds >= 1, "floor [sizes batch [sgd|adam [rounds]]]");
  if (argc == 1) {
    report("784-1024-1024-10", 128, optimizer, rounds, large);
    report("1024-4096-4096-10", 256, optimizer, rounds, large);
    return 0;
  }
  report(argv[1], parse_sizes(std::string(argv[2]) + "-1")[0], optimizer, rounds, large);
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
