// SPDX-License-Identifier: MIT
// The one list of layers: type of the spec -> class.
#pragma once
#include <memory>

#include "layers/activation.h"
#include "layers/batch_norm.h"
#include "layers/conv.h"
#include "layers/dense.h"
#include "layers/dropout.h"
#include "layers/merge.h"
#include "layers/pool.h"
#include "layers/standardize.h"
#include "layers/up_sample.h"
#include "layers/views.h"

namespace chainrule {

class Input : public LayerOf<Input> {
 public:
  explicit Input(const LayerSpec& spec) : LayerOf(spec), shape_{spec.integers("shape")} {
    Index symbolic = 0;
    for (Index d : shape_.dims) {
      CR_CHECK(d >= 1 || d == -1, tag(), "shape has an axis of size ", d, ": expected at least 1, or None for one axis");
      symbolic += d == -1;
    }
    CR_CHECK(symbolic <= 1, tag(), "shape is ", shape_.str(), ": expected at most one axis of size None");
  }
  Shape infer(const std::vector<Shape>& in) const override {
    expect_inputs(in, 0, 0);
    return shape_;
  }

 private:
  Shape shape_;
};

std::unique_ptr<Layer> make_layer(const LayerSpec& spec);

}  // namespace chainrule
