// SPDX-License-Identifier: MIT
// trainer.h for a network on a card. Within an epoch nothing waits for the card but the host, which stays at most `steps_ahead` steps ahead of it: loss,
// weights and faults add up in its memory (kernels.h, Outcome) and are read at the epoch's end.
#pragma once
#include <optional>
#include <vector>

#include "train/device_data.h"
#include "train/trainer.h"

namespace chainrule {

template <class T>
class DeviceTrainer {
 public:
  DeviceTrainer(DeviceNetwork<T>& network, const FitSpec& spec);
  ~DeviceTrainer();
  DeviceTrainer(const DeviceTrainer&) = delete;
  DeviceTrainer& operator=(const DeviceTrainer&) = delete;

  // As Trainer's. `data` is copied to the card at the first epoch if it fits beside all else, and has to stay as it is; if not, its batches are sent.
  EpochReport epoch(const Data<T>& data, const std::vector<Index>* subset, Cancel& cancel);
  Index begin_epoch();
  bool step(const Data<T>& data, Cancel& cancel, double& loss, double& weight);
  void apply_gradients();

 private:
  // Of a step that is on its way.
  struct Ahead {
    DeviceEvent* done = nullptr;
    Index first = 0;  // its first row in the epoch
  };
  const Plan& plan();
  void make_room(Index n, Index time);
  void keep();
  bool enqueue(const DeviceFeed<T>& feed, Index n, Index time, Cancel& cancel);
  void commit(double sum_of_weights, double weight);
  bool may_go_on();  // waits until the host is few enough steps ahead; false after a fault
  Outcome settle();  // waits for all that was asked for, and takes the steps that were committed as those of the network
  [[noreturn]] void diverged(const DeviceFeed<T>& feed, Index n, Index time, const Outcome& outcome);
  [[noreturn]] void overflowed(const char* since);
  double alpha() const { return spec_.schedule.alpha(net_.net.training.step, std::max<Index>(0, net_.net.training.epoch - 1)); }

  DeviceNetwork<T>& net_;
  const Device& device_;
  FitSpec spec_;
  double last_loss_;
  DeviceBlock<T> backup_;
  DeviceBlock<DeviceSegment> segments_;
  bool penalised_ = false;
  PinnedBlock<std::uint32_t> faults_;  // of the last steps, as far as the card has come
  Ahead ahead_[steps_ahead];
  Index enqueued_ = 0, before_ = 0;  // steps since the epoch began; the network's before it
  std::optional<DeviceData<T>> data_;
  const Data<T>* data_of_ = nullptr;
};

template <class T>
Evaluation evaluate(DeviceNetwork<T>& net, const std::vector<LossChoice>& losses, const Data<T>& data, const std::vector<Index>* subset,
                    Cancel& cancel);
// there: the outputs' memory is the card's
template <class T>
void predict(DeviceNetwork<T>& net, const Data<T>& data, T* const* outputs, Cancel& cancel, int target = -1, bool there = false);
template <class T>
void adapt(DeviceNetwork<T>& net, const Data<T>& data, const std::vector<Index>* subset, Cancel& cancel);
template <class T>
Job<T> job_for(DeviceNetwork<T>& net, const Feed<T>& feed, Index n, Index time, Cancel& cancel);

}  // namespace chainrule
