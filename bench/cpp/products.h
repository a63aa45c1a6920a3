// SPDX-License-Identifier: MIT
// The matrix products of a training step of a dense network, "784-1024-1024-10", on memory like the network's own, and that network as the core takes it.
#pragma once
#include <cmath>
#include <string>
#include <vector>

#include "machine.h"
#include "network/graph.h"
#include "network/tiles.h"

namespace chainrule::bench {

using Sizes = std::vector<Index>;

inline Sizes parse_sizes(const std::string& text) {
  Sizes sizes;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('-', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    CR_CHECK(!part.empty() && part.size() < 7 && part.find_first_not_of("0123456789") == std::string::npos && part[0] != '0', "network \"", text,
             "\": expected sizes of at least 1 such as 784-1024-1024-10");
    sizes.push_back(std::stol(part));
    begin = end + 1;
  }
  CR_CHECK(sizes.size() >= 2, "network \"", text, "\": expected at least two sizes");
  return sizes;
}

// Dense layers with relu, the last with softmax.
inline GraphSpec graph_spec(const Sizes& sizes) {
  GraphSpec g;
  for (std::size_t k = 0; k < sizes.size(); ++k) {
    const std::string name = "layer_" + std::to_string(k);
    if (k == 0)
      g.layers.push_back({name, "input", {{"shape", std::vector<Index>{sizes[0]}}}});
    else
      g.layers.push_back({name, "dense", {{"units", sizes[k]}, {"activation", std::string(k + 1 < sizes.size() ? "relu" : "softmax")}}});
    g.nodes.push_back({name, k ? std::vector<Index>{static_cast<Index>(k) - 1} : std::vector<Index>{}});
  }
  g.inputs = {0}, g.outputs = {static_cast<Index>(sizes.size()) - 1};
  return g;
}

enum class Phase { Forward, Backward, Gradient };

// C (m, n) = op(A) op(B), op(A) (m, k): forward x W^T, backward dz W, gradient dz^T x of transition `transition`.
struct Product {
  Phase phase;
  std::size_t transition;
  Index m, n, k;
  const float *a, *b;
  float* c;

  std::string name() const {
    const char* names[] = {"forward", "backward", "gradient"};
    return names[static_cast<int>(phase)];
  }
  double flop() const { return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k); }

  // How the executor cuts it where it goes by layers; `late`: where the gradient goes straight into the velocity.
  TileSize executors_tiles(bool late) const {
    return phase != Phase::Gradient ? product_tiles(m, n, k) : late ? late_tiles(m, n, k) : TileSize{gradient_tiles(m, n, k).columns, n};
  }

  void run(TileSize tile, int threads) const {
    const bool ta = phase == Phase::Gradient, tb = phase == Phase::Forward;
    const Index down = (m + tile.rows - 1) / tile.rows, across = (n + tile.columns - 1) / tile.columns, lda = ta ? m : k, ldb = tb ? k : n;
    parallel_for(down * across, threads, [&](Index t, int) {
      const Index i = t / across * tile.rows, j = t % across * tile.columns, rows = std::min(m, i + tile.rows) - i,
                  columns = std::min(n, j + tile.columns) - j;
      kernels<float>().gemm(ta, tb, rows, columns, k, 1.0f, a + (ta ? i : i * lda), lda, b + (tb ? j * ldb : j), ldb, 0.0f, c + i * n + j, n);
    });
  }
};

class Products {
 public:
  // In the order of a step; `training` false: forward alone.
  Products(const Sizes& sizes, Index rows, bool training) {
    const std::size_t last = sizes.size() - 1;
    for (std::size_t k = 0; k <= last; ++k) {
      a_.push_back(random(rows * sizes[k], 1));
      if (training) delta_.push_back(random(rows * sizes[k], 1));
      if (k == last) continue;
      // variance 1 / n_k: what goes through all products again and again neither grows nor vanishes
      W_.push_back(random(sizes[k] * sizes[k + 1], std::sqrt(3.0 / static_cast<double>(sizes[k]))));
      if (training) dW_.push_back(random(sizes[k] * sizes[k + 1], 1));
    }
    for (std::size_t k = 0; k < last; ++k)
      list.push_back({Phase::Forward, k, rows, sizes[k + 1], sizes[k], a_[k].data(), W_[k].data(), a_[k + 1].data()});
    for (std::size_t k = last; training && k-- > 0;) {
      list.push_back({Phase::Gradient, k, sizes[k + 1], sizes[k], rows, delta_[k + 1].data(), a_[k].data(), dW_[k].data()});
      if (k > 0) list.push_back({Phase::Backward, k, rows, sizes[k], sizes[k + 1], delta_[k + 1].data(), W_[k].data(), delta_[k].data()});
    }
  }
  std::vector<Product> list;

 private:
  static Block<float> random(Index n, double bound) {
    Block<float> x(n);
    fill(x.data(), n, -bound, bound);
    return x;
  }
  std::vector<Block<float>> a_, delta_, W_, dW_;
};

}  // namespace chainrule::bench
