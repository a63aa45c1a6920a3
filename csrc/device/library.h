// SPDX-License-Identifier: MIT
// libchainrule_cuda.so, loaded at the first network on "cuda" and kept for good: what a machine without a driver never asks for is never opened.
#pragma once
#include <string>

#include "kernels/device.h"

namespace chainrule {

// Loads the library in that file, once; later calls return the one that is there. StateError: no such file, another version.
const DeviceLibrary& load_device_library(const std::string& path);
const DeviceLibrary* device_library();  // null: none was loaded

// The devices that can be used. StateError that says why there are none: no driver, no card.
int count_devices(const DeviceLibrary& library);

}  // namespace chainrule
