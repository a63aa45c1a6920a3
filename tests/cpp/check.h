// SPDX-License-Identifier: MIT
// Checks of the C++ tests: a failed one says where and what came, the test goes on, and `return failures();` at the end of main tells ctest.
#pragma once
#include <atomic>
#include <iostream>
#include <sstream>
#include <string>

namespace check {

inline std::atomic<int> failed{0};

inline void fail(const char* file, int line, const std::string& what) {
  ++failed;
  std::cerr << (std::string(file) + ":" + std::to_string(line) + ": " + what + "\n");
}
template <class T>
std::string shown(const T& x) {
  std::ostringstream out;
  out.precision(17);
  out << x;
  return out.str();
}

}  // namespace check

inline int failures() { return check::failed == 0 ? 0 : 1; }

#define CHECK(condition)                                           \
  do {                                                             \
    if (!(condition)) check::fail(__FILE__, __LINE__, #condition); \
  } while (0)

// left op right, with the values where it fails; a NaN fails
#define CHECK_THAT(left, op, right)                                                                                                             \
  do {                                                                                                                                          \
    const auto& left_ = (left);                                                                                                                 \
    const auto& right_ = (right);                                                                                                               \
    if (!(left_ op right_)) check::fail(__FILE__, __LINE__, #left " " #op " " #right ": " + check::shown(left_) + ", " + check::shown(right_)); \
  } while (0)

#define CHECK_THROWS(expression, Exception)                                                  \
  do {                                                                                       \
    bool thrown_ = false;                                                                    \
    try {                                                                                    \
      (void)(expression);                                                                    \
    } catch (const Exception&) {                                                             \
      thrown_ = true;                                                                        \
    }                                                                                        \
    if (!thrown_) check::fail(__FILE__, __LINE__, #expression " did not throw " #Exception); \
  } while (0)
