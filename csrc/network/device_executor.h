// SPDX-License-Identifier: MIT
// Walks a plan on a card: the steps of executor.h, each over all rows of a block at once, without waiting for any. What a computation says of itself
// (loss, hits, whether all was finite) stays in the card's memory.
#pragma once
#include <vector>

#include "network/device_network.h"

namespace chainrule {

template <class T>
class DeviceExecutor {
 public:
  // `job` has pointers into the card's memory, its feed too. Inside OnDevice.
  DeviceExecutor(DeviceNetwork<T>& net, const Plan& plan, const Job<T>& job)
      : device_(net.device),
        steps_(plan, job, net.device.template kernels<T>()),
        plan_(steps_.plan),
        job_(steps_.job),
        more_(net.device.template more<T>()) {}

  // Takes the workspace that `compute` will use.
  void reserve(DeviceSpace<T>& space) const { space.fit(device_, plan_, block_rows(), job_.time); }
  // Forward, losses and, if the plan has gradients, backward. outcome->loss += the objective without penalties; hits (by output) may be null.
  void compute(DeviceSpace<T>& space, T* gradients, Outcome* outcome, double* hits);
  // Forward only; output j goes to outputs[j] (n, ...) in the host's memory, or (there) in the card's. Waits for it.
  void predict(DeviceSpace<T>& space, T* const* outputs, bool there = false);
  // The user's own loop, as Executor's; da lies on the card.
  void forward_all(DeviceSpace<T>& space) { forward_all(space, 0, job_.n); }
  void forward_all(DeviceSpace<T>& space, Index first, Index n);
  void backward_all(DeviceSpace<T>& space, const std::vector<const T*>& da, bool dz, T* gradients, Outcome* outcome);
  void sample_gradient(DeviceSpace<T>& space, Index sample, T* gradient);

 private:
  Index block_rows() const;
  void losses(DeviceSpace<T>& space, Rows rows, Outcome* outcome, double* hits);
  void custom_losses(DeviceSpace<T>& space, Outcome* outcome);
  void backward_steps(DeviceSpace<T>& space, Rows rows, T* gradients, Accum accum, bool from_dz);
  bool at_output(const Step& step) const;
  Index columns(const Step& step) const { return step.in_shapes.empty() ? 0 : step.in_shapes[0].columns(job_.time); }

  const Device& device_;
  const Steps<T> steps_;
  const Plan& plan_;
  const Job<T>& job_;
  const DeviceKernels<T>& more_;
};

}  // namespace chainrule
