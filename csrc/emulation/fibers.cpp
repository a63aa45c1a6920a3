// SPDX-License-Identifier: MIT
// Stacks of their own for the threads of a kernel: ten lines of assembly on x86-64, ucontext elsewhere (ten times slower). Not to be compiled with
// -fsanitize=thread; AddressSanitizer is told of every switch.
#include <sys/mman.h>

#include <cstdlib>
#include <vector>

#include "emulation/emulation.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__x86_64__)
extern "C" void emulation_switch(void** save, void* load);
asm(R"(.text
.type emulation_switch,@function
emulation_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp,(%rdi); movq %rsi,%rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
.size emulation_switch,.-emulation_switch
)");
#else
#include <ucontext.h>
#endif

namespace emulation {

struct Fiber {
  char* stack = nullptr;
  void* fake = nullptr;  // AddressSanitizer's
#if defined(__x86_64__)
  void* sp = nullptr;
#else
  ucontext_t context;
#endif
};

const char *stack_begin, *stack_end;

namespace {

constexpr std::size_t stack_size = 256 << 10, guard = 4096;
Fiber host, *running_fiber = &host;
#if defined(__SANITIZE_ADDRESS__)
Fiber* left = nullptr;  // by the last switch
const void* host_bottom = nullptr;
std::size_t host_size = 0;
#endif
std::vector<Fiber*>& spare = *new std::vector<Fiber*>;  // never destroyed

void after_switch([[maybe_unused]] Fiber* self) {
#if defined(__SANITIZE_ADDRESS__)
  const void* bottom;
  std::size_t size;
  __sanitizer_finish_switch_fiber(self->fake, &bottom, &size);
  if (left == &host) host_bottom = bottom, host_size = size;  // each time: another thread may be inside
#endif
}
void entry() {
  after_switch(running_fiber);
  thread_main();
}

Fiber* make() {
  auto* f = new Fiber;
  void* memory = mmap(nullptr, stack_size + guard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  mprotect(memory, guard, PROT_NONE);
  f->stack = static_cast<char*>(memory) + guard;
#if defined(__x86_64__)
  void** top = reinterpret_cast<void**>(f->stack + stack_size) - 1;  // after six pops and ret the stack pointer is 8 modulo 16, as after a call
  *--top = reinterpret_cast<void*>(&entry);
  f->sp = top - 6;
#else
  getcontext(&f->context);
  f->context.uc_stack.ss_sp = f->stack;
  f->context.uc_stack.ss_size = stack_size;
  f->context.uc_link = nullptr;
  makecontext(&f->context, entry, 0);
#endif
  return f;
}

}  // namespace

Fiber* spare_fiber() {
  if (spare.empty()) return make();
  Fiber* f = spare.back();
  spare.pop_back();
  return f;
}
void give_back(Fiber* f) { spare.push_back(f); }
Fiber* current_fiber() { return running_fiber; }

void switch_to(Fiber* to) {
  if (!to) to = &host;
  Fiber* from = running_fiber;
  running_fiber = to;
  stack_begin = to == &host ? nullptr : to->stack;
  stack_end = to == &host ? nullptr : to->stack + stack_size;
#if defined(__SANITIZE_ADDRESS__)
  left = from;
  __sanitizer_start_switch_fiber(&from->fake, to == &host ? host_bottom : to->stack, to == &host ? host_size : stack_size);
#endif
#if defined(__x86_64__)
  emulation_switch(&from->sp, to->sp);
#else
  swapcontext(&from->context, &to->context);
#endif
  after_switch(from);
}

}  // namespace emulation
