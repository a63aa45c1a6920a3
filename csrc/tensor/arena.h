// SPDX-License-Identifier: MIT
// Block: one zero-initialised array, aligned to a cache line, that is allocated once and never moves. Views into it stay valid as long as it lives.
#pragma once
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <type_traits>
#include <utility>

#include "tensor/check.h"

namespace chainrule {

using Index = std::int64_t;

constexpr std::size_t block_alignment = 64;
// From this size on memory comes from mmap: zero without being written, touched page by page, and back at the system as soon as it is freed, which
// malloc does not promise. Under AddressSanitizer everything comes from operator new, whose ends it watches.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t mapped_from = std::numeric_limits<std::size_t>::max();
#else
constexpr std::size_t mapped_from = std::size_t{1} << 20;
#endif
// From this size on in pages of 2 MB, where the system gives them on request: a product's strip of W touches one page a row, more than the TLB holds of
// 4 KB (docs/performance.md).
constexpr std::size_t huge_page = std::size_t{1} << 21, huge_from = 2 * huge_page;

template <class T>
class Block {
  static_assert(std::is_trivial_v<T>, "all bytes zero must be a value");

 public:
  // Never null, also for n = 0: NumPy takes a null pointer for "allocate". Throws std::bad_alloc where there is no memory.
  explicit Block(Index n) : size_(n) {
    CR_CHECK(n >= 0, "size is ", n, ": expected 0 or more");
    const Index bytes = checked_multiply(n, static_cast<Index>(sizeof(T)));
    bytes_ = bytes > 0 ? static_cast<std::size_t>(bytes) : block_alignment;
    if (bytes_ < mapped_from) {
      data_ = static_cast<T*>(::operator new(bytes_, std::align_val_t{block_alignment}));
      std::memset(static_cast<void*>(data_), 0, bytes_);
      return;
    }
    map();
  }
  ~Block() {
    if (!data_) return;
    if (bytes_ < mapped_from)
      ::operator delete(static_cast<void*>(data_), std::align_val_t{block_alignment});
    else
      munmap(mapping_, bytes_ + spare());
  }
  Block(Block&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        bytes_(std::exchange(other.bytes_, 0)),
        mapping_(other.mapping_) {}
  Block& operator=(Block&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(bytes_, other.bytes_);
    std::swap(mapping_, other.mapping_);
    return *this;
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  Index size() const { return size_; }

 private:
  T* data_ = nullptr;
  Index size_ = 0;
  std::size_t bytes_ = 0;
  void* mapping_ = nullptr;  // of `bytes_` and what is spare

  std::size_t spare() const { return bytes_ < huge_from ? 0 : huge_page; }  // address space before the first large page and after the last

  void map() {
    if (bytes_ > std::numeric_limits<std::size_t>::max() - spare()) throw std::bad_alloc();
    mapping_ = mmap(nullptr, bytes_ + spare(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping_ == MAP_FAILED) throw std::bad_alloc();
    char* begin = static_cast<char*>(mapping_);
#if defined(MADV_HUGEPAGE)
    if (spare()) {
      begin += (huge_page - reinterpret_cast<std::uintptr_t>(begin) % huge_page) % huge_page;
      madvise(begin, bytes_, MADV_HUGEPAGE);  // refused: small pages serve too
    }
#endif
    data_ = reinterpret_cast<T*>(begin);
  }
};

}  // namespace chainrule
