// SPDX-License-Identifier: MIT
// Which instruction set's table is in use: the best one the processor has, or the one that CHAINRULE_ISA names. Decided once, at the first call.
#include <cstdlib>
#include <string>

#include "kernels/kernels.h"
#include "tensor/check.h"

namespace chainrule {

// CR_LEVELS is CR_LEVEL(v1) CR_LEVEL(v3) ...: the levels that were compiled (cmake/kernels.cmake), slowest first
#define CR_LEVEL(level)               \
  namespace level {                   \
  const Kernels<float>* table_f32();  \
  const Kernels<double>* table_f64(); \
  }
CR_LEVELS
#undef CR_LEVEL

namespace {

struct Level {
  const char* name;
  const Kernels<float>* (*f32)();
  const Kernels<double>* (*f64)();
  bool (*available)();
};

// The features that GCC 11 can ask for. No processor with these lacks the rest of its level (f16c, lzcnt, movbe). The check covers the operating system's part too.
#if defined(__x86_64__)
[[maybe_unused]] bool has_v1() { return true; }
[[maybe_unused]] bool has_v3() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}
[[maybe_unused]] bool has_v4() {
  return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#else
[[maybe_unused]] bool has_neon() { return true; }
[[maybe_unused]] bool has_generic() { return true; }
#endif

#define CR_LEVEL(level) {#level, level::table_f32, level::table_f64, has_##level},
const Level levels[] = {CR_LEVELS};
#undef CR_LEVEL

const Level& choose() {
#if defined(__x86_64__)
  __builtin_cpu_init();
#endif
  const char* asked = std::getenv("CHAINRULE_ISA");
  const Level* best = nullptr;
  for (const Level& level : levels)
    if (level.available() && (!asked || !*asked || std::string(asked) == level.name)) best = &level;
  CR_CHECK(best, "CHAINRULE_ISA is \"", asked, "\": this processor has ", isa_available());
  return *best;
}

const Level& level() {
  static const Level& chosen = choose();
  return chosen;
}

}  // namespace

template <>
const Kernels<float>& kernels<float>() {
  static const Kernels<float>& table = *level().f32();
  return table;
}
template <>
const Kernels<double>& kernels<double>() {
  static const Kernels<double>& table = *level().f64();
  return table;
}

const char* isa_in_use() { return level().name; }

const char* isa_available() {
  static const std::string names = [] {
    std::string all;
    for (const Level& level : levels) {
      if (!level.available()) continue;
      if (!all.empty()) all += ' ';
      all += level.name;
    }
    return all;
  }();
  return names.c_str();
}

}  // namespace chainrule
