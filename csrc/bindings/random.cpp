// SPDX-License-Identifier: MIT
// The random numbers, for the tests that freeze them (contract 11) and for the split into training and validation rows.
#include "tensor/random.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <array>
#include <map>
#include <optional>
#include <string>

#include "bindings/bindings.h"
#include "math/init.h"
#include "tensor/check.h"

namespace chainrule::bindings {

namespace {
Purpose purpose_named(const std::string& name) {
  static const std::map<std::string, Purpose> known{{"init", Purpose::Init},       {"shuffle", Purpose::Shuffle}, {"dropout", Purpose::Dropout},
                                                    {"augment", Purpose::Augment}, {"split", Purpose::Split},     {"sample", Purpose::Sample}};
  const auto found = known.find(name);
  CR_CHECK(found != known.end(), "[random] there is no purpose '", name, "': expected one of init, shuffle, dropout, augment, split, sample");
  return found->second;
}

py::array_t<std::uint32_t> random_words(std::uint64_t seed, std::uint32_t step, const std::string& purpose, std::uint32_t stream, std::uint64_t first,
                                        Index n) {
  CR_CHECK(n >= 0, "[random_words] n is ", n, ": expected 0 or more");
  const Key key{seed, step, purpose_stream(purpose_named(purpose), stream)};
  py::array_t<std::uint32_t> words(n);
  for (Index i = 0; i < n; ++i) {
    const std::uint64_t e = first + static_cast<std::uint64_t>(i);
    words.mutable_at(i) = key.block(e / 4)[e % 4];
  }
  return words;
}

py::array_t<Index> permutation(std::uint64_t seed, std::uint32_t epoch, const std::string& purpose, Index n, Index first,
                               std::optional<Index> count) {
  const Permutation order(seed, epoch, purpose_named(purpose), n);
  const Index rows = count.value_or(n - first);
  CR_CHECK(first >= 0 && rows >= 0 && first <= n && rows <= n - first, "[permutation] first is ", first, ", count ", rows, ", n ", n,
           ": expected 0 <= first and first + count <= n");
  py::array_t<Index> result(rows);
  order.fill(first, rows, result.mutable_data());
  return result;
}

template <class T>
py::array_t<T> initialised(const std::string& kind, Index n, Index fan_in, Index fan_out, std::uint64_t seed, std::uint32_t stream) {
  CR_CHECK(n >= 0, "[initialise] n is ", n, ": expected 0 or more");
  py::array_t<T> w(n);
  initialise(kind, w.mutable_data(), n, fan_in, fan_out, seed, stream);
  return w;
}
}  // namespace

void bind_random(py::module_& m) {
  using namespace py::literals;
  m.attr("random_version") = random_version;
  m.def(
      "philox4x32", [](const Words& counter, const std::array<std::uint32_t, 2>& key) { return philox4x32(counter, key[0], key[1]); }, "counter"_a,
      "key"_a);
  m.def("random_words", &random_words, "seed"_a, "step"_a, "purpose"_a, "stream"_a, "first"_a, "n"_a);
  m.def("stream_of", [](const std::string& name) { return stream_of(name); }, "name"_a);
  m.def("permutation", &permutation, "seed"_a, "epoch"_a, "purpose"_a, "n"_a, "first"_a = 0, "count"_a = py::none());
  m.def("initialise_float32", &initialised<float>, "kind"_a, "n"_a, "fan_in"_a, "fan_out"_a, "seed"_a, "stream"_a);
  m.def("initialise_float64", &initialised<double>, "kind"_a, "n"_a, "fan_in"_a, "fan_out"_a, "seed"_a, "stream"_a);
}

}  // namespace chainrule::bindings
