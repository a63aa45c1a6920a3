// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <fstream>

#include "check.h"
#include "tensor/arena.h"

using namespace chainrule;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;  // their allocators abort where ours throws, and keep what is freed
#else
constexpr bool sanitized = false;
#endif

template <class T>
void zero_and_aligned(Index n) {
  Block<T> block(n);
  CHECK_THAT(block.size(), ==, n);
  CHECK(block.data() != nullptr);
  CHECK_THAT(reinterpret_cast<std::uintptr_t>(block.data()) % block_alignment, ==, 0u);
  Index wrong = 0;
  for (Index i = 0; i < n; ++i) wrong += block.data()[i] != T(0);
  CHECK_THAT(wrong, ==, 0);
  for (Index i = 0; i < n; ++i) block.data()[i] = T(1);
}

long resident_pages() {
  std::ifstream statm("/proc/self/statm");
  long total = 0, resident = 0;
  statm >> total >> resident;
  return resident;
}

int main() {
  for (Index n : {0, 1, 3, 15, 16, 17, 1000, 262143, 262144, 3000000})
    for (int again = 0; again < 2; ++again) {  // freed memory that comes again must be zero again
      zero_and_aligned<float>(n);
      zero_and_aligned<double>(n);
      zero_and_aligned<char>(n);
    }

  Block<int> a(5), b(700000);
  int* const from = b.data();
  from[699999] = 7;
  a = std::move(b);
  CHECK(a.data() == from);
  CHECK_THAT(a.size(), ==, 700000);
  Block<int> c(std::move(a));
  CHECK_THAT(c.data()[699999], ==, 7);
  CHECK(a.data() == nullptr);
  CHECK_THAT(a.size(), ==, 0);

  CHECK_THROWS(Block<float>(-1), ValueError);
  CHECK_THROWS(Block<float>(Index{1} << 61), ValueError);  // 2^63 bytes
  if (!sanitized) CHECK_THROWS(Block<float>(Index{1} << 55), std::bad_alloc);

#if defined(__linux__)
  if (!sanitized) {
    const long page = sysconf(_SC_PAGESIZE), megabyte = (1 << 20) / page, before = resident_pages();
    {
      Block<char> large(64 << 20);
      CHECK_THAT(resident_pages() - before, <, 4 * megabyte);  // untouched memory costs nothing
      for (Index i = 0; i < large.size(); i += page) large.data()[i] = 1;
      CHECK_THAT(resident_pages() - before, >, 60 * megabyte);
    }
    CHECK_THAT(resident_pages() - before, <, 4 * megabyte);
  }
#endif
  return failures();
}
