// SPDX-License-Identifier: MIT
// Convolutions of the device's table beside the CPU's: ragged sizes, every way to step, pad and group, ranges of filters and channels.
#include "device_check.h"

namespace {

// height, width, channels; those of the output; kernel, stride, dilation, zeros before, groups
const ConvShape shapes[] = {
    {5, 7, 20, 5, 7, 18, 3, 3, 1, 1, 1, 1, 1, 1, 1},   // padding "same"; tiles of 8 lanes
    {1, 5, 66, 1, 5, 70, 1, 2, 1, 1, 1, 2, 0, 2, 1},   // a sequence, causal; two tiles of 16 lanes
    {7, 6, 5, 3, 3, 9, 3, 2, 2, 2, 1, 1, 0, 0, 1},     // strides that leave a row out; tiles of 4 lanes
    {9, 8, 6, 5, 4, 10, 3, 3, 1, 2, 2, 1, 0, 0, 2},    // dilation, groups of 3 by 5
    {4, 5, 7, 4, 5, 7, 2, 3, 1, 1, 1, 1, 1, 0, 7},     // depthwise, zeros before the first row and behind the last column
    {6, 5, 4, 3, 2, 8, 3, 3, 2, 3, 1, 1, 1, 0, 4},     // two filters a channel
    {4, 4, 6, 4, 4, 3, 2, 2, 1, 1, 1, 1, 0, 0, 3},     // a filter of two channels
    {1, 150, 1, 1, 75, 4, 1, 2, 1, 2, 1, 1, 0, 0, 1},  // one channel; chunks of more than 64 pixels
};

template <class T>
void test_shape(const ConvShape& s, Index n) {
  const Index inputs = n * s.height * s.width * s.channels, outputs = n * s.out_height * s.out_width * s.filters;
  const Index weights = s.filters * s.kernel_height * s.kernel_width * (s.channels / s.groups);
  const auto room = [&](const Kernels<T>& t) { return std::vector<T>(static_cast<std::size_t>(t.conv_scratch(s))); };
  const Arrays<T> arrays{{random<T>(outputs), random<T>(inputs), random<T>(weights)}};
  for (const bool cut : {false, true})
    for (const Accum accum : {Accum::Overwrite, Accum::Add}) {
      const auto range = [&](Index all) { return std::pair<Index, Index>(cut ? all / 3 : 0, cut ? all - all / 4 : all); };
      const auto [first, end] = range(s.filters);
      const auto [first_channel, end_channel] = range(s.channels);
      const T scale = T(0.5), keep = accum == Accum::Add ? T(-0.75) : T(0);
      compare<T>(
          "conv_forward", arrays,
          [&, first = first, end = end](const Kernels<T>& t, const Pointers<T>& at) {
            t.conv_forward(at.numbers[0], at.numbers[1], at.numbers[2], s, n, first, end, accum, room(t).data());
            return 0.0;
          },
          false, n > 0 && first < end);
      compare<T>(
          "conv_backward", arrays,
          [&, first = first_channel, end = end_channel](const Kernels<T>& t, const Pointers<T>& at) {
            t.conv_backward(at.numbers[1], at.numbers[0], at.numbers[2], s, n, first, end, accum, room(t).data());
            return 0.0;
          },
          false, n > 0 && first_channel < end_channel);
      compare<T>(
          "conv_gradient", arrays,
          [&, first = first, end = end](const Kernels<T>& t, const Pointers<T>& at) {
            t.conv_gradient(at.numbers[2], at.numbers[0], at.numbers[1], s, n, first, end, scale, keep, room(t).data());
            return 0.0;
          },
          false, first < end);
    }
}

template <class T>
void test_all() {
  for (const ConvShape& s : shapes)
    for (const Index n : {0, 1, 3}) test_shape<T>(s, n);
}

}  // namespace

int main() {
  return in_context([] {
    test_all<float>();
    test_all<double>();
  });
}
