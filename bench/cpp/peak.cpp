// SPDX-License-Identifier: MIT
// What the machine can do with one thread and with all: GFLOP/s from registers and of the BLAS, GB/s from memory. `peak [rounds]`
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "machine.h"

using namespace chainrule;
using namespace chainrule::bench;

namespace {

struct Line {
  std::string name, unit;
  std::function<double(int threads)> rate;
  std::vector<std::vector<double>> samples;  // by column
};

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 5, all = num_threads();
  std::vector<int> threads{1};
  if (all > 1) threads.push_back(all);
  LargeProduct product;
  Stream memory(512e6);  // far beyond any cache
  Line lines[] = {{"multiply-adds from registers", "GFLOP/s", [](int t) { return multiply_add_rate(t, 0.05); }, {}},
                  {"4096^3 sgemm, by columns", "GFLOP/s", [&](int t) { return product.rate(t, true); }, {}},
                  {"4096^3 sgemm, by rows", "GFLOP/s", [&](int t) { return product.rate(t, false); }, {}},
                  {"read from memory", "GB/s", [&](int t) { return memory.read(t, 0.1); }, {}},
                  {"update of memory, y += c x", "GB/s", [&](int t) { return memory.update(t, 0.1); }, {}}};
  for (int round = 0; round < rounds; ++round)
    for (Line& line : lines) {
      line.samples.resize(threads.size());
      for (std::size_t i = 0; i < threads.size(); ++i) line.samples[i].push_back(line.rate(threads[i]));
    }

  std::printf("instruction set %s, BLAS for %s, best (median) of %d rounds\n%-38s", isa_in_use(), blas_core(), rounds, "");
  for (int t : threads) std::printf(" %11d thread%s", t, t > 1 ? "s" : " ");
  std::printf("\n");
  for (const Line& line : lines) {
    std::printf("%-30s%8s", line.name.c_str(), line.unit.c_str());
    for (const std::vector<double>& s : line.samples) std::printf(" %10.1f (%7.1f)", *std::max_element(s.begin(), s.end()), median(s));
    std::printf("\n");
  }
}
