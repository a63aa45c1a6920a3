# SPDX-License-Identifier: MIT
# csrc/kernels/cpu/*.cpp but gemm.cpp, once for each instruction set, as object libraries chainrule_kernels_<level>. CR_ISA names the namespace
# that keeps the copies apart. Link-time optimisation stays off: it merges inline functions across levels (docs/architecture.md, "One source, ...").
# CHAINRULE_LEVELS leaves some out of a build that is for this machine alone; kernels/dispatch.cpp knows those that are there.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(chainrule_levels v1 v3 v4)
  set(flags_v1 -march=x86-64)
  set(flags_v3 -march=x86-64-v3)
  # Without it GCC and Clang stay at 256 bits on most of the processors that have 512.
  set(flags_v4 -march=x86-64-v4 -mprefer-vector-width=512)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(chainrule_levels neon)
else()
  set(chainrule_levels generic)
endif()

set(CHAINRULE_LEVELS "${chainrule_levels}" CACHE STRING "Instruction sets to compile the kernels for, slowest first")
foreach(level IN LISTS CHAINRULE_LEVELS)
  if(NOT level IN_LIST chainrule_levels)
    message(FATAL_ERROR "CHAINRULE_LEVELS has \"${level}\": expected some of ${chainrule_levels}")
  endif()
endforeach()
set(chainrule_levels ${CHAINRULE_LEVELS})

file(GLOB kernel_sources CONFIGURE_DEPENDS csrc/kernels/cpu/*.cpp)
list(FILTER kernel_sources EXCLUDE REGEX "/gemm\\.cpp$")
foreach(level IN LISTS chainrule_levels)
  add_library(chainrule_kernels_${level} OBJECT ${kernel_sources})
  target_include_directories(chainrule_kernels_${level} PRIVATE csrc)
  target_compile_definitions(chainrule_kernels_${level} PRIVATE CR_ISA=${level})
  target_compile_options(chainrule_kernels_${level} PRIVATE ${flags_${level}})
  target_link_libraries(chainrule_kernels_${level} PRIVATE chainrule_flags)
  set_target_properties(chainrule_kernels_${level} PROPERTIES INTERPROCEDURAL_OPTIMIZATION OFF)
endforeach()

# Every level's kernels, and for kernels/dispatch.cpp the list of them
function(chainrule_add_kernels target)
  list(TRANSFORM chainrule_levels REPLACE "(.+)" "CR_LEVEL(\\1)" OUTPUT_VARIABLE macros)
  list(JOIN macros " " macros)
  target_compile_definitions(${target} PRIVATE "CR_LEVELS=${macros}")
  foreach(level IN LISTS chainrule_levels)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:chainrule_kernels_${level}>)
  endforeach()
endfunction()
