# SPDX-License-Identifier: MIT
# chainrule_flags: the compile and link options of every target of ours.
add_library(chainrule_flags INTERFACE)

# What loops need to become vectors, and nothing that changes values: NaN, inf and the order of sums stay as written. Contraction to fused
# multiply-add differs between instruction sets, which is why bits are promised for one instruction set only.
set(CHAINRULE_COMPILE_FLAGS -fno-math-errno -fno-trapping-math -ffp-contract=fast)
target_compile_options(chainrule_flags INTERFACE ${CHAINRULE_COMPILE_FLAGS} -Wall -Wextra -Wpedantic)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(chainrule_flags INTERFACE -Wno-restrict)  # false alarms in std::string (GCC bug 105651)
endif()
if(CHAINRULE_WERROR)
  target_compile_options(chainrule_flags INTERFACE -Werror)
endif()

if(CHAINRULE_SANITIZE)
  # On every target, the kernels included: a sanitized function that calls a plain one loses its stack.
  set(sanitize -fsanitize=${CHAINRULE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
  target_compile_options(chainrule_flags INTERFACE ${sanitize})
  target_link_options(chainrule_flags INTERFACE ${sanitize})
endif()
