// SPDX-License-Identifier: MIT
// Each optimizer's pass over n parameters: W and its moments are read and written, the gradients of all slots read.
#include "bench.h"

using namespace chainrule;
using namespace chainrule::bench;

namespace {

template <class T>
struct Optimizer {
  const char* name;
  UpdateKernel<T> kernel;
  int moments;  // m and v, v alone, or none
  Index slots;  // 0: v holds the step already (csrc/kernels/kernels.h, UpdateArgs::g)
  double mu, l1, l2, decay, threshold;
  bool nesterov;
};

template <class T>
void add_all() {
  const Kernels<T>& k = kernels<T>();
  const Optimizer<T> all[] = {{"sgd", k.sgd, 0, 1, 0, 0, 0, 0, 0, false},
                              {"sgd_momentum", k.sgd, 1, 1, 0.9, 0, 0, 0, 0, false},
                              {"sgd_momentum_late", k.sgd, 1, 0, 0.9, 0, 0, 0, 0, false},
                              {"sgd_momentum_8_slots", k.sgd, 1, 8, 0.9, 0, 0, 0, 0, false},
                              {"sgd_momentum_l2", k.sgd, 1, 1, 0.9, 0, 1e-4, 0, 0, false},
                              {"sgd_momentum_elastic", k.sgd, 1, 1, 0.9, 1e-4, 1e-4, 0, 0, false},
                              {"sgd_nesterov", k.sgd, 1, 1, 0.9, 0, 0, 0, 0, true},
                              {"sgd_proximal", k.sgd, 0, 1, 0, 0, 0, 0, 1e-30, false},
                              {"rmsprop", k.rmsprop, 1, 1, 0, 0, 0, 0, 0, false},
                              {"adam", k.adam, 2, 1, 0.9, 0, 0, 0, 0, false},
                              {"adam_8_slots", k.adam, 2, 8, 0.9, 0, 0, 0, 0, false},
                              {"adamw", k.adam, 2, 1, 0.9, 0, 0, 1e-30, 0, false}};
  for (const Optimizer<T>& o : all)
    for (const Index n : lengths) {
      if (o.slots > 1 && n > 32768) continue;  // a network with so many parameters has one slot
      add(label<T>(o.name, n), [=](Measure& m) {
        std::vector<T> w = random<T>(n, -1, 1), v = random<T>(o.moments > 0 ? n : 0, 0, 1), first = random<T>(o.moments > 1 ? n : 0, -1, 1);
        const std::vector<T> g = random<T>(o.slots * n, -1, 1);
        const UpdateArgs<T> args{w.data(),
                                 o.slots ? g.data() : nullptr,
                                 o.slots,
                                 n,
                                 first.data(),
                                 o.moments ? v.data() : nullptr,
                                 n,
                                 1e-9,
                                 o.mu,
                                 0.99,
                                 1e-8,
                                 0.5,
                                 0.5,
                                 o.nesterov,
                                 false,
                                 1,
                                 o.l1,
                                 o.l2,
                                 o.decay,
                                 o.threshold};
        const double block = static_cast<double>(n) * sizeof(T), slots = static_cast<double>(o.slots);
        // late: v is read, not written
        m.bytes(block * (o.slots ? 2.0 * (1 + o.moments) + slots : 3.0), block * (1 + o.moments + slots),
                [&] { benchmark::DoNotOptimize(o.kernel(args)); });
      });
    }
}

}  // namespace

int main(int argc, char** argv) {
  add_all<float>(), add_all<double>();
  return run_all(argc, argv);
}
