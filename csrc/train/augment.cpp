// SPDX-License-Identifier: MIT
#include "train/augment.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace chainrule {

namespace {

// Where output pixel (y, x) comes from: (u, v) = (u0 + y uy + x ux, v0 + y vy + x vx).
struct Origin {
  double u0, uy, ux, v0, vy, vx;
};

// Flipped, then turned counter-clockwise about the middle, then shifted; so the way back begins with the shift.
Origin origin_of(const Augmentation& a, Words words) {
  const auto whole = [](std::uint32_t word, Index most) {
    return static_cast<double>((std::uint64_t{word} * static_cast<std::uint64_t>(2 * most + 1)) >> 32) - static_cast<double>(most);
  };
  const double middle_y = static_cast<double>(a.h - 1) / 2, middle_x = static_cast<double>(a.w - 1) / 2;
  const double dy = whole(words[1], a.down) + middle_y, dx = whole(words[2], a.across) + middle_x;
  const double angle = a.rotate > 0 ? a.rotate * (2 * ((static_cast<double>(words[3]) + 0.5) * 0x1p-32) - 1) * std::numbers::pi / 180 : 0;
  const double cosine = std::cos(angle), sine = std::sin(angle);
  const double across = a.flip_across && (words[0] & 1) ? -1 : 1, down = a.flip_down && (words[0] & 2) ? -1 : 1;
  return {middle_y + down * (-dy * cosine - dx * sine),   down * cosine,  down * sine,
          middle_x + across * (-dx * cosine + dy * sine), across * -sine, across * cosine};
}

// z(y, x) = image(u, v), linear between its four neighbours; a neighbour outside of the image is `fill`.
template <class T>
void interpolate(T* z, const T* image, const Augmentation& a, const Origin& o) {
  const T fill = static_cast<T>(a.fill);
  for (Index y = 0; y < a.h; ++y)
    for (Index x = 0; x < a.w; ++x, z += a.c) {
      const double u = o.u0 + static_cast<double>(y) * o.uy + static_cast<double>(x) * o.ux,
                   v = o.v0 + static_cast<double>(y) * o.vy + static_cast<double>(x) * o.vx;
      const double top = std::floor(u), left = std::floor(v);
      const bool outside = top < -1 || left < -1 || top >= static_cast<double>(a.h) || left >= static_cast<double>(a.w);
      if (outside) {
        std::fill(z, z + a.c, fill);
        continue;
      }
      const Index i = static_cast<Index>(top), j = static_cast<Index>(left);
      const T lower = static_cast<T>(u - top), right = static_cast<T>(v - left);
      const T weight[4] = {(1 - lower) * (1 - right), (1 - lower) * right, lower * (1 - right), lower * right};
      const T* from[4];
      for (Index e = 0; e < 4; ++e) {
        const Index r = i + e / 2, s = j + e % 2;
        from[e] = r >= 0 && r < a.h && s >= 0 && s < a.w ? image + (r * a.w + s) * a.c : nullptr;
      }
      for (Index k = 0; k < a.c; ++k) {
        T sum = 0;
        for (Index e = 0; e < 4; ++e) sum += weight[e] * (from[e] ? from[e][k] : fill);
        z[k] = sum;
      }
    }
}

// The same without an angle: every pixel is one of the image's, or `fill`.
template <class T>
void move(T* z, const T* image, const Augmentation& a, const Origin& o) {
  const Index u0 = std::lround(o.u0), v0 = std::lround(o.v0), uy = o.uy < 0 ? -1 : 1, vx = o.vx < 0 ? -1 : 1;
  const T fill = static_cast<T>(a.fill);
  for (Index y = 0; y < a.h; ++y) {
    const Index u = u0 + y * uy;
    for (Index x = 0; x < a.w; ++x, z += a.c) {
      const Index v = v0 + x * vx;
      if (u < 0 || u >= a.h || v < 0 || v >= a.w)
        std::fill(z, z + a.c, fill);
      else
        std::copy(image + (u * a.w + v) * a.c, image + (u * a.w + v + 1) * a.c, z);
    }
  }
}

}  // namespace

void Augmentation::of(const std::string& input, const Shape& shape) {
  const std::size_t rank = shape.dims.size();
  CR_CHECK((rank == 2 || rank == 3) && !shape.symbolic(), "[", input, "] is ", shape.str(),
           ": augment expects images of known size, (n, h, w) or (n, h, w, channels)");
  h = shape.dims[0], w = shape.dims[1], c = rank == 3 ? shape.dims[2] : 1;
  CR_CHECK(down < h && across < w, "[", input, "] shift is (", down, ", ", across, ") and the images ", shape.str(),
           ": expected shifts that leave something of them");
  stream = stream_of(input);
}

template <class T>
void Augmentation::apply(T* x, Index first, Index n, std::uint64_t seed, std::uint32_t step) const {
  const Key key{seed, step, purpose_stream(Purpose::Augment, stream)};
  std::vector<T> image(static_cast<std::size_t>(h * w * c));
  for (Index i = 0; i < n; ++i, x += h * w * c) {
    const Origin o = origin_of(*this, key.block(static_cast<std::uint64_t>(first + i)));
    std::copy(x, x + h * w * c, image.data());
    rotate > 0 ? interpolate(x, image.data(), *this, o) : move(x, image.data(), *this, o);
  }
}

template void Augmentation::apply<float>(float*, Index, Index, std::uint64_t, std::uint32_t) const;
template void Augmentation::apply<double>(double*, Index, Index, std::uint64_t, std::uint32_t) const;

}  // namespace chainrule
