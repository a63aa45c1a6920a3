// SPDX-License-Identifier: MIT
#include "network/graph.h"

#include <algorithm>
#include <map>

#include "layers/layers.h"

namespace chainrule {

namespace {
void place(const std::string& layer, int index, const std::vector<TensorSpec>& specs, std::vector<Tensor>& tensors, Index& total) {
  for (const TensorSpec& s : specs) {
    const Shape shape{s.shape};
    CR_CHECK(shape.fits() && total <= (Index{1} << 48), "[", layer, "] ", s.name, " is ", shape.str().replace(1, 3, ""),
             ": expected fewer than 2^48 elements");
    const Index size = shape.size();
    tensors.push_back({layer + "." + s.name, s, total, size, index});
    total += size;
  }
}
}  // namespace

Graph::Graph(const GraphSpec& spec) {
  std::map<std::string, int> index;
  for (const LayerSpec& l : spec.layers) {
    CR_CHECK(index.emplace(l.name, static_cast<int>(layers.size())).second, "two layers are called '", l.name, "'");
    layers.push_back(make_layer(l));
  }
  const std::size_t n_layers = layers.size();
  std::vector<int> uses(n_layers, 0);
  std::vector<std::vector<TensorSpec>> tensors(n_layers);
  parameter_offset.assign(n_layers, 0);
  state_offset.assign(n_layers, 0);

  for (std::size_t i = 0; i < spec.nodes.size(); ++i) {
    const NodeSpec& node = spec.nodes[i];
    const auto found = index.find(node.layer);
    CR_CHECK(found != index.end(), "node ", i, " uses the layer '", node.layer, "', which does not exist");
    const auto at = static_cast<std::size_t>(found->second);
    const Layer& layer = *layers[at];
    Op op{&layer, found->second, {}, {}, layer.name + (uses[at] ? "/" + std::to_string(uses[at] + 1) : ""), 0};
    for (Index in : node.inputs) {
      CR_CHECK(in >= 0 && in < static_cast<Index>(i), "[", layer.name, "] node ", i, " takes node ", in,
               " as input: expected an earlier node (a cycle, or an input that does not exist)");
      op.in.push_back(value_of_node[static_cast<std::size_t>(in)]);
    }
    const std::vector<Shape> in = input_shapes(op);
    op.shape = layer.infer(in);
    CR_CHECK(op.shape.fits(), "[", op.name, "] makes values of shape ", op.shape.str(), ": expected fewer than 2^48 elements a sample");
    op.stream = stream_of(op.name);
    const std::vector<TensorSpec> own = layer.parameters(in), state_specs = layer.state(in);
    if (uses[at]++ == 0) {
      tensors[at] = own;
      parameter_offset[at] = n_parameters;
      place(layer.name, found->second, own, parameters, n_parameters);
      state_offset[at] = n_state;
      place(layer.name, found->second, state_specs, state, n_state);
    } else {
      for (std::size_t t = 0; t < own.size(); ++t)
        CR_CHECK(own[t].shape == tensors[at][t].shape, "[", layer.name, "] is shared by inputs of different width: ", in[0].str(),
                 " does not fit its ", own[t].name);
    }
    ops.push_back(op);

    const LayerSpec& ls = spec.layers[at];
    const std::string g = ls.string("activation", "identity");
    if (g != "identity") {
      activations_.push_back(make_layer({layer.name, "activation", {{"function", g}}}));
      const Layer* a = activations_.back().get();
      const Shape shape = a->infer({op.shape});
      ops.push_back({a, -1, {static_cast<int>(ops.size()) - 1}, shape, op.name, op.stream});
    }
    value_of_node.push_back(static_cast<int>(ops.size()) - 1);
  }

  const auto pick = [&](const std::vector<Index>& nodes, const char* what) {
    std::vector<int> values;
    CR_CHECK(!nodes.empty(), "the network has no ", what);
    for (Index n : nodes) {
      CR_CHECK(n >= 0 && n < static_cast<Index>(spec.nodes.size()), "the network's ", what, " is node ", n, ", which does not exist");
      values.push_back(value_of_node[static_cast<std::size_t>(n)]);
    }
    return values;
  };
  inputs = pick(spec.inputs, "input");
  outputs = pick(spec.outputs, "output");
  for (std::size_t i = 0; i < ops.size(); ++i) {
    const auto listed = std::count(inputs.begin(), inputs.end(), static_cast<int>(i));
    CR_CHECK(listed <= 1, "[", ops[i].name, "] is listed as an input twice");
    CR_CHECK((ops[i].layer->type == "input") == (listed == 1), "[", ops[i].name, "] ",
             listed ? "is listed as an input but is no Input layer" : "is an Input that is not among the network's inputs: nothing feeds it");
  }
  for (std::size_t l = 0; l < n_layers; ++l) CR_CHECK(uses[l], "[", layers[l]->name, "] is in the spec but no node uses it");
}

bool Graph::takes_sparse(std::size_t j) const {
  const auto reads = [&](const std::vector<int>& values) { return std::find(values.begin(), values.end(), inputs[j]) != values.end(); };
  return ops[static_cast<std::size_t>(inputs[j])].shape.dims.size() == 1 && !reads(outputs) &&
         std::all_of(ops.begin(), ops.end(), [&](const Op& op) { return op.layer->takes_sparse() || !reads(op.in); });
}

}  // namespace chainrule
