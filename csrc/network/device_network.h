// SPDX-License-Identifier: MIT
// A network on a card: its blocks there, the workspace, and the rows on their way to it. The graph, the plans and the gate stay in Network.
#pragma once
#include <algorithm>
#include <vector>

#include "device/device.h"
#include "network/network.h"

namespace chainrule {

// A workspace whose buffers lie in the card's memory. Grows when asked for more.
template <class T>
class DeviceSpace {
 public:
  void fit(const Device& device, const Plan& plan, Index capacity, Index time);
  Workspace<T> pointers;

 private:
  DeviceBlock<T> memory_;
  const Plan* plan_ = nullptr;
  Index capacity_ = -1, time_ = -1;
};

// Pinned memory through which rows go to the card: while one buffer is copied the host fills the next.
class Staging {
 public:
  explicit Staging(const Device& device) : device_(device) {}
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // Room for n numbers, once the card has copied what was in it; sent by the `send` that follows.
  template <class V>
  V* room(Index n) {
    return reinterpret_cast<V*>(room_of(checked_multiply(n, static_cast<Index>(sizeof(V)))));
  }
  // n numbers from the room (or from anywhere else: then by way of it) to the card's memory
  template <class V>
  void send(V* to, const V* from, Index n) {
    send_bytes(to, from, n * static_cast<Index>(sizeof(V)));
  }
  // n rows of `size` numbers, a piece at a time: fetch(first, n, room) says where rows [first, first + n) are, in `room` or elsewhere
  template <class V, class F>
  void send_rows(V* to, Index n, Index size, F&& fetch) {
    const Index step = std::max<Index>(1, piece / std::max<Index>(1, size));
    for (Index first = 0; first < n && size > 0; first += step) {
      const Index m = std::min(step, n - first);
      const V* from = fetch(first, m, room<V>(m * size));
      send(to + first * size, from, m * size);
    }
  }

 private:
  static constexpr std::size_t buffers = 4;       // two batches of x and y
  static constexpr Index piece = Index{1} << 22;  // numbers a copy: 16 MB of float32 pinned
  struct Buffer {
    PinnedBlock<char> memory;
    DeviceEvent* copied = nullptr;
  };
  char* room_of(Index bytes);
  void send_bytes(void* to, const void* from, Index bytes);
  const Device& device_;
  Buffer buffers_[buffers];
  std::size_t next_ = 0;
};

template <class T>
class DeviceNetwork {
 public:
  // Takes parameters and state from `network`, whose own block of parameters is given back. ValueError names a layer that has no kernel on a card.
  DeviceNetwork(Network<T>& network, const DeviceLibrary& library, int index);

  Network<T>& net;
  const Device device;
  DeviceBlock<T> parameters, m, v;
  DeviceBlock<Outcome> outcome, evaluation;
  DeviceSpace<T> space;
  Staging staging{device};

  const DeviceBlock<T>& gradients();  // allocated at first use, zero
  void clear_gradients() { gradients_.clear(); }
  // As Network's
  bool prepare_training(const OptimizerSpec& o);
  void reset_training();
  // What a Standardize has learned is a few numbers, which the host keeps: sent before each call that reads them.
  const T* state();

 private:
  DeviceBlock<T> gradients_, state_;
};

}  // namespace chainrule
