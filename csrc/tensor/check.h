// SPDX-License-Identifier: MIT
// Exceptions of the core and the one macro that raises them. The bindings turn them into Python's exceptions of the same name.
#pragma once
#include <cstdint>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace chainrule {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct ValueError : Error {  // what came does not fit: Python ValueError
  using Error::Error;
};
struct StateError : Error {  // not now: Python RuntimeError
  using Error::Error;
};
struct OutOfMemory : std::bad_alloc {  // Python MemoryError
  explicit OutOfMemory(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};
struct Interrupted : Error {  // Ctrl-C or stop(): the step was given up, nothing was changed
  Interrupted() : Error("interrupted") {}
};

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// Message first says who, then what came and what was expected: CR_CHECK(x == y, "[dense_1] input has ", x, " columns: expected ", y).
#define CR_CHECK(condition, ...)                                                     \
  do {                                                                               \
    if (!(condition)) throw ::chainrule::ValueError(::chainrule::text(__VA_ARGS__)); \
  } while (0)

// Sizes come from users: every product of them goes through here, so that none wraps round.
inline std::int64_t checked_multiply(std::int64_t a, std::int64_t b) {
  std::int64_t product;
  CR_CHECK(!__builtin_mul_overflow(a, b, &product), "size ", a, " x ", b, " does not fit in 63 bits");
  return product;
}

}  // namespace chainrule
