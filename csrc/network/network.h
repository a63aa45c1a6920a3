// SPDX-License-Identifier: MIT
// A network: the graph, its flat blocks, the training state, cached plans and a free list of workspaces.
#pragma once
#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <optional>

#include "network/executor.h"
#include "network/gate.h"
#include "optim/update.h"
#include "tensor/arena.h"

namespace chainrule {

// What `fit` continues from: belongs to the network, not to the optimizer object (contract 7).
template <class T>
struct TrainingState {
  std::optional<OptimizerSpec> optimizer;
  Block<T> m{0}, v{0};
  Index step = 0;   // committed steps
  Index epoch = 0;  // epochs begun
};

template <class T>
class Network {
 public:
  Network(const GraphSpec& spec, std::uint64_t seed);

  const Graph graph;
  const std::uint64_t seed;
  Block<T> parameters, state;
  Block<T> pending{0};  // the state after the batches whose gradients `backward` has summed; empty: as it is
  TrainingState<T> training;
  Gate gate;
  std::atomic<bool> stop{false};

  T* gradients();  // allocated at first use, zero
  bool has_gradients() const { return gradients_.size() > 0 || graph.n_parameters == 0; }
  void clear_gradients();
  T* slots(Index count);  // gradient slots, zero where never written

  // Continues with the blocks of `o` if they have the same shape, else starts anew; true if it continues.
  bool prepare_training(const OptimizerSpec& o);
  void reset_training();

  const Plan& plan(const Mode& mode);
  // Names a Standardize layer that has learned nothing yet, or null.
  const std::string* unlearned() const;
  // All trainable tensors, without penalties.
  std::vector<Segment> segments() const;

  // Workspaces out of the free list; they go back when it is destroyed. At most as many as there are cores stay.
  class Spaces {
   public:
    Spaces(Network& network, int count, const Plan& plan);
    ~Spaces();
    Spaces(const Spaces&) = delete;
    Spaces& operator=(const Spaces&) = delete;
    std::vector<Workspace<T>*> list;

   private:
    Network& network_;
    std::vector<std::unique_ptr<Workspace<T>>> owned_;
  };

 private:
  struct Shared {
    std::mutex mutex;
    std::list<Plan> plans;
    std::vector<std::unique_ptr<Workspace<T>>> free;
    unsigned generation = fork_generation();
  };
  Shared& shared();

  Block<T> gradients_{0}, slots_{0};
  std::atomic<Shared*> shared_;  // abandoned, not destroyed, in a forked child: its mutex may be held by a thread that is not there

 public:
  ~Network() { delete shared_.load(); }
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;
};

}  // namespace chainrule
