// SPDX-License-Identifier: MIT
#include "device/library.h"

#include <dlfcn.h>

#include <atomic>
#include <mutex>

#include "tensor/check.h"

namespace chainrule {

namespace {
std::atomic<const DeviceLibrary*> loaded{nullptr};
}

const DeviceLibrary* device_library() { return loaded; }

const DeviceLibrary& load_device_library(const std::string& path) {
  if (const DeviceLibrary* library = loaded) return *library;
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) throw StateError(text("[cuda] ", path, " cannot be loaded: ", dlerror()));
  const auto entry = reinterpret_cast<DeviceLibraryEntry>(dlsym(handle, device_library_entry));
  const DeviceLibrary* library = entry ? entry(device_abi) : nullptr;
  if (!library) {
    dlclose(handle);
    throw StateError(text("[cuda] ", path, " is of another version of chainrule: install chainrule and chainrule-cuda of the same one"));
  }
  loaded = library;  // two threads that come first load the same file, which the loader maps once
  return *library;
}

int count_devices(const DeviceLibrary& library) {
  int count = 0;
  char words[device_text] = "";
  const DeviceError error = library.devices(&count, words);
  if (error == DeviceError::NoDriver)
    throw StateError(text("[cuda] this machine has no NVIDIA driver for CUDA ", library.toolkit, " (", words, "): install one, or use device='cpu'"));
  if (error != DeviceError::None && error != DeviceError::NoDevice)
    throw StateError(text("[cuda] the driver cannot be asked for its devices: ", words));
  if (count == 0) throw StateError(text("[cuda] the driver shows no CUDA device (", words, "): look at CUDA_VISIBLE_DEVICES, or use device='cpu'"));
  return count;
}

}  // namespace chainrule
