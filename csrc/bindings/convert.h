// SPDX-License-Identifier: MIT
// From Python's dicts and arrays to the core's structs. Shapes are checked here, against the graph, before any memory is touched.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#ifdef __APPLE__
#include <pthread.h>
#else
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <chrono>
#include <memory>
#include <optional>
#include <thread>

#include "network/network.h"
#include "train/trainer.h"

namespace chainrule::bindings {

namespace py = pybind11;

GraphSpec graph_spec(const py::dict& spec);
OptimizerSpec optimizer_spec(const py::dict& spec);
std::vector<LossChoice> loss_choices(const py::list& losses);  // [{"type": ..., "weight": ..., "parameters": [...]}, ...]
// [{"layer": name or None, "bias": bool, "l1":, "l2":, "proximal":, "per_sample": bool}, ...] over the trainable tensors of the graph
std::vector<Segment> segments(const Graph& graph, std::vector<Segment> plain, const py::list& penalties);
// [None or {"shift": [down, across], "flip": None, "left_right", "up_down" or "both", "rotate": degrees, "fill": number}, ...], one an input
std::vector<Augmentation> augmentations(const Graph& graph, const py::list& augment);
py::tuple shape_tuple(const Shape& s);

Source source(const py::object& array, const std::string& name);  // a NumPy array, an intake.Csr or an interchange.CardArray
inline bool is_on_card(const py::object& array) { return !py::isinstance<py::array>(array) && py::hasattr(array, "address"); }
// The rows of an interchange.CardArray; null where there are none.
template <class T>
const T* rows_on_card(const py::object& array) {
  return reinterpret_cast<const T*>(array.attr("address").cast<std::uintptr_t>());
}

// The arrays of a call, kept alive while the core reads them.
template <class T>
struct Arrays {
  Data<T> data;
  std::vector<py::object> keep;
  bool on_card = false;  // all inputs lie there
};
// inputs: one array an Input. targets: [] or one dict an output: {"y": array or None, "labels": bool, "s": array or None, "custom": callable or None,
// "levels": columns of the output for one of y, 1 by default}
template <class T>
std::unique_ptr<Arrays<T>> arrays(const Graph& graph, const py::list& inputs, const py::list& targets, bool check, bool copy);

// A fresh NumPy array (rows, ...) for values of that shape.
template <class T>
py::array_t<T> new_array(Index rows, const Shape& shape, Index time) {
  std::vector<py::ssize_t> dims{static_cast<py::ssize_t>(rows)};
  for (Index d : shape.bound(time).dims) dims.push_back(static_cast<py::ssize_t>(d));
  return py::array_t<T>(dims);
}
template <class T>
py::array_t<T> copy_array(const T* from, Index rows, const Shape& shape, Index time) {
  py::array_t<T> a = new_array<T>(rows, shape, time);
  std::copy(from, from + a.size(), a.mutable_data());
  return a;
}

// Python runs signal handlers in its main thread alone, so no other has to take the GIL for them.
inline bool main_thread() {
#ifdef __APPLE__
  return pthread_main_np() != 0;
#else
  return syscall(SYS_gettid) == getpid();
#endif
}

// Asks Python for Ctrl-C while the core works without the GIL; the exception is kept and raised once the core has let go.
class Signals {
 public:
  explicit Signals(std::atomic<bool>* stop = nullptr) {
    cancel.poll = [this, stop] {
      if (stop && stop->load()) return true;
      if (!main_thread()) return false;
      const py::gil_scoped_acquire gil;
      if (PyErr_CheckSignals() == 0) return false;
      error_.emplace();
      return true;
    };
  }
  Cancel cancel;
  // After Interrupted: raises what Python's handler raised; returns if it was net.stop().
  void rethrow() {
    if (error_) throw std::move(*error_);
  }

 private:
  std::optional<py::error_already_set> error_;
};

// Gives up the GIL for as long as it lives. Before Python 3.14 a thread that asks for it while the interpreter is finalised (the process ends, a daemon
// thread still fits) is ended by unwinding its stack, which a destructor that may not throw turns into an abort: such a thread waits for the end.
class WithoutGil {
 public:
  WithoutGil() : state_(PyEval_SaveThread()) {}
  ~WithoutGil() noexcept(false) {
#if PY_VERSION_HEX >= 0x030D0000
    const bool ending = Py_IsFinalizing();
#else
    const bool ending = _Py_IsFinalizing();
#endif
    while (ending && !main_thread()) std::this_thread::sleep_for(std::chrono::hours(1));
    PyEval_RestoreThread(state_);
  }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* state_;
};

// f() without the GIL; Ctrl-C becomes Python's own exception. Returns false if net.stop() ended it.
template <class F>
bool without_gil(Signals& signals, F&& f) {
  try {
    const WithoutGil released;
    f();
    return true;
  } catch (const Interrupted&) {
  }
  signals.rethrow();
  return false;
}

}  // namespace chainrule::bindings
