// SPDX-License-Identifier: MIT
// Which element a device thread works on, at extents that no card's memory holds: nothing here is launched.
#include <vector>

#include "cpp/check.h"
#define CR_ISA test
#include "kernels/cuda/index.h"

using chainrule::Index;
namespace index = chainrule::test;

namespace {

const Index large = Index(1) << 33;

void test_items() {
  CHECK_THAT(index::item_of(0, 256, 5), ==, 5);
  CHECK_THAT(index::item_of(3, 256, 255), ==, 1023);
  CHECK_THAT(index::item_of(2147483647u, 1024, 1023), ==, (Index(1) << 41) - 1);  // the largest grid
  CHECK_THAT(index::ceil_div(large + 1, 4), ==, large / 4 + 1);
}

void test_positions() {
  for (const Index cols : {Index(1), Index(10), Index(1024), (Index(1) << 32) - 1, Index(1) << 32, large + 7})
    for (const Index row : {Index(0), Index(1), Index(12345), Index(1) << 26})
      for (const Index col : {Index(0), cols / 2, cols - 1}) {
        const index::Position p = index::position_of(row * cols + col, cols);
        CHECK_THAT(p.row, ==, row);
        CHECK_THAT(p.col, ==, col);
      }
}

// Every element once: first and last packs and single elements, wherever the memory begins
template <class T>
void test_span() {
  constexpr Index each = index::width<T>;
  const auto* base = reinterpret_cast<const T*>(std::uintptr_t(1) << 40);
  for (Index offset = 0; offset < 2 * each; ++offset)
    for (const Index n : {Index(0), Index(1), Index(2), Index(3), Index(5), Index(8), Index(1023), large + 3}) {
      const index::Span s = index::span_of<T>(n, base + offset, static_cast<const T*>(nullptr), base + offset + 4 * each);
      CHECK_THAT(s.head, ==, index::smaller(n, (each - offset % each) % each));
      CHECK_THAT(s.packs, ==, (n - s.head) / each);
      CHECK_THAT(s.items(), ==, s.packs + n - s.packs * each);
      if (s.packs > 0) {
        CHECK_THAT(s.element(0), ==, s.head);
        CHECK_THAT(reinterpret_cast<std::uintptr_t>(base + offset + s.element(0)) % 16, ==, 0u);
        CHECK_THAT(s.element(s.packs - 1), ==, s.head + (s.packs - 1) * each);
      }
      const Index single = n - s.packs * each;
      for (Index i = 0; i < single; ++i) CHECK_THAT(s.element(s.packs + i), ==, i < s.head ? i : n - single + i);
      if (n > 2000) continue;
      std::vector<int> seen(static_cast<std::size_t>(n), 0);
      for (Index i = 0; i < s.items(); ++i)
        for (Index e = s.element(i); e < s.element(i) + (i < s.packs ? each : 1); ++e) ++seen.at(static_cast<std::size_t>(e));
      for (const int times : seen) CHECK_THAT(times, ==, 1);
    }
  CHECK_THAT((index::span_of<T>(100, base, base + 1).packs), ==, 0);  // apart by less than 16 bytes
  CHECK_THAT((index::span_of<T>(100, base, base + each).packs), ==, 100 / each);
}

}  // namespace

int main() {
  test_items();
  test_positions();
  test_span<float>();
  test_span<double>();
  return failures();
}
