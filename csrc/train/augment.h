// SPDX-License-Identifier: MIT
// Images flipped, turned and shifted at random while their batch is gathered. What happens to a row depends on (seed, input, step, its place in the batch).
#pragma once
#include <string>
#include <vector>

#include "tensor/random.h"
#include "tensor/shape.h"

namespace chainrule {

// Of the rows of one input, images (h, w, c).
struct Augmentation {
  Index down = 0, across = 0;  // largest shift, in pixels
  bool flip_across = false, flip_down = false;
  double rotate = 0;  // largest angle, in degrees
  double fill = 0;    // what stands where the image has been moved away
  Index h = 0, w = 0, c = 1;
  std::uint32_t stream = 0;

  bool active() const { return down > 0 || across > 0 || flip_across || flip_down || rotate > 0; }
  // Takes h, w and c from the input's shape; ValueError where that is no image.
  void of(const std::string& input, const Shape& shape);
  // Rows [first, first + n) of the batch of that step, (n, h w c), in place.
  template <class T>
  void apply(T* x, Index first, Index n, std::uint64_t seed, std::uint32_t step) const;
};

}  // namespace chainrule
