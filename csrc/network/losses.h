// SPDX-License-Identifier: MIT
// The losses by name. A new one: its formula in math/losses.h, its kernel in kernels.h, its line here, its twin in python/chainrule/reference/losses.py
// and its record in python/chainrule/losses.py.
#pragma once
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace chainrule {

enum class LossKind { None, CrossEntropy, BinaryCrossEntropy, SquaredError, AbsoluteError, Huber, Quantile, Poisson, Custom, External };
enum class LossParameters { None, One, ByLevel };  // ByLevel: the output has a column for each of them, y has one for all

template <class T>
struct LossRule {
  LossKind kind;
  const char* name;
  LossKernel<T> Kernels<T>::* of_a;
  // The canonical pair, if it is more than z = a: the output's activation, and the kernel that reads z.
  const char *activation = nullptr, *fused = nullptr;
  LossKernel<T> Kernels<T>::* of_z = nullptr;
  bool labels = false;  // its kernels take labels
  bool kinks = false;   // L or dL/da jumps at a = y, or, with one parameter, at |a - y| = p
  LossParameters parameters = LossParameters::None;
};

template <class T>
inline constexpr LossRule<T> loss_rules[] = {
    {LossKind::CrossEntropy, "cross_entropy", &Kernels<T>::cross_entropy, "softmax", "softmax_cross_entropy", &Kernels<T>::softmax_cross_entropy,
     true},
    {LossKind::BinaryCrossEntropy, "binary_cross_entropy", &Kernels<T>::binary_cross_entropy, "sigmoid", "sigmoid_binary_cross_entropy",
     &Kernels<T>::sigmoid_binary_cross_entropy},
    {.kind = LossKind::SquaredError, .name = "squared_error", .of_a = &Kernels<T>::squared_error, .labels = true},
    {.kind = LossKind::AbsoluteError, .name = "absolute_error", .of_a = &Kernels<T>::absolute_error, .kinks = true},
    {.kind = LossKind::Huber, .name = "huber", .of_a = &Kernels<T>::huber, .kinks = true, .parameters = LossParameters::One},
    {.kind = LossKind::Quantile, .name = "quantile", .of_a = &Kernels<T>::quantile, .kinks = true, .parameters = LossParameters::ByLevel},
    {LossKind::Poisson, "poisson", &Kernels<T>::poisson, "exp", "exp_poisson", &Kernels<T>::exp_poisson},
};

// Null for those that no kernel computes.
template <class T>
constexpr const LossRule<T>* loss_rule(LossKind kind) {
  for (const LossRule<T>& rule : loss_rules<T>)
    if (rule.kind == kind) return &rule;
  return nullptr;
}

struct LossChoice {
  LossKind kind = LossKind::None;
  double weight = 1;
  std::vector<double> parameters;

  Index levels() const { return kind == LossKind::Quantile ? static_cast<Index>(parameters.size()) : 1; }
};
LossChoice loss_choice(const std::string& name, double weight, std::vector<double> parameters);  // ValueError with the known names
void check_parameters(const std::string& name, LossParameters expected, const std::vector<double>& given);
std::vector<LossKind> kinds(const std::vector<LossChoice>& losses);

}  // namespace chainrule
