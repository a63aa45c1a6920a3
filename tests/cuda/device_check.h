// SPDX-License-Identifier: MIT
// A kernel of the device's table beside the CPU's of the same name: the same call on copies of the same arrays, at several block sizes, aligned and not.
#pragma once
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>

#include "cpp/kernel_check.h"
#include "kernels/cuda/tables.h"

namespace {

using cuda::Context;

const int asked = std::getenv("CHAINRULE_TEST_BLOCK") ? std::atoi(std::getenv("CHAINRULE_TEST_BLOCK")) : 0;  // threads of all blocks: for coverage.py
const int block_sizes[] = {asked, asked ? asked : 32, asked ? asked : 96, asked ? asked : 1024};             // 0: what the kernel asks for
const Index offsets[] = {0, 1, 4};           // 4: arrays apart by 1, 2 and 3 numbers from an aligned address
std::uint64_t bits = 14695981039346656037u;  // of the results (FNV-1a), into the file CHAINRULE_TEST_BITS: the same in every order of threads

// n numbers in the device's memory, none before or behind them, `offset` numbers behind an address that is a multiple of 256
template <class V>
class OnDevice {
 public:
  explicit OnDevice(const std::vector<V>& x, Index offset = 0) : size_(x.size()), offset_(offset) {
    Context& c = cuda::current();
    c.check(cudaMalloc(reinterpret_cast<void**>(&memory_), (std::max<std::size_t>(1, size_) + at()) * sizeof(V)), "cudaMalloc");
    if (size_ > 0) c.check(cudaMemcpyAsync(data(), x.data(), size_ * sizeof(V), cudaMemcpyHostToDevice, c.stream), "cudaMemcpyAsync");
    cuda::synchronize(c);
  }
  OnDevice(const OnDevice&) = delete;
  ~OnDevice() { cudaFree(memory_); }
  V* data() { return memory_ + at(); }
  std::vector<V> read() {
    Context& c = cuda::current();
    std::vector<V> x(size_);
    if (size_ > 0) c.check(cudaMemcpyAsync(x.data(), data(), size_ * sizeof(V), cudaMemcpyDeviceToHost, c.stream), "cudaMemcpyAsync");
    cuda::synchronize(c);
    return x;
  }

 private:
  std::size_t at() const { return static_cast<std::size_t>(offset_); }
  V* memory_ = nullptr;
  std::size_t size_;
  Index offset_;
};

template <class T>
constexpr double tolerance = sizeof(T) == 4 ? 1e-5 : 1e-12;

// ||found - expected|| <= tolerance ||expected||; what is not finite has to be so in the same place. `terms`: how large the terms are that an element is a
// difference of, where nothing may be left of them.
template <class T>
void normwise(const std::vector<T>& found, const std::vector<T>& expected, const std::string& name, double terms = 0, double factor = 1) {
  Real difference = 0, size = Real(terms * terms) * static_cast<Real>(expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const Real a = found[i], b = expected[i];
    if (std::isfinite(b) && std::isfinite(a)) {
      difference += (a - b) * (a - b), size += b * b;
    } else if (!(a == b || (std::isnan(a) && std::isnan(b)))) {
      check(false, name, ": ", std::to_string(a), " where the CPU has ", std::to_string(b));
      return;
    }
  }
  const double error = static_cast<double>(std::sqrt(difference)), limit = factor * tolerance<T> * static_cast<double>(std::sqrt(size));
  check(error <= limit, name, ": normwise error ", std::to_string(error), ", expected at most ", std::to_string(limit));
}

template <class V>
bool same_bits(const std::vector<V>& x, const std::vector<V>& y) {
  return x.size() == y.size() && (x.empty() || !std::memcmp(x.data(), y.data(), x.size() * sizeof(V)));
}
template <class V>
void hash(const std::vector<V>& x) {
  const auto* p = reinterpret_cast<const unsigned char*>(x.data());
  for (std::size_t i = 0; i < x.size() * sizeof(V); ++i) bits = (bits ^ p[i]) * 1099511628211u;
}

template <class T>
struct Arrays {
  std::vector<std::vector<T>> numbers;
  std::vector<std::vector<std::int32_t>> labels = {};
  std::vector<std::vector<Index>> indices = {};
};
template <class T>
struct Pointers {
  std::vector<T*> numbers;
  std::vector<std::int32_t*> labels;
  std::vector<Index*> indices;
};

template <class T, class Call>
std::pair<double, std::vector<std::vector<T>>> on_cpu(Arrays<T> a, const Call& call) {
  Pointers<T> p;
  for (auto& x : a.numbers) p.numbers.push_back(x.data());
  for (auto& x : a.labels) p.labels.push_back(x.data());
  for (auto& x : a.indices) p.indices.push_back(x.data());
  const double value = call(kernels<T>(), p);
  return {value, a.numbers};
}
template <class T, class Call>
std::pair<double, std::vector<std::vector<T>>> on_device(const Arrays<T>& a, Index offset, const Call& call) {
  std::vector<std::unique_ptr<OnDevice<T>>> numbers;
  std::vector<std::unique_ptr<OnDevice<std::int32_t>>> labels;
  std::vector<std::unique_ptr<OnDevice<Index>>> indices;
  Pointers<T> p;
  for (std::size_t i = 0; i < a.numbers.size(); ++i) {
    numbers.push_back(std::make_unique<OnDevice<T>>(a.numbers[i], offset == 4 ? static_cast<Index>(1 + i % 3) : offset));
    p.numbers.push_back(numbers.back()->data());
  }
  for (auto& x : a.labels) p.labels.push_back(labels.emplace_back(std::make_unique<OnDevice<std::int32_t>>(x))->data());
  for (auto& x : a.indices) p.indices.push_back(indices.emplace_back(std::make_unique<OnDevice<Index>>(x))->data());
  const double value = call(cuda::table<T>(), p);
  std::vector<std::vector<T>> result;
  for (auto& x : numbers) result.push_back(x->read());
  return {value, result};
}

// call(table, pointers) on both, with two of the twelve arrangements of block size and alignment, the first of them twice; CHAINRULE_TEST_ONCE: with the
// first alone. They take turns from call to call: sizes and arrangements are coprime, so every kernel meets all of them. `exact`: not a bit may differ.
// `launches`: how many kernels a device must have run at least.
template <class T, class Call>
void compare(const std::string& name, const Arrays<T>& arrays, const Call& call, bool exact = false, int launches = 1, double terms = 0) {
  static unsigned turn = 0;
  static const bool once = std::getenv("CHAINRULE_TEST_ONCE");
  Context& c = cuda::current();
  const auto [value, expected] = on_cpu(arrays, call);
  ++turn;
  for (const unsigned arrangement : {turn, turn + 5}) {
    if (once && arrangement != turn) break;
    c.threads = block_sizes[arrangement % 4];
    const Index offset = offsets[arrangement % 3];
    const std::string at =
        name + (sizeof(T) == 4 ? " float" : " double") + ", blocks of " + std::to_string(c.threads) + ", offset " + std::to_string(offset);
    const Index before = c.launches;
    const auto [found_value, found] = on_device(arrays, offset, call);
    check(c.launches - before >= launches, name, " launched no kernel");
    normwise(std::vector<double>{found_value}, std::vector<double>{value}, at + ", value", terms > 0 ? 1 : 0, tolerance<T> / tolerance<double>);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      normwise(found[i], expected[i], at + ", array " + std::to_string(i), terms);
      if (exact) check(same_bits(found[i], expected[i]), at, ", array " + std::to_string(i), ": other bits than the CPU's");
    }
    if (arrangement != turn) continue;
    hash(std::vector<double>{found_value});
    for (const std::vector<T>& x : found) hash(x);
    if (once) continue;
    const auto [again_value, again] = on_device(arrays, offset, call);
    check(!std::memcmp(&found_value, &again_value, sizeof(double)), at, ", value: another one in the second run");
    for (std::size_t i = 0; i < expected.size(); ++i) check(same_bits(found[i], again[i]), at, ": other bits in the second run");
  }
  c.threads = asked;
  check(c.ok(), name, ": ", c.text);
  cuda::forget_error(c);
}

// Runs the tests in a context of device 0, and the report.
inline int in_context(const std::function<void()>& tests) {
  int code = 0;
  char text[256] = "";
  Context* c = cuda::create_context(0, false, &code, text);
  if (!c) {
    std::printf("FAIL no context: %s\n", text);
    return 1;
  }
  cuda::enter(c);
  c->threads = asked;
  tests();
  cuda::destroy_context(c);
  if (const char* path = std::getenv("CHAINRULE_TEST_BITS")) {
    std::FILE* f = std::fopen(path, "w");
    check(f && std::fprintf(f, "%016llx\n", static_cast<unsigned long long>(bits)) > 0 && !std::fclose(f), "cannot write ", path);
  }
  return report();
}

}  // namespace
