// SPDX-License-Identifier: MIT
#include "layers/layers.h"

namespace chainrule {

namespace {
template <class L>
std::unique_ptr<Layer> make(const LayerSpec& spec) {
  return std::make_unique<L>(spec);
}
struct Entry {
  const char* type;
  std::unique_ptr<Layer> (*make)(const LayerSpec&);
};
constexpr Entry list[] = {
    {"input", make<Input>},
    {"standardize", make<Standardize>},
    {"dense", make<Dense>},
    {"conv1d", make<Conv>},
    {"conv2d", make<Conv>},
    {"conv_transpose2d", make<Conv>},
    {"activation", make<Activation>},
    {"dropout", make<Dropout>},
    {"stochastic_depth", make<Dropout>},
    {"batch_norm", make<BatchNorm>},
    {"layer_norm", make<RowNorm>},
    {"rms_norm", make<RowNorm>},
    {"group_norm", make<GroupNorm>},
    {"flatten", make<Reshape>},
    {"reshape", make<Reshape>},
    {"transpose", make<Transpose>},
    {"slice", make<Slice>},
    {"up_sample", make<UpSample>},
    {"mean", make<Mean>},
    {"max_pool", make<Pool>},
    {"average_pool", make<Pool>},
    {"global_average_pool", make<Mean>},
    {"add", make<Merge>},
    {"multiply", make<Merge>},
    {"concatenate", make<Concatenate>},
};

template <class V>
const V* get(const LayerSpec& spec, const std::string& key, const char* expected, bool required) {
  const Attribute* a = spec.find(key);
  CR_CHECK(a || !required, "[", spec.name, "] ", key, " is missing: expected ", expected);
  if (!a) return nullptr;
  const V* v = std::get_if<V>(a);
  CR_CHECK(v, "[", spec.name, "] ", key, " has the wrong type: expected ", expected);
  return v;
}
}  // namespace

std::unique_ptr<Layer> make_layer(const LayerSpec& spec) {
  std::string known;
  for (const Entry& e : list) {
    if (spec.type == e.type) return e.make(spec);
    known += (known.empty() ? "" : ", ") + std::string(e.type);
  }
  throw ValueError(text("[", spec.name, "] unknown layer type '", spec.type, "': expected one of ", known));
}

int find_activation(const std::string& who, const std::string& function) {
  if (function == "softmax") return -1;
  const auto& k = kernels<double>();
  std::string known;
  for (int i = 0; i < k.n_activations; ++i) {
    if (function == k.activations[i].name) return i;
    known += std::string(k.activations[i].name) + ", ";
  }
  throw ValueError(text(who, "unknown activation '", function, "': expected one of ", known, "softmax"));
}

const Attribute* LayerSpec::find(const std::string& key) const {
  const auto it = attributes.find(key);
  return it == attributes.end() || std::holds_alternative<std::monostate>(it->second) ? nullptr : &it->second;
}
Index LayerSpec::integer(const std::string& key, Index least) const {
  const Index v = *get<Index>(*this, key, "an integer", true);
  CR_CHECK(v >= least, "[", name, "] ", key, " is ", v, ": expected at least ", least);
  return v;
}
double LayerSpec::number(const std::string& key) const {
  const Attribute* a = find(key);
  if (a)
    if (const Index* i = std::get_if<Index>(a)) return static_cast<double>(*i);
  return *get<double>(*this, key, "a number", true);
}
bool LayerSpec::flag(const std::string& key, bool otherwise) const {
  const bool* v = get<bool>(*this, key, "True or False", false);
  return v ? *v : otherwise;
}
std::string LayerSpec::string(const std::string& key, const std::string& otherwise) const {
  const std::string* v = get<std::string>(*this, key, "a string", false);
  return v ? *v : otherwise;
}
std::vector<Index> LayerSpec::integers(const std::string& key) const { return *get<std::vector<Index>>(*this, key, "a list of integers", true); }

}  // namespace chainrule
