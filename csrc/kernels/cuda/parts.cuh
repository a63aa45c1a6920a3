// SPDX-License-Identifier: MIT
// What the files of this folder put into the tables; kernels.h says what each computes. Defined for float and double in the file named.
#pragma once
#include "kernels/cuda/common.cuh"

namespace chainrule::cuda {

// gemm.cu
template <class T>
void gemm(bool transpose_a, bool transpose_b, Index m, Index n, Index k, T alpha, const T* a, Index lda, const T* b, Index ldb, T beta, T* c,
          Index ldc);

// sparse.cu
template <class T>
void sparse_forward(T* z, Index ldz, const SparseArgs<T>& x, Index n_in, const T* w, Index units);
template <class T>
void sparse_backward(T* dw, const T* dz, Index ldz, const SparseArgs<T>& x, Index n_in, Index units, T scale, T keep);

// conv.cu
template <class T>
Index conv_scratch(const ConvShape& s);
template <class T>
void conv_forward(T* z, const T* x, const T* w, const ConvShape& s, Index n, Index first, Index end, Accum accum, T* scratch);
template <class T>
void conv_backward(T* dx, const T* dz, const T* w, const ConvShape& s, Index n, Index first, Index end, Accum accum, T* scratch);
template <class T>
void conv_gradient(T* dw, const T* dz, const T* x, const ConvShape& s, Index n, Index first, Index end, T scale, T keep, T* scratch);

// activation.cu
template <class T>
const ActivationKernel<T>* activation_registry();
int activation_count();

// softmax.cu
template <class T>
void softmax_forward(T* a, const T* z, Index rows, Index cols);
template <class T>
void softmax_backward(T* dz, const T* da, const T* a, Index rows, Index cols, Accum accum);
template <class T>
double softmax_cross_entropy(const LossArgs<T>& q);

// losses.cu
template <class T>
double cross_entropy(const LossArgs<T>& q);
template <class T>
double sigmoid_binary_cross_entropy(const LossArgs<T>& q);
template <class T>
double binary_cross_entropy(const LossArgs<T>& q);
template <class T>
double squared_error(const LossArgs<T>& q);
template <class T>
double absolute_error(const LossArgs<T>& q);
template <class T>
double huber(const LossArgs<T>& q);
template <class T>
double quantile(const LossArgs<T>& q);
template <class T>
double exp_poisson(const LossArgs<T>& q);
template <class T>
double poisson(const LossArgs<T>& q);
template <class T>
void count_hits(double* hits, const LossArgs<T>& q, bool by_row, T threshold);

// update.cu
template <class T>
UpdateSums sgd(const UpdateArgs<T>& q);
template <class T>
UpdateSums rmsprop(const UpdateArgs<T>& q);
template <class T>
UpdateSums adam(const UpdateArgs<T>& q);
template <class T>
void penalised_norm(T* g, const UpdateArgs<T>& q);
void end_step(Outcome* outcome, double weight);

// reduce.cu
template <class T>
void column_sum(T* db, const T* dz, Index rows, Index cols, Index ld, T scale, T keep);
template <class T>
void sum_slots(T* g, const T* slots, Index count, Index stride, Index n);
template <class T>
double sum_square(const T* x, Index n);
template <class T>
double sum_abs(const T* x, Index n);
template <class T>
bool all_finite(const T* x, Index n);
template <class T>
void expect_finite(Outcome* outcome, const T* x, Index n);

// dropout.cu
template <class T>
void dropout(T* y, const T* x, Index first, Index n, std::uint32_t key0, std::uint32_t key1, std::uint32_t step, std::uint32_t purpose_stream,
             std::uint32_t threshold, T scale, Accum accum);

// elementwise.cu
template <class T>
void add_penalty(T* g, const T* w, Index n, double l1, double l2);
template <class T>
void standardize_forward(T* y, const T* x, const T* mean, const T* scale, Index rows, Index cols);
template <class T>
void standardize_backward(T* dx, const T* dy, const T* scale, Index rows, Index cols, Accum accum);
template <class T>
void add(T* y, const T* x, Index n, Accum accum);
template <class T>
void multiply(T* y, const T* x1, const T* x2, Index n, Accum accum);

// gather.cu
template <class T>
void gather(T* out, const T* x, const Index* index, Index n, Index size);

}  // namespace chainrule::cuda
