// SPDX-License-Identifier: MIT
// How a matrix product is cut: large enough for the BLAS to be near its peak (docs/performance.md), small enough that threads share it, and that no call
// exceeds 1e9 flop (so that Ctrl-C is heard within 200 ms). A function of the sizes alone.
#pragma once
#include <algorithm>

#include "kernels/kernels.h"

namespace chainrule {

struct TileSize {
  Index rows, columns;
};

inline Index round_up(Index x, Index to) { return (x + to - 1) / to * to; }

// C (m, n) = A (m, k) B: columns in strips of 256 where there are many, else rows in strips of 64.
inline TileSize product_tiles(Index m, Index n, Index k) {
  TileSize t = n <= 384 ? TileSize{64, n} : TileSize{256, 256};
  t.rows = std::min(t.rows, m);
  while (2.0 * static_cast<double>(t.rows) * static_cast<double>(t.columns) * static_cast<double>(k) > 1e9 && (t.columns > 16 || t.rows > 1)) {
    if (t.columns > 64 || t.rows == 1)
      t.columns = std::max<Index>(1, t.columns / 2);
    else
      t.rows = std::max<Index>(1, t.rows / 2);
  }
  return t;
}

// dW (units, n_in) = dz^T x over `rows` rows: strips of units, at least four where there are enough.
inline TileSize gradient_tiles(Index units, Index n_in, Index rows) {
  Index u = std::clamp<Index>(round_up((units + 3) / 4, 16), 16, 256);
  while (2.0 * static_cast<double>(u) * static_cast<double>(n_in) * static_cast<double>(rows) > 1e9 && u > 1) u /= 2;
  return {rows, std::min(u, units)};
}

// Products with sparse rows: strips of units, at least four where there are enough, of at most 1e8 multiply-adds (a tenth of a second).
inline Index sparse_units(Index units, Index stored) {
  Index u = std::clamp<Index>(round_up((units + 3) / 4, 4), 4, 256);
  while (static_cast<double>(u) * static_cast<double>(stored) > 1e8 && u > 1) u /= 2;
  return std::min(u, units);
}

// dW straight into the velocity: pieces of it that share the second-level cache with their rows of dz and x, and that our own kernels take
inline TileSize late_tiles(Index units, Index n_in, Index rows) {
  TileSize t{std::min<Index>(units, 128), std::min<Index>(n_in, 512)};
  while (2.0 * static_cast<double>(t.rows) * static_cast<double>(t.columns) * static_cast<double>(rows) > 1e9 && t.rows > 1) t.rows /= 2;
  return t;
}

}  // namespace chainrule
