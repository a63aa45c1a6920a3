// SPDX-License-Identifier: MIT
// Room for one computation of one thread: kept for the next, never freed before the thread ends.
#pragma once
#include "tensor/arena.h"

namespace chainrule {

// n numbers, whatever they hold; valid until the thread asks again
template <class T>
T* scratch(Index n) {
  thread_local Block<T> block(0);
  if (n > block.size()) block = Block<T>(n);
  return block.data();
}

}  // namespace chainrule
