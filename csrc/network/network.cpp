// SPDX-License-Identifier: MIT
#include "network/network.h"

#include <algorithm>
#include <cstring>

#include "math/init.h"

namespace chainrule {

namespace {
template <class T>
Block<T> parameter_block(const Graph& graph) try {
  return Block<T>(graph.n_parameters);
} catch (const std::bad_alloc&) {
  const auto& all = graph.parameters;
  const Tensor& t = *std::max_element(all.begin(), all.end(), [](const Tensor& a, const Tensor& b) { return a.size < b.size; });
  constexpr double giga = sizeof(T) / 1e9;
  throw OutOfMemory(text("[", graph.layers[static_cast<std::size_t>(t.layer)]->name, "] ", t.spec.name, " takes ", static_cast<double>(t.size) * giga,
                         " GB, all parameters together ", static_cast<double>(graph.n_parameters) * giga, " GB: that much memory is not to be had"));
}
}  // namespace

template <class T>
Network<T>::Network(const GraphSpec& spec, std::uint64_t seed_)
    : graph(spec), seed(seed_), parameters(parameter_block<T>(graph)), state(graph.n_state), shared_(new Shared) {
  for (const Tensor& t : graph.parameters) try {
      initialise(t.spec.initializer, parameters.data() + t.offset, t.size, t.spec.fan_in, t.spec.fan_out, seed, stream_of(t.name));
    } catch (const ValueError& e) {
      throw ValueError(text("[", graph.layers[static_cast<std::size_t>(t.layer)]->name, "] ", e.what()));
    }
  for (const Tensor& t : graph.state) initialise(t.spec.initializer, state.data() + t.offset, t.size, t.spec.fan_in, t.spec.fan_out, seed, 0);
}

template <class T>
T* Network<T>::gradients() {
  if (!has_gradients()) gradients_ = Block<T>(graph.n_parameters);
  return gradients_.data();
}
template <class T>
void Network<T>::clear_gradients() {
  pending = Block<T>(0);
  if (gradients_.size()) std::memset(gradients_.data(), 0, static_cast<std::size_t>(gradients_.size()) * sizeof(T));
}
template <class T>
T* Network<T>::slots(Index count) {
  if (count <= 1) return gradients();
  const Index need = checked_multiply(count, graph.n_parameters);
  if (slots_.size() < need) slots_ = Block<T>(need);
  return slots_.data();
}

template <class T>
bool Network<T>::prepare_training(const OptimizerSpec& o) {
  TrainingState<T>& s = training;
  const bool same = s.optimizer && s.optimizer->type == o.type && s.optimizer->blocks() == o.blocks();
  if (!same) {
    s.step = s.epoch = 0;
    s.v = Block<T>(o.blocks() >= 1 ? graph.n_parameters : 0);
    s.m = Block<T>(o.blocks() >= 2 ? graph.n_parameters : 0);
  }
  s.optimizer = o;
  return same;
}
template <class T>
void Network<T>::reset_training() {
  training = TrainingState<T>();
}

template <class T>
typename Network<T>::Shared& Network<T>::shared() {
  Shared* s = shared_;
  if (s->generation == fork_generation()) return *s;
  auto fresh = std::make_unique<Shared>();
  if (!shared_.compare_exchange_strong(s, fresh.get())) return *s;  // another thread of the child came first
  return *fresh.release();
}

template <class T>
const Plan& Network<T>::plan(const Mode& mode) {
  Shared& s = shared();
  const std::lock_guard<std::mutex> lock(s.mutex);
  for (const Plan& p : s.plans)
    if (p.mode == mode) return p;
  return s.plans.emplace_back(graph, mode);
}

template <class T>
const std::string* Network<T>::unlearned() const {
  for (const Tensor& t : graph.state)
    if (t.spec.name == "scale" && state.data()[t.offset] == T(0)) return &graph.layers[static_cast<std::size_t>(t.layer)]->name;
  return nullptr;
}

template <class T>
std::vector<Segment> Network<T>::segments() const {
  std::vector<Segment> list;
  for (const Tensor& t : graph.parameters) {
    const Layer& layer = *graph.layers[static_cast<std::size_t>(t.layer)];
    if (layer.trainable) list.push_back({t.offset, t.size, {}, {}, layer.name});
  }
  return list;
}

template <class T>
Network<T>::Spaces::Spaces(Network& network, int count, const Plan& plan) : network_(network) {
  Shared& s = network.shared();
  {
    const std::lock_guard<std::mutex> lock(s.mutex);
    for (int wanted = 0; wanted < 2; ++wanted)  // first those that were sized for this plan
      for (std::size_t i = s.free.size(); i-- > 0 && static_cast<int>(owned_.size()) < count;)
        if (wanted == 1 || s.free[i]->plan() == &plan) {
          owned_.push_back(std::move(s.free[i]));
          s.free.erase(s.free.begin() + static_cast<std::ptrdiff_t>(i));
        }
  }
  while (static_cast<int>(owned_.size()) < count) owned_.push_back(std::make_unique<Workspace<T>>());
  for (const auto& w : owned_) list.push_back(w.get());
}
template <class T>
Network<T>::Spaces::~Spaces() {
  Shared& s = network_.shared();
  const std::lock_guard<std::mutex> lock(s.mutex);
  for (auto& w : owned_)
    if (static_cast<int>(s.free.size()) < std::max(2, num_threads())) s.free.push_back(std::move(w));
}

template class Network<float>;
template class Network<double>;

}  // namespace chainrule
