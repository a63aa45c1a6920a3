// SPDX-License-Identifier: MIT
#include "device/device.h"

#include <cstdlib>

namespace chainrule {

namespace {
double giga(std::size_t bytes) { return static_cast<double>(bytes) / 1e9; }

// Products of float32 on tensor cores, whose factors have 10 bits behind the point: only where it was asked for.
bool tf32() {
  const char* value = std::getenv("CHAINRULE_TF32");
  const std::string asked = value ? value : "";
  CR_CHECK(asked.empty() || asked == "0" || asked == "1", "CHAINRULE_TF32 is \"", asked, "\": expected 0 or 1");
  return asked == "1";
}
}  // namespace

Device::Device(const DeviceLibrary& library_, int index_) : library(library_), index(index_), generation_(fork_generation()) {
  const int count = count_devices(library);
  CR_CHECK(index < count, "[network] device is 'cuda:", index, "': this machine has ", count,
           count == 1 ? " device, 'cuda:0'" : " devices, from 'cuda:0'");
  DeviceProperties properties{};
  char words[device_text] = "";
  if (const DeviceError error = library.describe(index, &properties, words); error != DeviceError::None) raise(error, words);
  if (std::pair(properties.major, properties.minor) < std::pair(library.least_major, library.least_minor))
    throw StateError(text("[network] ", name(), " (", properties.name, ") has compute capability ", properties.major, ".", properties.minor,
                          ": chainrule-cuda needs ", library.least_major, ".", library.least_minor, " or later; use device='cpu'"));
  memory_ = properties.memory;
  DeviceError error = DeviceError::None;
  context_ = library.create(index, tf32(), &error, words);
  if (!context_) raise(error, words);
}
Device::~Device() {
  if (context_ && !abandoned()) library.destroy(context_);
}

void Device::raise(DeviceError error, const char* words) const {
  switch (error) {
    case DeviceError::OutOfMemory: {
      std::size_t free = 0, total = 0;
      if (context_) library.memory(context_, &free, &total);
      const std::string left = context_ ? text(": ", giga(free), " GB of ", giga(total), " GB are free") : "";
      throw StateError(text("[", name(), "] out of memory (", words, ")", left, "; use a smaller batch_size, a smaller network, or device='cpu'"));
    }
    default: throw StateError(text("[", name(), "] ", words));
  }
}
void Device::check() const {
  char words[device_text] = "";
  const DeviceError error = library.error(context_, words);
  if (error == DeviceError::None) return;
  library.forget_error(context_);
  raise(error, words);
}
void Device::synchronize() const {
  library.synchronize(context_);
  check();
}
void* Device::allocate(Index bytes, bool pinned) const {
  check();
  void* memory = (pinned ? library.allocate_pinned : library.allocate)(context_, static_cast<std::size_t>(bytes));
  if (memory) return memory;
  char words[device_text] = "";
  const DeviceError error = library.error(context_, words);
  library.forget_error(context_);
  raise(error, text(giga(static_cast<std::size_t>(bytes)), " GB ", pinned ? "of pinned memory " : "", "were asked for: ", words).c_str());
}

OnDevice::OnDevice(const Device& device, const char* what) : device_(device) {
  refuse_in_child(what);
  lock_ = std::unique_lock(device.mutex_);
  before_ = device.library.enter(device.context_);
}
OnDevice::~OnDevice() { device_.library.enter(before_); }

}  // namespace chainrule
