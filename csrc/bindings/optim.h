// SPDX-License-Identifier: MIT
#pragma once
#include <pybind11/pybind11.h>

#include "optim/schedule.h"

namespace chainrule::bindings {

// From Schedule.spec() of python/chainrule/schedules.py: {"type": "cosine", "alpha": ..., ...}. Throws ValueError naming the key.
Schedule schedule_from(const pybind11::dict& spec);

}  // namespace chainrule::bindings
