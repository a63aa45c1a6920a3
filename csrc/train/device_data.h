// SPDX-License-Identifier: MIT
// A data set in the card's memory: copied once, and a batch is gathered there.
#pragma once
#include <vector>

#include "network/device_network.h"
#include "train/batch.h"

namespace chainrule {

template <class T>
class DeviceData {
 public:
  DeviceData(DeviceNetwork<T>& net, const Data<T>& data);
  // Whether it takes at most half of what is free: the workspace comes later.
  static bool fits(const Device& device, const Data<T>& data);

  struct Output {
    DeviceBlock<std::int32_t> labels;
    DeviceBlock<T> y, s;
  };
  std::vector<DeviceBlock<T>> inputs;  // empty: the user's own rows are there already
  std::vector<Output> outputs;
};

// A batch as the executor sees it: gathered on the card from a copy of the data set or from rows that the user has there, else on the host and sent.
template <class T>
class DeviceFeed : public Feed<T> {
 public:
  // host: the same rows; it keeps the weights' sum and the user's own loss. all: null where the data set was not copied.
  // n: of its rows, as `follow`
  DeviceFeed(DeviceNetwork<T>& net, const Data<T>& data, const BatchFeed<T>& host, const DeviceData<T>* all, Index n)
      : net_(net), data_(data), host_(host), all_(all), of_batch_(data.targets.size()) {
    follow(n);
  }
  void follow(Index n);  // `host` has moved to another batch, of n rows

  const T* input(int j, Index first, Index n, T* buffer) const override;
  void target(int j, Index first, Index n, std::int32_t*, T*, const std::int32_t*& labels, const T*& y) const override;
  const T* weights(int j, Index first, Index n, T*) const override;
  double sum_of_weights(int j) const override { return host_.sum_of_weights(j); }
  double custom_loss(int j, Index n, const T* a, T* da) const override { return host_.custom_loss(j, n, a, da); }

 private:
  const T* rows(const T* all, Index size, Index first, Index n, T* buffer) const;
  const T* on_device(std::size_t j) const { return data_.on_device.empty() ? nullptr : data_.on_device[j]; }

  DeviceNetwork<T>& net_;
  const Data<T>& data_;
  const BatchFeed<T>& host_;
  const DeviceData<T>* all_;
  DeviceBlock<Index> index_;
  mutable std::vector<typename DeviceData<T>::Output> of_batch_;  // one thread alone asks
};

}  // namespace chainrule
