// SPDX-License-Identifier: MIT
// chainrule._core.FitF32 / FitF64: a fit in progress. It holds the network exclusively from its beginning to close().
#include "bindings/network.h"
#include "bindings/optim.h"
#include "tensor/random.h"

namespace chainrule::bindings {

namespace {

FitSpec fit_spec(const Graph& graph, const std::vector<Segment>& plain, const py::list& losses, const py::dict& optimizer, const py::list& penalties,
                 Index batch_size, bool shuffle, const py::list& augment) {
  FitSpec spec;
  spec.losses = loss_choices(losses);
  spec.optimizer = optimizer_spec(optimizer);
  spec.schedule = schedule_from(optimizer["alpha"].cast<py::dict>());
  spec.segments = segments(graph, plain, penalties);
  spec.batch_size = batch_size;
  spec.shuffle = shuffle;
  spec.augment = augmentations(graph, augment);
  return spec;
}

template <class T>
class Fit {
 public:
  Fit(std::shared_ptr<Handle<T>> handle, const py::list& losses, const py::dict& optimizer, const py::list& penalties, Index batch_size, bool shuffle,
      const py::list& augment)
      : handle_(std::move(handle)) {
    Network<T>& net = *handle_->net;
    const FitSpec spec = fit_spec(net.graph, net.segments(), losses, optimizer, penalties, batch_size, shuffle, augment);
    CR_CHECK(!handle_->card || spec.augment.empty(), "[fit] augment moves images, which a card does not do yet: use device='cpu'");
    writing_.emplace(net.gate, "fit");  // let go also where what follows throws
    net.stop = false;
    handle_->tape.reset();
    clear_gradients(*handle_);  // what a backward has left, or another loss has written
    if (handle_->card)
      device_trainer_ = std::make_unique<DeviceTrainer<T>>(*handle_->card, spec);
    else
      trainer_ = std::make_unique<Trainer<T>>(net, spec);
  }
  ~Fit() { close(); }
  Fit(const Fit&) = delete;
  Fit& operator=(const Fit&) = delete;

  void close() {
    if (!writing_) return;
    device_trainer_.reset();  // its copy of the data goes back now
    clear_gradients(*handle_);
    writing_.reset();
  }

  // Validated once: the epochs that follow read the same arrays.
  void data(const py::list& inputs, const py::list& targets, const py::object& subset, bool check) {
    arrays_ = arrays<T>(handle_->net->graph, inputs, targets, check, false);
    subset_ = subset_rows(subset, arrays_->data.rows);
    const Index rows = subset_ ? static_cast<Index>(subset_->size()) : arrays_->data.rows;
    CR_CHECK(rows > 0, "[fit] X has no rows to train on");
  }
  void adapt() {
    Signals signals;
    check_running(without_gil(signals, [&] { bindings::adapt(*handle_, arrays_->data, subset_ ? &*subset_ : nullptr, signals.cancel); }));
  }
  // `order`: this epoch's rows one by one, instead of data()'s subset. (loss, the penalties' part of it, stopped, chunks by thread)
  py::tuple epoch(const py::object& order) {
    const std::optional<std::vector<Index>> given = subset_rows(order, arrays_->data.rows);
    CR_CHECK(!given || !given->empty(), "[fit] the order of an epoch names no row");
    const std::optional<std::vector<Index>>& rows = given ? given : subset_;
    Signals signals(&handle_->net->stop);
    EpochReport report;
    const std::vector<Index>* subset = rows ? &*rows : nullptr;
    const bool whole = without_gil(signals, [&] {
      report = trainer_ ? trainer_->epoch(arrays_->data, subset, signals.cancel) : device_trainer_->epoch(arrays_->data, subset, signals.cancel);
    });
    if (!whole) handle_->net->stop = false;
    return py::make_tuple(report.loss, report.penalty, report.stopped || !whole, report.chunks_by_thread);
  }
  // One batch of one's own: (loss, weight), weight 0 where it was no step
  py::tuple step(const py::list& inputs, const py::list& targets, bool check) {
    const auto a = arrays<T>(handle_->net->graph, inputs, targets, check, false);
    Signals signals(&handle_->net->stop);
    double loss = 0, weight = 0;
    const bool whole = without_gil(signals, [&] {
      trainer_ ? trainer_->step(a->data, signals.cancel, loss, weight) : device_trainer_->step(a->data, signals.cancel, loss, weight);
    });
    stopped_ = handle_->net->stop.exchange(false) || !whole;
    return py::make_tuple(loss, whole ? weight : 0.0);
  }
  bool stopped() const { return stopped_; }
  void begin_epoch() { trainer_ ? trainer_->begin_epoch() : device_trainer_->begin_epoch(); }

 private:
  static void check_running(bool whole) {
    if (!whole) throw StateError("[fit] stopped");
  }
  std::shared_ptr<Handle<T>> handle_;
  std::optional<Writing> writing_;
  std::unique_ptr<Trainer<T>> trainer_;  // on the CPU, or else
  std::unique_ptr<DeviceTrainer<T>> device_trainer_;
  std::unique_ptr<Arrays<T>> arrays_;
  std::optional<std::vector<Index>> subset_;
  bool stopped_ = false;
};

template <class T>
void bind(py::module_& m, py::class_<Handle<T>, std::shared_ptr<Handle<T>>>& c, const std::string& name) {
  py::class_<Fit<T>>(m, (std::string("Fit") + name.substr(name.size() - 3)).c_str())
      .def(py::init<std::shared_ptr<Handle<T>>, const py::list&, const py::dict&, const py::list&, Index, bool, const py::list&>(),
           py::arg("network"), py::arg("losses"), py::arg("optimizer"), py::arg("penalties"), py::arg("batch_size"), py::arg("shuffle"),
           py::arg("augment"))
      .def("data", &Fit<T>::data, py::arg("inputs"), py::arg("targets"), py::arg("subset"), py::arg("check"))
      .def("adapt", &Fit<T>::adapt)
      .def("epoch", &Fit<T>::epoch, py::arg("order") = py::none())
      .def("begin_epoch", &Fit<T>::begin_epoch)
      .def("step", &Fit<T>::step, py::arg("inputs"), py::arg("targets"), py::arg("check"))
      .def_property_readonly("stopped", &Fit<T>::stopped)
      .def("close", &Fit<T>::close);
  c.def(
      "apply_gradients",
      [](Handle<T>& h, const py::dict& optimizer, const py::list& penalties) {
        Network<T>& net = *h.net;
        const FitSpec spec = fit_spec(net.graph, net.segments(), py::list(), optimizer, penalties, 1, false, py::list());
        const Writing writing(net.gate, "step");
        h.tape.reset();
        const py::gil_scoped_release release;
        h.card ? DeviceTrainer<T>(*h.card, spec).apply_gradients() : Trainer<T>(net, spec).apply_gradients();
      },
      py::arg("optimizer"), py::arg("penalties"));
}
}  // namespace

template <>
void bind_fit<float>(py::module_& m, py::class_<Handle<float>, std::shared_ptr<Handle<float>>>& c, const std::string& name) {
  bind<float>(m, c, name);
}
template <>
void bind_fit<double>(py::module_& m, py::class_<Handle<double>, std::shared_ptr<Handle<double>>>& c, const std::string& name) {
  bind<double>(m, c, name);
}

}  // namespace chainrule::bindings
