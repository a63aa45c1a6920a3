// SPDX-License-Identifier: MIT
// THE CONTRACT of the kernels: equation, shapes, aliasing, overwrite-or-add of every one. A device (cpu v1, v3, v4, neon; cuda) fills one table.
//
// Conventions. Samples are rows; matrices are row-major: element (i, j) at x[i * ld + j], ld >= cols. Any pointer may be unaligned; rows or cols
// may be 0. `Accum::Overwrite` writes y = ..., `Accum::Add` writes y += .... The gradient of x is dx. A pointer that may be null says so.
// This header is included by per-ISA files: plain structs and pointers only (docs/architecture.md, "One source, several instruction sets").
// A device's table takes pointers into the device's memory and works in the stream of the context that is entered (device.h); the structs themselves
// lie on the host. What returns a number waits for it there, unless a place in the device's memory is given; on the CPU that place is null.
#pragma once
#include <cstdint>

namespace chainrule {

using Index = std::int64_t;
enum class Accum : int { Overwrite, Add };

// ---- activations: a = g(z), elementwise -------------------------------------------------------------------------------------------------
// One entry a functor of csrc/math/activations.h. `p` is the functor's parameter (the slope of leaky_relu, alpha of elu), ignored by the others.
template <class T>
struct ActivationKernel {
  const char* name;
  const char* init;  // initialiser of a layer that feeds it: "he", "lecun" or "glorot" (contract 19)
  bool needs_z;      // g' is computed from z; if false from a = g(z), and z may lie in a's memory
  bool has_parameter;
  double parameter;  // default of p
  int kinks;         // g' jumps at kink[0 .. kinks-1]
  double kink[2];
  // forward: z (rows, cols, ld) += b (cols,) [b may be null]; a (rows, cols, ld) = g(z). a == z allowed. z is stored only if needs_z or a != z.
  void (*forward)(T* a, T* z, const T* b, Index rows, Index cols, Index ld, T p);
  // forward was a = g(z), so dz = da * g'(z): da (rows, cols, ld) -> dz in place. z is read if needs_z (a may be null), else a (z may be null).
  void (*backward)(T* dz, const T* z, const T* a, Index rows, Index cols, Index ld, T p);
  // g'(z) and g''(z) of n values, for the R-operator and for pictures
  void (*derivatives)(T* g1, T* g2, const T* z, Index n, T p);
};

// ---- what a step leaves in a device's memory instead of returning it -------------------------------------------------------------------------
// One a network. Kernels add to it in the stream's order; DeviceKernels::end_step moves the step's numbers into the epoch's. A fault stays until the
// host clears it, and makes every later update and end_step do nothing (contract 8).
enum Fault : std::uint32_t { LossFault = 1, DeltaFault = 2, UpdateFault = 4 };
struct Outcome {
  double loss, penalty;              // of the step: sum over outputs of scale * value; sum_j lam_j J_j(W) at W before the step
  double norm_square;                // of the gradient of the objective, where DeviceKernels::penalised_norm was called
  double total, penalties, weights;  // of the epoch: sums of weight (loss + penalty), weight penalty, weight
  double last;                       // loss + penalty of the last step that ended without a fault
  Index steps;                       // ended without a fault
  std::uint32_t fault, overflow;     // overflow: this step's update left w or a second moment that is not finite
};

// ---- losses over rows: returns sum_i s_i L_i in double, and the gradient -------------------------------------------------------------------
template <class T>
struct LossArgs {
  const T* x;                  // (rows, cols): z for the fused pairs (softmax_*, sigmoid_*), a for the others
  T* dx;                       // (rows, cols): dL/dx times `scale` times s_i; null: the value alone
  Accum accum;                 // of dx
  const T* y;                  // (rows, cols) targets or probabilities; null where labels are given
  const std::int32_t* labels;  // (rows,) 0 .. cols-1; null where y is given
  const T* s;                  // (rows,) weights; null: 1
  double scale;                // loss weight / sum of the batch's s
  Index rows, cols;
  const double* p = nullptr;  // (levels,) parameters where the loss has one: p[c % levels] is column c's
  Index levels = 1;           // y is (rows, cols / levels): y's column c / levels is what column c is compared with
  // device: loss += scale * value, fault |= LossFault where that is not finite, and 0 is returned at once. p lies on the host, levels <= 256 there
  Outcome* outcome = nullptr;
};
template <class T>
using LossKernel = double (*)(const LossArgs<T>&);

// ---- one optimizer step over n consecutive parameters of one tensor -------------------------------------------------------------------------
// g <- clip * g_slot + l2 * w + l1 * sign(w), sign(0) = 0. Then (contract 6)
//   sgd      v <- mu v - alpha g;  w <- w + v                    nesterov: w <- w + mu v - alpha g after v's update.  mu = 0: v is null, w <- w - alpha g
//   rmsprop  v <- rho v + (1 - rho) g^2;  w <- w - alpha g / (sqrt(v) + eps)
//   adam     m <- mu m + (1 - mu) g;  v <- rho v + (1 - rho) g^2;  w <- w - alpha (m / c1) / (sqrt(v / c2) + eps),   c1 = 1 - mu^t, c2 = 1 - rho^t
//            eps_hat: w <- w - alpha (sqrt(c2) / c1) m / (sqrt(v) + eps)
// before any: w <- w - decay * w (AdamW: decay = alpha lam). After any: w <- sign(w) max(|w| - threshold, 0) if threshold > 0.
//
// A device updates all tensors in one launch: parameters [begin, end) have their segment's l1 = l1 + l1_per_sample / sum_of_weights (l2, proximal: too)
// and threshold = alpha proximal; those of no segment keep their value. Segments are in order and do not overlap.
struct DeviceSegment {
  Index begin, end;
  double l1, l2, proximal, l1_per_sample, l2_per_sample, proximal_per_sample;
};
struct DeviceUpdate {
  Outcome* outcome;  // nothing is done if fault != 0; penalty += sum of (l1 + proximal) |w| + l2 w^2 / 2; overflow |= 1 where `finite` were false
  const DeviceSegment* segments;  // in the device's memory; null: all n parameters, by the l1, l2 and threshold of UpdateArgs
  Index n_segments;
  double sum_of_weights;
  bool penalised;   // whether any segment has a lambda
  double max_norm;  // > 0: clip is min(1, max_norm / sqrt(norm_square)), and no penalty is added: penalised_norm has done so
};
template <class T>
struct UpdateArgs {
  T* w;        // (n,) parameters
  const T* g;  // (slots, n), slot c at g + c * stride; added in index order
               // null (sgd without nesterov and clip): v holds mu v - alpha dW already, or w - alpha dW stands in w if mu = 0 (then l1 = l2 = 0)
  Index slots, stride;
  T* m;  // (n,) first moment (adam); null elsewhere
  T* v;  // (n,) velocity or second moment; null for sgd with mu = 0
  Index n;
  double alpha, mu, rho, eps, c1, c2;
  bool nesterov, eps_hat;
  double clip, l1, l2, decay, threshold;
  const DeviceUpdate* device = nullptr;  // device: results go there, and {0, 0, true} is returned at once
};
// Taken at w before the step, where l1 or l2 is not 0 (else 0); `finite`: whether every w and every second
// moment after the step is (an infinite moment would end the training silently).
struct UpdateSums {
  double sum_abs, sum_square;
  bool finite;
};
template <class T>
using UpdateKernel = UpdateSums (*)(const UpdateArgs<T>&);

// ---- sparse rows ------------------------------------------------------------------------------------------------------------------------------
// x (rows, n_in): row i has value[e] in column[e], begin[i] <= e < begin[i + 1], in any order; what occurs twice adds. 0 <= column < n_in.
template <class T>
struct SparseArgs {
  const Index* begin;  // (rows + 1,); null: no sparse rows
  const std::int32_t* column;
  const T* value;
  Index rows;
};

// ---- convolution over images (n, height, width, channels); a sequence (n, T, channels) has height 1 --------------------------------------------
// z[i, y, x, f] = sum over ky, kx, c of W[f, ky, kx, c] X[i, stride_height y + dilation_height ky - top, stride_width x + dilation_width kx - left, c'],
// c' = c + (group of f) channels / groups; X is 0 outside the image. W (filters, kernel_height, kernel_width, channels / groups).
struct ConvShape {
  Index height, width, channels;
  Index out_height, out_width, filters;
  Index kernel_height, kernel_width, stride_height, stride_width, dilation_height, dilation_width, top, left, groups;
};

// ---- windows and axes ---------------------------------------------------------------------------------------------------------------------------
// Windows (kh, kw) over images (n, h, w, c), sh and sw apart, the first at (-top, -left). What lies outside of the image is in no window; each holds at
// least one pixel.
struct PoolArgs {
  Index n, h, w, c;
  Index kh, kw, sh, sw, top, left;
  Index oh, ow;  // windows down and across: the output is (n, oh, ow, c)
};
// Of a walk over indices 0 <= i_a < size[a], a < rank: element i of y is y[sum_a i_a y[a]], of x x[sum_a i_a x[a]]
struct AxesArgs {
  static constexpr int most = 8;
  int rank;
  Index size[most], y[most], x[most];
};

// ---- the table ------------------------------------------------------------------------------------------------------------------------------
template <class T>
struct Kernels {
  const char* isa;  // "v1", "v3", "v4", "neon"

  const ActivationKernel<T>* activations;  // the registry; index 0 is identity
  int n_activations;

  // C (m, n, ldc) = alpha op(A) op(B) + beta C;  op(A) is (m, k), op(B) is (k, n); transposed operands are stored (k, m) and (n, k). C aliases nothing.
  void (*gemm)(bool transpose_a, bool transpose_b, Index m, Index n, Index k, T alpha, const T* a, Index lda, const T* b, Index ldb, T beta, T* c,
               Index ldc);

  // z (rows, units, ldz) = x W^T, W (units, n_in)
  void (*sparse_forward)(T* z, Index ldz, const SparseArgs<T>& x, Index n_in, const T* w, Index units);
  // forward was z = x W^T, so dW (units, n_in) = keep dW + scale dz^T x; dz (rows, units, ldz). keep = 0: dW is not read; 1: other columns are not touched
  void (*sparse_backward)(T* dw, const T* dz, Index ldz, const SparseArgs<T>& x, Index n_in, Index units, T scale, T keep);

  // Convolution of n images; `scratch` is room for conv_scratch numbers. z (n, out_height, out_width, filters) (+)= W * x, filters [first, end) of it.
  Index (*conv_scratch)(const ConvShape& s);
  void (*conv_forward)(T* z, const T* x, const T* w, const ConvShape& s, Index n, Index first, Index end, Accum accum, T* scratch);
  // forward was z = W * x, so dx (+)= its transpose applied to dz: channels [first, end) of it
  void (*conv_backward)(T* dx, const T* dz, const T* w, const ConvShape& s, Index n, Index first, Index end, Accum accum, T* scratch);
  // forward was z = W * x, so dW = keep dW + scale sum over images and pixels of dz x: filters [first, end) of it; on the CPU added image after image
  void (*conv_gradient)(T* dw, const T* dz, const T* x, const ConvShape& s, Index n, Index first, Index end, T scale, T keep, T* scratch);

  // db (cols,) = keep db + scale sum_i dz (rows, cols, ld); on the CPU added in increasing i
  void (*column_sum)(T* db, const T* dz, Index rows, Index cols, Index ld, T scale, T keep);

  // a_m = exp(z_m - max z) / sum_l exp(z_l - max z), a row at a time; a == z allowed
  void (*softmax_forward)(T* a, const T* z, Index rows, Index cols);
  // forward was a = softmax(z), so dz_m = a_m (da_m - sum_l a_l da_l); dz == da allowed with Overwrite
  void (*softmax_backward)(T* dz, const T* da, const T* a, Index rows, Index cols, Accum accum);

  LossKernel<T> softmax_cross_entropy;         // L = -sum_m y_m log softmax(z)_m,  dz = (sum_m y_m) softmax(z) - y
  LossKernel<T> cross_entropy;                 // L = -sum_m y_m log a_m,  da = -y / a; a is kept >= the smallest normal number
  LossKernel<T> sigmoid_binary_cross_entropy;  // L = sum_m max(z, 0) - z y + log(1 + exp(-|z|)),  dz = sigmoid(z) - y
  LossKernel<T> binary_cross_entropy;  // L = -sum_m y log a + (1 - y) log(1 - a), da = (a - y) / (a (1 - a)); a, 1 - a kept >= smallest normal
  LossKernel<T> squared_error;         // L = 1/2 sum_m (y_m - a_m)^2,  da = a - y (the fused pair with identity: z = a). labels: one-hot
  // sign(0) = 0, 0 log 0 = 0; those with a parameter p take no labels
  LossKernel<T> absolute_error;  // L = sum_m |y_m - a_m|,  da = sign(a - y)
  LossKernel<T> huber;           // L = sum_m m (|y_m - a_m| - m / 2), m = min(|y_m - a_m|, p), p > 0;  da = min(max(a - y, -p), p)
  LossKernel<T> quantile;        // L = sum_m max(p d, (p - 1) d), d = y_m - a_m, 0 < p < 1;  da = -p for d > 0, 1 - p for d < 0, 0 for d = 0
  LossKernel<T> exp_poisson;     // L = sum_m exp z - y + y (log y - z), y >= 0,  dz = exp z - y
  LossKernel<T> poisson;         // L = sum_m a - y + y log(y / a), y >= 0,  da = (a - y) / a; a in log and quotient kept >= smallest normal

  UpdateKernel<T> sgd, rmsprop, adam;
  // A step of one sample in one pass: v (m, n) = keep v + scale a b^T, then w (m, n) += v; a (m,), b (n,). Returns whether every w is finite.
  // Null in a device's table: there the update is one launch for all layers.
  bool (*outer_step)(Index m, Index n, T scale, const T* a, const T* b, T keep, T* v, T* w);

  // g (n,) = sum_c slots[c * stride + j], c in index order; returns nothing. g may be slot 0 itself.
  void (*sum_slots)(T* g, const T* slots, Index count, Index stride, Index n);
  // g (n,) += l2 w + l1 sign(w)
  void (*add_penalty)(T* g, const T* w, Index n, double l1, double l2);
  // sum of squares and of absolute values, working type inside runs of 1024, double across them
  double (*sum_square)(const T* x, Index n);
  double (*sum_abs)(const T* x, Index n);
  bool (*all_finite)(const T* x, Index n);

  // Inverted dropout. y_e (+)= u_e >= threshold ? x_e * scale : 0, e = 0 .. n-1; u_e is lane (first + e) % 4 of
  // philox4x32_10(counter = {lo(q), hi(q), step, purpose_stream}, key = {key0, key1}), q = (first + e) / 4 (contract 11). y == x allowed with Overwrite.
  void (*dropout)(T* y, const T* x, Index first, Index n, std::uint32_t key0, std::uint32_t key1, std::uint32_t step, std::uint32_t purpose_stream,
                  std::uint32_t threshold, T scale, Accum accum);

  // y (rows, cols) = (x - mean) / scale, mean and scale (cols,);   dx (+)= dy / scale
  void (*standardize_forward)(T* y, const T* x, const T* mean, const T* scale, Index rows, Index cols);
  void (*standardize_backward)(T* dx, const T* dy, const T* scale, Index rows, Index cols, Accum accum);

  // Rows of x (rows, cols): xhat = (x - m) / sqrt(v + eps), m the row's mean (not `centred`: 0), v the mean of (x - m)^2. gain, bias (cols,); null: 1, 0.
  // y = gain xhat + bias; y == x allowed
  void (*norm_forward)(T* y, const T* x, const T* gain, const T* bias, Index rows, Index cols, double eps, bool centred);
  // g = gain dy, so dx (+)= (g - mean g - xhat mean(g xhat)) / sqrt(v + eps), the means over the row (not centred: without mean g); dx == dy allowed
  void (*norm_backward)(T* dx, const T* dy, const T* x, const T* gain, Index rows, Index cols, double eps, bool centred, Accum accum);
  // dgain = keep dgain + scale sum_i dy xhat, dbias = keep dbias + scale sum_i dy, each (cols,) or null
  void (*norm_gradient)(T* dgain, T* dbias, const T* dy, const T* x, Index rows, Index cols, double eps, bool centred, T scale, T keep);

  // Columns of x (rows, cols); sum, square, product (cols,): working type inside runs of 64 rows, double across them.
  // sum = sum_i x, square = sum_i (x - sum / rows)^2
  void (*column_moments)(double* sum, double* square, const T* x, Index rows, Index cols);
  // sum = sum_i dy, product = sum_i dy (x - mean)
  void (*column_products)(double* sum, double* product, const T* dy, const T* x, const T* mean, Index rows, Index cols);
  // y = scale (x - mean) + shift; y == x allowed
  void (*affine_forward)(T* y, const T* x, const T* mean, const T* scale, const T* shift, Index rows, Index cols);
  // dx (+)= scale dy + slope (x - mean) + shift; dx == dy allowed
  void (*affine_backward)(T* dx, const T* dy, const T* x, const T* mean, const T* scale, const T* slope, const T* shift, Index rows, Index cols,
                          Accum accum);

  // Null in a device's table, as are the next four. z = max over the window; a NaN in it comes through
  void (*max_pool_forward)(T* z, const T* x, const PoolArgs& p);
  // forward was z = max x over the window, so dx (+)= dz at the first of its largest pixels, in the order of memory
  void (*max_pool_backward)(T* dx, const T* dz, const T* x, const PoolArgs& p, Accum accum);
  // z = (sum of x over the window) / (number of its pixels)
  void (*average_pool_forward)(T* z, const T* x, const PoolArgs& p);
  // forward was z = sum x / count, so dx (+)= dz / count
  void (*average_pool_backward)(T* dx, const T* dz, const PoolArgs& p, Accum accum);
  void (*copy_axes)(T* y, const T* x, const AxesArgs& p, Accum accum);  // y (+)= x, element by element of the walk; no element of y occurs twice

  void (*add)(T* y, const T* x, Index n, Accum accum);                     // y (+)= x
  void (*multiply)(T* y, const T* x1, const T* x2, Index n, Accum accum);  // y (+)= x1 * x2
};

// ---- what a device has beside its table: nothing here waits -----------------------------------------------------------------------------------
template <class T>
struct DeviceKernels {
  // rows (n, size) of a batch: out[i] = x[index[i]]; index (n,) in the device's memory
  void (*gather)(T* out, const T* x, const Index* index, Index n, Index size);
  void (*gather_labels)(std::int32_t* out, const std::int32_t* x, const Index* index, Index n, Index size);
  // fault |= DeltaFault if not all n numbers are finite
  void (*expect_finite)(Outcome* outcome, const T* x, Index n);
  // g (n,) <- sum of the slots + l2 w + l1 sign(w), penalty as UpdateArgs::device says, norm_square = sum g^2; fault |= DeltaFault if that is not finite.
  // g may be slot 0.
  void (*penalised_norm)(T* g, const UpdateArgs<T>& q);
  // *hits += sum of s_i over the rows that are right: by_row: the largest x_m is the target's (the first of equals); else the share of x_m > threshold
  // that agrees with y_m > 1/2
  void (*count_hits)(double* hits, const LossArgs<T>& q, bool by_row, T threshold);
  // fault |= UpdateFault if overflow, or if the penalty is not finite: the update is done by then. No fault: total += weight (loss + penalty),
  // penalties += weight penalty, weights += weight, last = loss + penalty, ++steps. loss = penalty = overflow = 0.
  void (*end_step)(Outcome* outcome, double weight);
};

template <class T>
const Kernels<T>& kernels();  // the table of the instruction set in use (kernels/dispatch.cpp)

// What the processor has and what CHAINRULE_ISA asked for. Throws ValueError where it asks for one that is unknown or not there.
const char* isa_in_use();
const char* isa_available();    // space-separated, slowest first: "v1 v3"
const char* blas_core();        // what the BLAS says it runs on
void blas_assert_sequential();  // sets the BLAS to one thread if anybody changed that

}  // namespace chainrule
