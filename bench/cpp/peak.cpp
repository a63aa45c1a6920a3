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

// Of each column (1 thread, all) every round's rate.
struct Line {
  std::string name, unit;
  std::function<double(int threads)> rate;
  std::vector<double> samples[2];
};

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 5, all = num_threads(), threads[] = {1, all};
  LargeProduct product;
  Stream memory(512e6);  // far beyond any cache
  Line lines[] = {{"multiply-adds from registers", "GFLOP/s", [](int t) { return multiply_add_rate(t, 0.05); }, {}},
                  {"4096^3 sgemm, by columns", "GFLOP/s", [&](int t) { return product.rate(t, true); }, {}},
                  {"4096^3 sgemm, by rows", "GFLOP/s", [&](int t) { return product.rate(t, false); }, {}},
                  {"read from memory", "GB/s", [&](int t) { return memory.read(t, 0.1); }, {}},
                  {"update of memory, y += c x", "GB/s", [&](int t) { return memory.update(t, 0.1); }, {}}};
  for (int round = 0; round < rounds; ++round)
    for (Line& line : lines)
      for (int t = 0; t < 2; ++t) line.samples[t].push_back(line.rate(threads[t]));

  std::printf("instruction set %s, BLAS for %s, best (median) of %d rounds\n%-30s%8s %20s %20s\n", isa_in_use(), blas_core(), rounds, "", "",
              "1 thread", (std::to_string(all) + " threads").c_str());
  for (const Line& line : lines) {
    std::printf("%-30s%8s", line.name.c_str(), line.unit.c_str());
    for (const std::vector<double>& s : line.samples) std::printf(" %10.1f (%7.1f)", *std::max_element(s.begin(), s.end()), median(s));
    std::printf("\n");
  }
}
