# SPDX-License-Identifier: MIT
# libchainrule_cuda: the kernels of csrc/kernels/cuda behind csrc/kernels/device.h, a library of its own that the core opens when a network is put on
# "cuda" (csrc/device/library.cpp). CHAINRULE_CUDA=ON compiles them with nvcc, from the system or from PyPI's wheels; "emulated" compiles the same
# files as C++ against csrc/emulation, for machines without a card (docs/cuda.md).
set(CHAINRULE_CUDA "OFF" CACHE STRING "OFF; ON: libchainrule_cuda by nvcc; emulated: the same for the CPU, for tests")
set_property(CACHE CHAINRULE_CUDA PROPERTY STRINGS OFF ON emulated)
if(NOT CHAINRULE_CUDA MATCHES "^(OFF|ON|emulated)$")
  message(FATAL_ERROR "CHAINRULE_CUDA is \"${CHAINRULE_CUDA}\": expected OFF, ON or emulated")
endif()

# Before the language is enabled: nvcc of the PyPI wheels (nvidia/cu13), whose compiler test needs -L for the static runtime.
function(chainrule_find_nvcc)
  if(CMAKE_CUDA_COMPILER)
    return()
  endif()
  if(Python_EXECUTABLE)
    set(python "${Python_EXECUTABLE}")
  else()
    find_program(python NAMES python3 python NO_CACHE)
  endif()
  execute_process(COMMAND "${python}" -c "import nvidia; print(next(p + '/cu13' for p in nvidia.__path__ if __import__('os').path.exists(p + '/cu13/bin/nvcc')))"
                  OUTPUT_VARIABLE tree OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE result)
  if(result EQUAL 0)
    set(CMAKE_CUDA_COMPILER "${tree}/bin/nvcc" CACHE FILEPATH "nvcc")
    set(CMAKE_CUDA_FLAGS "-L${tree}/lib" CACHE STRING "Flags of nvcc")
  endif()
endfunction()

if(CHAINRULE_CUDA STREQUAL "OFF")
  return()
endif()
if(CHAINRULE_CUDA STREQUAL "emulated" AND DEFINED SKBUILD_PROJECT_NAME)
  message(FATAL_ERROR "CHAINRULE_CUDA=emulated is for tests and goes into no wheel: build it by CMake alone (docs/cuda.md)")
elseif(CHAINRULE_CUDA STREQUAL "ON" AND SKBUILD_PROJECT_NAME STREQUAL "chainrule")
  message(FATAL_ERROR "The wheel of chainrule has no code for a card: that of chainrule-cuda has (docs/releasing.md)")
endif()

# Included by packaging/cuda too
get_filename_component(chainrule_root "${CMAKE_CURRENT_LIST_DIR}/.." ABSOLUTE)
file(GLOB cuda_sources CONFIGURE_DEPENDS "${chainrule_root}/csrc/kernels/cuda/*.cu")
if(CHAINRULE_CUDA STREQUAL "ON")
  chainrule_find_nvcc()
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    # Turing to Blackwell, and PTX of the last for what comes
    set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 86-real 89-real 90-real 100-real 120)
  endif()
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  enable_language(CUDA)
  add_library(chainrule_cuda MODULE ${cuda_sources})
  # The cuBLAS headers are not needed: the library is opened at run time. -std by hand: CMake 3.25 does not know that nvcc has C++20.
  target_compile_options(chainrule_cuda PRIVATE -std=c++20 $<$<BOOL:${CHAINRULE_WERROR}>:-Werror=all-warnings> -Xcompiler=-Wall,-Wextra,-fvisibility=hidden)
else()
  add_subdirectory(csrc/emulation)
  set_source_files_properties(${cuda_sources} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-x;c++")
  add_library(chainrule_cuda MODULE ${cuda_sources})
  target_link_libraries(chainrule_cuda PRIVATE chainrule_flags chainrule_cuda_emulation)
  target_compile_options(chainrule_cuda PRIVATE -Wno-maybe-uninitialized)  # g++ does not see that all lanes of a row write what they read
endif()
target_include_directories(chainrule_cuda PRIVATE "${chainrule_root}/csrc")
target_compile_definitions(chainrule_cuda PRIVATE "CHAINRULE_VERSION=\"${CHAINRULE_VERSION}\"")
# cuBLAS is looked for beside the package, where PyPI's nvidia-cublas puts it
set_target_properties(chainrule_cuda PROPERTIES INSTALL_RPATH "$ORIGIN/../nvidia/cu13/lib")
target_link_libraries(chainrule_cuda PRIVATE ${CMAKE_DL_LIBS})
target_link_options(chainrule_cuda PRIVATE "LINKER:--version-script=${chainrule_root}/cmake/cuda.map" "LINKER:--no-undefined")
if(CHAINRULE_CUDA STREQUAL "ON")  # cmake --build BUILD --target time_kernels, then python -m bench.cuda (docs/cuda.md)
  add_executable(time_kernels EXCLUDE_FROM_ALL "${chainrule_root}/bench/cuda/time_kernels.cu" ${cuda_sources})
  target_compile_options(time_kernels PRIVATE -std=c++20)
  target_include_directories(time_kernels PRIVATE "${chainrule_root}/csrc")
  target_compile_definitions(time_kernels PRIVATE "CHAINRULE_VERSION=\"${CHAINRULE_VERSION}\"")
  target_link_libraries(time_kernels PRIVATE ${CMAKE_DL_LIBS})
endif()
if(PROJECT_NAME STREQUAL "chainrule_cuda")  # packaging/cuda
  install(TARGETS chainrule_cuda LIBRARY DESTINATION chainrule_cuda)
else()  # beside the core, for tests: no wheel has it
  install(TARGETS chainrule_cuda LIBRARY DESTINATION chainrule COMPONENT cuda)
endif()
