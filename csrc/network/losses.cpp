// SPDX-License-Identifier: MIT
#include "network/losses.h"

#include "tensor/check.h"

namespace chainrule {

void check_parameters(const std::string& name, LossParameters expected, const std::vector<double>& given) {
  const bool fits = expected == LossParameters::None ? given.empty() : expected == LossParameters::One ? given.size() == 1 : !given.empty();
  CR_CHECK(fits, "[", name, "] got ", given.size(), " parameters: expected ",
           expected == LossParameters::None  ? "none"
           : expected == LossParameters::One ? "one"
                                             : "one for each level");
}

LossChoice loss_choice(const std::string& name, double weight, std::vector<double> parameters) {
  std::string known;
  for (const LossRule<double>& rule : loss_rules<double>) {
    known += std::string(rule.name) + ", ";
    if (name != rule.name) continue;
    check_parameters(name, rule.parameters, parameters);
    return {rule.kind, weight, std::move(parameters)};
  }
  CR_CHECK(name == "custom", "unknown loss '", name, "': expected one of ", known, "or a callable");
  return {LossKind::Custom, weight, {}};
}

std::vector<LossKind> kinds(const std::vector<LossChoice>& losses) {
  std::vector<LossKind> list;
  for (const LossChoice& l : losses) list.push_back(l.kind);
  return list;
}

}  // namespace chainrule
