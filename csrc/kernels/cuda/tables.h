// SPDX-License-Identifier: MIT
// What this folder gives to the library (and to tests): the kernels, which work in the context that the calling thread has entered.
#pragma once
#include "kernels/cuda/context.h"

namespace chainrule::cuda {

template <class T>
const Kernels<T>& table();  // float, double
template <class T>
const DeviceKernels<T>& device_table();

}  // namespace chainrule::cuda
