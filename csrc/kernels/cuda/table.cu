// SPDX-License-Identifier: MIT
// The tables of the device.
#include "kernels/cuda/tables.h"

#include "kernels/cuda/parts.cuh"

namespace chainrule::cuda {

namespace {

template <class T>
Kernels<T> make_table() {
  Kernels<T> k{};
  k.isa = "cuda";
  k.activations = activation_registry<T>();
  k.n_activations = activation_count();
  k.gemm = &gemm<T>;
  k.sparse_forward = &sparse_forward<T>;
  k.sparse_backward = &sparse_backward<T>;
  k.conv_scratch = &conv_scratch<T>;
  k.conv_forward = &conv_forward<T>;
  k.conv_backward = &conv_backward<T>;
  k.conv_gradient = &conv_gradient<T>;
  k.column_sum = &column_sum<T>;
  k.softmax_forward = &softmax_forward<T>;
  k.softmax_backward = &softmax_backward<T>;
  k.softmax_cross_entropy = &softmax_cross_entropy<T>;
  k.cross_entropy = &cross_entropy<T>;
  k.sigmoid_binary_cross_entropy = &sigmoid_binary_cross_entropy<T>;
  k.binary_cross_entropy = &binary_cross_entropy<T>;
  k.squared_error = &squared_error<T>;
  k.absolute_error = &absolute_error<T>;
  k.huber = &huber<T>;
  k.quantile = &quantile<T>;
  k.exp_poisson = &exp_poisson<T>;
  k.poisson = &poisson<T>;
  k.sgd = &sgd<T>;
  k.rmsprop = &rmsprop<T>;
  k.adam = &adam<T>;
  k.sum_slots = &sum_slots<T>;
  k.add_penalty = &add_penalty<T>;
  k.sum_square = &sum_square<T>;
  k.sum_abs = &sum_abs<T>;
  k.all_finite = &all_finite<T>;
  k.dropout = &dropout<T>;
  k.standardize_forward = &standardize_forward<T>;
  k.standardize_backward = &standardize_backward<T>;
  k.add = &add<T>;
  k.multiply = &multiply<T>;
  return k;
}

template <class T>
DeviceKernels<T> make_device_table() {
  return {&gather<T>, &gather<std::int32_t>, &expect_finite<T>, &penalised_norm<T>, &count_hits<T>, &end_step};
}

}  // namespace

template <class T>
const Kernels<T>& table() {
  static const Kernels<T> kernels = make_table<T>();
  return kernels;
}
template <class T>
const DeviceKernels<T>& device_table() {
  static const DeviceKernels<T> kernels = make_device_table<T>();
  return kernels;
}

template const Kernels<float>& table();
template const Kernels<double>& table();
template const DeviceKernels<float>& device_table();
template const DeviceKernels<double>& device_table();

}  // namespace chainrule::cuda
