// SPDX-License-Identifier: MIT
// Windows over the axes of a sample that have places, channels last: (T, c) has one such axis, (h, w, c) two.
#pragma once
#include <algorithm>

#include "layers/layer.h"

namespace chainrule {

// Places of padding so that there are ceil(n / stride) windows
inline Index padding_for_same(Index n, Index size, Index stride) { return std::max<Index>(0, (n - 1) / stride * stride + size - n); }

// Along an axis of n places: `out` windows of `size` places, `stride` apart, the first at -before.
struct Window {
  Index n, size, stride, before, out;
};
// Of a sequence `down` is one window of one place.
struct Places {
  Window down{1, 1, 1, 0, 1}, across{};
  int axes = 1;
};

// What a layer's size, stride and padding say, one number for all axes or one each.
class Windows {
 public:
  // "same": out = ceil(n / stride), the odd place of padding at the end; "valid": no padding; a number: so many places on both sides
  explicit Windows(const LayerSpec& spec) : tag_("[" + spec.name + "] "), size_(numbers(spec, "size", 1)) {
    stride_ = spec.find("stride") ? numbers(spec, "stride", 1) : size_;
    const Attribute* padding = spec.find("padding");
    if (padding && std::holds_alternative<std::string>(*padding)) {
      const std::string& how = std::get<std::string>(*padding);
      CR_CHECK(how == "same" || how == "valid", tag_, "padding is '", how, "': expected 'valid', 'same', or places on each side");
      same_ = how == "same";
    } else if (padding) {
      padding_ = numbers(spec, "padding", 0);
    }
  }

  // Of a value (places..., channels)
  Places over(const Shape& in) const {
    Places p;
    p.axes = places(in);
    if (p.axes == 2) p.down = along(in, 0, 2);
    p.across = along(in, p.axes - 1, p.axes);
    return p;
  }
  // The windows side by side of which a value has one place each: `n` places of `out` windows along each axis
  Places under(const Shape& in) const {
    Places p;
    p.axes = places(in);
    const auto apart = [&](int axis) {
      const Index out = known(in, axis), size = pick(size_, axis, p.axes, "size");
      return Window{checked_multiply(out, size), size, size, 0, out};
    };
    if (p.axes == 2) p.down = apart(0);
    p.across = apart(p.axes - 1);
    return p;
  }

 private:
  int places(const Shape& in) const {
    const std::size_t rank = in.dims.size();
    CR_CHECK(rank == 2 || rank == 3, tag_, "input is ", in.str(), ": expected (n, T, channels) or (n, h, w, channels)");
    return static_cast<int>(rank) - 1;
  }
  Index known(const Shape& in, int axis) const {
    const Index n = in.dims[static_cast<std::size_t>(axis)];
    CR_CHECK(n > 0, tag_, "input is ", in.str(), ": expected known sizes (a mean takes an open axis)");
    return n;
  }
  Window along(const Shape& in, int axis, int axes) const {
    const Index n = known(in, axis);
    Window w{n, pick(size_, axis, axes, "size"), pick(stride_, axis, axes, "stride"), pick(padding_, axis, axes, "padding"), 0};
    CR_CHECK(w.before < w.size, tag_, "padding is ", w.before, " and the window ", w.size, ": expected less padding, so that no window is empty");
    Index padded = n + 2 * w.before;
    if (same_) {
      padded = n + padding_for_same(n, w.size, w.stride);
      w.before = (padded - n) / 2;
    }
    CR_CHECK(w.size <= padded, tag_, "the window has ", w.size, " places along axis ", axis + 1, " and the padded input ", padded, " (", in.str(),
             "): expected a window that fits into it");
    w.out = (padded - w.size) / w.stride + 1;
    return w;
  }
  static std::vector<Index> numbers(const LayerSpec& spec, const char* key, Index least) {
    const Attribute* a = spec.find(key);
    if (!a || !std::holds_alternative<std::vector<Index>>(*a)) return {spec.integer(key, least)};
    const std::vector<Index> list = spec.integers(key);
    CR_CHECK(!list.empty(), "[", spec.name, "] ", key, " is empty: expected one number, or one for each axis");
    for (Index v : list) CR_CHECK(v >= least && v < (Index{1} << 31), "[", spec.name, "] ", key, " holds ", v, ": expected at least ", least);
    return list;
  }
  Index pick(const std::vector<Index>& list, int axis, int axes, const char* key) const {
    CR_CHECK(list.size() == 1 || list.size() == static_cast<std::size_t>(axes), tag_, key, " holds ", list.size(), " numbers: expected one, or ",
             axes, ", one for each axis of places");
    return list[list.size() == 1 ? 0 : static_cast<std::size_t>(axis)];
  }

  std::string tag_;
  std::vector<Index> size_, stride_, padding_{0};
  bool same_ = false;
};

}  // namespace chainrule
