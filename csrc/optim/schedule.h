// SPDX-License-Identifier: MIT
// alpha as a function of time: the only copy of these formulas; Python's schedules call it. t counts from 0, in steps or in epochs.
#pragma once
#include <algorithm>
#include <cmath>

#include "tensor/check.h"

namespace chainrule {

using Index = std::int64_t;

struct Schedule {
  enum class Type { Constant, Step, Cosine, InverseScaling, OneCycle };
  enum class Unit { Step, Epoch };

  Type type = Type::Constant;
  Unit unit = Unit::Step;
  double alpha0 = 0.01;      // the `alpha` of every schedule
  Index every = 1;           // Step
  double factor = 0.1;       // Step
  Index total = 1;           // Cosine, OneCycle
  double alpha_end = 0;      // Cosine
  double power = 0.5;        // InverseScaling
  double warm = 0.3;         // OneCycle: share of `total` that rises
  double divide_start = 25;  // OneCycle
  double divide_end = 1e4;   // OneCycle
  Index warm_steps = 0;      // WarmUp before any of them; 0: none. It has a unit of its own.
  Unit warm_unit = Unit::Step;

  // Warm-up: base(0) (t + 1) / warm_steps while t < warm_steps, then base with its clock started at t = warm_steps. Where the two count different
  // units the base's clock runs from the beginning: steps cannot be taken from epochs.
  double alpha(Index step, Index epoch) const {
    Index t = unit == Unit::Step ? step : epoch;
    if (warm_steps > 0) {
      const Index t_warm = warm_unit == Unit::Step ? step : epoch;
      if (t_warm < warm_steps) return base(0) * (static_cast<double>(t_warm) + 1) / static_cast<double>(warm_steps);
      if (warm_unit == unit) t -= warm_steps;
    }
    return base(t);
  }

  void check() const {
    CR_CHECK(std::isfinite(alpha0) && alpha0 >= 0, "schedule: alpha is ", alpha0, ": expected a finite number >= 0");
    CR_CHECK(every >= 1, "schedule: every is ", every, ": expected at least 1");
    CR_CHECK(factor > 0 && factor <= 1, "schedule: factor is ", factor, ": expected 0 < factor <= 1");
    CR_CHECK(total >= 1, "schedule: total is ", total, ": expected at least 1");
    CR_CHECK(std::isfinite(alpha_end) && alpha_end >= 0, "schedule: alpha_end is ", alpha_end, ": expected a finite number >= 0");
    CR_CHECK(std::isfinite(power) && power >= 0, "schedule: power is ", power, ": expected a finite number >= 0");
    CR_CHECK(warm >= 0 && warm < 1, "schedule: warm is ", warm, ": expected 0 <= warm < 1");
    CR_CHECK(std::isfinite(divide_start) && divide_start >= 1, "schedule: divide_start is ", divide_start, ": expected a finite number >= 1");
    CR_CHECK(std::isfinite(divide_end) && divide_end >= 1, "schedule: divide_end is ", divide_end, ": expected a finite number >= 1");
    CR_CHECK(warm_steps >= 0, "schedule: steps is ", warm_steps, ": expected at least 0");
  }

 private:
  // from at s = 0 to `to` at s = 1 along half a cosine. The ends are returned as they are, not as rounded sums.
  static double cosine(double from, double to, double s) {
    constexpr double pi = 3.14159265358979323846;
    if (s <= 0) return from;
    if (s >= 1) return to;
    return to + (from - to) / 2 * (1 + std::cos(pi * s));
  }

  double base(Index t) const {
    const double time = static_cast<double>(t), end = static_cast<double>(total);
    switch (type) {
      case Type::Constant: return alpha0;
      case Type::Step:  // alpha factor^floor(t / every)
        return alpha0 * std::pow(factor, static_cast<double>(t / every));
      case Type::Cosine:  // alpha_end + (alpha - alpha_end) / 2 (1 + cos(pi min(t, total) / total))
        return cosine(alpha0, alpha_end, std::min(time, end) / end);
      case Type::InverseScaling:  // alpha / (t + 1)^power
        return alpha0 / std::pow(time + 1, power);
      case Type::OneCycle: {  // alpha / divide_start up to alpha within warm total, down to alpha / divide_end at total, constant from there
        const double top = warm * end;
        if (time < top) return cosine(alpha0 / divide_start, alpha0, time / top);
        return cosine(alpha0, alpha0 / divide_end, std::min(1.0, (time - top) / (end - top)));
      }
    }
    return alpha0;
  }
};

}  // namespace chainrule
