// SPDX-License-Identifier: MIT
#include "network/device_network.h"

#include <algorithm>
#include <cstring>

namespace chainrule {

namespace {
std::size_t at(Index i) { return static_cast<std::size_t>(i); }
}  // namespace

template <class T>
void DeviceSpace<T>::fit(const Device& device, const Plan& plan, Index capacity, Index time) {
  if (plan_ == &plan && capacity_ == capacity && time_ == time) return;
  plan_ = nullptr;
  Index total = 0, widest = 0;
  const std::vector<Index> offset = plan.layout(capacity, time, total);
  for (const Step& s : plan.steps) widest = std::max(widest, capacity * plan.graph.ops[at(s.op)].shape.size(time));
  room_for(device, memory_, total + widest);
  pointers.buffer.resize(offset.size());
  for (std::size_t b = 0; b < offset.size(); ++b) pointers.buffer[b] = memory_.data() + offset[b];
  pointers.input.assign(plan.input_buffers.size(), nullptr);
  pointers.spare = memory_.data() + total;
  plan_ = &plan, capacity_ = capacity, time_ = time;
}

Staging::~Staging() {
  for (Buffer& b : buffers_)
    if (b.copied && !device_.abandoned()) device_.library.destroy_event(device_.context(), b.copied);
}
char* Staging::room_of(Index bytes) {
  Buffer& b = buffers_[next_];
  if (b.copied) device_.library.wait(device_.context(), b.copied);
  if (b.memory.size() < bytes) {
    b.memory = PinnedBlock<char>();
    b.memory = PinnedBlock<char>(device_, bytes);
  }
  return b.memory.data();
}
void Staging::send_bytes(void* to, const void* from, Index bytes) {
  if (bytes == 0) return;
  Buffer& b = buffers_[next_];
  if (from != b.memory.data()) std::memcpy(room_of(bytes), from, at(bytes));
  device_.library.to_device(device_.context(), to, b.memory.data(), at(bytes));
  if (!b.copied) b.copied = device_.library.create_event(device_.context());
  device_.library.record(device_.context(), b.copied);
  next_ = (next_ + 1) % buffers;
}

template <class T>
DeviceNetwork<T>::DeviceNetwork(Network<T>& network, const DeviceLibrary& library, int index) : net(network), device(library, index) {
  const OnDevice use(device, "network");
  for (const Op& op : net.graph.ops) op.layer->require_device(net.graph.input_shapes(op));
  const Graph& graph = net.graph;
  parameters = DeviceBlock<T>(device, graph.n_parameters);
  parameters.write(net.parameters.data(), 0, graph.n_parameters);
  outcome = DeviceBlock<Outcome>(device, 1);
  evaluation = DeviceBlock<Outcome>(device, 1);
  state_ = DeviceBlock<T>(device, graph.n_state);
  device.synchronize();
  net.parameters = Block<T>(0);
}

template <class T>
const DeviceBlock<T>& DeviceNetwork<T>::gradients() {
  if (gradients_.size() != net.graph.n_parameters) gradients_ = DeviceBlock<T>(device, net.graph.n_parameters);
  return gradients_;
}
template <class T>
bool DeviceNetwork<T>::prepare_training(const OptimizerSpec& o) {
  TrainingState<T>& s = net.training;
  const bool same = s.optimizer && s.optimizer->type == o.type && s.optimizer->blocks() == o.blocks();
  if (!same) {
    const auto block = [&](bool wanted) { return wanted ? DeviceBlock<T>(device, net.graph.n_parameters) : DeviceBlock<T>(); };
    DeviceBlock<T> first = block(o.blocks() >= 1), second = block(o.blocks() >= 2);  // or there is no memory, and all is as before
    s.step = s.epoch = 0;
    v = std::move(first), m = std::move(second);
  }
  s.optimizer = o;
  return same;
}
template <class T>
void DeviceNetwork<T>::reset_training() {
  net.reset_training();
  m = DeviceBlock<T>(), v = DeviceBlock<T>();
}
template <class T>
const T* DeviceNetwork<T>::state() {
  if (net.graph.n_state) state_.write(net.state.data(), 0, net.graph.n_state);
  return state_.data();
}

template class DeviceSpace<float>;
template class DeviceSpace<double>;
template class DeviceNetwork<float>;
template class DeviceNetwork<double>;

}  // namespace chainrule
