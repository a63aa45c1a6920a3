// SPDX-License-Identifier: MIT
// libchainrule_cuda.so, loaded at the first network on "cuda" and kept for good: what a machine without a driver never asks for is never opened.
#pragma once
#include <string>

#include "kernels/device.h"

namespace chainrule {

// Loads the library in that file, once; later calls return the one that is there. StateError: no such file, or not that of chainrule `version`.
const DeviceLibrary& load_device_library(const std::string& path, const std::string& version);
const DeviceLibrary* device_library();  // null: none was loaded

// StateError in a child of the process that has used CUDA first: nothing of CUDA works there. `what` was asked for.
void refuse_in_child(const char* what);

// The devices that can be used. StateError that says why there are none: no driver, no card.
int count_devices(const DeviceLibrary& library);

}  // namespace chainrule
