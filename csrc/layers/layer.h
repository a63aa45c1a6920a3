// SPDX-License-Identifier: MIT
// The concept of a layer: what it says of itself, and its three computations. A layer holds no state: everything it touches stands in a Call.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "kernels/kernels.h"
#include "tensor/random.h"
#include "tensor/shape.h"

namespace chainrule {

using Attribute = std::variant<std::monostate, bool, Index, double, std::string, std::vector<Index>>;

// One entry of the spec's "layers": {"type": "dense", "units": 64, ...}. Getters raise ValueErrors that name the layer.
struct LayerSpec {
  std::string name, type;
  std::map<std::string, Attribute> attributes;

  Index integer(const std::string& key, Index least) const;
  double number(const std::string& key) const;
  bool flag(const std::string& key, bool otherwise) const;
  std::string string(const std::string& key, const std::string& otherwise) const;
  std::vector<Index> integers(const std::string& key) const;
  const Attribute* find(const std::string& key) const;  // null where absent or None
};

// A tensor in the block of parameters or of state.
struct TensorSpec {
  std::string name;  // "W", "b", "mean", ...
  std::vector<Index> shape;
  std::string initializer;  // of math/init.h
  Index fan_in = 0, fan_out = 0;
  bool penalised = true;  // biases are not, unless a penalty says bias=True
};

// Rows are samples of the batch: `n` of them, the first being sample `first` (random numbers count from there). Columns [column_begin, column_end) bound
// the work where the layer says `splits_columns`: of the output in forward, of the input in backward, of the units in gradient.
template <class T>
struct Call {
  const Kernels<T>& k;
  Index n, first, time;
  Index column_begin, column_end;
  const Shape* in;  // shapes of the inputs (symbolic axes not bound)
  int n_inputs;
  const Shape* out;
  const T* const* x;      // inputs, each (n, ...)
  T* z;                   // forward: the output (n, ...), before bias and fused activation
  const T* a;             // backward: the output as it is after the activation; null unless `reads_output`
  const T* dz;            // backward, gradient: dL/dz
  T* const* dx;           // backward: null where not wanted
  const Accum* dx_accum;  //
  const T* w;             // the layer's parameters, its tensors one after the other
  T* dw;                  // gradient: as w; dw = dw_keep dw + dw_scale dW
  T dw_scale, dw_keep;
  Index in_begin, in_end;  // gradient: columns of the input, where the layer says `splits_columns`
  const T* state;
  Key key;                              // random numbers of this step and node
  T* step = nullptr;                    // gradient, where the layer says `steps` and the batch is one row: the parameters, to which dw is then added;
  std::atomic<bool>* finite = nullptr;  // becomes false where one of them is not finite
  T* spare = nullptr;      // on a card, whose memory a layer may not touch itself: room for as many numbers as the largest value; null on the CPU
  T* shared = nullptr;     // of a layer that couples rows: what `combine` leaves for them all
  SparseArgs<T> sparse{};  // the rows of x[0] (then null) where the layer says `takes_sparse` and they are sparse
};

class Layer {
 public:
  explicit Layer(const LayerSpec& spec) : name(spec.name), type(spec.type), trainable(spec.flag("trainable", true)) {}
  virtual ~Layer() = default;

  std::string name, type;
  bool trainable;

  // Errors begin with this: "[dense_1] ".
  std::string tag() const { return "[" + name + "] "; }
  void expect_inputs(const std::vector<Shape>& in, std::size_t least, std::size_t most) const {
    CR_CHECK(in.size() >= least && in.size() <= most, tag(), "got ", in.size(), " inputs: expected ", least == most ? "" : "at least ", least);
  }

  virtual Shape infer(const std::vector<Shape>& in) const = 0;
  virtual void require_device(const std::vector<Shape>&) const {}  // ValueError where it does something that only the CPU does
  virtual std::vector<TensorSpec> parameters(const std::vector<Shape>&) const { return {}; }
  virtual std::vector<TensorSpec> state(const std::vector<Shape>&) const { return {}; }

  virtual bool alias(bool training) const {
    (void)training;
    return false;
  }  // the output is the input's memory, read with another shape
  virtual bool reads_input() const { return false; }   // backward or gradient reads x
  virtual bool takes_sparse() const { return false; }  // forward and gradient take an input of one axis as sparse rows
  virtual bool reads_output() const { return false; }  // backward reads a
  virtual bool splits_columns() const { return false; }
  virtual bool splits_inputs() const { return splits_columns(); }  // gradient takes a part of the input's columns
  virtual bool chooses() const { return false; }  // backward gives dz to inputs chosen by their size: a kink where the choice changes
  virtual bool steps() const { return false; }    // gradient can take the step of one row itself
  virtual int activation() const { return -1; }   // index of the elementwise function this layer is, fusable into the step before it
  virtual double activation_parameter() const { return 0; }
  virtual bool softmax() const { return false; }
  // Multiply-adds a matrix row, for the choice of tiles and threads.
  virtual double work(const Shape* in, const Shape& out) const {
    (void)in;
    return static_cast<double>(out.columns());
  }
  // Offset of the bias in the layer's parameters, or -1: it is added together with the activation.
  virtual Index bias_offset(const Shape* in) const {
    (void)in;
    return -1;
  }

  // Where the rows of a batch depend on each other (batch norm in training): before `forward`, and again before `backward`, `reduce` leaves `part` numbers
  // of each range of rows, and `combine` (once, of all ranges in order) `shared` numbers for all rows; on the way back it also does `gradient`'s work.
  // `learn` changes the layer's state by what `combine` left: belongs to the commit of a step. `require_rows` raises where a batch has too few matrix rows.
  virtual bool couples_rows(bool training) const {
    (void)training;
    return false;
  }
  virtual Index part(const Shape*) const { return 0; }
  virtual Index shared(const Shape*) const { return 0; }
  virtual void require_rows(Index) const {}

  // In prediction y = scale x + shift by channel: multiplied into the W (channels, ...) and b of a layer before it that `takes_affine` (network/plan.cpp).
  virtual bool is_affine() const { return false; }
  virtual bool takes_affine() const { return false; }
  virtual void affine(const float* w, const float* state, Index channels, float* scale, float* shift) const {
    (void)w, (void)state, (void)channels, (void)scale, (void)shift;
  }
  virtual void affine(const double* w, const double* state, Index channels, double* scale, double* shift) const {
    (void)w, (void)state, (void)channels, (void)scale, (void)shift;
  }

  virtual void forward(const Call<float>&) const {}
  virtual void forward(const Call<double>&) const {}
  virtual void backward(const Call<float>&) const {}
  virtual void backward(const Call<double>&) const {}
  virtual void gradient(const Call<float>&) const {}
  virtual void gradient(const Call<double>&) const {}
  virtual void reduce(const Call<float>&, bool, double*) const {}
  virtual void reduce(const Call<double>&, bool, double*) const {}
  virtual void combine(const Call<float>&, bool, const double*, Index) const {}
  virtual void combine(const Call<double>&, bool, const double*, Index) const {}
  virtual void learn(const Call<float>&, float*) const {}
  virtual void learn(const Call<double>&, double*) const {}
};

// Where an axis counted as in NumPy on (n, ...) lies in the sample's shape; that of the samples is none of them.
inline std::size_t axis_of(const std::string& tag, Index axis, const Shape& in) {
  const Index rank = static_cast<Index>(in.dims.size()), a = axis < 0 ? axis + rank + 1 : axis;
  CR_CHECK(a >= 1 && a <= rank, tag, "axis is ", axis, " and the input is ", in.str(), ": expected an axis after that of the samples");
  return static_cast<std::size_t>(a - 1);
}

// Forwards the virtuals to templates run_forward<T>, run_backward<T>, run_gradient<T>, run_reduce<T>, run_combine<T>, run_learn<T> of the layer.
template <class Self>
class LayerOf : public Layer {
 public:
  using Layer::Layer;
  void forward(const Call<float>& c) const override { self().template run_forward<float>(c); }
  void forward(const Call<double>& c) const override { self().template run_forward<double>(c); }
  void backward(const Call<float>& c) const override { self().template run_backward<float>(c); }
  void backward(const Call<double>& c) const override { self().template run_backward<double>(c); }
  void gradient(const Call<float>& c) const override { self().template run_gradient<float>(c); }
  void gradient(const Call<double>& c) const override { self().template run_gradient<double>(c); }
  void reduce(const Call<float>& c, bool backward, double* part) const override { self().template run_reduce<float>(c, backward, part); }
  void reduce(const Call<double>& c, bool backward, double* part) const override { self().template run_reduce<double>(c, backward, part); }
  void combine(const Call<float>& c, bool backward, const double* parts, Index n) const override {
    self().template run_combine<float>(c, backward, parts, n);
  }
  void combine(const Call<double>& c, bool backward, const double* parts, Index n) const override {
    self().template run_combine<double>(c, backward, parts, n);
  }
  void learn(const Call<float>& c, float* state) const override { self().template run_learn<float>(c, state); }
  void learn(const Call<double>& c, double* state) const override { self().template run_learn<double>(c, state); }

  template <class T>
  void run_forward(const Call<T>&) const {}
  template <class T>
  void run_backward(const Call<T>&) const {}
  template <class T>
  void run_gradient(const Call<T>&) const {}
  template <class T>
  void run_reduce(const Call<T>&, bool, double*) const {}
  template <class T>
  void run_combine(const Call<T>&, bool, const double*, Index) const {}
  template <class T>
  void run_learn(const Call<T>&, T*) const {}

 private:
  const Self& self() const { return static_cast<const Self&>(*this); }
};

}  // namespace chainrule
