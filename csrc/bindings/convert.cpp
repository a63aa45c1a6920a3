// SPDX-License-Identifier: MIT
#include "bindings/convert.h"

#include <limits>
#include <tuple>

namespace chainrule::bindings {

namespace {
Attribute attribute(const std::string& who, const py::handle& v) {
  if (v.is_none()) return {};
  if (py::isinstance<py::bool_>(v)) return v.cast<bool>();
  if (py::isinstance<py::int_>(v)) return v.cast<Index>();
  if (py::isinstance<py::float_>(v)) return v.cast<double>();
  if (py::isinstance<py::str>(v)) return v.cast<std::string>();
  if (py::isinstance<py::list>(v) || py::isinstance<py::tuple>(v)) {
    std::vector<Index> list;
    for (const py::handle& e : v) list.push_back(e.is_none() ? -1 : e.cast<Index>());
    return list;
  }
  throw ValueError(text("[", who, "] the spec holds a ", std::string(py::str(py::type::of(v).attr("__name__"))),
                        ": expected None, bool, int, float, str or a list of ints"));
}
py::object item(const py::dict& d, const char* key) {
  CR_CHECK(d.contains(key), "the spec has no '", key, "'");
  return d[key];
}
std::vector<Index> indices(const py::object& o) {
  std::vector<Index> v;
  for (const py::handle& e : o) v.push_back(e.cast<Index>());
  return v;
}
double number(const py::dict& d, const char* key, double otherwise) {
  return d.contains(key) && !d[key].is_none() ? d[key].cast<double>() : otherwise;
}
bool flag(const py::dict& d, const char* key) { return d.contains(key) && d[key].cast<bool>(); }

DType dtype_of(const py::array& a, const std::string& name) {
  const char kind = a.dtype().kind();
  const auto size = a.dtype().itemsize();
  if (kind == 'b') return DType::Bool;
  if (kind == 'i' && size == 1) return DType::I8;
  if (kind == 'i' && size == 2) return DType::I16;
  if (kind == 'i' && size == 4) return DType::I32;
  if (kind == 'i' && size == 8) return DType::I64;
  if (kind == 'u' && size == 1) return DType::U8;
  if (kind == 'u' && size == 2) return DType::U16;
  if (kind == 'u' && size == 4) return DType::U32;
  if (kind == 'u' && size == 8) return DType::U64;
  if (kind == 'f' && size == 2) return DType::F16;
  if (kind == 'f' && size == 4) return DType::F32;
  if (kind == 'f' && size == 8) return DType::F64;
  throw py::type_error("[" + name + "] has dtype " + std::string(py::str(py::object(a.dtype()))) +
                       ": expected bool, integers or floating-point numbers");
}

std::string shape_text(const std::vector<Index>& shape) {
  std::string s = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + (shape.size() == 1 ? ",)" : ")");
}
std::string shape_text(const py::array& a) { return shape_text(std::vector<Index>(a.shape(), a.shape() + a.ndim())); }
std::string shape_text(const Source& s) {
  std::vector<Index> shape = s.shape;
  shape.insert(shape.begin(), s.rows);
  return shape_text(shape);
}

// The array's axes after the first against a shape; binds the symbolic axis. (n,) equals (n, 1).
void match(const Source& s, const Shape& shape, const std::string& who, Index& time, bool& bound) {
  std::vector<Index> dims = s.shape;
  if (dims.empty() && shape.dims.size() == 1 && shape.dims[0] == 1) dims = {1};
  bool fits = dims.size() == shape.dims.size();
  for (std::size_t i = 0; fits && i < dims.size(); ++i) {
    if (shape.dims[i] >= 0) {
      fits = dims[i] == shape.dims[i];
    } else if (bound) {
      CR_CHECK(dims[i] == time, "[", who, "] ", s.name, " has length ", dims[i], " along the open axis: another input has ", time);
    } else {
      CR_CHECK(dims[i] > 0, "[", who, "] ", s.name, " has length 0 along the open axis: expected at least 1");
      time = dims[i];
      bound = true;
    }
  }
  CR_CHECK(fits, "[", who, "] ", s.name, " has shape ", shape_text(s), ": expected ", shape.str());
}
}  // namespace

GraphSpec graph_spec(const py::dict& spec) try {
  const Index format = item(spec, "format").cast<Index>();
  CR_CHECK(format == 1, "the spec has format ", format, ": this version reads format 1");
  GraphSpec g;
  for (const auto& [name, layer] : item(spec, "layers").cast<py::dict>()) {
    LayerSpec l;
    l.name = name.cast<std::string>();
    for (const auto& [key, value] : layer.cast<py::dict>()) {
      if (key.cast<std::string>() == "type")
        l.type = value.cast<std::string>();
      else
        l.attributes[key.cast<std::string>()] = attribute(l.name, value);
    }
    g.layers.push_back(l);
  }
  for (const py::handle& node : item(spec, "nodes")) {
    const py::dict d = node.cast<py::dict>();
    g.nodes.push_back({item(d, "layer").cast<std::string>(), indices(item(d, "inputs"))});
  }
  g.inputs = indices(item(spec, "inputs"));
  g.outputs = indices(item(spec, "outputs"));
  return g;
} catch (const py::cast_error&) {  // its message names C++ types
  throw ValueError("the spec holds something of another type than a spec has: expected what net.spec returns");
}

OptimizerSpec optimizer_spec(const py::dict& d) {
  OptimizerSpec o;
  o.type = item(d, "type").cast<std::string>();
  CR_CHECK(o.type == "sgd" || o.type == "rmsprop" || o.type == "adam" || o.type == "adamw", "unknown optimizer '", o.type,
           "': expected one of sgd, rmsprop, adam, adamw");
  o.momentum = number(d, "momentum", 0);
  o.nesterov = flag(d, "nesterov");
  o.rho = number(d, "rho", 0.9);
  o.beta1 = number(d, "beta1", 0.9);
  o.beta2 = number(d, "beta2", 0.999);
  o.eps = number(d, "eps", 1e-8);
  o.eps_hat = flag(d, "eps_hat");
  o.lam = number(d, "lam", 0);
  o.clip_norm = number(d, "clip_norm", 0);
  return o;
}

std::vector<LossChoice> loss_choices(const py::list& losses) {
  std::vector<LossChoice> list;
  for (const py::handle& h : losses) {
    const py::dict d = h.cast<py::dict>();
    std::vector<double> parameters;
    if (d.contains("parameters"))
      for (const py::handle& p : d["parameters"]) parameters.push_back(p.cast<double>());
    list.push_back(loss_choice(item(d, "type").cast<std::string>(), number(d, "weight", 1), std::move(parameters)));
  }
  return list;
}

std::vector<Segment> segments(const Graph& graph, std::vector<Segment> plain, const py::list& penalties) {
  for (const py::handle& h : penalties) {
    const py::dict d = h.cast<py::dict>();
    const bool any = !d.contains("layer") || d["layer"].is_none(), bias = flag(d, "bias");
    const std::string layer = any ? "" : d["layer"].cast<std::string>();
    bool known = any;
    for (const auto& l : graph.layers) known = known || l->name == layer;
    CR_CHECK(known, "a penalty names the layer '", layer, "', which the network does not have");
    for (Segment& s : plain)
      for (const Tensor& t : graph.parameters) {
        if (t.offset != s.offset || t.size != s.size || (!any && s.layer != layer) || !(t.spec.penalised || bias)) continue;
        Lambdas& l = flag(d, "per_sample") ? s.per_sample : s.plain;
        l.l1 += number(d, "l1", 0);
        l.l2 += number(d, "l2", 0);
        l.proximal += number(d, "proximal", 0);
      }
  }
  return plain;
}

std::vector<Augmentation> augmentations(const Graph& graph, const py::list& augment) {
  std::vector<Augmentation> list(augment.size());
  for (std::size_t j = 0; j < list.size(); ++j) {
    if (augment[j].is_none()) continue;
    const py::dict d = augment[j].cast<py::dict>();
    const std::string flip = d["flip"].is_none() ? "" : d["flip"].cast<std::string>();
    Augmentation& a = list[j];
    std::tie(a.down, a.across) = d["shift"].cast<std::pair<Index, Index>>();
    a.flip_across = flip == "left_right" || flip == "both";
    a.flip_down = flip == "up_down" || flip == "both";
    a.rotate = number(d, "rotate", 0);
    a.fill = number(d, "fill", 0);
    const Op& op = graph.ops[static_cast<std::size_t>(graph.inputs[j])];
    a.of(op.name, op.shape);
  }
  return list;
}

py::tuple shape_tuple(const Shape& s) {
  py::tuple t(s.dims.size());
  for (std::size_t i = 0; i < s.dims.size(); ++i) t[i] = s.dims[i] < 0 ? py::object(py::none()) : py::object(py::int_(s.dims[i]));
  return t;
}

namespace {
// intake.Csr: data, indices and indptr are contiguous, the last two int32 or both int64
Source sparse_source(const py::object& x, const std::string& name) {
  const py::array data = x.attr("data"), indices = x.attr("indices"), indptr = x.attr("indptr");
  Source s;
  s.name = name;
  s.dtype = dtype_of(data, name);
  std::tie(s.rows, s.size) = x.attr("shape").cast<std::pair<Index, Index>>();
  CR_CHECK(s.rows >= 0 && s.size >= 0 && s.size <= std::numeric_limits<std::int32_t>::max(), "[", name, "] is sparse and has ", s.size,
           " columns: expected at most 2147483647");
  s.shape = {s.size};
  s.data = static_cast<const char*>(data.data());
  s.csr = {static_cast<const char*>(indptr.data()), static_cast<const char*>(indices.data()), indices.itemsize() == 8, indices.size()};
  CR_CHECK(indptr.size() == s.rows + 1, "[", name, "] has ", indptr.size(), " entries in indptr: expected ", s.rows + 1, ", one more than rows");
  CR_CHECK(indices.size() == data.size(), "[", name, "] has ", indices.size(), " column indices and ", data.size(), " values: expected as many");
  for (Index i = 0; i < s.rows; ++i) s.csr.extent(i, name);
  return s;
}
// interchange.CardArray: C-contiguous, of the network's dtype and on its card
Source card_source(const py::object& x, const std::string& name) {
  Source s;
  s.name = name;
  const auto shape = x.attr("shape").cast<std::vector<Index>>();
  s.rows = shape.at(0);
  s.shape.assign(shape.begin() + 1, shape.end());
  for (Index n : s.shape) s.size = checked_multiply(s.size, n);
  return s;
}
}  // namespace

Source source(const py::object& object, const std::string& name) {
  if (!py::isinstance<py::array>(object)) {
    if (py::hasattr(object, "indptr")) return sparse_source(object, name);
    if (is_on_card(object)) return card_source(object, name);
  }
  const auto a = object.cast<py::array>();
  Source s;
  s.name = name;
  s.dtype = dtype_of(a, name);
  CR_CHECK(a.ndim() >= 1, "[", name, "] is a single number: expected an array whose first axis counts the samples");
  s.data = static_cast<const char*>(a.data());
  s.rows = a.shape(0);
  for (py::ssize_t i = 1; i < a.ndim(); ++i) {
    s.shape.push_back(a.shape(i));
    s.stride.push_back(a.strides(i));
    s.size = checked_multiply(s.size, a.shape(i));
  }
  Index expected = a.itemsize();
  for (std::size_t i = s.shape.size(); i-- > 0;) {
    s.packed = s.packed && (s.shape[i] == 1 || s.stride[i] == expected);
    expected *= s.shape[i];
  }
  s.row_stride = s.rows > 1 ? a.strides(0) : s.size * a.itemsize();  // NumPy leaves the stride of an axis of length 1 open
  return s;
}

template <class T>
std::unique_ptr<Arrays<T>> arrays(const Graph& graph, const py::list& inputs, const py::list& targets, bool check, bool copy) {
  auto result = std::make_unique<Arrays<T>>();
  Data<T>& d = result->data;
  bool bound = false;
  CR_CHECK(inputs.size() == graph.inputs.size(), "got ", inputs.size(), " input arrays: expected ", graph.inputs.size());
  for (std::size_t j = 0; j < inputs.size(); ++j) {
    const py::object a = inputs[j];
    const Op& op = graph.ops[static_cast<std::size_t>(graph.inputs[j])];
    Source s = source(a, inputs.size() == 1 ? "X" : op.name);
    match(s, op.shape, op.name, d.time, bound);
    CR_CHECK(j == 0 || s.rows == d.rows, "[", op.name, "] has ", s.rows, " rows: the first input has ", d.rows);
    d.rows = s.rows;
    s.check = check;
    s.copy = copy;
    d.inputs.push_back(s);
    if (s.few() && graph.takes_sparse(j)) {
      d.sparse.resize(inputs.size(), 0);
      d.sparse[j] = 1;
    }
    const bool there = is_on_card(a);
    if (there) {
      d.on_device.resize(inputs.size(), nullptr);
      d.on_device[j] = rows_on_card<T>(a);
    }
    result->on_card = there && (j == 0 || result->on_card);
    result->keep.push_back(a);
  }
  CR_CHECK(targets.empty() || targets.size() == graph.outputs.size(), "got ", targets.size(), " targets: expected ", graph.outputs.size());
  for (std::size_t j = 0; j < targets.size(); ++j) {
    const py::dict t = targets[j].cast<py::dict>();
    const Op& op = graph.ops[static_cast<std::size_t>(graph.outputs[j])];
    typename Data<T>::Target target;
    target.rows_per_sample = op.shape.rows(d.time);
    target.columns = op.shape.columns(d.time);
    const py::object y_object = t["y"];
    target.labels = flag(t, "labels");
    const bool custom = t.contains("custom") && !t["custom"].is_none();
    if (!custom) {
      const py::array y = y_object.cast<py::array>();
      target.y = source(y, targets.size() == 1 ? "y" : "y of " + op.name);
      target.y.check = check;
      CR_CHECK(target.y.rows == d.rows, "[", op.name, "] ", target.y.name, " has ", target.y.rows, " rows: X has ", d.rows);
      Shape expected = op.shape;
      if (target.labels && !expected.dims.empty()) expected.dims.pop_back();
      const Index levels = t.contains("levels") ? t["levels"].cast<Index>() : 1;
      if (levels > 1) {
        CR_CHECK(!expected.dims.empty() && expected.dims.back() > 0 && expected.dims.back() % levels == 0, "[", op.name, "] the output has shape ",
                 op.shape.str(), ": expected ", levels, " columns a target, one for each level of the quantile loss");
        expected.dims.back() /= levels;
      }
      if (target.labels && target.y.shape.size() == expected.dims.size() + 1 && target.y.shape.back() == 1) expected.dims.push_back(1);
      match(target.y, expected, op.name, d.time, bound);
      result->keep.push_back(y);
    }
    if (t.contains("s") && !t["s"].is_none()) {
      const py::array s = t["s"].cast<py::array>();
      target.weighted = true;
      target.s = source(s, "sample_weight");
      CR_CHECK(target.s.rows == d.rows && (target.s.size == 1 || target.s.size == target.rows_per_sample), "[sample_weight] has shape ",
               shape_text(target.s), ": expected one weight a row, (", d.rows, ",)");
      result->keep.push_back(s);
    }
    if (custom) {
      const py::object f = t["custom"];
      result->keep.push_back(f);
      result->keep.push_back(y_object);
      const Shape shape = op.shape;
      const Index time = d.time;
      const std::string who = op.name;
      // The trainer calls this from the thread that called it, without the GIL.
      target.custom = [f = f.ptr(), y = y_object.ptr(), shape, time, who](const Index* index, Index first, Index n, const T* a, T* da) {
        const py::gil_scoped_acquire gil;
        py::object rows = py::reinterpret_borrow<py::object>(y);
        if (index) {
          py::array_t<Index> at(n, index);
          rows = rows[at];
        } else {
          rows = rows[py::slice(first, first + n, 1)];
        }
        const py::object answer = py::reinterpret_borrow<py::object>(f)(rows, copy_array<T>(a, n, shape, time));
        if (!py::isinstance<py::tuple>(answer) || py::len(answer) != 2)
          throw py::type_error("[" + who + "] the loss returned something else than (value, da)");
        const auto pair = answer.cast<py::tuple>();
        const auto d = py::array_t<T, py::array::c_style | py::array::forcecast>::ensure(pair[1]);
        const py::array_t<T> like = new_array<T>(n, shape, time);
        bool fits = d && d.ndim() == like.ndim();
        for (py::ssize_t i = 0; fits && i < d.ndim(); ++i) fits = d.shape(i) == like.shape(i);
        if (!fits) throw ValueError(text("[", who, "] the loss returned da of shape ", d ? shape_text(d) : "?", ": expected ", shape_text(like)));
        std::copy(d.data(), d.data() + d.size(), da);
        try {
          return pair[0].cast<double>();
        } catch (const py::cast_error&) {
          throw py::type_error("[" + who + "] the loss returned the value " + std::string(py::str(pair[0])) + ": expected a number");
        }
      };
    }
    d.targets.push_back(std::move(target));
  }
  return result;
}

template std::unique_ptr<Arrays<float>> arrays<float>(const Graph&, const py::list&, const py::list&, bool, bool);
template std::unique_ptr<Arrays<double>> arrays<double>(const Graph&, const py::list&, const py::list&, bool, bool);

}  // namespace chainrule::bindings
