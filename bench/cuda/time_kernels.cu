// SPDX-License-Identifier: MIT
// Times kernels with CUDA events. Reads lines "kernel size..." and answers each with "kernel size... launches L seconds S": launches of one call, and
// the best of several series of calls. On the emulation it runs the calls and says "not measured". "smoke" in place of input: every kernel, at small
// sizes. Names and sizes are those of bench/cuda/costs.py.
#include <cmath>
#include <functional>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/cuda/tables.h"

namespace chainrule::cuda {

namespace {

using Sizes = std::vector<Index>;

void require(bool ok, const std::string& what) {
  if (ok) return;
  std::cerr << "time_kernels: " << what << "\n";
  std::exit(1);
}

// n values in the device's memory
template <class V>
class Block {
 public:
  template <class F>
  Block(Index n, F&& value) {
    std::vector<V> x(static_cast<std::size_t>(n));
    for (Index i = 0; i < n; ++i) x[static_cast<std::size_t>(i)] = value(i);
    Context& c = current();
    const std::size_t bytes = x.size() * sizeof(V);
    if (bytes > 0 && c.check(cudaMalloc(&memory_, bytes), "cudaMalloc"))
      c.check(cudaMemcpyAsync(memory_, x.data(), bytes, cudaMemcpyHostToDevice, c.stream), "cudaMemcpyAsync");
    synchronize(c);
  }
  Block(Block&& other) noexcept : memory_(other.memory_) { other.memory_ = nullptr; }
  ~Block() { cudaFree(memory_); }
  V* operator()() const { return memory_; }

 private:
  V* memory_ = nullptr;
};
using Numbers = Block<float>;

// In [low, high), the same in every run
Numbers numbers(Index n, double low = -1, double high = 1) {
  std::uint64_t state = 1;
  return {n, [=](Index) mutable {
            state = state * 6364136223846793005u + 1442695040888963407u;
            return static_cast<float>(low + (high - low) * static_cast<double>(state >> 40) / static_cast<double>(1 << 24));
          }};
}
Block<Outcome> outcome() {
  return {1, [](Index) { return Outcome{}; }};
}

// Launches of one call and the best mean of several series of calls; a series takes a millisecond at least
struct Result {
  Index launches;
  double seconds;
};
Result measure(const std::function<void()>& call) {
  Context& c = current();
  const Index before = c.launches;
  call();
  const Index launches = c.launches - before;
  synchronize(c);
#ifdef CHAINRULE_EMULATION
  return {launches, std::nan("")};
#else
  cudaEvent_t begin, end;
  c.check(cudaEventCreate(&begin), "cudaEventCreate");
  c.check(cudaEventCreate(&end), "cudaEventCreate");
  double best = HUGE_VAL;
  for (Index calls = 1, series = 0; series < 10 && c.ok();) {
    c.check(cudaEventRecord(begin, c.stream), "cudaEventRecord");
    for (Index i = 0; i < calls; ++i) call();
    c.check(cudaEventRecord(end, c.stream), "cudaEventRecord");
    synchronize(c);
    float milliseconds = 0;
    c.check(cudaEventElapsedTime(&milliseconds, begin, end), "cudaEventElapsedTime");
    if (milliseconds < 1)
      calls *= 2;
    else
      best = std::fmin(best, 1e-3 * milliseconds / static_cast<double>(calls)), ++series;
  }
  c.check(cudaEventDestroy(begin), "cudaEventDestroy");
  c.check(cudaEventDestroy(end), "cudaEventDestroy");
  return {launches, best};
#endif
}

// ---- the kernels --------------------------------------------------------------------------------------------------------------------------------

struct Case {
  Sizes small;
  std::function<Result(const Sizes&)> run;
};

const Kernels<float>& k() { return table<float>(); }
const DeviceKernels<float>& more() { return device_table<float>(); }
const ActivationKernel<float>& activation(const std::string& name) {
  for (int i = 0; i < k().n_activations; ++i)
    if (name == k().activations[i].name) return k().activations[i];
  require(false, "there is no activation " + name);
  return k().activations[0];
}

Case forward(const char* name) {
  return {{600, 9}, [=](const Sizes& d) {
            const auto& g = activation(name);
            const Numbers z = numbers(d[0] * d[1]), a = numbers(g.needs_z ? d[0] * d[1] : 0), b = numbers(d[1], -1e-3, 1e-3);
            return measure([&] { g.forward(g.needs_z ? a() : z(), z(), b(), d[0], d[1], d[1], 0); });
          }};
}
Case backward(const char* name) {
  return {{600, 9}, [=](const Sizes& d) {
            const Numbers dz = numbers(d[0] * d[1]), x = numbers(d[0] * d[1], 0.1, 0.9);
            return measure([&] { activation(name).backward(dz(), x(), x(), d[0], d[1], d[1], 0); });
          }};
}
Case loss(LossKernel<float> Kernels<float>::* kernel, bool labels) {
  return {{600, 9}, [=](const Sizes& d) {
            const Numbers x = numbers(d[0] * d[1]), dx = numbers(d[0] * d[1]), y = numbers(labels ? 0 : d[0] * d[1], 0, 1);
            const Block<std::int32_t> t(d[0], [&](Index i) { return static_cast<std::int32_t>(i % d[1]); });
            const Block<Outcome> to = outcome();
            LossArgs<float> q{x(), dx(), Accum::Overwrite, labels ? nullptr : y(), labels ? t() : nullptr, nullptr, 1e-3, d[0], d[1]};
            q.outcome = to();
            return measure([&] { (k().*kernel)(q); });
          }};
}
// momentum: of sgd
Case update(UpdateKernel<float> Kernels<float>::* kernel, double mu, bool m, bool v) {
  return {{5001}, [=](const Sizes& d) {
            const Numbers w = numbers(d[0]), g = numbers(d[0]), first = numbers(m ? d[0] : 0), second = numbers(v ? d[0] : 0, 0.5, 1);
            const Block<Outcome> to = outcome();
            const DeviceUpdate device{to(), nullptr, 0, 1, false, 0};
            UpdateArgs<float> q{};
            q.w = w(), q.g = g(), q.slots = 1, q.n = d[0], q.m = m ? first() : nullptr, q.v = v ? second() : nullptr;
            q.alpha = 1e-6, q.mu = mu, q.rho = 0.999, q.eps = 1e-7, q.c1 = q.c2 = q.clip = 1;
            q.device = &device;
            return measure([&] { (k().*kernel)(q); });
          }};
}
Case flat(const std::function<void(Index n, float* x, float* y, float* z)>& call) {
  return {{5001}, [=](const Sizes& d) {
            const Numbers x = numbers(d[0]), y = numbers(d[0]), z = numbers(2 * d[0]);
            return measure([&] { call(d[0], x(), y(), z()); });
          }};
}
Case sparse(bool forward) {
  return {{7, 5, 37, 3}, [=](const Sizes& d) {
            const Index rows = d[0], units = d[1], n_in = d[2], each = d[3];
            const Block<Index> begin(rows + 1, [&](Index i) { return i * each; });
            const Block<std::int32_t> column(rows * each, [&](Index e) { return static_cast<std::int32_t>(e * 7919 % n_in); });
            const Numbers value = numbers(rows * each), w = numbers(units * n_in), z = numbers(rows * units);
            const SparseArgs<float> x{begin(), column(), value(), rows};
            return measure([&] {
              if (forward)
                k().sparse_forward(z(), units, x, n_in, w(), units);
              else
                k().sparse_backward(w(), z(), units, x, n_in, units, 1e-3f, 0.5f);
            });
          }};
}

// d: images, their height and width, channels, filters, height and width of the kernel
Case convolution(const std::function<void(const ConvShape& s, Index n, float* z, float* x, float* w)>& call) {
  return {{2, 5, 3, 6, 3}, [=](const Sizes& d) {
            const Index side = d[1], pixels = d[0] * side * side, before = (d[4] - 1) / 2;
            const ConvShape s{side, side, d[2], side, side, d[3], d[4], d[4], 1, 1, 1, 1, before, before, 1};
            const Numbers z = numbers(pixels * d[3]), x = numbers(pixels * d[2]), w = numbers(d[3] * d[4] * d[4] * d[2]);
            return measure([&] { call(s, d[0], z(), x(), w()); });
          }};
}

std::map<std::string, Case> cases() {
  std::map<std::string, Case> all;
  all["gemm"] = {{13, 37, 29}, [](const Sizes& d) {
                   const Numbers a = numbers(d[0] * d[2]), b = numbers(d[2] * d[1]), c = numbers(d[0] * d[1]);
                   return measure([&] { k().gemm(false, false, d[0], d[1], d[2], 1, a(), d[2], b(), d[1], 0, c(), d[1]); });
                 }};
  all["bias"] = forward("identity"), all["bias_relu"] = forward("relu"), all["bias_tanh"] = forward("tanh"), all["bias_gelu"] = forward("gelu");
  all["relu_backward"] = backward("relu"), all["tanh_backward"] = backward("tanh"), all["gelu_backward"] = backward("gelu");
  all["softmax"] = {{600, 9}, [](const Sizes& d) {
                      const Numbers z = numbers(d[0] * d[1]), a = numbers(d[0] * d[1]);
                      return measure([&] { k().softmax_forward(a(), z(), d[0], d[1]); });
                    }};
  all["softmax_backward"] = {{600, 9}, [](const Sizes& d) {
                               const Numbers da = numbers(d[0] * d[1]), a = numbers(d[0] * d[1], 0, 0.1), dz = numbers(d[0] * d[1]);
                               return measure([&] { k().softmax_backward(dz(), da(), a(), d[0], d[1], Accum::Overwrite); });
                             }};
  all["softmax_cross_entropy"] = loss(&Kernels<float>::softmax_cross_entropy, true);
  all["squared_error"] = loss(&Kernels<float>::squared_error, false);
  all["sigmoid_binary_cross_entropy"] = loss(&Kernels<float>::sigmoid_binary_cross_entropy, false);
  all["column_sum"] = {{600, 9}, [](const Sizes& d) {
                         const Numbers dz = numbers(d[0] * d[1]), db = numbers(d[1]);
                         return measure([&] { k().column_sum(db(), dz(), d[0], d[1], d[1], 1, 0); });
                       }};
  all["sgd"] = update(&Kernels<float>::sgd, 0, false, false), all["momentum"] = update(&Kernels<float>::sgd, 0.9, false, true);
  all["rmsprop"] = update(&Kernels<float>::rmsprop, 0, false, true), all["adam"] = update(&Kernels<float>::adam, 0.9, true, true);
  all["penalised_norm"] = {{5001}, [](const Sizes& d) {
                             const Numbers w = numbers(d[0]), g = numbers(d[0]);
                             const Block<Outcome> to = outcome();
                             const DeviceUpdate device{to(), nullptr, 0, 1, true, 1};
                             UpdateArgs<float> q{};
                             q.w = w(), q.g = g(), q.slots = 1, q.n = d[0], q.l2 = 1e-6, q.device = &device;
                             return measure([&] { more().penalised_norm(g(), q); });
                           }};
  all["expect_finite"] = flat([](Index n, float* x, float*, float*) { more().expect_finite(current().outcome, x, n); });
  all["end_step"] = {{}, [](const Sizes&) {
                       const Block<Outcome> to = outcome();
                       return measure([&] { more().end_step(to(), 1); });
                     }};
  all["sum_slots"] = flat([](Index n, float* x, float*, float* z) { k().sum_slots(x, z, 2, n, n); });
  // the number comes back by value: a copy of 8 bytes and a wait are in the time
  all["sum_square"] = flat([](Index n, float* x, float*, float*) { k().sum_square(x, n); });
  all["add_penalty"] = flat([](Index n, float* x, float* y, float*) { k().add_penalty(x, y, n, 1e-6, 1e-6); });
  all["add"] = flat([](Index n, float* x, float* y, float*) { k().add(y, x, n, Accum::Overwrite); });
  all["multiply"] = flat([](Index n, float* x, float* y, float* z) { k().multiply(z, x, y, n, Accum::Overwrite); });
  all["dropout"] = flat([](Index n, float* x, float* y, float*) { k().dropout(y, x, 0, n, 1, 2, 3, 4, 1u << 30, 1.5f, Accum::Overwrite); });
  all["standardize"] = {{600, 9}, [](const Sizes& d) {
                          const Numbers x = numbers(d[0] * d[1]), y = numbers(d[0] * d[1]), mean = numbers(d[1]), scale = numbers(d[1], 0.5, 2);
                          return measure([&] { k().standardize_forward(y(), x(), mean(), scale(), d[0], d[1]); });
                        }};
  all["gather"] = {{600, 8}, [](const Sizes& d) {
                     const Numbers x = numbers(d[0] * d[1]), out = numbers(d[0] * d[1]);
                     const Block<Index> index(d[0], [&](Index i) { return i * 7919 % d[0]; });
                     return measure([&] { more().gather(out(), x(), index(), d[0], d[1]); });
                   }};
  all["gather_labels"] = {{5001}, [](const Sizes& d) {
                            const auto label = [](Index i) { return static_cast<std::int32_t>(i); };
                            const Block<std::int32_t> x(d[0], label), out(d[0], label);
                            const Block<Index> index(d[0], [&](Index i) { return i * 7919 % d[0]; });
                            return measure([&] { more().gather_labels(out(), x(), index(), d[0], 1); });
                          }};
  all["count_hits"] = {{600, 9}, [](const Sizes& d) {
                         const Numbers x = numbers(d[0] * d[1]);
                         const Block<std::int32_t> t(d[0], [&](Index i) { return static_cast<std::int32_t>(i % d[1]); });
                         const Block<double> hits(1, [](Index) { return 0.0; });
                         const LossArgs<float> q{x(), nullptr, Accum::Overwrite, nullptr, t(), nullptr, 1, d[0], d[1]};
                         return measure([&] { more().count_hits(hits(), q, true, 0); });
                       }};
  all["conv_forward"] = convolution([](const ConvShape& s, Index n, float* z, float* x, float* w) {
    k().conv_forward(z, x, w, s, n, 0, s.filters, Accum::Overwrite, nullptr);
  });
  all["conv_backward"] = convolution([](const ConvShape& s, Index n, float* z, float* x, float* w) {
    k().conv_backward(x, z, w, s, n, 0, s.channels, Accum::Overwrite, nullptr);
  });
  all["conv_gradient"] = convolution([](const ConvShape& s, Index n, float* z, float* x, float* w) {
    k().conv_gradient(w, z, x, s, n, 0, s.filters, 1e-3f, 0, nullptr);
  });
  all["sparse_forward"] = sparse(true), all["sparse_backward"] = sparse(false);
  return all;
}

void answer(const std::string& name, const Case& one, const Sizes& sizes) {
  require(sizes.size() == one.small.size(), name + " takes " + std::to_string(one.small.size()) + " sizes");
  const Result r = one.run(sizes);
  require(current().ok(), name + ": " + current().text);
  std::cout << name;
  for (const Index n : sizes) std::cout << " " << n;
  std::cout << " launches " << r.launches << " seconds ";
  if (std::isnan(r.seconds))
    std::cout << "not measured\n";
  else
    std::cout << r.seconds << "\n";
}

int run(bool smoke) {
  int code = 0;
  char text[256] = "";
  Context* context = create_context(0, false, &code, text);
  require(context, text);
  enter(context);
  cudaDeviceProp device;
  context->check(cudaGetDeviceProperties(&device, 0), "cudaGetDeviceProperties");
  std::cout << "device " << device.name << "\n";
  const std::map<std::string, Case> all = cases();
  if (smoke)
    for (const auto& [name, one] : all) answer(name, one, one.small);
  for (std::string line; !smoke && std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    Sizes sizes;
    for (Index n; words >> n;) sizes.push_back(n);
    const auto found = all.find(name);
    require(found != all.end(), "there is no kernel " + name);
    answer(name, found->second, sizes);
  }
  enter(nullptr);
  destroy_context(context);
  return 0;
}

}  // namespace

}  // namespace chainrule::cuda

int main(int argc, char** argv) { return chainrule::cuda::run(argc > 1 && std::string(argv[1]) == "smoke"); }
