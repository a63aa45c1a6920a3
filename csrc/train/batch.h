// SPDX-License-Identifier: MIT
// A data set as sources, and a batch of its rows as a Feed.
#pragma once
#include <functional>
#include <vector>

#include "network/feed.h"
#include "tensor/random.h"
#include "train/augment.h"
#include "train/source.h"

namespace chainrule {

template <class T>
struct Data {
  struct Target {
    Source y;
    bool labels = false;  // integers 0 .. columns-1
    bool weighted = false;
    Source s;                                // one weight a sample, or one a row of the output
    Index rows_per_sample = 1, columns = 1;  // of the output
    // LossKind::Custom: (rows of the batch or null, first row, n, a, da) -> value
    std::function<double(const Index*, Index, Index, const T*, T*)> custom;
  };
  Index rows = 0, time = 1;
  std::vector<Source> inputs;
  std::vector<char> sparse;         // by input: multiplied as sparse rows; empty: none
  std::vector<const T*> on_device;  // by input: its rows, where they lie on the network's own card; else null. Empty: none does
  std::vector<Target> targets;
};

// Rows index[0 .. n) of the data, or [base, base + n) if index is null.
template <class T>
class BatchFeed : public Feed<T> {
 public:
  BatchFeed(const Data<T>& data, const Index* index, Index base, Index n) : data_(data), sum_(data.targets.size()) { move_to(index, base, n); }
  void move_to(const Index* index, Index base, Index n) {
    index_ = index, base_ = base;
    for (std::size_t j = 0; j < sum_.size(); ++j) {
      const auto& t = data_.targets[j];
      sum_[j] = t.weighted ? sum(t, n) : static_cast<double>(n * t.rows_per_sample);
    }
  }

  // From now on rows come as that step of training sees them; `how`, by input, may be empty.
  void augment(const std::vector<Augmentation>& how, std::uint64_t seed, std::uint32_t step) { how_ = &how, seed_ = seed, step_ = step; }

  const Index* index() const { return index_; }
  Index base() const { return base_; }

  const T* input(int j, Index first, Index n, T* buffer) const override {
    const auto at = static_cast<std::size_t>(j);
    if (!how_ || at >= how_->size() || !(*how_)[at].active()) return rows(data_.inputs[at], first, n, buffer);
    data_.inputs[at].template gather<T>(index_, index_ ? first : base_ + first, n, buffer);
    (*how_)[at].apply(buffer, first, n, seed_, step_);
    return buffer;
  }
  std::vector<char> sparse() const override { return data_.sparse; }
  void sparse_input(int j, Index first, Index n, SparseRows<T>& out) const override {
    data_.inputs[static_cast<std::size_t>(j)].gather(index_, index_ ? first : base_ + first, n, out);
  }
  void target(int j, Index first, Index n, std::int32_t* label_buffer, T* buffer, const std::int32_t*& labels, const T*& y) const override {
    const auto& t = data_.targets[static_cast<std::size_t>(j)];
    labels = nullptr, y = nullptr;
    if (!t.labels) {
      y = rows(t.y, first, n, buffer);
      return;
    }
    labels = rows(t.y, first, n, label_buffer);
    for (Index i = 0; i < n * t.rows_per_sample; ++i)  // the kernels index with them
      CR_CHECK(labels[i] >= 0 && labels[i] < t.columns, "[", t.y.name, "] holds the label ", labels[i], ": expected 0 to ", t.columns - 1);
  }
  const T* weights(int j, Index first, Index n, T* buffer) const override {
    const auto& t = data_.targets[static_cast<std::size_t>(j)];
    if (!t.weighted) return nullptr;
    if (t.s.size == t.rows_per_sample) return rows(t.s, first, n, buffer);
    const Index each = t.rows_per_sample;  // one weight a sample: the same for all its rows
    t.s.template gather<T>(index_, index_ ? first : base_ + first, n, buffer);
    for (Index i = n; i-- > 0;)
      for (Index r = each; r-- > 0;) buffer[i * each + r] = buffer[i];
    return buffer;
  }
  double sum_of_weights(int j) const override { return sum_[static_cast<std::size_t>(j)]; }
  double custom_loss(int j, Index n, const T* a, T* da) const override {
    return data_.targets[static_cast<std::size_t>(j)].custom(index_, base_, n, a, da);
  }

 private:
  template <class V>
  const V* rows(const Source& source, Index first, Index n, V* buffer) const {
    if (!index_)
      if (const V* p = source.template in_place<V>(base_ + first, n)) return p;
    source.template gather<V>(index_, index_ ? first : base_ + first, n, buffer);
    return buffer;
  }
  double sum(const typename Data<T>::Target& t, Index n) const {
    T block[256];
    double total = 0;
    if (t.s.size > 256) {
      std::vector<T> row(static_cast<std::size_t>(t.s.size));
      for (Index i = 0; i < n; ++i) {
        t.s.template gather<T>(index_, index_ ? i : base_ + i, 1, row.data());
        for (T v : row) total += static_cast<double>(v);
      }
    } else {
      const Index step = 256 / t.s.size;
      for (Index i = 0; i < n; i += step) {
        const Index m = std::min(step, n - i);
        t.s.template gather<T>(index_, index_ ? i : base_ + i, m, block);
        for (Index e = 0; e < m * t.s.size; ++e) total += static_cast<double>(block[e]);
      }
    }
    return t.s.size == t.rows_per_sample ? total : total * static_cast<double>(t.rows_per_sample);
  }

  const Data<T>& data_;
  const Index* index_ = nullptr;
  Index base_ = 0;
  std::vector<double> sum_;
  const std::vector<Augmentation>* how_ = nullptr;
  std::uint64_t seed_ = 0;
  std::uint32_t step_ = 0;
};

// The batches of an epoch: rows at random without replacement, or in order.
class EpochOrder {
 public:
  // Of n rows, or of the n that `subset` names. The order inside a batch changes no sum but its rounding, so a full batch is not shuffled.
  EpochOrder(const std::vector<Index>* subset, Index n, Index batch, bool shuffle, std::uint64_t seed, Index epoch)
      : subset_(subset),
        n_(n),
        batch_(batch),
        shuffle_(shuffle && batch < n),
        order_(seed, static_cast<std::uint32_t>(epoch), Purpose::Shuffle, shuffle_ ? n : 0),
        index_(shuffle_ ? static_cast<std::size_t>(batch) : 0) {}

  // Rows index[0 .. n), or [base, base + n) where index is null
  struct Range {
    const Index* index;
    Index base, n;
  };
  // The batch whose first row comes after `first` others. The one before may be overwritten.
  Range batch(Index first) {
    const Index m = std::min(batch_, n_ - first);
    if (!shuffle_) return subset_ ? Range{subset_->data() + first, 0, m} : Range{nullptr, first, m};
    order_.fill(first, m, index_.data());
    if (subset_)
      for (Index i = 0; i < m; ++i) index_[static_cast<std::size_t>(i)] = (*subset_)[static_cast<std::size_t>(index_[static_cast<std::size_t>(i)])];
    return {index_.data(), 0, m};
  }

 private:
  const std::vector<Index>* subset_;
  Index n_, batch_;
  bool shuffle_;
  Permutation order_;
  std::vector<Index> index_;
};

}  // namespace chainrule
