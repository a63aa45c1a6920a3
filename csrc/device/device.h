// SPDX-License-Identifier: MIT
// A card as one network uses it: its context, its memory, and who may use it now.
#pragma once
#include <mutex>
#include <type_traits>
#include <utility>

#include "device/library.h"
#include "tensor/check.h"
#include "tensor/parallel.h"

namespace chainrule {

// Steps that the host may be ahead of the card (contract 8): so many may come to nothing after a fault, and so many pinned buffers are in use.
constexpr int steps_ahead = 8;

class Device {
 public:
  // ValueError where there are fewer devices; StateError where the card is too old, or says no.
  Device(const DeviceLibrary& library, int index);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const DeviceLibrary& library;
  const int index;
  DeviceContext* context() const { return context_; }
  Index memory() const { return memory_; }  // of the card, bytes in all
  std::string name() const { return "cuda:" + std::to_string(index); }
  bool abandoned() const { return generation_ != fork_generation(); }  // a forked child has no CUDA of its parent's

  template <class T>
  const Kernels<T>& kernels() const {
    if constexpr (std::is_same_v<T, float>)
      return *library.f32;
    else
      return *library.f64;
  }
  template <class T>
  const DeviceKernels<T>& more() const {
    if constexpr (std::is_same_v<T, float>)
      return *library.device_f32;
    else
      return *library.device_f64;
  }

  // Raises the first error since the last call; `synchronize` waits for the stream before.
  void check() const;
  void synchronize() const;
  void* allocate(Index bytes, bool pinned) const;

 private:
  friend class OnDevice;
  [[noreturn]] void raise(DeviceError error, const char* words) const;

  DeviceContext* context_ = nullptr;
  Index memory_ = 0;
  unsigned generation_;
  mutable std::recursive_mutex mutex_;  // recursive: a loss of the user's own may predict with the network that is being trained
};

// Inside, this thread calls the card; another one waits. Raises in a forked child, where nothing of the parent's CUDA works and its mutex may be held.
class OnDevice {
 public:
  OnDevice(const Device& device, const char* what);
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  const Device& device_;
  std::unique_lock<std::recursive_mutex> lock_;
  DeviceContext* before_;
};

// n numbers in the card's memory, or (Pinned) in memory of the host that the card copies by itself. Zero at first. Inside OnDevice only.
template <class T, bool Pinned = false>
class DeviceBlock {
  static_assert(std::is_trivially_copyable_v<T>, "all bytes zero must be a value");

 public:
  DeviceBlock() = default;
  DeviceBlock(const Device& device, Index n) : device_(&device), size_(n) {
    const Index bytes = checked_multiply(n, static_cast<Index>(sizeof(T)));
    if (n == 0) return;
    data_ = static_cast<T*>(device.allocate(bytes, Pinned));
    if (!Pinned) device.library.clear(device.context(), data_, static_cast<std::size_t>(bytes));
  }
  ~DeviceBlock() { release(); }
  DeviceBlock(DeviceBlock&& o) noexcept : device_(o.device_), data_(std::exchange(o.data_, nullptr)), size_(std::exchange(o.size_, 0)) {}
  DeviceBlock& operator=(DeviceBlock&& o) noexcept {
    std::swap(device_, o.device_);
    std::swap(data_, o.data_);
    std::swap(size_, o.size_);
    return *this;
  }

  T* data() const { return data_; }
  Index size() const { return size_; }
  // Of [at, at + n), in the stream's order
  void write(const T* from, Index at, Index n) const { device_->library.to_device(device_->context(), data_ + at, from, bytes(n)); }
  void read(T* to, Index at, Index n) const { device_->library.to_host(device_->context(), to, data_ + at, bytes(n)); }
  void copy_to(const DeviceBlock& other) const {
    if (size_) device_->library.copy(device_->context(), other.data_, data_, bytes(size_));
  }
  void clear() const {
    if (size_) device_->library.clear(device_->context(), data_, bytes(size_));
  }

 private:
  const Device* device_ = nullptr;
  T* data_ = nullptr;
  Index size_ = 0;

  static std::size_t bytes(Index n) { return static_cast<std::size_t>(n) * sizeof(T); }
  void release() {
    if (data_ && !device_->abandoned()) (Pinned ? device_->library.free_pinned : device_->library.free)(device_->context(), data_);
    data_ = nullptr;
  }
};
// At least n numbers; what was in it is lost where it grows.
template <class T>
T* room_for(const Device& device, DeviceBlock<T>& block, Index n) {
  if (block.size() < n) {
    block = DeviceBlock<T>();  // first the old memory back
    block = DeviceBlock<T>(device, n);
  }
  return block.data();
}
template <class T>
using PinnedBlock = DeviceBlock<T, true>;

}  // namespace chainrule
