// SPDX-License-Identifier: MIT
// The products of the rows of the peers' table on one thread, with as many rows as the core gives one chunk: "network-b<batch>/<product>/m x n x k".
// "/tiles": the whole product in the executor's tiles, where it goes by layers.
#include "bench.h"
#include "network/plan.h"
#include "products.h"

using namespace chainrule;
using namespace chainrule::bench;

namespace {

void add_network(const std::string& network, Index batch, bool training) {
  const Sizes sizes = parse_sizes(network);
  const Graph graph(graph_spec(sizes));
  Mode mode;
  if (training) mode.losses = {LossKind::CrossEntropy};
  mode.gradients = mode.training = training;
  const Plan plan(graph, mode);
  const Index rows = std::min(batch, plan.chunk_rows(batch, 1));
  const bool layers = !plan.by_chunks(batch, 1), late = plan.may_be_late(batch, 1);
  const std::vector<Product> list = Products(sizes, rows, training).list;  // for the sizes alone
  for (std::size_t i = 0; i < list.size(); ++i) {
    const Product& p = list[i];
    const std::string name = (training ? "train-" : "predict-") + network + "-b" + std::to_string(batch) + "/" + p.name() + "/" +
                             std::to_string(p.m) + "x" + std::to_string(p.n) + "x" + std::to_string(p.k);
    const auto measured = [=](TileSize tile) {
      return [=](Measure& m) {
        const Products own(sizes, rows, training);
        m.flop(p.flop(), [&] { own.list[i].run(tile, 1); });
      };
    };
    add(name, measured({p.m, p.n}));
    if (layers) add(name + "/tiles", measured(p.executors_tiles(late)));
  }
}

}  // namespace

int main(int argc, char** argv) {
  for (const Index batch : {1, 32}) add_network("20-64-64-3", batch, true);
  add_network("64-128-10", 64, true);
  add_network("100-256-256-10", 128, true);
  add_network("784-1024-1024-10", 128, true);
  add_network("1024-4096-4096-10", 256, true);
  add_network("50-100-2", 100000, true);
  add_network("64-128-10", 1, false);
  add_network("784-256-10", 100000, false);
  return run_all(argc, argv);
}
