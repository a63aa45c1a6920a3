// SPDX-License-Identifier: MIT
// The network as data, checked: layers, uses of them in order, shapes, and where each tensor lies in the flat blocks.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "layers/layer.h"

namespace chainrule {

struct NodeSpec {
  std::string layer;
  std::vector<Index> inputs;
};
struct GraphSpec {
  std::vector<LayerSpec> layers;
  std::vector<NodeSpec> nodes;
  std::vector<Index> inputs, outputs;
};

// A named range of a flat block.
struct Tensor {
  std::string name;  // "dense_1.W"
  TensorSpec spec;
  Index offset, size;
  int layer;
};

// One use of a layer; op i makes value i. A layer with `activation=` is two ops: z, then a = g(z).
struct Op {
  const Layer* layer;
  int index;  // of the layer in Graph::layers; -1 for an activation that belongs to the op before it
  std::vector<int> in;
  Shape shape;
  std::string name;      // "dense_1", its second use "dense_1/2"
  std::uint32_t stream;  // of its random numbers: a hash of the name
};

struct Graph {
  explicit Graph(const GraphSpec& spec);

  std::vector<std::unique_ptr<Layer>> layers;
  std::vector<Op> ops;
  std::vector<int> inputs, outputs;  // value indices
  std::vector<int> value_of_node;    // of the spec's nodes
  std::vector<Tensor> parameters, state;
  Index n_parameters = 0, n_state = 0;
  std::vector<Index> parameter_offset, state_offset;  // by layer

  std::vector<Shape> input_shapes(const Op& op) const {
    std::vector<Shape> s;
    for (int i : op.in) s.push_back(ops[static_cast<std::size_t>(i)].shape);
    return s;
  }
  // Parameters of a layer, all its tensors together.
  Index parameters_of(int layer) const {
    Index sum = 0;
    for (const Tensor& t : parameters) sum += t.layer == layer ? t.size : 0;
    return sum;
  }
  // Whether all that reads input j takes its rows sparse.
  bool takes_sparse(std::size_t j) const;

 private:
  std::vector<std::unique_ptr<Layer>> activations_;
};

}  // namespace chainrule
