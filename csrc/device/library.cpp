// SPDX-License-Identifier: MIT
#include "device/library.h"

#include <dlfcn.h>

#include <atomic>
#include <mutex>

#include "tensor/check.h"
#include "tensor/parallel.h"

namespace chainrule {

namespace {
std::atomic<const DeviceLibrary*> loaded{nullptr};
std::once_flag first;
unsigned first_generation = 0;
}  // namespace

const DeviceLibrary* device_library() { return loaded; }

const DeviceLibrary& load_device_library(const std::string& path, const std::string& version) {
  if (const DeviceLibrary* library = loaded) return *library;
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) throw StateError(text("[cuda] ", path, " cannot be loaded: ", dlerror()));
  const auto entry = reinterpret_cast<DeviceLibraryEntry>(dlsym(handle, device_library_entry));
  const DeviceLibrary* library = entry ? entry(device_abi) : nullptr;
  // The contract's number alone would let in a library whose kernels compute what another release meant
  if (!library || library->version != version) {
    const std::string other = library ? text(" but to ", library->version) : "";
    dlclose(handle);
    throw StateError(text("[cuda] ", path, " does not belong to chainrule ", version, other, ": install chainrule-cuda==", version));
  }
  loaded = library;  // two threads that come first load the same file, which the loader maps once
  return *library;
}

void refuse_in_child(const char* what) {
  std::call_once(first, [] { first_generation = fork_generation(); });
  if (first_generation != fork_generation())
    throw StateError(text("[", what,
                          "] CUDA was used before this process was forked, and does not work in it: begin processes by "
                          "multiprocessing's 'spawn', or use device='cpu'"));
}

int count_devices(const DeviceLibrary& library) {
  refuse_in_child("cuda");
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
