// SPDX-License-Identifier: MIT
#include "train/device_data.h"

#include <algorithm>

namespace chainrule {

namespace {
std::size_t at(Index i) { return static_cast<std::size_t>(i); }
}  // namespace

template <class T>
bool DeviceData<T>::fits(const Device& device, const Data<T>& data) {
  double each = 0;  // bytes a sample
  for (std::size_t j = 0; j < data.inputs.size(); ++j)
    if (data.on_device.empty() || !data.on_device[j]) each += static_cast<double>(data.inputs[j].size) * sizeof(T);
  for (const auto& t : data.targets) {
    if (!t.custom) each += static_cast<double>(t.y.size) * (t.labels ? sizeof(std::int32_t) : sizeof(T));
    if (t.weighted) each += static_cast<double>(t.rows_per_sample) * sizeof(T);
  }
  std::size_t free = 0, total = 0;
  device.library.memory(device.context(), &free, &total);
  device.check();
  return each * static_cast<double>(data.rows) <= 0.5 * static_cast<double>(free);
}

template <class T>
DeviceData<T>::DeviceData(DeviceNetwork<T>& net, const Data<T>& data) {
  const Device& device = net.device;
  const BatchFeed<T> all(data, nullptr, 0, data.rows);
  const auto copy = [&]<class V>(DeviceBlock<V>& to, Index size, auto&& fetch) {
    to = DeviceBlock<V>(device, checked_multiply(data.rows, size));
    net.staging.send_rows(to.data(), data.rows, size, fetch);
  };
  inputs.resize(data.inputs.size());
  for (std::size_t j = 0; j < data.inputs.size(); ++j)
    if (data.on_device.empty() || !data.on_device[j])
      copy(inputs[j], data.inputs[j].size, [&](Index first, Index n, T* room) { return all.input(static_cast<int>(j), first, n, room); });
  outputs.resize(data.targets.size());
  for (std::size_t j = 0; j < data.targets.size(); ++j) {
    const auto& t = data.targets[j];
    const int output = static_cast<int>(j);
    const std::int32_t* labels = nullptr;
    const T* y = nullptr;
    if (t.labels)
      copy(outputs[j].labels, t.y.size,
           [&](Index first, Index n, std::int32_t* room) { return all.target(output, first, n, room, nullptr, labels, y), labels; });
    else if (!t.custom)
      copy(outputs[j].y, t.y.size, [&](Index first, Index n, T* room) { return all.target(output, first, n, nullptr, room, labels, y), y; });
    if (t.weighted) copy(outputs[j].s, t.rows_per_sample, [&](Index first, Index n, T* room) { return all.weights(output, first, n, room); });
  }
  device.synchronize();
}

template <class T>
void DeviceFeed<T>::follow(Index n) {
  if (n == 0 || !host_.index() || (!all_ && data_.on_device.empty())) return;
  net_.staging.send(room_for(net_.device, index_, n), host_.index(), n);
}

template <class T>
const T* DeviceFeed<T>::rows(const T* all, Index size, Index first, Index n, T* buffer) const {
  if (!host_.index()) return all + (host_.base() + first) * size;
  if (n > 0) net_.device.template more<T>().gather(buffer, all, index_.data() + first, n, size);
  return buffer;
}
template <class T>
const T* DeviceFeed<T>::input(int j, Index first, Index n, T* buffer) const {
  const Index size = data_.inputs[at(j)].size;
  if (const T* own = on_device(at(j))) {
    const T* there = rows(own, size, first, n, buffer);
    if (!data_.inputs[at(j)].copy || there == buffer) return there;
    net_.device.library.copy(net_.device.context(), buffer, there, at(n * size) * sizeof(T));
    return buffer;
  }
  if (all_) return rows(all_->inputs[at(j)].data(), size, first, n, buffer);
  net_.staging.send_rows(buffer, n, size, [&](Index begin, Index m, T* room) { return host_.input(j, first + begin, m, room); });
  return buffer;
}
template <class T>
void DeviceFeed<T>::target(int j, Index first, Index n, std::int32_t*, T*, const std::int32_t*& labels, const T*& y) const {
  const auto& t = data_.targets[at(j)];
  const Index size = t.y.size, count = n * size;
  auto& batch = of_batch_[at(j)];
  const std::int32_t* host_labels = nullptr;
  const T* host_y = nullptr;
  labels = nullptr, y = nullptr;
  if (t.labels) {
    std::int32_t* to = room_for(net_.device, batch.labels, count);
    labels = to;
    if (!all_) {
      net_.staging.send_rows(to, n, size, [&](Index begin, Index m, std::int32_t* room) {
        host_.target(j, first + begin, m, room, nullptr, host_labels, host_y);
        return host_labels;
      });
    } else if (host_.index()) {
      net_.device.template more<T>().gather_labels(to, all_->outputs[at(j)].labels.data(), index_.data() + first, n, size);
    } else {
      labels = all_->outputs[at(j)].labels.data() + (host_.base() + first) * size;
    }
  } else {
    T* to = room_for(net_.device, batch.y, count);
    y = to;
    if (all_) {
      y = rows(all_->outputs[at(j)].y.data(), size, first, n, to);
    } else {
      net_.staging.send_rows(to, n, size, [&](Index begin, Index m, T* room) {
        host_.target(j, first + begin, m, nullptr, room, host_labels, host_y);
        return host_y;
      });
    }
  }
}
template <class T>
const T* DeviceFeed<T>::weights(int j, Index first, Index n, T*) const {
  const auto& t = data_.targets[at(j)];
  if (!t.weighted) return nullptr;
  const Index size = t.rows_per_sample;
  T* to = room_for(net_.device, of_batch_[at(j)].s, n * size);
  if (all_) return rows(all_->outputs[at(j)].s.data(), size, first, n, to);
  net_.staging.send_rows(to, n, size, [&](Index begin, Index m, T* room) { return host_.weights(j, first + begin, m, room); });
  return to;
}

template class DeviceData<float>;
template class DeviceData<double>;
template class DeviceFeed<float>;
template class DeviceFeed<double>;

}  // namespace chainrule
