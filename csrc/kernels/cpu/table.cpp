// SPDX-License-Identifier: MIT
// The table of this instruction set. noexcept keeps the exception personality, a weak symbol, out of the object.
#include "kernels/cpu/parts.h"

namespace chainrule::CR_ISA {

namespace {

template <class T>
Kernels<T> make_table() noexcept {
  Kernels<T> k{};
  k.isa = CR_TEXT(CR_ISA);
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
  k.outer_step = &outer_step<T>;
  k.sum_slots = &sum_slots<T>;
  k.add_penalty = &add_penalty<T>;
  k.sum_square = &sum_square<T>;
  k.sum_abs = &sum_abs<T>;
  k.all_finite = &all_finite<T>;
  k.dropout = &dropout<T>;
  k.standardize_forward = &standardize_forward<T>;
  k.standardize_backward = &standardize_backward<T>;
  k.norm_forward = &norm_forward<T>;
  k.norm_backward = &norm_backward<T>;
  k.norm_gradient = &norm_gradient<T>;
  k.column_moments = &column_moments<T>;
  k.column_products = &column_products<T>;
  k.affine_forward = &affine_forward<T>;
  k.affine_backward = &affine_backward<T>;
  k.max_pool_forward = &max_pool_forward<T>;
  k.max_pool_backward = &max_pool_backward<T>;
  k.average_pool_forward = &average_pool_forward<T>;
  k.average_pool_backward = &average_pool_backward<T>;
  k.copy_axes = &copy_axes<T>;
  k.add = &add<T>;
  k.multiply = &multiply<T>;
  return k;
}

}  // namespace

const Kernels<float>* table_f32();
const Kernels<double>* table_f64();

const Kernels<float>* table_f32() {
  static const Kernels<float> table = make_table<float>();
  return &table;
}
const Kernels<double>* table_f64() {
  static const Kernels<double> table = make_table<double>();
  return &table;
}

}  // namespace chainrule::CR_ISA
